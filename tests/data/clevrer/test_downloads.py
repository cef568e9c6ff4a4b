"""Downloads of CLEVRER: parts of two versions are never joined, nothing goes on without end."""

import http.server
import io
import json
import re
import threading
import zipfile

import pytest

from parts_jax.data.clevrer import files

NAME = "derender_proposals.zip"


def content(text):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("proposal_00000.json", text * 300)
    return stream.getvalue()


OLD, NEW, LONGER = content("old "), content("new "), content("longer ")


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `versions` one after the other, each but the last broken off after 500 bytes.

    `answer` may change status and headers; `asked` are the headers of the requests.
    """

    versions, etags, asked, head = [OLD], True, [], OLD
    answer = staticmethod(lambda status, headers: (status, headers))

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.head)))
        self.end_headers()

    def do_GET(self):
        kind = type(self)
        kind.asked.append(dict(self.headers))
        version = kind.versions[0]
        breaks = len(kind.versions) > 1
        if breaks:
            kind.versions = kind.versions[1:]
        tag = f'"{hash(version)}"'
        match = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(match[1]) if match else 0
        if self.etags and self.headers.get("If-Range", tag) != tag:
            start = 0
        headers = {"Content-Length": str(len(version) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(version) - 1}/{len(version)}"
        if self.etags:
            headers["ETag"] = tag
        status, headers = kind.answer(206 if start else 200, headers)
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(version[start:][:500 if breaks else None])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    handler = type("Handler", (Server,), {"asked": []})
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setattr(files, "BASE_URL", f"http://127.0.0.1:{running.server_port}/")
    monkeypatch.setattr(files, "ZIPS", (NAME,))
    monkeypatch.setattr(files, "PAUSE", 0.0)
    yield handler
    running.shutdown()
    running.server_close()


def fetch(tmp_path):
    files.download(str(tmp_path / "clevrer"))
    return (tmp_path / "clevrer" / NAME).read_bytes()


def test_the_rest_is_asked_for_on_a_condition(tmp_path, server):
    server.versions = [OLD, OLD]
    assert fetch(tmp_path) == OLD
    assert server.asked[1]["Range"] == "bytes=500-"
    assert server.asked[1]["If-Range"] == f'"{hash(OLD)}"'
    assert [path.name for path in (tmp_path / "clevrer").iterdir()] == [NAME]


def test_a_file_that_changed_is_fetched_anew(tmp_path, server):
    server.versions, server.head = [OLD, NEW], NEW
    assert len(OLD) == len(NEW) and fetch(tmp_path) == NEW


def test_parts_of_two_versions_are_not_joined(tmp_path, server, monkeypatch):
    """By a server that serves ranges whatever If-Range says."""
    monkeypatch.setattr(files.resumed, "_condition", lambda known: None)
    server.versions, server.head = [OLD, NEW], NEW
    assert fetch(tmp_path) == NEW
    assert [asked.get("Range") for asked in server.asked] == [None, "bytes=500-", None]


def test_without_validators_the_joined_zip_is_read(tmp_path, server):
    server.versions, server.head, server.etags = [OLD, NEW], NEW, False
    with pytest.raises(OSError, match=f"{NAME} is refused and was removed: .*proposal_00000.json"):
        fetch(tmp_path)
    assert not list((tmp_path / "clevrer").iterdir())
    assert fetch(tmp_path) == NEW


def test_a_file_of_another_size_is_refused(tmp_path, server):
    server.versions = [OLD, LONGER]
    with pytest.raises(OSError, match=f"{NAME} cannot be fetched .the server sends"):
        fetch(tmp_path)
    assert not (tmp_path / "clevrer" / NAME).exists()
    server.head = LONGER
    assert fetch(tmp_path) == LONGER


def test_what_was_begun_of_another_size_is_forgotten(tmp_path, server):
    folder = tmp_path / "clevrer"
    folder.mkdir()
    (folder / f"{NAME}.part").write_bytes(LONGER[:800])
    (folder / f"{NAME}.part.json").write_text(json.dumps({"size": len(LONGER)}))
    assert fetch(tmp_path) == OLD and "Range" not in server.asked[0]


@pytest.mark.parametrize("answer", [
    lambda status, headers: (status, headers | (
        {"Content-Range": f"bytes 0-{len(OLD) - 1}/{len(OLD)}"} if status == 206 else {})),
    lambda status, headers: (status, headers | (
        {"Content-Range": "nonsense"} if status == 206 else {})),
    lambda status, headers: (status, headers | ({"Content-Length": "9"} if status == 206 else {})),
])
def test_wrong_parts_end(tmp_path, server, answer):
    server.versions, server.answer = [OLD, OLD], staticmethod(answer)
    with pytest.raises(OSError, match=f"{NAME} cannot be fetched .the server sen"):
        fetch(tmp_path)
    assert len(server.asked) == 1 + files.ATTEMPTS
    assert (tmp_path / "clevrer" / f"{NAME}.part").read_bytes() == OLD[:500]


def test_the_first_checksum_is_recorded_and_must_stay(tmp_path, server):
    fetch(tmp_path)
    record = json.loads((tmp_path / "clevrer.checksums.json").read_text())[NAME]
    assert record["bytes"] == len(OLD) and len(record["sha256"]) == 64
    (tmp_path / "clevrer" / NAME).unlink()
    assert fetch(tmp_path) == OLD
    (tmp_path / "clevrer" / NAME).unlink()
    server.versions, server.head = [NEW], NEW
    with pytest.raises(OSError, match=f"is refused .*was {record['sha256']} when it was fetched"):
        fetch(tmp_path)
    assert not (tmp_path / "clevrer" / NAME).exists()


def test_a_checksum_that_is_known_is_held(tmp_path, server, monkeypatch):
    monkeypatch.setattr(files, "CHECKSUMS", {NAME: "0" * 64})
    with pytest.raises(OSError, match=f"but must be {'0' * 64}"):
        fetch(tmp_path)


def test_that_a_host_has_no_https_is_said(tmp_path, server, caplog):
    assert files.base_url() == files.BASE_URL
    assert "does not answer by https" in caplog.text and "not encrypted" in caplog.text
