"""Episodes: how they are declared, checked, cropped and encoded."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from parts_jax.data import episodes, preprocess
from parts_jax.data.formats import frames


def make_episode(num_frames=3, height=8, width=8, seed=0):
    rng = np.random.default_rng(seed)
    return {"video": rng.integers(0, 256, (num_frames, height, width, 3), np.uint8),
            "segmentation": rng.integers(0, 4, (num_frames, height, width), np.uint8),
            "actions": rng.normal(size=(num_frames, 2)).astype(np.float32)}


def encode(episode, **arguments):
    arguments = {"id": "a", "resolution": 8, **arguments}
    return episodes.encode("disk/a.npz", episode["video"],
                           segmentation=episode.get("segmentation"),
                           actions=episode.get("actions"), **arguments)


def test_features_are_those_of_the_episode():
    assert set(episodes.features(has_masks=False, has_actions=False)) == {"video", "id"}
    every = episodes.features(has_masks=True, has_actions=True, depth=tfds.features.Text())
    assert set(every) == {"video", "id", "segmentation", "actions", "depth"}


def test_an_episode_comes_back_through_its_features():
    features = episodes.features(has_masks=True, has_actions=True)
    episode = make_episode()
    example = features.deserialize_example_np(features.serialize_example(encode(episode)))
    np.testing.assert_array_equal(frames.decode(example["video"]), episode["video"])
    np.testing.assert_array_equal(frames.decode(example["segmentation"]), episode["segmentation"])
    np.testing.assert_array_equal(example["actions"], episode["actions"])
    assert example["actions"].dtype == np.float32 and example["id"] == b"a"


def test_what_an_episode_lacks_is_not_encoded():
    assert set(encode({"video": make_episode()["video"]})) == {"video", "id"}
    assert encode(make_episode(), note="more")["note"] == "more"


def test_frames_are_resized_and_ids_never_mixed():
    episode = make_episode(height=16, width=16)
    example = encode(episode)
    expected = preprocess.resize(episode, 8)
    np.testing.assert_array_equal(frames.decode(example["video"]), expected["video"])
    np.testing.assert_array_equal(frames.decode(example["segmentation"]), expected["segmentation"])


@pytest.mark.parametrize("height, width", [(8, 14), (14, 8), (8, 13), (8, 8)])
def test_center_crop_takes_the_square_in_the_middle(height, width):
    episode = make_episode(height=height, width=width)
    example = encode(episode, crop="center")
    top, left = (height - 8) // 2, (width - 8) // 2
    square = np.s_[:, top:top + 8, left:left + 8]
    np.testing.assert_array_equal(frames.decode(example["video"]), episode["video"][square])
    np.testing.assert_array_equal(frames.decode(example["segmentation"]),
                                  episode["segmentation"][square])
    np.testing.assert_array_equal(example["actions"], episode["actions"])


def test_without_a_crop_the_whole_frame_is_squeezed():
    video = np.zeros((1, 8, 16, 3), np.uint8)
    video[:, :, :4] = 200
    squeezed = frames.decode(encode({"video": video})["video"])
    assert (squeezed[:, :, :2] == 200).all() and not squeezed[:, :, 2:].any()


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, bool])
def test_ids_of_other_integer_types_become_uint8(dtype):
    ids = np.array([0, 1, 1], dtype)
    checked = episodes.checked_ids("a", ids)
    assert checked.dtype == np.uint8
    np.testing.assert_array_equal(checked, [0, 1, 1])


@pytest.mark.parametrize("change, message", [
    ({"video": np.zeros((3, 8, 8, 4), np.uint8)}, r"a\.npz cannot be read.*got uint8 \[3, 8, 8, 4"),
    ({"video": np.zeros((3, 8, 8, 3), np.float32)}, r"a\.npz cannot be read.*got float32"),
    ({"segmentation": np.zeros((3, 8, 9), np.uint8)}, r"a\.npz .*as large as its video \[3, 8, 8"),
    ({"segmentation": np.zeros((2, 8, 8), np.uint8)}, r"a\.npz .*got uint8 \[2, 8, 8\]"),
    ({"segmentation": np.full((3, 8, 8), 256, np.uint16)}, r"a\.npz has ids from 256 to 256"),
    ({"segmentation": np.full((3, 8, 8), -1)}, r"a\.npz has ids from -1 to -1.* to 255"),
    ({"segmentation": np.zeros((3, 8, 8))}, r"a\.npz must hold integers; got float64"),
    ({"actions": np.zeros((4, 2))}, r"a\.npz .*as many as the video has frames \(3\)"),
    ({"actions": np.zeros(3)}, r"a\.npz .*got float32 \[3\]"),
])
def test_wrong_arrays_are_refused_and_the_file_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        encode(make_episode() | change)


def test_an_unknown_crop_is_refused():
    with pytest.raises(ValueError, match="crop must be none or center; got 'left'"):
        encode(make_episode(), crop="left")


def test_action_sizes_must_agree():
    episodes.check_same_action_size(["a", "b"], [7, 7])
    episodes.check_same_action_size(["a", "b"], [None, None])
    with pytest.raises(ValueError, match="a has actions of size 7 and c has actions of size 6"):
        episodes.check_same_action_size(["a", "b", "c"], [7, 7, 6])
    with pytest.raises(ValueError, match="a has no actions and b has actions of size 2"):
        episodes.check_same_action_size(["a", "b"], [None, 2])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_actions_must_be_finite_in_float32(value):
    actions = np.zeros((3, 2))
    actions[1, 1] = value
    with pytest.raises(ValueError, match=r"actions of disk/a.npz must be finite in float32; "
                                         r"got \[0.0, .*\] at frame 1"):
        encode(make_episode() | {"actions": actions})


@pytest.mark.parametrize("actions", [np.array([["1", "2"]] * 3), np.zeros((3, 2), complex)])
def test_actions_must_be_numbers(actions):
    with pytest.raises(ValueError, match="actions of disk/a.npz must be numbers; got "):
        encode(make_episode() | {"actions": actions})


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (3, 0, 8, 3)])
def test_a_video_of_nothing_is_refused(shape):
    with pytest.raises(ValueError, match=r"a.bin cannot be read as an episode: .* at least 1 frame "
                                         r".*got \[") as error:
        episodes.encode("a.bin", np.zeros(shape, np.uint8), id="a", resolution=4)
    assert str(list(shape)) in str(error.value)
