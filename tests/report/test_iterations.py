"""The filmstrip of iterations in the report: what stands in which tile."""

import base64
import io
import re
import types

import numpy as np
import pytest
from PIL import Image

from parts_jax.models.contract import View
from parts_jax.pictures import colours
from parts_jax.report import sections
from parts_jax.report.clips import Clips

B, T, N, K, S = 2, 3, 2, 3, 8


def made_up(num_frames: int, size: int = S) -> tuple[types.SimpleNamespace, Clips]:
    """What a model of N iterations found in noise, and the noise."""
    rng = np.random.default_rng(0)
    at = (B, num_frames)
    masks = rng.random((*at, N + 1, K, size, size))
    view = View(rng.random((*at, N + 1, size, size, 3)), masks / masks.sum(3, keepdims=True))
    return types.SimpleNamespace(iterations=view), Clips(
        rng.integers(0, 256, (*at, size, size, 3), np.uint8),
        rng.integers(0, 3, (*at, size, size), np.uint8), None, np.array([4, 7]))


def sheet(text: str, name: str) -> np.ndarray:
    """The tiles of a sheet, [frames, columns, S, S, 3]."""
    data = re.search(f'id="sheet-{name}" src="data:image/png;base64,(.*?)"', text)[1]
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    return image.reshape(len(image) // S, S, -1, S, 3).swapaxes(1, 2)


@pytest.mark.parametrize("num_frames, shown", [(1, [0]), (T, [0, 2])])
def test_a_strip_has_the_frame_each_picture_and_below_truth_and_masks(num_frames, shown):
    seen, clips = made_up(num_frames)
    text, data = sections.iteration_section(seen, clips, shown)
    labels = re.findall(
        'data-sheet="iteration-1" data-column="([0-9]+)" .*?aria-label="(.*?)"', text)
    assert labels == [(str(i), label) for i, label in enumerate([
        "frame", "first guess", "iteration 1", "iteration 2",
        "truth", "masks, first guess", "masks, iteration 1", "masks, iteration 2"])]
    tiles = sheet(text, "iteration-1")
    view = seen.iterations
    for row, t in enumerate(shown):
        expected = [clips.video[1, t], *colours.to_uint8(view.recon[1, t]),
                    colours.colour_segmentation(clips.segmentation[1, t]),
                    *colours.colour_masks(view.masks[1, t])]
        np.testing.assert_array_equal(tiles[row], expected)
    assert text.count("--tiles:4") == B and len(data["captions"]) == len(shown)
    title = "Image" if num_frames == 1 else "Clip"
    assert re.findall("<h3>(.*?)</h3>", text) == [f"{title} 4", f"{title} 7"]
    assert ("<button" in text, "<input" in text) == (num_frames > 1, num_frames > 1)


def test_without_truth_its_place_stays_empty():
    seen, clips = made_up(1)
    text, _ = sections.iteration_section(
        seen, Clips(clips.video, None, None, clips.index), [0])
    assert "truth" not in text
    cells = re.findall("<figure>|<span></span>", text)[:2 * (N + 2)]
    assert cells.index("<span></span>") == N + 2 and cells.count("<span></span>") == 1


def test_as_many_are_shown_as_fit(monkeypatch):
    seen, clips = made_up(1)
    monkeypatch.setattr(sections, "ITERATION_BYTES", 10)
    text, _ = sections.iteration_section(seen, clips, [0])
    assert re.findall("<h3>(.*?)</h3>", text) == ["Image 4"]
