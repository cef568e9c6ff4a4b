"""Windows, resizing, flips and pooling against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parts_jax.data import preprocess
from parts_jax.data.formats import frames


def make_clip(num_frames=6, height=8, width=8, seed=0):
    rng = np.random.default_rng(seed)
    return {"video": rng.integers(0, 256, (num_frames, height, width, 3), np.uint8),
            "segmentation": rng.integers(0, 4, (num_frames, height, width), np.uint8)}


def test_a_window_takes_every_stride_th_frame_of_arrays_and_of_encoded_frames():
    clip = make_clip(num_frames=9)
    encoded = {key: frames.encode(value) for key, value in clip.items()}
    for example in (clip, encoded):
        window = preprocess.read_window(example, start=2, num_frames=3, stride=2)
        assert set(window) == {"video", "segmentation"}
        for key in window:
            np.testing.assert_array_equal(window[key], clip[key][[2, 4, 6]])


def test_a_window_decodes_only_its_frames():
    encoded = {"video": frames.encode(make_clip()["video"])}
    encoded["video"][0] = b"not a picture"
    assert preprocess.read_window(encoded, 1, 5, 1)["video"].shape == (5, 8, 8, 3)


def test_actions_go_with_their_frames():
    clip = {**make_clip(), "actions": np.arange(12, dtype=np.float32).reshape(6, 2)}
    window = preprocess.read_window(clip, 3, 2, 1)
    np.testing.assert_array_equal(window["actions"], [[6, 7], [8, 9]])


def test_cues_go_with_their_frames_and_stay_as_they_are():
    flow = np.random.default_rng(1).normal(size=(6, 8, 8, 2)).astype(np.float32)
    clip = {**make_clip(), "flow": flow, "boxes": np.arange(24).reshape(6, 1, 4), "id": b"a"}
    shapes = preprocess.cue_shapes(clip, ("flow", "boxes"))
    assert shapes == {"flow": (8, 8, 2), "boxes": (1, 4)}
    window = preprocess.read_window(clip, 1, 3, 2, shapes)
    assert set(window) == {"video", "segmentation", "flow", "boxes"}
    for one in (window, preprocess.resize(window, 4), preprocess.flip_left_right(window)):
        assert one["flow"].dtype == np.float32 and one["boxes"].dtype == clip["boxes"].dtype
        np.testing.assert_array_equal(one["flow"], flow[[1, 3, 5]])
        np.testing.assert_array_equal(one["boxes"], clip["boxes"][[1, 3, 5]])
    assert set(preprocess.read_window(clip, 0, 6, 1)) == {"video", "segmentation"}


@pytest.mark.parametrize("name", ["depth", "texts", "events", "number", "id", "video",
                                  "segmentation", "actions", "index"])
def test_what_is_no_cue_is_answered_with_the_cues(name):
    clip = {**make_clip(), "flow": np.zeros((6, 2)), "boxes": np.zeros((6, 1, 4)), "id": b"a",
            "actions": np.zeros((6, 2), np.float32), "texts": np.array([b"red"] * 6),
            "events": np.zeros((5, 3)), "number": np.float32(6), "index": np.zeros(6)}
    message = f"The cue '{name}' is asked for, but the data have boxes, flow. A cue is an array of"
    with pytest.raises(ValueError, match=message):
        preprocess.cue_shapes(clip, ("flow", name))
    with pytest.raises(ValueError, match=message):
        preprocess.read_window(clip, 0, 2, 1, {name: (2,)})


def test_cues_of_other_shapes_than_the_first_are_refused():
    clip = {**make_clip(), "boxes": np.zeros((6, 3, 4))}
    with pytest.raises(ValueError, match=r"The cue 'boxes' must have the same shape in all clips, "
                                         r".* got \[2, 4\] a frame .* and \[3, 4\] in another"):
        preprocess.read_window(clip, 0, 2, 1, {"boxes": (2, 4)})


@pytest.mark.parametrize("change, message", [
    ({"video": np.zeros((6, 8, 8, 3), np.float32)}, r"must be uint8 .*got float32 \[6, 8, 8, 3\]"),
    ({"video": np.zeros((6, 8, 8), np.uint8)}, r"must be uint8 .*got uint8 \[6, 8, 8\]"),
    ({"video": np.zeros((6, 3, 8, 8), np.uint8)}, r"got uint8 \[6, 3, 8, 8\]"),
    ({"segmentation": np.zeros((6, 8, 9), np.uint8)}, r"as large as its video \[6, 8, 8\]"),
    ({"segmentation": np.zeros((6, 8, 8), np.int64)}, r"got int64 \[6, 8, 8\]"),
    ({"actions": np.zeros((6, 2), np.float64)}, r"Actions must be float32 .*got float64"),
    ({"actions": np.zeros((5, 2), np.float32)}, r"as many as the video has frames \(6\)"),
])
def test_wrong_arrays_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        preprocess.read_window({**make_clip(), **change}, 0, 6, 1)


def test_a_window_past_the_end_is_refused():
    with pytest.raises(ValueError, match="6 frames is too short for 3 frames with stride 2 from "
                                         "frame 2: it takes 7"):
        preprocess.read_window(make_clip(), 2, 3, 2)


def test_shrinking_averages_colours_and_keeps_the_majority_of_ids():
    clip = make_clip()
    small = preprocess.resize(clip, 4)
    assert small["video"].dtype == small["segmentation"].dtype == np.uint8
    for t in range(6):
        for row in range(4):
            for column in range(4):
                block = (t, slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2))
                np.testing.assert_allclose(small["video"][t, row, column],
                                           clip["video"][block].mean((0, 1)), atol=1)
                counts = np.bincount(clip["segmentation"][block].ravel())
                assert small["segmentation"][t, row, column] == np.argmax(counts)


def test_shrinking_by_a_fraction_weighs_ids_by_area():
    mask = np.zeros((1, 3, 3), np.uint8)
    mask[0, :, 2] = 7  # the right third; of a right half it covers two thirds
    clip = {"video": np.zeros((1, 3, 3, 3), np.uint8), "segmentation": mask}
    np.testing.assert_array_equal(preprocess.resize(clip, 2)["segmentation"][0], [[0, 7], [0, 7]])


def test_growing_never_makes_new_ids():
    clip = {"video": np.zeros((1, 2, 2, 3), np.uint8),
            "segmentation": np.array([[[0, 9], [9, 0]]], np.uint8)}
    grown = preprocess.resize(clip, 6)
    np.testing.assert_array_equal(grown["segmentation"][0], np.kron([[0, 9], [9, 0]],
                                                                    np.ones((3, 3))))
    assert grown["video"].shape == (1, 6, 6, 3)


def test_oblong_frames_become_square():
    clip = make_clip(height=6, width=12)
    resized = preprocess.resize(clip, 6)
    np.testing.assert_allclose(
        resized["video"], clip["video"].reshape(6, 6, 6, 2, 3).mean(3), atol=1)
    assert resized["segmentation"].shape == (6, 6, 6)


def test_flip_mirrors_video_and_segmentation():
    clip = make_clip()
    flipped = preprocess.flip_left_right(clip)
    np.testing.assert_array_equal(flipped["video"], clip["video"][:, :, ::-1])
    np.testing.assert_array_equal(flipped["segmentation"], clip["segmentation"][:, :, ::-1])


def test_to_float_spans_zero_to_one():
    values = preprocess.to_float(jnp.array([0, 51, 255], jnp.uint8))
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, [0, 0.2, 1], rtol=1e-6)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_average_pool_is_the_mean_of_blocks(factor):
    video = np.random.default_rng(0).random((2, 3, 8, 4, 3)).astype(np.float32)
    pooled = preprocess.average_pool(jnp.asarray(video), factor)
    assert pooled.shape == (2, 3, 8 // factor, 4 // factor, 3)
    for row in range(8 // factor):
        for column in range(4 // factor):
            block = video[:, :, row * factor:(row + 1) * factor,
                          column * factor:(column + 1) * factor]
            np.testing.assert_allclose(pooled[:, :, row, column], block.mean((2, 3)), rtol=1e-5)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_majority_pool_is_the_most_frequent_id_of_blocks(factor):
    mask = np.random.default_rng(0).integers(0, 5, (2, 3, 8, 4), np.uint8)
    pool = jax.jit(preprocess.majority_pool, static_argnums=(1, 2))
    pooled = pool(mask, factor, 5)
    assert pooled.dtype == jnp.uint8 and pooled.shape == (2, 3, 8 // factor, 4 // factor)
    for where in np.ndindex(pooled.shape):
        batch, t, row, column = where
        block = mask[batch, t, row * factor:(row + 1) * factor,
                     column * factor:(column + 1) * factor]
        assert pooled[where] == np.argmax(np.bincount(block.ravel()))


@pytest.mark.parametrize("factor", [0, 3, 8])
def test_pools_refuse_factors_that_do_not_divide(factor):
    with pytest.raises(ValueError, match=f"8x4 pixels cannot be pooled by {factor}"):
        preprocess.average_pool(jnp.zeros((1, 8, 4, 3)), factor)
    with pytest.raises(ValueError, match=f"8x4 pixels cannot be pooled by {factor}"):
        preprocess.majority_pool(jnp.zeros((1, 8, 4), jnp.uint8), factor, 3)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_a_subset_has_one_pixel_of_each_block(size):
    rng = np.random.default_rng(0)
    video = rng.uniform(size=(2, 3, 8, 12, 3)).astype(np.float32)
    offsets = rng.integers(size, size=(2, 3, 2))
    found = np.asarray(preprocess.pixel_subset(video, offsets, size))
    for b, t in np.ndindex(2, 3):
        y, x = offsets[b, t]
        whole = video[b, t, :8 - 8 % size, :12 - 12 % size]  # rows of blocks that are cut are left
        np.testing.assert_array_equal(found[b, t], whole[y::size, x::size])


@pytest.mark.parametrize("size", [0, 9])
def test_a_subset_needs_a_whole_block(size):
    with pytest.raises(ValueError, match=f"8x12 pixels have no whole block of {size} x {size}"):
        preprocess.pixel_subset(np.zeros((1, 1, 8, 12, 3)), np.zeros((1, 1, 2), int), size)
