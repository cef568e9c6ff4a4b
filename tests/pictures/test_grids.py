"""Pictures have the pixels they should have, in the places where they should be."""

import io

import numpy as np
import pytest
from PIL import Image

from parts_jax.pictures import colours, grids

N, T, K, H, W = 2, 3, 4, 16, 20


@pytest.fixture
def pictures() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    masks = rng.random((N, T, K, H, W)).astype(np.float32)
    return dict(
        video=rng.integers(0, 256, (N, T, H, W, 3), np.uint8),
        segmentation=rng.integers(0, 3, (N, T, H, W), np.uint8),
        masks=masks / masks.sum(axis=2, keepdims=True),
        recon=rng.random((N, T, H, W, 3)).astype(np.float32),
        slots=rng.random((N, T, K, H, W, 3)).astype(np.float32),
    )


def test_roll_outs_stand_over_time_under_the_true_frames(pictures):
    """The first frame was seen; then two were predicted. Three rows a clip, tiles of 2H x 2W."""
    video, recon, masks = pictures["video"], pictures["recon"][:, 1:], pictures["masks"][:, 1:]
    grid = grids.rollout_grid(video, recon, masks)
    assert grid.shape == (16 + N * 3 * (2 * H + 2), 2 + T * (2 * W + 2), 3)

    def tile(row, column):
        top, left = 16 + row * (2 * H + 2), 2 + column * (2 * W + 2)
        return grid[top:top + 2 * H:2, left:left + 2 * W:2]

    for n in range(N):
        for t in range(T):
            np.testing.assert_array_equal(tile(3 * n, t), video[n, t])
        assert (tile(3 * n + 1, 0) == 255).all() and (tile(3 * n + 2, 0) == 255).all()
        for h in range(T - 1):
            np.testing.assert_array_equal(tile(3 * n + 1, h + 1), colours.to_uint8(recon[n, h]))
            np.testing.assert_array_equal(
                tile(3 * n + 2, h + 1), colours.colour_masks(masks[n, h]))


def test_rivals_of_a_roll_out_stand_under_its_masks(pictures):
    video, recon, masks = pictures["video"], pictures["recon"][:, 1:], pictures["masks"][:, 1:]
    plain = grids.rollout_grid(video, recon, masks, scale=1)
    grid = grids.rollout_grid(
        video, recon, masks, scale=1, rivals={"none": 1 - recon, "the truth": video[:, 1:]})
    rows, few = (made[16:].reshape(N, -1, H + 2, made.shape[1], 3) for made in (grid, plain))
    assert rows.shape[1] == 5
    np.testing.assert_array_equal(rows[:, :3], few)
    np.testing.assert_array_equal(rows[:, 4, :, 2 + W + 2:], rows[:, 0, :, 2 + W + 2:])
    np.testing.assert_array_equal(
        rows[1, 3, :H, 2 + W + 2:2 + W + 2 + W], colours.to_uint8(1 - recon[1, 0]))


@pytest.mark.parametrize("with_truth", [True, False])
def test_iterations_are_a_filmstrip(pictures, with_truth):
    """T iterations of an image: its frame and pictures, below them the truth and masks."""
    video, recon, masks = pictures["video"][:, 0], pictures["recon"], pictures["masks"]
    truth = pictures["segmentation"][:, 0]
    strip = grids.filmstrip(video, recon, masks, truth if with_truth else None, scale=2)
    assert strip.shape == (16 + N * 2 * (2 * H + 2), 2 + (T + 1) * (2 * W + 2), 3)

    def tile(row, column):
        top, left = 16 + row * (2 * H + 2), 2 + column * (2 * W + 2)
        return strip[top:top + 2 * H:2, left:left + 2 * W:2]

    for n in range(N):
        np.testing.assert_array_equal(tile(2 * n, 0), video[n])
        np.testing.assert_array_equal(
            tile(2 * n + 1, 0), colours.colour_segmentation(truth)[n] if with_truth else 255)
        for i in range(T):
            np.testing.assert_array_equal(tile(2 * n, i + 1), colours.to_uint8(recon[n, i]))
            np.testing.assert_array_equal(
                tile(2 * n + 1, i + 1), colours.colour_masks(masks[n, i]))
    for wrong in (dict(recon=recon[:1]), dict(masks=masks[:, 1:]), dict(video=video[:, 1:]),
                  dict(segmentation=truth[:, 1:])):
        with pytest.raises(ValueError, match="has the shape .* where .* goes with the video's"):
            grids.filmstrip(**dict(video=video, recon=recon, masks=masks) | wrong)


def test_roll_outs_are_animated_side_by_side(pictures):
    video, recon, masks = pictures["video"], pictures["recon"][:, 1:], pictures["masks"][:, 1:]
    clips = grids.rollout_clips(video, recon, masks, scale=1)
    assert clips.shape == (T, 16 + N * (H + 2), 2 + 3 * (W + 2), 3)
    left = [2 + column * (W + 2) for column in range(3)]
    for t in range(T):
        rows = clips[t, 16 + H + 2:16 + H + 2 + H]  # of the second clip
        np.testing.assert_array_equal(rows[:, left[0]:left[0] + W], video[1, t])
        shown = [colours.to_uint8(recon[1, t - 1]), colours.colour_masks(masks[1, t - 1])] \
            if t else [np.full((H, W, 3), 255, np.uint8)] * 2
        for at, picture in zip(left[1:], shown, strict=True):
            np.testing.assert_array_equal(rows[:, at:at + W], picture)


def test_grid_has_every_tile_in_its_place(pictures):
    scale, margin, head = 3, 2, 14
    grid = grids.picture_grid(**pictures, frames=(0, -1), scale=scale)
    rows, columns = N * 2, 4 + K
    assert grid.dtype == np.uint8
    assert grid.shape == (head + margin + rows * (H * scale + margin),
                          margin + columns * (W * scale + margin), 3)

    def tile(row, column):
        top = head + margin + row * (H * scale + margin)
        left = margin + column * (W * scale + margin)
        return grid[top : top + H * scale : scale, left : left + W * scale : scale]

    at = (1, -1)  # row 3: the second clip's last frame
    np.testing.assert_array_equal(tile(3, 0), pictures["video"][at])
    truth = colours.colour_segmentation(pictures["segmentation"])[at]
    np.testing.assert_array_equal(tile(3, 1), truth)
    np.testing.assert_array_equal(tile(3, 2), colours.colour_masks(pictures["masks"])[at])
    np.testing.assert_array_equal(tile(3, 3), colours.to_uint8(pictures["recon"])[at])
    slots = colours.masked_slots(pictures["slots"], pictures["masks"])[at]
    for k in range(K):
        np.testing.assert_array_equal(tile(3, 4 + k), slots[k])
    assert (grid[:head] < 128).any()  # titles are written
    assert (grid[head : head + margin] == 255).all() and (grid[:, :margin] == 255).all()


def test_grid_without_truth_and_with_wrong_shapes(pictures):
    whole = grids.picture_grid(**pictures)
    without = grids.picture_grid(**(pictures | {"segmentation": None}))
    assert whole.shape[1] - without.shape[1] == 2 * W + 2
    with pytest.raises(ValueError, match="recon has the shape"):
        grids.picture_grid(**(pictures | {"recon": pictures["recon"][:1]}))
    with pytest.raises(ValueError, match="scale is 0"):
        grids.picture_grid(**pictures, scale=0)


def test_assigned_pixels_stand_before_the_masks(pictures):
    ids = np.random.default_rng(1).integers(0, K, (N, T, H, W), np.uint8)
    whole, more = grids.picture_grid(**pictures), grids.picture_grid(**pictures, assigned=ids)
    width = 2 * W + 2
    np.testing.assert_array_equal(more[16:, :2 + 2 * width], whole[16:, :2 + 2 * width])
    np.testing.assert_array_equal(more[16:, 2 + 3 * width:], whole[16:, 2 + 2 * width:])
    tile = more[16:16 + 2 * H:2, 2 + 2 * width:2 + 2 * width + 2 * W:2]
    np.testing.assert_array_equal(tile, colours.palette(K)[ids[0, -1]])
    with pytest.raises(ValueError, match="assigned has the shape"):
        grids.picture_grid(**pictures, assigned=ids[:, :1])


def test_side_by_side_is_the_grid_of_every_frame(pictures):
    video = grids.side_by_side(**pictures)
    assert video.shape[0] == T
    grid = grids.picture_grid(**pictures, frames=(1,))
    np.testing.assert_array_equal(video[1], grid)


def test_png_comes_back_as_it_was(tmp_path, pictures):
    path = tmp_path / "new" / "x.png"
    grids.save_png(str(path), pictures["video"][0, 0])
    np.testing.assert_array_equal(np.asarray(Image.open(path)), pictures["video"][0, 0])


def test_animation_plays_every_frame():
    frames = np.zeros((4, 6, 5, 3), np.uint8)
    for t in range(4):
        frames[t, t] = (255, 0, 0)
    gif = Image.open(io.BytesIO(grids.animation(frames, frames_per_second=5, scale=2)))
    assert (gif.n_frames, gif.size, gif.info["duration"], gif.info["loop"]) == (4, (10, 12), 200, 0)
    for t in range(4):
        gif.seek(t)
        shown = np.asarray(gif.convert("RGB"))[::2, ::2]
        np.testing.assert_array_equal(shown, frames[t])
