"""`bouncing_balls`: files as of R-NEM, time first, read back in white and in colour."""

import h5py
import numpy as np
import pytest

from parts_jax import data
from parts_jax.data.formats import frames
from parts_jax.data.sets import bouncing_balls

NUM_FRAMES = 5
SIZES = {"training": 70, "validation": 2, "test": 3}  # more than are read at once
PALETTE = {tuple(colour) for colour in bouncing_balls.PALETTE.tolist()}


def make_groups(num_clips, num_balls, seed):
    """Discs that move, as ids [T, N, 64, 64, 1]."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(8, 56, (num_clips, num_balls, 2))
    step = rng.uniform(-2, 2, (num_clips, num_balls, 2))
    rows, columns = np.mgrid[:64, :64]
    groups = np.zeros((NUM_FRAMES, num_clips, 64, 64, 1), np.uint8)
    for t, clip, ball in np.ndindex(NUM_FRAMES, num_clips, num_balls):
        y, x = start[clip, ball] + t * step[clip, ball]
        groups[t, clip, (rows - y) ** 2 + (columns - x) ** 2 < 36, 0] = ball + 1
    return groups


def write(folder, name="balls4mass64.h5", num_balls=4, dtypes=(bool, np.uint8), sizes=SIZES):
    """Writes a file in the layout of R-NEM; returns the ids of its groups."""
    folder.mkdir(exist_ok=True)
    written = {}
    with h5py.File(folder / name, "w") as file:
        for seed, (group, count) in enumerate(sizes.items()):
            written[group] = make_groups(count, num_balls, seed)
            options = {"compression": "gzip", "chunks": True}
            file.create_dataset(f"{group}/features", data=(written[group] > 0).astype(dtypes[0]),
                                **options)
            file.create_dataset(f"{group}/groups", data=written[group].astype(dtypes[1]), **options)
            file[group]["positions"] = np.zeros((NUM_FRAMES, count, num_balls, 2))
    return written


def prepare(tmp_path, name="bouncing_balls/balls4"):
    return data.prepare(name, str(tmp_path / "data"), str(tmp_path / "balls"))


def assert_refused(tmp_path, message, error=ValueError):
    with pytest.raises(error, match=message):
        prepare(tmp_path)
    assert not list((tmp_path / "data").rglob("*1.0.0*")), "something half-written was left"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("balls")
    four = write(root / "balls")
    eight = write(root / "balls", "balls678mass64.h5", 8,
                  sizes={"training": 2, "validation": 2, "test": 6})
    return root, four, eight


def test_white_balls_come_back_exactly(files):
    root, four, _ = files
    builder = prepare(root)
    for split, group in (("train", "training"), ("validation", "validation"), ("test", "test")):
        source = builder.as_data_source(split=split)
        assert len(source) == SIZES[group]
        for clip, example in enumerate(source):
            ids = four[group][:, clip, ..., 0]
            np.testing.assert_array_equal(frames.decode(example["segmentation"]), ids)
            np.testing.assert_array_equal(frames.decode(example["video"]),
                                          np.repeat(255 * (ids[..., None] > 0), 3, -1))
            assert example["id"] == f"{split}-{clip:05d}".encode()


def colours_of(example):
    """The colour of each id of an example, which must be one."""
    video, ids = frames.decode(example["video"]), frames.decode(example["segmentation"])
    assert not video[ids == 0].any()
    colours = {}
    for i in np.unique(ids[ids > 0]):
        found = np.unique(video[ids == i], axis=0)
        assert len(found) == 1
        colours[int(i)] = tuple(found[0].tolist())
    return colours


@pytest.mark.parametrize("name, num_colours, most", [("balls4_colour", 4, 1),
                                                     ("balls678_colour", 8, 1),
                                                     ("balls678_colour_4", 4, 2)])
def test_colours_stay_with_their_balls_and_are_shared_evenly(files, name, num_colours, most):
    root = files[0]
    builder = prepare(root, f"bouncing_balls/{name}")
    drawn = [colours_of(example) for example in builder.as_data_source(split="test")]
    drawn += [colours_of(example) for example in builder.as_data_source(split="validation")]
    for colours in drawn:
        used = list(colours.values())
        assert set(used) <= set(map(tuple, bouncing_balls.PALETTE[:num_colours].tolist()))
        assert max(used.count(colour) for colour in used) <= most
    assert len({str(colours) for colours in drawn}) > 1, "all clips have the same order of colours"


def test_colours_are_drawn_again_the_same(files, tmp_path):
    root = files[0]
    first = prepare(root, "bouncing_balls/balls4_colour")
    second = data.prepare("bouncing_balls/balls4_colour", str(tmp_path), str(root / "balls"))
    for one, two in zip(first.as_data_source(split="train"), second.as_data_source(split="train"),
                        strict=True):
        assert list(one["video"]) == list(two["video"])


def test_the_palette_has_eight_colours_apart_from_black():
    assert len(PALETTE) == 8 and (0, 0, 0) not in PALETTE


@pytest.mark.parametrize("dtypes", [(np.float32, np.float32), (np.uint8, np.int64)])
def test_other_number_types_are_read_alike(tmp_path, dtypes):
    written = write(tmp_path / "balls", dtypes=dtypes,
                    sizes={"training": 2, "validation": 1, "test": 1})
    example = prepare(tmp_path).as_data_source(split="train")[1]
    ids = written["training"][:, 1, ..., 0]
    np.testing.assert_array_equal(frames.decode(example["segmentation"]), ids)
    np.testing.assert_array_equal(frames.decode(example["video"])[..., 0] == 255, ids > 0)


def test_a_missing_file_is_named(tmp_path):
    (tmp_path / "balls").mkdir()
    assert_refused(tmp_path, "no file .*balls/balls4mass64.h5.*must hold balls4mass64.h5",
                   FileNotFoundError)


@pytest.mark.parametrize("kept", [0, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, kept):
    write(tmp_path / "balls", sizes={"training": 1, "validation": 1, "test": 1})
    path = tmp_path / "balls" / "balls4mass64.h5"
    content = path.read_bytes()
    path.write_bytes(content[:int(kept * len(content))])
    assert_refused(tmp_path, "balls4mass64.h5 cannot be read: it is truncated, damaged")


def test_damaged_clips_are_refused(tmp_path):
    write(tmp_path / "balls", sizes={"training": 1, "validation": 1, "test": 1})
    path = tmp_path / "balls" / "balls4mass64.h5"
    with h5py.File(path) as file:
        start = file["training/features"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[start:start + 8] = bytes(8)
    path.write_bytes(content)
    assert_refused(tmp_path, "balls4mass64.h5 cannot be read: it is truncated, damaged")


@pytest.mark.parametrize("name, value, message", [
    ("training/groups", None, "balls4mass64.h5 has no dataset training/groups"),
    ("test/features", None, "balls4mass64.h5 has no dataset test/features"),
    ("training/groups", np.zeros((5, 2, 64, 64, 1)), r"training/groups of .* got \[5, 2, 64, 64"),
    ("training/features", np.zeros((5, 1, 64, 64)), r"training/features of .* got \[5, 1, 64, 64"),
    ("training/features", np.full((5, 1, 64, 64, 1), 2), "features of .* must lie between 0 and 1"),
    ("training/features", np.full((5, 1, 64, 64, 1), np.nan), "must lie .*got nan to nan"),
    ("training/groups", np.full((5, 1, 64, 64, 1), 0.5), "must be whole numbers; got 0.5"),
    ("training/groups", np.full((5, 1, 64, 64, 1), 256), "has ids from 256 to 256"),
])
def test_wrong_datasets_are_refused(tmp_path, name, value, message):
    write(tmp_path / "balls", sizes={"training": 1, "validation": 1, "test": 1})
    with h5py.File(tmp_path / "balls" / "balls4mass64.h5", "a") as file:
        del file[name]
        if value is not None:
            file[name] = value
    assert_refused(tmp_path, message)


def test_shipped_variants():
    configs = {config.name: (config.file, config.num_colours)
               for config in bouncing_balls.BouncingBalls.BUILDER_CONFIGS}
    assert configs == {"balls4": ("balls4mass64.h5", 0), "balls678": ("balls678mass64.h5", 0),
                       "balls4_colour": ("balls4mass64.h5", 4),
                       "balls678_colour": ("balls678mass64.h5", 8),
                       "balls678_colour_4": ("balls678mass64.h5", 4)}


def test_bad_clips_are_left_out_on_demand(tmp_path, caplog):
    write(tmp_path / "balls", dtypes=(np.float32, np.float32),
          sizes={"training": 3, "validation": 1, "test": 1})
    with h5py.File(tmp_path / "balls" / "balls4mass64.h5", "a") as file:
        file["training/features"][2, 1, 5, 5] = np.nan
        file["training/groups"][0, 2, 5, 5] = np.inf
    assert_refused(tmp_path, "features of .*balls4mass64.h5, training 1 must lie.*skip_bad=True")
    source = data.prepare("bouncing_balls/balls4", str(tmp_path / "data"), str(tmp_path / "balls"),
                          skip_bad=True).as_data_source("train")
    assert [example["id"] for example in source] == [b"train-00000"]
    assert "groups of" in caplog.text and "training 2 must be whole" in caplog.text
    assert "Left out of the split 'train': 2 clips that cannot be read" in caplog.text


def test_no_more_memory_than_allowed(tmp_path):
    write(tmp_path / "balls", sizes={"training": 1, "validation": 1, "test": 1})
    with pytest.raises(ValueError, match="balls4mass64.h5 declares 40,960 bytes"):
        data.prepare("bouncing_balls/balls4", str(tmp_path / "data"), str(tmp_path / "balls"),
                     max_bytes=30_000)
    with h5py.File(tmp_path / "balls" / "balls4mass64.h5", "a") as file:
        for name in ("features", "groups"):
            del file[f"test/{name}"]
            file.create_dataset(f"test/{name}", shape=(10 ** 9, 10, 64, 64, 1), dtype=np.uint8,
                                chunks=(1, 1, 64, 64, 1))
    with pytest.raises(ValueError, match="balls4mass64.h5 declares 81,920,000,000,000 bytes"):
        prepare(tmp_path)
