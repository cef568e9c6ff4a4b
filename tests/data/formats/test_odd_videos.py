"""Videos that are held, made or named in odd ways; and files that only pretend to be videos."""

import fractions
import io
import os
import struct

import av
import numpy as np
import pytest
from absl import logging
from av.stream import Disposition
from PIL import Image

from parts_jax.data.formats import video_files

HEIGHT, WIDTH = 32, 48


def picture_of(height, width):
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, :width // 2] = (200, 60, 30)
    picture[:height // 2, width // 2:] = (20, 160, 220)
    return picture


def encode(container="mp4", size=(HEIGHT, WIDTH), num_frames=6, before=None, aspect=1, times=None):
    """A still scene; `before` is (codec, size, frames, disposition) of a stream before it."""
    content = io.BytesIO()
    with av.open(content, "w", format=container) as file:
        streams = []
        if before:
            streams.append((add_stream(file, *before[:2], before[3]), before[1], before[2]))
        streams.append((add_stream(file, "libx264", size), size, num_frames))
        streams[-1][0].codec_context.sample_aspect_ratio = fractions.Fraction(aspect)
        for stream, size, count in streams:
            for t in range(count):
                frame = av.VideoFrame.from_ndarray(picture_of(*size), format="rgb24")
                frame.pts = times[t] if times else t
                file.mux(stream.encode(frame))
        for stream, *_ in streams:
            file.mux(stream.encode())
    return content.getvalue()


def add_stream(file, codec, size, disposition=None):
    stream = file.add_stream(codec, rate=25)
    stream.height, stream.width = size
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    if disposition:
        stream.disposition = disposition
    return stream


def matrix(a, b, c, d):
    return struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)


@pytest.mark.parametrize("a, b, c, d", [
    (1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1),
    (0, 1, -1, 0), (0, -1, 1, 0), (0, 1, 1, 0), (0, -1, -1, 0)])
def test_turned_and_mirrored_cameras(a, b, c, d):
    """A pixel (x, y) is shown at (a x + c y, b x + d y)."""
    content = encode()
    as_kept = video_files.read_video("kept.mp4", content=content)
    head, track = content.rsplit(matrix(1, 0, 0, 1), 1)
    shown = video_files.read_video("shown.mp4", content=head + matrix(a, b, c, d) + track)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    column, row = a * x + c * y, b * x + d * y
    column, row = column - column.min(), row - row.min()
    expected = np.zeros((6, row.max() + 1, column.max() + 1, 3), np.uint8)
    expected[:, row, column] = as_kept
    np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize("container, before", [
    ("mp4", ("mjpeg", (96, 96), 1, Disposition.attached_pic)),
    ("mp4", ("mjpeg", (96, 96), 1, None)), ("matroska", ("mjpeg", (96, 96), 1, None)),
    ("mp4", ("libx264", (16, 16), 6, None)), ("matroska", ("libx264", (16, 16), 6, None))])
def test_a_cover_or_a_preview_is_not_the_video(container, before):
    content = encode(container, before=before)
    assert video_files.read_video("clip", content=content).shape == (6, HEIGHT, WIDTH, 3)


def test_the_frame_rate_is_that_of_the_video(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(encode(before=("mjpeg", (96, 96), 1, Disposition.attached_pic)))
    assert video_files.frame_rate(path) == 25.0


def test_a_cover_alone_is_no_video():
    content = encode(before=("mjpeg", (96, 96), 1, Disposition.attached_pic), num_frames=0)
    with pytest.raises(ValueError, match="clip.mp4"):
        video_files.read_video("clip.mp4", content=content)


@pytest.mark.parametrize("aspect, width", [("4/3", 64), ("1/2", 24), ("1001/1000", WIDTH)])
def test_pixels_become_square(aspect, width):
    """Their height stays; the picture is that of square pixels, wider or narrower."""
    video = video_files.read_video("clip.mp4", content=encode(aspect=aspect))
    assert video.shape == (6, HEIGHT, width, 3)
    assert np.abs(video[0].astype(int) - picture_of(HEIGHT, width)).mean() < 8


def test_uneven_times_are_said(monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    video_files.read_video("even.mp4", content=encode())
    assert not said
    video = video_files.read_video("uneven.mp4", content=encode(times=[0, 1, 2, 3, 20, 21]))
    assert len(video) == 6
    assert len(said) == 1 and "uneven.mp4 are from 0.04 to 0.68 seconds apart" in said[0]


@pytest.mark.parametrize("text", [
    "ffconcat version 1.0\nfile clip.mp4\n",
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.mp4\n#EXT-X-ENDLIST\n",
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>'])
def test_a_play_list_by_the_name_of_a_video_is_not_followed(tmp_path, text):
    (tmp_path / "clip.mp4").write_bytes(encode())
    (tmp_path / "list.mp4").write_text(text)
    with pytest.raises(ValueError, match="video .*list.mp4 cannot be decoded past its first 0"):
        video_files.read_video(tmp_path / "list.mp4")


def test_a_picture_by_the_name_of_a_video_is_none(tmp_path):
    """FFmpeg has demuxers for them, and for much else; only containers that are named are read."""
    Image.fromarray(picture_of(HEIGHT, WIDTH)).save(tmp_path / "clip.mp4", format="PNG")
    with pytest.raises(ValueError, match="it is none of mp4, mov, 3gp, mkv, webm, avi, ts and mpg"):
        video_files.read_video(tmp_path / "clip.mp4")


def test_the_declared_size_is_held_against_the_limit():
    content = encode(size=(1024, 1024), num_frames=2)
    with pytest.raises(ValueError, match="1024x1024 pixels, declares 3,145,728 bytes.*max_bytes"):
        video_files.read_video("clip.mp4", content=content, max_bytes=1_000_000)
    with pytest.raises(ValueError, match="clip.mp4 declares 6,291,456 bytes .*at most 4,000,000"):
        video_files.read_video("clip.mp4", content=content, max_bytes=4_000_000)
    assert len(list(video_files.iter_frames("clip.mp4", content=content, max_bytes=4_000_000))) == 2


@pytest.mark.parametrize("name", ["a:b.mp4", "http://c.mp4", b"\xff\xfe.mp4", "~/d.mp4"])
def test_odd_names(tmp_path, monkeypatch, name):
    """With colons, as of addresses; not of UTF-8; in the home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "http:").mkdir()
    name = os.fsdecode(name)
    with video_files.open_writer(name, 10.0) as append:
        for _ in range(3):
            append(picture_of(HEIGHT, WIDTH))
    assert os.path.exists(name.replace("~", str(tmp_path)))
    assert len(video_files.read_video(name)) == 3 and video_files.frame_rate(name) == 10.0
    open(os.path.expanduser(name), "wb").write(b"no video")
    with pytest.raises(ValueError, match="cannot be decoded"):
        video_files.read_video(name)


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("deep"), NotImplementedError("no"),
                                   RuntimeError("no"), OverflowError("no"),
                                   UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no")])
def test_whatever_a_decoder_raises_is_a_sentence(monkeypatch, error):
    def broken(*_):
        raise error

    monkeypatch.setattr(video_files.decoder, "iter_decoded", broken)
    with pytest.raises(ValueError, match="The video clip.mp4 cannot be decoded past.*first 0 fra") \
            as caught:
        video_files.read_video("clip.mp4", content=b"0123456789abcdef")
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("rate", [0, -1.0, float("inf"), float("nan"), 1e9, 1e-9])
def test_frames_a_second_that_cannot_be_written(tmp_path, rate):
    with pytest.raises(ValueError, match="must be above 0; got .*Allowed are 0.001 to 1000"):
        with video_files.open_writer(tmp_path / "out.mp4", rate):
            pass
