"""A model of images, given images: alone, in batches, in clips, with any number of iterations."""

import pathlib

import jax
import numpy as np
import pytest

from parts_jax import models
from parts_jax.api import saving, segmenting, slot_files
from parts_jax.api.pretrained_model import PretrainedModel
from parts_jax.data import pipeline
from parts_jax.equations.notation import Gaussian, Slots

S, K, N, D, B = 16, 3, 2, 4, 3
AXES = {"masks": (K, S, S), "recon": (S, S, 3), "segmentation": (S, S), "video": (S, S, 3),
        "slot_pictures": (K, S, S, 3)}


class SlotsOfBlobs:
    """The family of blobs.py with its latents as `Slots`, so that nothing of the API is refused."""

    def __init__(self, blobs):
        self.KEYS, self._blobs = blobs.KEYS, blobs

    def create(self, config):
        model = self._blobs.create(config)

        def loss(params, state, clip, step):
            value, made = model.loss(params, state, clip, step)
            z = made.latents["final"]["z"]
            return value, made._replace(latents={"final": Slots(z, Gaussian(z, 0 * z))})

        def decode(params, latents, resolution):
            heat = np.full(latents.z.shape[:1], config.model.coldest, np.float32)
            return model.decode(params, {"z": latents.z, "heat": heat}, resolution)

        return model._replace(loss=loss, decode=decode, slot_size=config.model.slot_size)


@pytest.fixture(scope="module")
def model():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(pathlib.Path(__file__).parents[1] / "models"))
        import blobs
        import blobs_config
        patch.setitem(models.FAMILIES, "blobs", SlotsOfBlobs(blobs))
        config, rng = blobs_config.get_config(), np.random.default_rng(0)
        params = jax.tree.map(
            lambda p: np.asarray(p) + 0.3 * rng.normal(size=p.shape).astype(np.float32),
            jax.jit(models.create(config).init)(jax.random.key(0)))
        yield PretrainedModel(config, params, 0)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (B, S, S, 3), np.uint8)


@pytest.fixture(scope="module")
def batch(model, images):
    return model.segment(images)


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), a, b)


def test_a_batch_gives_what_each_image_gives_alone(model, images, batch):
    """And so do images in clips: each has the noise of a first frame."""
    assert model.takes_images and batch.of_images
    alone = [model.segment(image) for image in images]
    for name, axes in AXES.items():
        assert getattr(batch, name).shape == (B, *axes) and getattr(alone[0], name).shape == axes
    assert batch.posterior.mean.shape == (B, K, D) and alone[0].posterior.mean.shape == (K, D)
    assert batch.maps["sharpness"].shape == (B, K, S, S) and batch.state == ()
    for i, one in enumerate(alone):
        close(jax.tree.map(lambda a, i=i: a[i], batch), one)
    clips = model.segment(images.reshape(1, B, S, S, 3))
    assert clips.masks.shape == (1, B, K, S, S) and not clips.of_images
    close(clips.iterations, jax.tree.map(lambda a: a[None], batch.iterations))
    close(clips.posterior, jax.tree.map(lambda a: a[None], batch.posterior))
    again = model.segment(np.stack([images[1]] * B))  # the same noise wherever it stands
    close(again.masks, np.stack([alone[1].masks] * B))
    close(model.segment(images / 255).masks, batch.masks)
    other = model.segment(images, seed=1, num_slots=5)
    assert other.masks.shape == (B, 5, S, S)
    assert np.abs(other.masks[:, :K] - batch.masks).max() > 0.01


def test_iterations_are_shown_and_may_be_any_number(model, images, batch):
    """The noise of an iteration depends on its number alone here, so fewer are a beginning."""
    shown = batch.iterations
    assert shown.recon.shape == (B, N + 1, S, S, 3) and shown.masks.shape == (B, N + 1, K, S, S)
    assert isinstance(shown.recon, np.ndarray)
    close((shown.recon[:, -1], shown.masks[:, -1]), (batch.recon, batch.masks))
    assert np.abs(shown.masks[:, 1:] - shown.masks[:, :-1]).max() > 0.01
    more, fewer = (model.segment(images, num_iterations=n) for n in (5, 1))
    assert more.iterations.recon.shape == (B, 6, S, S, 3)
    close(jax.tree.map(lambda a: a[:, :3], more.iterations), shown)
    close(fewer.iterations, jax.tree.map(lambda a: a[:, :2], shown))
    close(fewer.recon, shown.recon[:, 1])
    count = model._segment._cache_size()
    close(model.segment(images, num_iterations=N).masks, batch.masks)
    assert model._segment._cache_size() == count  # N of training is not compiled anew


@pytest.mark.parametrize("number", [0, -1, 1.0, True, "3"])
def test_numbers_of_iterations_that_there_are_not_are_refused(model, images, number):
    with pytest.raises(ValueError, match=f"num_iterations is {number!r}, but must be a whole number"
                       ", 1 or more, or None for the 2 of training"):
        model.segment(images, num_iterations=number)


@pytest.mark.parametrize("shape, kind, message", [
    ((S, S), np.uint8, r"An image must be in colour, \[H, W, 3\], a batch \[B, H, W, 3\] or clips "
                       r"\[B, T, H, W, 3\]; got \[16, 16\]. Give one of grey levels"),
    ((S, S, 4), np.uint8, r"An image must be in colour, .* got \[16, 16, 4\]"),
    ((1, 1, 1, S, S, 3), np.uint8, "An image must be in colour"),
    ((0, S, S, 3), np.uint8, r"must have pixels, and a batch one image or more; got \[0, 16"),
    ((S, 8, 3), np.uint8, "takes frames of 16x16 pixels; got 16x8"),
    ((S, S, 3), np.int64, r"An image must be uint8, or floats in \[0, 1\]; got int64"),
    ((S, S, 3), np.float32, r"An image of floats must lie in \[0, 1\]; got values from 7.0 to 7.0"),
])
def test_what_is_no_image_is_refused(model, shape, kind, message):
    with pytest.raises(ValueError, match=message):
        model.segment(np.full(shape, 7, kind))


def test_nothing_is_carried_from_image_to_image(model, images, batch):
    for name, value in (("after", batch), ("restart_every", 2)):
        with pytest.raises(ValueError, match=f"{name} is for models that carry a state"):
            model.segment(images, **{name: value})
    with pytest.raises(ValueError, match="trained without actions"):
        model.segment(images, np.zeros((B, 1, 2)))
    assert model.tested.warning(10**6) is None  # no video is too long for it


def test_slots_of_images_are_decoded_and_changed(model, images, batch):
    for at in (slice(None), 0):
        decoded = model.decode(batch.posterior.mean[at])
        close((decoded.masks, decoded.recon), (batch.masks[at], batch.recon[at]))
    own = [float(batch.posterior.mean[1, 2, 0]), 3.0]
    change = model.traverse(images[1], slot=2, dim=0, values=own)
    assert change.masks.shape == (2, K, S, S)
    close(change.recon[0], batch.recon[1])
    assert np.abs(change.recon[1] - change.recon[0]).max() > 1e-3
    close(model.traverse(images, slot=2, dim=0, values=own).recon[1], change.recon)


def test_images_are_shown_and_saved(model, images, batch, tmp_path):
    one = model.segment(images[0])
    assert repr(one) == "Segmentation(an image of 16x16, 3 slots)"
    assert repr(batch) == "Segmentation(3 images of 16x16, 3 slots)"
    assert one._repr_html_().count("<img") == batch._repr_html_().count("<img") == 1  # none moves
    np.testing.assert_array_equal(batch.table()[:82], one.table())
    truth = batch.segmentation
    np.testing.assert_array_equal(batch.table(truth=truth)[:82], one.table(truth=truth[0]))
    batch.save(tmp_path / "masks.npz")
    one.save(tmp_path / "one.npz")
    with np.load(tmp_path / "masks.npz") as many, np.load(tmp_path / "one.npz") as alone:
        np.testing.assert_array_equal(many["masks"], batch.masks)
        np.testing.assert_array_equal(alone["masks"][0], one.masks)
        np.testing.assert_array_equal(many["slots"], batch.posterior.mean)


def test_a_video_is_split_image_by_image(model, images, batch):
    """As the command does it, in parts of 16 frames, also where a state would start anew."""
    video = np.concatenate([images] * 6)  # 18 frames
    for every in (None, 4):
        parts = list(segmenting.segment_parts(model, iter(video), restart_every=every))
        found = np.concatenate([part.recon[:count] for part, count in parts])
        close(found, np.concatenate([batch.recon] * 6))
        kept = saving.frame_of(parts[0][0], 1, 1, segmenting.places.find(S, S, "center"))
        assert kept.masks.shape == (K, S, S) and kept.slots.shape == (K, D)


def test_slots_of_a_split_are_of_its_images(model, images, batch, monkeypatch):
    examples = [{"video": image[None]} for image in images]
    monkeypatch.setattr(pipeline, "open_split", lambda *_: pipeline.Split(examples, 1))
    arrays = slot_files.slots_of_split(model, "test")
    close(arrays["slots"], batch.posterior.mean)
    assert arrays["frame"].tolist() == [0] * B
