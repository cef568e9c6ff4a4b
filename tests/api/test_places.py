"""The way to the model's square and back: what was seen at a place comes back to that place."""

import numpy as np
import pytest

from parts_jax.api import places
from parts_jax.data import preprocess


@pytest.mark.parametrize("height, width, crop, box", [
    (40, 64, "center", (0, 12, 40, 40)), (64, 40, "center", (12, 0, 40, 40)),
    (40, 64, "none", (0, 0, 40, 64)), (40, 64, "pad", (-12, 0, 64, 64)),
    (64, 40, "pad", (0, -12, 64, 64)), (33, 50, "pad", (-9, 0, 50, 50)),
])
def test_what_lies_at_a_place_comes_back_to_it(height, width, crop, box):
    place = places.find(height, width, crop)
    assert place == (height, width, *box)
    video = np.zeros((1, height, width, 3), np.uint8)
    top, left = height // 2 - 4, width // 2 - 12
    video[0, top:top + 8, left:left + 16] = 255
    seen = places.fit(video, crop, 80)[0, ..., 0] / 255.0
    back = places.back(np.stack([seen, 1 - seen]), place)
    assert back.shape == (2, height, width) and back.dtype == np.float32
    inside = np.zeros((height, width), bool)
    inside[max(box[0], 0):box[0] + box[2], max(box[1], 0):box[1] + box[3]] = True
    np.testing.assert_allclose(back.sum(0), inside, atol=1e-5)
    wrong = (back[0] > 0.5) != (video[0, ..., 0] > 0)
    assert not wrong[inside].any()


def test_at_the_models_own_size_nothing_changes():
    masks = np.random.default_rng(0).random((3, 16, 16), np.float32)
    for crop in places.CROPS:
        np.testing.assert_array_equal(places.back(masks, places.find(16, 16, crop)), masks)
    video = np.random.default_rng(0).integers(0, 256, (2, 24, 40, 3), np.uint8)
    for crop in ("center", "none"):
        expected = preprocess.resize(preprocess.crop({"video": video}, crop), 16)["video"]
        np.testing.assert_array_equal(places.fit(video, crop, 16), expected)


def test_padding_repeats_the_edge():
    video = np.zeros((1, 2, 4, 3), np.uint8)
    video[0, 0], video[0, 1] = 10, 20
    np.testing.assert_array_equal(places.fit(video, "pad", 4)[0, :, 0, 0], [10, 10, 20, 20])


@pytest.mark.parametrize("num_slots, dtype, void", [
    (3, np.uint8, 255), (255, np.uint8, 255), (256, np.uint16, 65535), (300, np.uint16, 65535)])
def test_ids_do_not_wrap_and_differ_from_what_was_not_seen(num_slots, dtype, void):
    masks = np.zeros((num_slots, 1, 3), np.float32)
    masks[num_slots - 1, 0, 0] = masks[1, 0, 1] = 0.7
    found = places.ids(masks)
    assert found.dtype == dtype and found.tolist() == [[num_slots - 1, 1, void]]


def test_another_crop_is_refused():
    with pytest.raises(ValueError, match="must be center, none or pad; got 'left'"):
        places.find(4, 4, "left")
