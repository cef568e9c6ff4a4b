"""Boxes as a user gets them: arrays, pictures, files and videos."""

import numpy as np
import pytest

from parts_jax import models, segment
from parts_jax.api.pretrained_model import PretrainedModel
from parts_jax.data.formats import video_files
from parts_jax.pictures import boxes, colours, grids
from parts_jax.report import sections
from parts_jax.report.clips import Clips
from tests.models import boxes_by_hand
from tests.models.boxes_by_hand import BOXES, K, S

IMAGES = np.random.default_rng(0).integers(0, 100, (2, S, S, 3), np.uint8)


@pytest.fixture(scope="module")
def model():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.FAMILIES, "by_hand", boxes_by_hand)
        yield PretrainedModel(boxes_by_hand.get_config(), {}, 0)


def test_an_image_and_a_batch_have_their_boxes(model):
    one, batch = model.segment(IMAGES[0]), model.segment(IMAGES)
    np.testing.assert_array_equal(one.boxes, BOXES)
    np.testing.assert_array_equal(batch.boxes, np.stack([BOXES] * 2))
    drawn = boxes.over(IMAGES, batch.boxes)
    assert (drawn[0, 0, :4] == colours.palette(K)[1]).all()
    # In the table it is the second column, of tiles that are eight times as large.
    tile = batch.table()[16:16 + 8 * S:8, 2 + 8 * S + 2:2 + 8 * S + 2 + 8 * S:8]
    np.testing.assert_array_equal(tile, drawn[0])


def test_files_have_them_in_pixels_of_the_frame(model, tmp_path):
    """Of the square in the middle of a wide frame of 16x40 pixels."""
    model.segment(IMAGES).save(tmp_path / "masks.npz", size=(16, 40))
    with np.load(tmp_path / "masks.npz") as saved:
        assert saved["boxes"].shape == (2, K, 5)
        np.testing.assert_allclose(saved["boxes"][1, 2], [8, 20, 16, 28, 0.8], rtol=1e-6)


def test_the_report_shows_them(model, monkeypatch):
    clips = Clips(IMAGES[:, None], None, None, np.arange(2))
    sheets = []
    monkeypatch.setattr(sections, "_row", lambda *args: sheets.append(args[2]) or "")
    sections.clip_section(model.segment(IMAGES[:, None]), clips, [0])
    assert list(sheets[0]) == ["frame", "boxes", "masks", "reconstruction"]
    np.testing.assert_array_equal(sheets[1]["boxes"][0], boxes.over(IMAGES[1], BOXES))


def test_the_commands_videos_show_them(model, tmp_path, monkeypatch):
    """Of a still clip of 16x16 pixels: the overlay has the boxes' lines, --out a tile of them."""
    frames = np.repeat(np.repeat(IMAGES[:1], 2, 1), 2, 2)
    (tmp_path / "clip.gif").write_bytes(grids.animation(np.concatenate([frames, frames // 2])))
    monkeypatch.setattr("parts_jax.api.segmenting.load", lambda flags: model)
    out, over = tmp_path / "out.gif", tmp_path / "over.gif"
    segment.main(["--workdir=any", str(tmp_path / "clip.gif"), f"--out={out}",
                  f"--overlay={over}", "--tile=8"])
    first = next(iter(video_files.iter_frames(over)))
    line = colours.palette(K)[2].astype(int)
    assert np.abs(first[8, 8:16].astype(int) - line).max() < 12  # a gif has 256 colours
    assert np.abs(first[4, 12].astype(int) - line).max() > 12
    tiles = next(iter(video_files.iter_frames(out)))
    assert tiles.shape[1] == 2 + 4 * (S + 2)  # frame, boxes, masks, reconstruction
