"""`playroom`: what is read back is what the files hold; wrong files are refused by name."""

import json
import pathlib
import re

import h5py
import numpy as np
import pytest

from parts_jax import data
from parts_jax.data import episodes, preprocess
from parts_jax.data.formats import frames
from parts_jax.data.sets import playroom

NOTE = {"source": "written by a test", "licence": "none", "mirrored_actions": [0, 2]}


def make_episode(seed=0, num_frames=4, size=64, masks=True, action_size=3):
    rng = np.random.default_rng(seed)
    episode = {"video": rng.integers(0, 256, (num_frames, size, size, 3), np.uint8),
               "actions": rng.normal(size=(num_frames, action_size)).astype(np.float32)}
    if masks:
        episode["segmentations"] = rng.integers(0, 256, (num_frames, size, size), np.uint16)
    return episode


def write(path, episode):
    if path.suffix == ".npz":
        np.savez_compressed(path, **episode)
        return
    with h5py.File(path, "w") as file:
        for name, value in episode.items():
            file.create_dataset(name, data=value, compression="gzip")


def make_folder(folder, names, note=NOTE, **arguments):
    folder.mkdir(exist_ok=True)
    written = {}
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(exist_ok=True)
        written[name] = make_episode(seed, num_frames=3 + seed % 3, **arguments)
        write(folder / name, written[name])
    (folder / "source.json").write_text(json.dumps(note))
    return written


def prepare(tmp_path, name="playroom/64"):
    return data.prepare(name, str(tmp_path / "data"), str(tmp_path / "episodes"))


def assert_refused(tmp_path, message, error=ValueError):
    with pytest.raises(error, match=message):
        prepare(tmp_path)
    assert not list((tmp_path / "data").rglob("*1.0.0*")), "something half-written was left"


def assert_same(example, episode, size=64):
    expected = preprocess.resize({"video": episode["video"]}, size)
    np.testing.assert_array_equal(frames.decode(example["video"]), expected["video"])
    np.testing.assert_array_equal(example["actions"], episode["actions"])
    if "segmentations" in episode and episode["video"].shape[1] == size:
        np.testing.assert_array_equal(frames.decode(example["segmentation"]),
                                      episode["segmentations"])


@pytest.mark.parametrize("suffixes", [(".npz",), (".h5",), (".npz", ".hdf5", ".h5")])
def test_a_flat_folder_is_split_by_name(tmp_path, suffixes):
    names = [f"episode_{i:02d}{suffixes[i % len(suffixes)]}" for i in range(11)]
    written = make_folder(tmp_path / "episodes", names)
    builder = prepare(tmp_path)
    for split, members in (("train", names[:9]), ("validation", names[9:10]),
                           ("test", names[10:])):
        source = builder.as_data_source(split=split)
        assert [example["id"].decode() for example in source] == members
        for example, name in zip(source, members, strict=True):
            assert_same(example, written[name])


def test_folders_of_splits_are_kept(tmp_path):
    names = ["train/b.npz", "train/a.h5", "test/c.npz"]
    written = make_folder(tmp_path / "episodes", names)
    builder = prepare(tmp_path)
    assert set(builder.info.splits) == {"train", "test"}
    train = builder.as_data_source(split="train")
    assert [example["id"] for example in train] == [b"train/a.h5", b"train/b.npz"]
    assert_same(train[0], written["train/a.h5"])
    assert_same(builder.as_data_source(split="test")[0], written["test/c.npz"])


def test_masks_are_optional_and_frames_are_resized(tmp_path):
    names = ["a.npz", "b.npz", "c.npz"]
    written = make_folder(tmp_path / "episodes", names, masks=False, size=128)
    example = prepare(tmp_path).as_data_source(split="train")[0]
    assert set(example) == {"video", "actions", "id"}
    assert_same(example, written["a.npz"])


def test_resolution_128(tmp_path):
    written = make_folder(tmp_path / "episodes", ["train/a.npz"], size=128)
    example = prepare(tmp_path, "playroom/128").as_data_source(split="train")[0]
    assert_same(example, written["train/a.npz"], size=128)


def test_the_note_travels_with_the_set(tmp_path):
    make_folder(tmp_path / "episodes", ["train/a.npz"])
    first, second = prepare(tmp_path), prepare(tmp_path)  # built, then read from disk
    for builder in (first, second):
        assert builder.info.metadata["source"] == NOTE
        assert builder.MIRRORED_ACTIONS == (0, 2)


def test_what_is_prepared_is_opened_without_its_source(tmp_path):
    make_folder(tmp_path / "episodes", ["train/a.npz"])
    first = prepare(tmp_path)
    before = first.as_data_source("train")[0]
    again = data.prepare("playroom/64", str(tmp_path / "data"),
                         prepared=first.builder_config.name)
    assert again.MIRRORED_ACTIONS == first.MIRRORED_ACTIONS == (0, 2)
    after = again.as_data_source("train")[0]
    assert set(before) == set(after) and len(before) > 3
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value)


def test_mirrored_actions_are_unknown_where_the_note_is_silent(tmp_path):
    make_folder(tmp_path / "episodes", ["train/a.npz"], note={"source": "somewhere"})
    assert prepare(tmp_path).MIRRORED_ACTIONS is None


def test_the_same_files_give_the_same_bytes(tmp_path):
    make_folder(tmp_path / "episodes", ["train/a.npz", "train/b.h5"])
    one, two = (data.prepare("playroom/64", str(tmp_path / name), str(tmp_path / "episodes"))
                for name in ("one", "two"))
    for first, second in zip(one.as_data_source(split="train"), two.as_data_source(split="train"),
                             strict=True):
        assert list(first["video"]) == list(second["video"])
        assert list(first["segmentation"]) == list(second["segmentation"])


def test_the_example_of_the_documentation_is_read(tmp_path, monkeypatch):
    page = (pathlib.Path(__file__).parents[3] / "docs" / "data.md").read_text()
    example, = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    (tmp_path / "playroom").rename(tmp_path / "episodes")
    builder = prepare(tmp_path)
    assert builder.info.splits.total_num_examples == 3 and builder.MIRRORED_ACTIONS == (0, 2)


def test_hidden_files_and_others_are_left_alone(tmp_path):
    make_folder(tmp_path / "episodes", ["a.npz", "b.npz", "c.npz"])
    (tmp_path / "episodes" / "._a.npz").write_bytes(b"of a file system")
    (tmp_path / "episodes" / "README.txt").write_text("notes")
    assert prepare(tmp_path).info.splits.total_num_examples == 3


@pytest.mark.parametrize("name", ["b.npz", "b.h5"])
@pytest.mark.parametrize("kept", [0, 0.5, 0.95])
def test_truncated_files_are_refused(tmp_path, name, kept):
    make_folder(tmp_path / "episodes", ["a.npz", name, "c.npz"])
    path = tmp_path / "episodes" / name
    content = path.read_bytes()
    path.write_bytes(content[:int(kept * len(content))])
    assert_refused(tmp_path, rf"episodes/{name} cannot be read: it is truncated, damaged")


@pytest.mark.parametrize("name", ["b.npz", "b.h5"])
def test_damaged_and_wrong_files_are_refused(tmp_path, name):
    make_folder(tmp_path / "episodes", ["a.npz", name, "c.npz"])
    path = tmp_path / "episodes" / name
    content = bytearray(path.read_bytes())
    middle = len(content) // 2  # within the compressed frames
    content[middle:middle + 64] = bytes(64)
    path.write_bytes(content)
    assert_refused(tmp_path, rf"episodes/{name} cannot be read")
    path.write_bytes(b"something else" * 100)
    assert_refused(tmp_path, rf"episodes/{name} cannot be read")


def test_an_npy_file_by_the_name_of_npz_is_refused(tmp_path):
    make_folder(tmp_path / "episodes", ["train/a.npz"])
    with open(tmp_path / "episodes" / "train" / "a.npz", "wb") as file:
        np.save(file, np.zeros(3))
    assert_refused(tmp_path, "a.npz cannot be read")


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@pytest.mark.parametrize("change, message", [
    ({"actions": None}, r"b.* has no actions. An episode has the arrays .*got segm.*, video"),
    ({"video": None}, "b.* has no video. An episode has"),
    ({"segmentation": np.zeros(3)}, "b.* has an unknown array segmentation. An episode has"),
    ({"segmentations": None}, "have segmentations or none, but .*npz has them and .*/b.* has not"),
    ({"actions": np.zeros((4, 2), np.float32)}, "of size 3 and .*b.* has actions of size 2"),
    ({"actions": np.full((4, 3), np.nan, np.float32)}, "actions of .*b.* must be finite.*frame 0"),
    ({"actions": np.zeros(4, np.float32)}, r"actions of .*b.* must be float32 .*got float32 \[4\]"),
    ({"actions": np.zeros((9, 3), np.float32)}, r"b.* cannot be read.*as the video has frames \(4"),
    ({"video": np.zeros((4, 64, 64), np.uint8)}, r"b.* cannot be read.*got uint8 \[4, 64, 64\]"),
    ({"video": np.zeros((4, 64, 64, 3))}, r"b.* cannot be read as an episode.*got float64"),
    ({"segmentations": np.full((4, 64, 64), 300, np.uint16)}, "b.* has ids from 300 to 300"),
    ({"segmentations": np.zeros((4, 32, 32), np.uint8)}, r"b.* as large as its video \[4, 64, 64"),
    ({"segmentations": np.zeros((4, 64, 64), np.float32)}, "b.* must hold integers; got float32"),
])
def test_wrong_arrays_are_refused(tmp_path, suffix, change, message):
    make_folder(tmp_path / "episodes", ["a.npz", "c.npz", "d.npz"])
    changed = make_episode() | change
    write(tmp_path / "episodes" / f"b{suffix}",
          {name: value for name, value in changed.items() if value is not None})
    assert_refused(tmp_path, message)


def test_a_group_in_place_of_an_array_is_refused(tmp_path):
    make_folder(tmp_path / "episodes", ["train/a.h5"])
    with h5py.File(tmp_path / "episodes" / "train" / "a.h5", "a") as file:
        del file["video"]
        file.create_group("video/left")
    assert_refused(tmp_path, "video in .*a.h5 must be an array, but is a group")


def test_pickled_arrays_are_not_run(tmp_path):
    make_folder(tmp_path / "episodes", ["train/a.npz"])
    np.savez(tmp_path / "episodes" / "train" / "a.npz", video=np.array([{}, None], object),
             actions=np.array([{}], object))
    assert_refused(tmp_path, "a.npz cannot be read.*allow_pickle=False")


@pytest.mark.parametrize("text, message", [
    ("not json", "source.json is no JSON"),
    ("[" * 100_000, "source.json is no JSON: it is nested too deep"),
    ("[]", r'source.json must be a JSON object with a text "source"; got \[\]'),
    ('{"licence": "mine"}', "source.json must be a JSON object with a text"),
    ('{"source": " "}', "source.json must be a JSON object with a text"),
    ('{"source": "x", "mirrored_actions": [3]}', r"whole numbers from 0 to 2.*got \[3\]"),
    ('{"source": "x", "mirrored_actions": "all"}', "whole numbers from 0 to 2.*got all"),
])
def test_wrong_notes_are_refused(tmp_path, text, message):
    make_folder(tmp_path / "episodes", ["train/a.npz"])
    (tmp_path / "episodes" / "source.json").write_text(text)
    assert_refused(tmp_path, message)


def test_a_missing_note_is_asked_for(tmp_path):
    make_folder(tmp_path / "episodes", ["train/a.npz"])
    (tmp_path / "episodes" / "source.json").unlink()
    assert_refused(tmp_path, r"source.json is missing.*such as \{\"source\"", FileNotFoundError)


@pytest.mark.parametrize("names, message", [
    ([], r"no episodes \(.npz, .h5, .hdf5\) in the folder .*episodes\."),
    (["a.npz", "b.npz"], "has 2 of the episodes .*at least 3 are needed.*eval.split=train"),
    (["train/a.npz", "b.npz"], "episodes/b.npz lies beside them"),
])
def test_folders_that_cannot_be_split_are_refused(tmp_path, names, message):
    make_folder(tmp_path / "episodes", names)
    assert_refused(tmp_path, message)


def test_an_empty_split_is_refused(tmp_path):
    make_folder(tmp_path / "episodes", ["train/a.npz"])
    (tmp_path / "episodes" / "test").mkdir()
    assert_refused(tmp_path, "no episodes .* in the folder .*episodes/test")


def test_missing_folders_are_named(tmp_path):
    for source_dir, error, message in (("", ValueError, "name their folder with --config"),
                                       (str(tmp_path / "no"), FileNotFoundError, "no folder .*/no"),
                                       (__file__, NotADirectoryError, "no folder .*test_playroom")):
        config = episodes.SourceConfig(name="mine", source_dir=source_dir)
        with pytest.raises(error, match=message):
            playroom.Playroom(config=config, data_dir=tmp_path, file_format="array_record")


def prepare_with(tmp_path, **settings):
    return data.prepare("playroom/64", str(tmp_path / "data"), str(tmp_path / "episodes"),
                        **settings)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_no_more_memory_than_allowed(tmp_path, suffix):
    make_folder(tmp_path / "episodes", [f"train/a{suffix}"])
    with pytest.raises(ValueError, match=f"a{suffix} declares .* at most 20,000 are allowed"):
        prepare_with(tmp_path, max_bytes=20_000)


def test_declared_lengths_are_held_against_the_video_before_reading(tmp_path, monkeypatch):
    make_folder(tmp_path / "episodes", ["train/a.h5"])
    with h5py.File(tmp_path / "episodes" / "train" / "a.h5", "a") as file:
        del file["actions"]
        file.create_dataset("actions", (2 ** 20, 3), np.float32, compression="gzip", chunks=(4, 3))
    monkeypatch.setattr(h5py.Dataset, "__array__", lambda *_, **__: pytest.fail("It is read."))
    assert_refused(tmp_path, r"a.h5 .*as many as the video has frames \(3\); got 1048576")


def bad_files(folder):
    (folder / "empty.npz").write_bytes(b"")
    write(folder / "none.h5", make_episode(num_frames=0))
    write(folder / "short.npz", make_episode() | {"actions": np.zeros((1, 3), np.float32)})
    write(folder / "other.h5", make_episode(action_size=2))
    cut = make_episode()
    write(folder / "cut.npz", cut)
    content = (folder / "cut.npz").read_bytes()
    (folder / "cut.npz").write_bytes(content[:900] + bytes(64) + content[964:])


def test_bad_episodes_are_left_out_on_demand(tmp_path, caplog):
    make_folder(tmp_path / "episodes", ["train/a.npz", "train/b.h5"])
    bad_files(tmp_path / "episodes" / "train")
    with pytest.raises(ValueError, match="empty.npz cannot be read"):
        prepare_with(tmp_path)
    assert not list((tmp_path / "data").rglob("*1.0.0*"))
    builder = prepare_with(tmp_path, skip_bad=True)
    assert [example["id"] for example in builder.as_data_source("train")] == [
        b"train/a.npz", b"train/b.h5"]
    for name in ("cut.npz", "empty.npz", "none.h5", "other.h5", "short.npz"):
        assert re.search(f"Left out: .*{name}", caplog.text)
    assert "Left out of the split 'train': 5 episodes that cannot be read" in caplog.text


def test_a_split_of_bad_episodes_alone(tmp_path):
    make_folder(tmp_path / "episodes", ["train/a.npz", "test/b.npz"])
    (tmp_path / "episodes" / "test" / "b.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="None of the 1 episodes of the split 'test'"):
        prepare_with(tmp_path, skip_bad=True)


def test_what_is_not_read_is_counted_and_said(tmp_path, caplog):
    names = ["a.npz", "b.npz", "c.npz", "more/d.npz", "more/e.h5"]
    make_folder(tmp_path / "episodes", names)
    (tmp_path / "episodes" / "._a.npz").write_bytes(b"of a file system")
    assert prepare(tmp_path).info.splits.total_num_examples == 3
    said, = re.findall(r"Not read in .*", caplog.text)
    assert re.search("3 files of episodes, 1 of them hidden .*, 2 in folders below .*first is "
                     r".*/\._a.npz", said)


def test_external_values_are_not_read(tmp_path):
    make_folder(tmp_path / "episodes", ["train/a.h5"])
    (tmp_path / "secret").write_bytes(bytes(4 * 64 * 64 * 3))
    with h5py.File(tmp_path / "episodes" / "train" / "a.h5", "a") as file:
        del file["video"]
        file.create_dataset("video", shape=(4, 64, 64, 3), dtype=np.uint8,
                            external=[(str(tmp_path / "secret"), 0, 4 * 64 * 64 * 3)])
    assert_refused(tmp_path, "values of video in .*a.h5 lie in other files")
