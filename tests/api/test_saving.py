"""Masks as files: what stands in them, whole or not at all, and never over something else."""

import io
import json

import numpy as np
import pycocotools.coco
import pytest
from PIL import Image

from parts_jax.api import places, saving
from parts_jax.api.results import Segmentation
from parts_jax.equations.notation import Gaussian
from parts_jax.pictures import colours, overlay

T, K, S, D = 3, 4, 8, 5
SIZE = (12, 20)


def result_of(num_slots: int = K, batch: tuple[int, ...] = ()) -> Segmentation:
    random = np.random.default_rng(0)
    masks = random.dirichlet(np.ones(num_slots) / 4, (*batch, T, S, S)).astype(np.float32)
    masks = np.moveaxis(masks, -1, -3)
    posterior = Gaussian(*random.normal(size=(2, *batch, T, num_slots, D)).astype(np.float32))
    empty = np.zeros((*batch, T, S, S, 3), np.uint8)
    return Segmentation(empty, masks, masks.argmax(-3), empty, None, posterior, {}, (),
                        np.zeros((*batch, 0)), num_frames=T)


def counts_of(text: str) -> list[int]:
    """Lengths of runs of 0 and 1 in turn, from COCO's text: groups of 5 bits from the lowest on,
    bit 6 if more follow, sign in bit 5 of the last; from the fourth on less the one but last."""
    counts, at = [], 0
    while at < len(text):
        value, group, more = 0, 0, True
        while more:
            code = ord(text[at]) - 48
            value |= (code & 31) << 5 * group
            more, at, group = bool(code & 32), at + 1, group + 1
            if not more and code & 16:
                value -= 1 << 5 * group
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


def mask_of(segmentation: dict) -> np.ndarray:
    """[H, W]; runs go down the columns."""
    counts, (height, width) = counts_of(segmentation["counts"]), segmentation["size"]
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(width, height).T


def test_a_folder_holds_pngs_npz_and_coco_of_the_videos_own_size(tmp_path):
    result = result_of()
    result.save(tmp_path / "masks", size=SIZE)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "00000.png", "00001.png", "00002.png", "masks", "masks.json", "masks.npz"]
    place = places.find(*SIZE, "center")
    placed = np.stack([places.back(masks, place) for masks in result.masks])
    with np.load(tmp_path / "masks" / "masks.npz") as kept:
        assert kept["masks"].dtype == np.float16
        np.testing.assert_allclose(kept["masks"], placed, atol=1e-3)
        np.testing.assert_array_equal(kept["slots"], result.posterior.mean)
        np.testing.assert_array_equal(kept["posterior_log_std"], result.posterior.log_std)
        assert kept["frames"].tolist() == [0, 1, 2]
        assert kept["size"].tolist() == [12, 20] and kept["place"].tolist() == [0, 4, 12, 12]
    coco = json.loads((tmp_path / "masks" / "masks.json").read_text())
    for t in range(T):
        with Image.open(tmp_path / "masks" / f"{t:05d}.png") as picture:
            ids = np.asarray(picture)
            shown = np.asarray(picture.convert("RGB"))
            assert picture.mode == "P"
        assert (ids[:, :4] == 255).all() and (ids[:, 16:] == 255).all()
        np.testing.assert_array_equal(ids[:, 4:16], placed[t].argmax(0)[:, 4:16])
        np.testing.assert_array_equal(shown[:, 4:16], colours.palette(K)[ids[:, 4:16]])
        found = {a["slot"]: mask_of(a["segmentation"]) for a in coco["annotations"]
                 if a["image_id"] == t}
        assert found.keys() == set(np.unique(ids[:, 4:16]).tolist())
        for slot, mask in found.items():
            np.testing.assert_array_equal(mask, ids == slot)


def test_the_json_is_read_by_coco_itself(tmp_path, capsys):
    result_of().save(tmp_path / "masks.json", size=SIZE, crop="none")
    coco = pycocotools.coco.COCO(str(tmp_path / "masks.json"))
    assert sorted(coco.imgs) == [0, 1, 2] and coco.loadCats(1)[0]["name"] == "slot"
    for annotation in coco.loadAnns(coco.getAnnIds()):
        mask = coco.annToMask(annotation)
        np.testing.assert_array_equal(mask, mask_of(annotation["segmentation"]))
        left, top, width, height = map(int, annotation["bbox"])
        assert mask[top:top + height, left:left + width].sum() == annotation["area"] == mask.sum()


@pytest.mark.parametrize("column, counts", [
    ([0, 0, 1, 1, 1, 0, 1], [2, 3, 1, 1]), ([1, 1, 1, 1, 1, 1, 0], [0, 6, 1])])
def test_runs_are_those_of_cocos_documentation(tmp_path, column, counts):
    column = np.array(column, np.float32)[:, None]
    masks = np.stack([1 - column, column])
    frame = saving.Frame(0, places.find(7, 1, "none"), masks, None, None, True)
    with saving.open_writer(tmp_path / "masks.json", 2) as append:
        append(frame)
    annotation = json.loads((tmp_path / "masks.json").read_text())["annotations"][1]
    assert counts_of(annotation["segmentation"]["counts"]) == counts


def test_masks_as_they_are_stay_exact_and_one_of_a_batch_is_named(tmp_path):
    result = result_of(batch=(2,))
    result.save(tmp_path / "one.npz", clip=1)
    with np.load(tmp_path / "one.npz") as kept:
        np.testing.assert_array_equal(kept["masks"], result.masks[1])
    for clip in (None, 2, -1):
        with pytest.raises(ValueError, match="of a batch of 2 it must be a whole number"):
            result.save(tmp_path / "other.npz", clip=clip)
    with pytest.raises(ValueError, match="clip is 1, but this result is of one clip"):
        result_of().save(tmp_path / "other.npz", clip=1)
    with pytest.raises(ValueError, match="must be height and width"):
        result_of().save(tmp_path / "other.npz", size=(0, 3))
    assert [path.name for path in tmp_path.iterdir()] == ["one.npz"]


def test_more_slots_than_colours_are_refused_as_pngs_and_kept_in_other_files(tmp_path):
    result = result_of(num_slots=300)
    with pytest.raises(ValueError, match="at most 255 slots apart; got 300"):
        result.save(tmp_path / "masks")
    assert not list(tmp_path.iterdir())
    result.save(tmp_path / "masks.json")
    slots = {a["slot"] for a in json.loads((tmp_path / "masks.json").read_text())["annotations"]}
    assert slots == set(np.unique(result.masks.argmax(-3)).tolist()) and max(slots) > 255


@pytest.mark.parametrize("name, message", [
    ("full", "full is not empty"), ("file", "but .*file is a file"), ("a.png", "or as .npz or"),
    ("folder.npz", "is a folder")])
def test_nothing_is_saved_over_something_else(tmp_path, name, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "00000.png").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.npz").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=message):
        result_of().save(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["masks", "masks.npz", "masks.json"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_breaks_off_leaves_nothing(tmp_path, name, error):
    with pytest.raises(error), saving.open_writer(tmp_path / name, K) as append:
        append(saving.frame_of(result_of(), 0, 0, places.find(*SIZE, "pad")))
        raise error
    assert not list(tmp_path.iterdir())


def test_frames_without_slots_are_not_mixed_with_others(tmp_path):
    frames = [saving.frame_of(result_of(), t, t, places.find(S, S, "none")) for t in range(T)]
    bare = [frame._replace(slots=None, log_std=None) for frame in frames]
    with pytest.raises(ValueError, match="of 3 frames 2 have slots, 2 log_std"), \
            saving.open_writer(tmp_path / "mixed.npz", K) as append:
        for frame in (bare[0], *frames[1:]):
            append(frame)
    with saving.open_writer(tmp_path / "bare.npz", K) as append:
        for frame in bare:
            append(frame)
    assert [path.name for path in tmp_path.iterdir()] == ["bare.npz"]
    with np.load(tmp_path / "bare.npz") as kept:
        assert "slots" not in kept and len(kept["masks"]) == T


def test_an_overlay_colours_what_is_a_slots_and_leaves_the_rest():
    frame = np.full((1, 2, 3), 100, np.uint8)
    shown = overlay.overlay(frame, np.array([[1, 255]], np.uint8), 2)
    expected = (100 + colours.palette(2)[1].astype(float)) / 2
    assert np.abs(shown[0, 0] - expected).max() <= 1 and shown[0, 1].tolist() == [100] * 3
    encoded = overlay.encode_palette_png(np.array([[1, 255]], np.uint8), 2)
    with Image.open(io.BytesIO(encoded)) as picture:
        assert np.asarray(picture).tolist() == [[1, 255]]
