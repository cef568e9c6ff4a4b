"""Chunks of converted clips: what is read back is what was written, and nothing is executed."""

import collections
import os
import pathlib
import pickle
import re
import zipfile

import numpy as np
import pytest

from parts_jax.data.clevrer import chunks, conversion, files
from parts_jax.data.sets import clevrer
from tests.data.clevrer import writer

NOTES = collections.Counter({"frames without any entry in the proposals": 3, "b": 1, "a": 2})
SKIPPED = (conversion.Skipped(7, conversion.UNDECODABLE, "ä \udcff.mp4 is truncated."),)


class Malicious:
    """What runs code when it is unpickled: it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def make_example(**changes):
    """With frames of several lengths, one of them empty, and arrays of all kinds."""
    return {"video": [b"\x89PNG\r\n", b"", bytes(range(256))], "id": "video_00003",
            "segmentation": [b"\x00", b"\xff\n", b"\x1a"], "objects": ["red rubber sphere", "ä"],
            "location": np.array([[[np.nan, -0.0, 1e-40]], [[1, 2, 3]]], np.float32),
            "inside_camera_view": np.array([[True], [False]]),
            "collisions": np.array([[2, 1, 3]], np.int32)} | changes


def write(path, *examples):
    kept = tuple((i, 3, (0, 2) if i % 2 else None) for i in range(len(examples)))
    summary = chunks.Summary(SKIPPED, NOTES, kept)
    chunks.write_chunk(str(path), summary, examples)
    return summary


def read(path):
    return [example for _, example in chunks.Selection([str(path)])]


def assert_same(one, other):
    """Bit for bit, in the same order and of the same types."""
    assert list(one) == list(other)
    for key, value in one.items():
        assert type(value) is type(other[key])
        if isinstance(value, np.ndarray):
            assert (value.dtype, value.shape) == (other[key].dtype, other[key].shape)
            assert value.tobytes() == other[key].tobytes()
        else:
            assert value == other[key]
            assert [type(item) for item in value] == [type(item) for item in other[key]]


@pytest.fixture
def chunk(tmp_path):
    write(tmp_path / "whole.chunk", make_example(), make_example())
    return tmp_path / "whole.chunk"


def assert_refused(path, reason=""):
    message = f"{re.escape(str(path))} is no whole chunk of converted clips: .*{reason}.*Delete it"
    with pytest.raises(ValueError, match=message):
        chunks.summary(str(path))
        read(path)


@pytest.mark.parametrize("changes", [
    {},
    {"objects": [], "video": [], "segmentation": []},
    {"id": "ä \udcff \x00", "collisions": np.zeros((0, 3), np.int32),
     "location": np.zeros((2, 0, 3), np.float32), "inside_camera_view": np.zeros((2, 0), bool)},
    {"location": np.arange(6, dtype=">f8").reshape(1, 2, 3).T, "collisions": np.array(3, np.uint8)},
])
def test_what_is_read_is_what_was_written(tmp_path, changes):
    without_masks = make_example(**changes)
    del without_masks["segmentation"]
    reversed_ = dict(reversed(make_example(**changes).items()))
    examples = [make_example(**changes), without_masks, reversed_]
    summary = write(tmp_path / "a.chunk", *examples)
    assert os.listdir(tmp_path) == ["a.chunk"]
    for one, other in zip(examples, read(tmp_path / "a.chunk"), strict=True):
        assert_same(one, other)
    again = chunks.summary(str(tmp_path / "a.chunk"))
    assert again == summary and type(again.notes) is collections.Counter
    assert list(again.notes) == list(NOTES)  # the order in which they are logged


@pytest.mark.parametrize("masks", ["proposals", "mask_videos", "none"])
def test_converted_clips_come_back_as_they_were(tmp_path, masks):
    scenes = [writer.make_scene(number, outside_until=2) for number in (10000, 10001)]
    for scene in scenes:
        writer.write_files(tmp_path / "source", writer.files_of(scene))
        writer.write_mask_video(tmp_path / "source", scene, 2, 8)
    (tmp_path / "source" / "annotation_10000-11000" / "annotation_10001.json").unlink()
    clips = clevrer.list_clips(files.find(str(tmp_path / "source")), masks)["validation"]
    clips = clips[:1] if masks == "mask_videos" else clips  # those need an annotation
    settings = conversion.Settings(16, "none", masks, writer.NUM_FRAMES, 4)
    expected = [conversion.convert(clip, settings) for clip in clips]
    chunks.convert_chunk(str(tmp_path / "a.chunk"), clips, settings)
    for one, other in zip(expected, read(tmp_path / "a.chunk"), strict=True):
        assert_same(one.example, other)
    assert chunks.summary(str(tmp_path / "a.chunk")) == chunks.Summary(
        (), sum((item.notes for item in expected), collections.Counter()),
        tuple((item.number, item.num_objects, item.run) for item in expected))


def test_the_summary_is_read_without_the_examples(chunk):
    """Whose bytes are all damaged here."""
    with zipfile.ZipFile(chunk) as archive:
        frames = [item for item in archive.infolist() if item.filename.endswith("/video")]
    content = bytearray(chunk.read_bytes())
    for item in frames:
        start = item.header_offset + 30 + len(item.filename)
        content[start:start + item.file_size] = bytes(item.file_size)
    chunk.write_bytes(content)
    assert len(chunks.summary(str(chunk)).kept) == 2
    with pytest.raises(ValueError, match="no whole chunk.*Bad CRC-32 for file '0/video'"):
        read(chunk)


@pytest.mark.parametrize("value", [
    ("a tuple",), [1, 2], [b"mixed", "texts"], None, 3.0, {"a": "b"}, np.float32(1)])
def test_what_cannot_be_kept_is_refused(tmp_path, value):
    with pytest.raises(TypeError, match="value 0/extra of an example cannot be kept in a chunk"):
        write(tmp_path / "a.chunk", make_example(extra=value))
    assert not (tmp_path / "a.chunk").exists()


def test_arrays_of_objects_are_not_pickled(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle=False"):
        write(tmp_path / "a.chunk", make_example(extra=np.array([{}], object)))
    assert not (tmp_path / "a.chunk").exists()


# --- Files that are damaged, or mean harm ---


def test_a_pickle_in_place_of_a_chunk_is_not_run(tmp_path):
    path = tmp_path / "a.chunk"
    path.write_bytes(pickle.dumps(Malicious(tmp_path / "run")))
    assert_refused(path, "File is not a zip file")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["summary.json", "examples.json", "0/location.npy"])
@pytest.mark.parametrize("as_array", [True, False])
def test_a_pickle_within_a_chunk_is_not_run(tmp_path, chunk, name, as_array):
    """Neither as it is nor in an array of numpy's, which numpy alone would run."""
    harmful = tmp_path / "harmful.npy"
    if as_array:
        np.save(harmful, np.array([Malicious(tmp_path / "run")], object), allow_pickle=True)
    else:
        harmful.write_bytes(pickle.dumps(Malicious(tmp_path / "run")))
    changed = tmp_path / "changed.chunk"
    with zipfile.ZipFile(chunk) as source, zipfile.ZipFile(changed, "w") as target:
        for item in source.namelist():
            target.writestr(item, harmful.read_bytes() if item == name else source.read(item))
    assert_refused(changed)
    assert not (tmp_path / "run").exists()
    if as_array:
        np.load(harmful, allow_pickle=True)
        assert (tmp_path / "run").exists()  # it would have been seen


def test_a_truncated_chunk_is_named_wherever_it_ends(tmp_path, chunk):
    whole = chunk.read_bytes()
    for length in range(0, len(whole), 7):
        chunk.write_bytes(whole[:length])
        assert_refused(chunk)


def test_a_damaged_chunk_is_named_or_reads_the_same(chunk):
    """One byte at a time is changed; some, such as the version of the zip, mean nothing."""
    whole, expected = chunk.read_bytes(), read(chunk)
    for place in range(0, len(whole), 3):
        chunk.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1:])
        try:
            examples = read(chunk)
        except ValueError as error:
            assert "is no whole chunk of converted clips" in str(error)
        else:
            for one, other in zip(expected, examples, strict=True):
                assert_same(one, other)


def convert(tmp_path):
    clips = clevrer.list_clips(files.find(str(tmp_path / "source")), "proposals")
    settings = conversion.Settings(16, "none", "proposals", writer.NUM_FRAMES, 4)
    return chunks.convert_clips(clips, settings, str(tmp_path / "converted"), 1)["train"]


def test_a_truncated_chunk_stops_the_conversion_and_without_it_all_is_well(tmp_path):
    writer.write_files(tmp_path / "source", writer.files_of(writer.make_scene(0)))
    [path] = map(pathlib.Path, convert(tmp_path))
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(ValueError, match="is no whole chunk .*Delete it, and the same command"):
        convert(tmp_path)
    path.unlink()
    assert convert(tmp_path) == [str(path)] and path.read_bytes() == whole


def test_pickled_chunks_of_earlier_versions_are_neither_read_nor_left(tmp_path, monkeypatch):
    monkeypatch.setattr(clevrer, "NUM_FRAMES", writer.NUM_FRAMES)
    writer.write_files(tmp_path / "source", writer.files_of(writer.make_scene(0)))
    config = clevrer.ClevrerConfig(name="test", resolution=16, num_workers=1,
                                   source_dir=str(tmp_path / "source"))
    builder = clevrer.Clevrer(config=config, data_dir=tmp_path / "data", file_format="array_record")
    clips = clevrer.list_clips(files.find(config.source_dir), "proposals")["train"]
    name = chunks._name(clips, builder._settings()).removesuffix(".chunk")
    folder = pathlib.Path(builder._converted_folder())
    folder.mkdir(parents=True)
    (folder / name).write_bytes(pickle.dumps(Malicious(tmp_path / "run")))
    builder.download_and_prepare()
    assert len(builder.as_data_source(split="train")) == 1
    assert not folder.exists() and not (tmp_path / "run").exists()
