"""Run-length masks: as pycocotools writes them, and never other pixels than were written."""

import numpy as np
import pycocotools.mask
import pytest

from parts_jax.data.clevrer import run_length


@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
def test_they_are_read_as_written(density):
    rng = np.random.default_rng(0)
    for size in ((1, 1), (7, 5), (40, 60), (320, 480)):
        mask = rng.random(size) < density
        counts = pycocotools.mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
        for text in (counts, counts.decode()):
            np.testing.assert_array_equal(run_length.decode(text, size), mask)


@pytest.mark.parametrize("counts, message", [
    ("", "cover 0 of 24 pixels"),
    ("5", "cover 5 of 24"),
    ("X1", "cover 40 of 24"),
    ("@", "shorter than nothing"),
    ("5X", "truncated"),
    ("\x1f", "no compressed run lengths"),
    ("oooooooo0", "no compressed run lengths"),
    ([24], "must be a text; got list"),
    (None, "must be a text; got NoneType"),
])
def test_others_are_refused(counts, message):
    with pytest.raises(ValueError, match=message):
        run_length.decode(counts, (4, 6))
