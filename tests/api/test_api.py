"""parts_jax.load and what the model that it returns can do, with untrained parameters."""

import base64
import importlib
import inspect
import io
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import parts_jax
from parts_jax import models
from parts_jax.api import inference
from parts_jax.equations.notation import InferenceState, Slots
from parts_jax.models.contract import Clip
from parts_jax.models.parts import family
from parts_jax.networks.functions import Function
from parts_jax.pictures import colours
from parts_jax.runs import checkpoint

T, S, K, D, A = 3, 16, 3, 4, 2


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, save_untrained):
    return save_untrained(tmp_path_factory.mktemp("api") / "run", steps=(0, 1))


@pytest.fixture(scope="module")
def model(workdir):
    return parts_jax.load(workdir)


@pytest.fixture(scope="module")
def model_with_actions(tmp_path_factory, save_untrained):
    workdir = save_untrained(tmp_path_factory.mktemp("api") / "actions", data__action_size=A)
    return parts_jax.load(str(workdir))


@pytest.fixture(scope="module")
def video() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, T, S, S, 3), np.uint8)


@pytest.fixture(scope="module")
def actions() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, T + 2, A)).astype(np.float32)


def same(a, b, tolerance=5e-5):  # programs of other sizes round otherwise, by the machine
    """Results are equal, up to the order of sums."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance), a, b)


def test_a_clip_is_segmented_alone_as_in_a_batch(model, video):
    batch, clip = model.segment(video), model.segment(video[1])
    same(jax.tree.map(lambda a: a[1], batch), clip)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(batch))
    assert clip.masks.shape == clip.attention.shape == (T, K, S, S)
    assert clip.recon.shape == clip.video.shape == (T, S, S, 3)
    assert clip.slot_pictures.shape == (T, K, S, S, 3)
    assert clip.posterior.mean.shape == clip.posterior.log_std.shape == (T, K, D)
    assert clip.num_frames == T
    np.testing.assert_allclose(clip.masks.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(clip.segmentation, clip.masks.argmax(1))
    decoded = model.segment(video[1], masks="decoder")
    np.testing.assert_allclose(
        clip.recon, (decoded.masks[..., None] * clip.slot_pictures).sum(1), atol=1e-5)


def test_pixels_of_what_is_seen_are_assigned_by_bayes_rule(model, video):
    """Against numpy, from the decoder's masks and pictures, which are a word away."""
    assigned, decoded = model.segment(video), model.segment(video, masks="decoder")
    assert (assigned.masks_are, decoded.masks_are) == ("assigned", "decoder")
    same(assigned, model.segment(video, masks="assigned"), tolerance=0)
    distance = np.square(video[:, :, None] / 255 - np.float64(decoded.slot_pictures)).sum(-1)
    logits = np.log(np.float64(decoded.masks)) - distance / (2 * model.config.model.sigma_x**2)
    weights = np.exp(logits - logits.max(2, keepdims=True))
    weights /= weights.sum(2, keepdims=True)
    np.testing.assert_allclose(assigned.masks, weights, atol=1e-4)
    np.testing.assert_array_equal(decoded.segmentation, decoded.masks.argmax(2))
    assert (assigned.segmentation != decoded.segmentation).mean() > 0.01
    for a, b in ((assigned.recon, decoded.recon), (assigned.posterior, decoded.posterior),
                 (assigned.predicted_masks, decoded.predicted_masks)):
        same(a, b, tolerance=0)  # all else is the same
    assert "masks (assigned" in assigned._repr_html_()
    assert "masks (the decoder's)" in decoded._repr_html_()


def test_frames_that_are_not_seen_have_the_decoders_masks(model, video):
    """Whatever is asked for of those that are; and of latents that are decoded by themselves."""
    future = model.predict(video[0], None, 2, masks="decoder")
    same(future.masks, model.predict(video[0], None, 2).masks, tolerance=0)
    assert future.seen.masks_are == "decoder"
    decoded = model.decode(future.posterior.mean)
    np.testing.assert_allclose(future.masks, decoded.masks, atol=1e-5)
    seen = model.traverse(video[0], 0, 0, [float(future.seen.posterior.mean[-1, 0, 0])])
    np.testing.assert_allclose(seen.masks[0], future.seen.masks[-1], atol=1e-5)
    assert future.seen.predicted_masks.shape == (T, K, S, S)


def test_what_is_of_models_of_images_is_refused(model, video):
    with pytest.raises(ValueError, match="num_iterations is 3, but models of the family 'parts' "):
        model.segment(video, num_iterations=3)
    assert not model.takes_images and model.segment(video[0]).iterations is None
    with pytest.raises(ValueError, match=r"\[T, H, W, 3\] or a batch \[B, T, H, W, 3\]; got \[16"):
        model.segment(video[0, 0])


@pytest.mark.parametrize("masks", ["", "Decoder", "predicted", 1, True])
def test_kinds_of_masks_that_there_are_not_are_refused(model, video, masks):
    for call in (lambda: model.segment(video, masks=masks),
                 lambda: model.predict(video, None, 1, masks=masks)):
        with pytest.raises(ValueError, match="masks is .* must be 'assigned' or 'decoder'; or No"):
            call()


def test_bytes_and_floats_and_any_seed_and_number_of_slots(model, video):
    clip = video[0]
    first = model.segment(clip)
    same(first.replace(video=None), model.segment(clip / 255).replace(video=None))
    same(first, model.segment(clip), tolerance=0)
    assert np.abs(first.posterior.mean - model.segment(clip, seed=1).posterior.mean).max() > 1e-4
    assert model.segment(clip, num_slots=5).masks.shape == (T, 5, S, S)
    one = model.segment(clip[:1])
    same(jax.tree.map(lambda a: a[:1], (first.masks, first.recon)), (one.masks, one.recon))


def test_the_posterior_is_the_models(model, workdir, video):
    """By `PARTS.__call__` itself, with the noise of the frames' numbers."""
    net = family.build(model.config)
    shape = jax.eval_shape(models.create(model.config).init, jax.random.key(0))
    params = checkpoint.restore_params(str(workdir), shape)[0]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), np.arange(T))
    noise = np.stack([jax.vmap(lambda key: jax.random.normal(key, (1, K, D)))(keys)] * 2)
    clip = Clip(np.float32(video / 255), np.zeros((2, T, 0), np.float32), noise)
    _, step = net.apply({"params": params}, clip, net.initial_state(2))
    mean = step.latents["refined"].posterior.mean
    result = model.segment(video)
    np.testing.assert_allclose(result.posterior.mean, mean, atol=1e-5)
    np.testing.assert_allclose(result.attention, step.maps["attention"], atol=1e-5)
    at = net.apply({"params": params}, mean, (S, S), method="decode")
    np.testing.assert_allclose(result.slot_pictures, at.means, atol=1e-5)


def test_two_parts_of_a_video_give_what_the_whole_gives(model_with_actions, video, actions):
    whole = model_with_actions.segment(video, actions[:, :T])
    first = model_with_actions.segment(video[:, :2], actions[:, :2])
    second = model_with_actions.segment(video[:, 2:], actions[:, 2:T], after=first)
    assert second.num_frames == T
    np.testing.assert_allclose(second.masks, whole.masks[:, 2:], atol=1e-5)
    np.testing.assert_allclose(second.predicted_masks, whole.predicted_masks[:, 2:], atol=1e-5)
    same(second.state, whole.state)


def test_prediction_sees_what_was_given_and_rolls_out_by_the_transition(model_with_actions, video,
                                                                        actions):
    """Step by step with `PARTS.predict`; the last action changes nothing, the others do."""
    model, ahead = model_with_actions, 2
    result = model.predict(video, actions, num_steps=ahead)
    same(result.seen, model.segment(video, actions[:, :T]))
    assert result.masks.shape == (2, ahead, K, S, S) and result.recon.shape == (2, ahead, S, S, 3)
    net = family.build(model.config)
    transition = Function(net.transition, model._params["transition"])
    state = result.seen.state
    for step in range(ahead):
        posterior, hidden = net.predict(transition, state, actions[:, T - 1 + step])
        state = InferenceState(posterior, hidden)
        np.testing.assert_allclose(result.posterior.mean[:, step], posterior.mean, atol=1e-5)
    mixture = net.apply({"params": model._params}, posterior.mean, (S, S), method="decode")
    np.testing.assert_allclose(result.slot_pictures[:, -1], mixture.means, atol=1e-5)

    def changed(t):
        other = actions.copy()
        other[:, t] += 1
        moved = model.predict(video, other, num_steps=ahead).posterior.mean
        return np.abs(moved - result.posterior.mean).max(axis=(0, 2, 3)) > 1e-6

    assert changed(T - 2).all() and changed(T - 1).all()
    assert changed(T).tolist() == [False, True] and not changed(T + 1).any()


def test_the_first_predicted_frame_is_the_one_that_segment_expects(model, video):
    """lambda^0 of the next frame: what the next frame shows does not change its prediction."""
    alone = model.predict(video[0, :2], None, num_steps=1)
    batch = model.predict(video[:, :2], None, num_steps=1)
    same(jax.tree.map(lambda a: a[0], batch), alone)
    assert alone.recon.shape == (1, S, S, 3)


def test_a_traversal_changes_one_number_of_one_slot_or_of_all(model, video):
    values = [-2.0, 0.0, 2.0]
    result = model.traverse(video[0], slot=1, dim=2, values=values)
    assert result.masks.shape == (3, K, S, S) and result.values == (-2, 0, 2)
    seen = model.segment(video[0])
    untouched = [0, 2]
    for picture in result.slot_pictures:
        np.testing.assert_allclose(
            picture[untouched], seen.slot_pictures[-1, untouched], atol=1e-5)
    pictures = result.slot_pictures
    assert np.abs(pictures[0, 1] - pictures[2, 1]).max() > 1e-4
    own = float(seen.posterior.mean[-1, 1, 2])
    back = model.traverse(video[0], slot=1, dim=2, values=[own])
    np.testing.assert_allclose(back.recon[0], seen.recon[-1], atol=1e-5)
    everyone = model.traverse(video, slot=None, dim=2, values=values)
    assert everyone.masks.shape == (2, 3, K, S, S)
    moved = everyone.slot_pictures[0]
    np.testing.assert_allclose(moved[:, 1], pictures[:, 1], atol=1e-5)
    assert all(np.abs(moved[0, k] - moved[2, k]).max() > 1e-4
               for k in range(K))


def test_each_shape_is_compiled_once(model, video):
    model.predict(video, None, 2)
    model.traverse(video, 0, 0, [1.0])
    compiled = (model._segment, model._roll_out, model._decode)
    before = [function._cache_size() for function in compiled]
    model.predict(video[::-1], None, 2)
    model.traverse(video[::-1] / 255, None, 1, [3.0], seed=4)
    assert [function._cache_size() for function in compiled] == before


def test_a_notebook_shows_pictures_that_need_no_other_file(model, video):
    def images_of(result):
        html = result._repr_html_()
        assert re.findall(r'(?:src|href)="(?!data:)', html) == []
        encoded = re.findall(r'src="data:image/(gif|png);base64,([^"]+)"', html)
        return [Image.open(io.BytesIO(base64.b64decode(text))) for _, text in encoded], html

    images, html = images_of(model.segment(np.concatenate([video] * 3)))
    assert [image.format for image in images] == ["GIF", "PNG"] * 4
    assert "6 clips of 3 frames of 16x16, 3 slots" in html and "2 more clips are not shown" in html
    assert images[0].n_frames == T
    result = model.segment(video)
    shown = np.asarray(images[1])  # three rows of tiles of 64 pixels, under a title of 14
    np.testing.assert_array_equal(shown[16:80:4, 2:66:4], video[0, 0])
    np.testing.assert_array_equal(
        shown[16 + 66:80 + 66:4, 68:132:4], colours.colour_masks(result.masks[0, 1]))
    assert [image.format for image in images_of(model.predict(video[0], None, 2))[0]] == [
        "GIF", "PNG"]
    images, html = images_of(model.traverse(video[0], 2, 1, [0.5, 1.5]))
    assert [image.format for image in images] == ["PNG"] and "Slot 2, number 1" in html
    assert "0.5, 1.5" in html
    assert [image.format for image in images_of(model.segment(video[0, :1]))[0]] == ["PNG"]


def test_a_result_is_named_in_a_line(model, video):
    assert repr(model.segment(video)) == "Segmentation(2 clips of 3 frames of 16x16, 3 slots)"
    prediction = model.predict(video[0], None, 2)
    assert repr(prediction) == "Prediction(2 frames of 16x16, 3 slots predicted)"
    traversal = model.traverse(video[0], None, 1, [0.0, 1.0])
    assert repr(traversal) == "Traversal(of all slots, number 1: 2 values)"


def test_any_video_can_be_resized(model):
    wide = np.zeros((2, 32, 64, 3), np.uint8)
    wide[:, :, 16:48] = 200
    assert (model.resize(wide) == 200).all() and model.resize(wide).shape == (2, S, S, 3)
    assert (model.resize(wide, crop="none") == 0).any()
    for crop in ("center", "none", "pad"):
        np.testing.assert_array_equal(model.resize(wide[0], crop), model.resize(wide, crop)[0])
    with pytest.raises(ValueError, match="must be center, none or pad; got 'left'"):
        model.resize(wide, crop="left")


def test_a_model_takes_frames_of_another_size_than_those_of_training(workdir, model, video):
    """Twice as large, by the same parameters; the contract's decode is the oracle."""
    fine = parts_jax.load(workdir, resolution=2 * S)
    assert (model.resolution, fine.resolution) == (S, 2 * S) and f"{2 * S}x{2 * S}" in repr(fine)
    large = np.repeat(np.repeat(video[0], 2, axis=1), 2, axis=2)
    found = fine.segment(large)
    assert found.masks.shape[-2:] == found.recon.shape[1:3] == (2 * S, 2 * S)
    np.testing.assert_allclose(found.masks.sum(1), 1, rtol=1e-5)
    view = models.create(fine.config).decode(
        fine._params, Slots(found.posterior.mean), (2 * S, 2 * S))
    np.testing.assert_allclose(found.recon, view.recon, atol=1e-5)
    assert fine.resize(video[0]).shape == large.shape
    with pytest.raises(ValueError, match=f"takes frames of {2 * S}x{2 * S} pixels; got {S}x{S}"):
        fine.segment(video[0])
    for wrong in (7, 32.0, "64", True):
        with pytest.raises(ValueError, match=f"resolution is {wrong!r}, but must be a whole"):
            parts_jax.load(workdir, resolution=wrong)


def test_the_former_name_of_resize_still_works_and_says_so(model):
    wide = np.full((1, 20, 30, 3), 9, np.uint8)
    with pytest.warns(FutureWarning, match="fit is called resize now"):
        np.testing.assert_array_equal(model.fit(wide), model.resize(wide))


def test_a_checkpoint_is_found_by_workdir_step_and_folder(workdir, model, video):
    assert model.step == 1 and "step 1, 16x16, 3 slots" in repr(model)
    first = parts_jax.load(workdir, step=0)
    folder = parts_jax.load(workdir / "checkpoints" / "0")
    assert first.step == folder.step == 0
    jax.tree.map(np.testing.assert_array_equal, first._params, folder._params)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), first._params, model._params)
    assert max(jax.tree.leaves(moved)) > 1e-2
    with pytest.raises(ValueError, match="checkpoint of step 0, but step is 1"):
        parts_jax.load(workdir / "checkpoints" / "0", step=1)
    with pytest.raises(FileNotFoundError, match="no checkpoint of step 7 .* steps 0, 1"):
        parts_jax.load(workdir, step=7)


def test_folders_without_a_run_or_checkpoint_are_named(tmp_path, workdir):
    with pytest.raises(FileNotFoundError, match="no folder '.*nothing' to load a model from"):
        parts_jax.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="holds no run: it has no file config.json"):
        parts_jax.load(tmp_path)
    shutil.copy(workdir / "config.json", tmp_path)
    with pytest.raises(FileNotFoundError, match="no checkpoint in '.*': it has no checkpoints/"):
        parts_jax.load(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(FileNotFoundError, match="There is no checkpoint in"):
        parts_jax.load(tmp_path)


def truncate_arrays(folder):
    for path in folder.rglob("d/*"):
        path.write_bytes(path.read_bytes()[:100])


def remove_arrays(folder):
    for path in folder.rglob("d"):
        shutil.rmtree(path)


def spoil_metadata(folder):
    (folder / "state" / "_METADATA").write_text('{"tree_metadata"')


@pytest.mark.parametrize("damage", [truncate_arrays, remove_arrays, spoil_metadata])
def test_a_damaged_checkpoint_is_named(tmp_path, workdir, damage):
    shutil.copytree(workdir, tmp_path / "run")
    damage(tmp_path / "run" / "checkpoints" / "1")
    with pytest.raises(ValueError, match="The checkpoint of step 1 in .*run' cannot be read: it is "
                                         "damaged, or not of the model that config.json describes"):
        parts_jax.load(tmp_path / "run")
    assert parts_jax.load(tmp_path / "run", step=0).step == 0


@pytest.mark.parametrize("old, new", [('"slot_size": 4', '"slot_size": 6'),
                                      ('"num_layers": 1', '"num_layers": 2')])
def test_a_checkpoint_of_another_model_is_refused(tmp_path, workdir, old, new):
    """Arrays of another shape, and arrays that are not there."""
    shutil.copytree(workdir, tmp_path / "run")
    config = (tmp_path / "run" / "config.json").read_text()
    assert old in config
    (tmp_path / "run" / "config.json").write_text(config.replace(old, new))
    with pytest.raises(ValueError, match="cannot be read: it is damaged, or not of the model"):
        parts_jax.load(tmp_path / "run")


ZEROS = np.zeros((T, S, S, 3), np.uint8)


@pytest.mark.parametrize("video, message", [
    (ZEROS[..., 0], r"in colour, \[T, H, W, 3\] or a batch .*; got \[3, 16, 16\].*grey levels"),
    (ZEROS[..., :1], r"in colour.*got \[3, 16, 16, 1\]"),
    (np.zeros((T, S, S, 4), np.uint8), r"in colour.*got \[3, 16, 16, 4\]"),
    (ZEROS[0], r"in colour.*got \[16, 16, 3\]"),
    (ZEROS[:0], r"one frame or more; got \[0, 16, 16, 3\]"),
    (np.zeros((T, S, 24, 3), np.uint8), r"of 16x16 pixels; got 16x24.*resize\(video\)"),
    (ZEROS.astype(np.int64), r"uint8, or floats in \[0, 1\]; got int64"),
    (ZEROS + np.float32(1.01), r"lie in \[0, 1\]; got values from 1.01 to 1.01"),
    (ZEROS - 0.5, r"lie in \[0, 1\]; got values from -0.5"),
    (ZEROS + np.nan, r"lie in \[0, 1\]; got values from nan.*not finite"),
    (ZEROS + np.float32(1.0000002), r"from 1.0000002 to 1.0000002. .*rounding.*np.clip"),
    (ZEROS + np.float32(200), r"from 200.0 to 200.0. Divide by 255"),
    (ZEROS - np.float32(1), r"from -1.0 to -1.0. .*take \(video \+ 1\) / 2"),
])
def test_a_video_that_is_none_is_refused(model, video, message):
    for call in (model.segment, lambda v: model.predict(v, None, 1),
                 lambda v: model.traverse(v, 0, 0, [1.0])):
        with pytest.raises(ValueError, match=message):
            call(video)


def test_actions_must_go_with_the_model_and_the_video(model, model_with_actions, actions):
    given = actions[0]
    with pytest.raises(ValueError, match=r"without actions, but actions of shape \[3, 2\] were"):
        model.segment(ZEROS, given[:T])
    with pytest.raises(ValueError, match=r"needs actions, \[3, 2\], one after each frame, but"):
        model_with_actions.segment(ZEROS)
    with pytest.raises(ValueError, match=r"needs actions, \[5, 2\]"):
        model_with_actions.predict(ZEROS, None, 2)
    with pytest.raises(ValueError, match=r"shape \[3, 2\], .* got float32 \[5, 2\]"):
        model_with_actions.segment(ZEROS, given)
    with pytest.raises(ValueError, match=r"shape \[4, 2\], .* got float32 \[5, 2\]"):
        model_with_actions.predict(ZEROS, given, 1)
    with pytest.raises(ValueError, match=r"shape \[2, 3, 2\], .* got float32 \[3, 2\]"):
        model_with_actions.segment(np.stack([ZEROS] * 2), given[:T])
    with pytest.raises(ValueError, match="finite numbers; some are not"):
        model_with_actions.segment(ZEROS, given[:T] * np.inf)


@pytest.mark.parametrize("arguments, message", [
    (dict(slot=3, dim=0), "slot is 3, but must be a whole number from 0 to 2; None changes all"),
    (dict(slot=-1, dim=0), "slot is -1, but"),
    (dict(slot=4, dim=0, num_slots=4), "slot is 4, but .* from 0 to 3"),
    (dict(slot=0.5, dim=0), "slot is 0.5, but"),
    (dict(slot=0, dim=4), "dim is 4, but must be a whole number from 0 to 3"),
    (dict(slot=0, dim=None), "dim is None, but"),
    (dict(slot=0, dim=0, values=[]), r"values are \(\), but"),
    (dict(slot=0, dim=0, values=[np.inf]), r"values are \(inf,\), but must be .* finite"),
])
def test_a_traversal_of_what_is_not_there_is_refused(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.traverse(ZEROS, **({"values": [1.0]} | arguments))


def test_what_a_family_has_not_is_named(model, video, monkeypatch):
    cannot = model.model._replace(predict=None)
    with pytest.raises(ValueError, match="needs Model.predict, but the family of this model"):
        inference.roll_out(cannot, None, (), np.zeros((1, 2, 0)), (0, 3), (S, S), K)
    blind = model.segment(video[0]).replace(posterior=None)
    monkeypatch.setattr(model, "segment", lambda *_, **__: blind)
    with pytest.raises(ValueError, match="needs the posterior .* none: Segm"):
        model.traverse(video[0], 0, 0, [1.0])


def test_other_numbers_out_of_range_are_refused(model, video):
    with pytest.raises(ValueError, match="num_steps is 0, but must be a whole number, 1 or more"):
        model.predict(ZEROS, None, 0)
    with pytest.raises(ValueError, match="num_slots is 0, but must be a whole number, 1 or more"):
        model.segment(ZEROS, num_slots=0)
    first = model.segment(video[0])
    with pytest.raises(ValueError, match="after is of one clip, but the video is a batch of 2"):
        model.segment(video, after=first)
    with pytest.raises(ValueError, match="after has 3 slots, but num_slots is 4"):
        model.segment(video[0], num_slots=4, after=first)


@pytest.mark.parametrize("seed", [2**31, -2**31 - 1, 0.5, np.nan])
def test_a_seed_has_32_bits(model, seed):
    with pytest.raises(ValueError, match="seed is .*, but must be a whole number from -2147483648"):
        model.segment(ZEROS, seed=seed)


def test_ids_of_many_slots_do_not_wrap(model, video):
    result = model.segment(video[0, :1], num_slots=300)
    assert result.segmentation.dtype == np.uint16
    np.testing.assert_array_equal(result.segmentation, result.masks.argmax(1))
    with pytest.raises(ValueError, match="num_slots is 65536, but must be .* at most 65535"):
        model.segment(ZEROS, num_slots=65536)


def test_what_slots_look_like_has_one_name_and_the_old_ones_warn(model, video):
    seen = model.segment(video[0])
    changed = model.traverse(video[0], 0, 0, [1.0])
    future, decoded = model.predict(video[0], None, 2), model.decode(seen.posterior.mean)
    for result, name in ((seen, "slots"), (changed, "slots"), (future, "slots"),
                         (decoded, "means")):
        with pytest.warns(DeprecationWarning, match=f"{name} is called slot_pictures now"):
            assert getattr(result, name) is result.slot_pictures
    np.testing.assert_allclose(decoded.slot_pictures, seen.slot_pictures, atol=1e-5)


def test_results_are_read_only_and_keep_no_array_of_the_users(model, video):
    mine = video[0].copy()
    results = (model.segment(mine), model.predict(video, None, 2),
               model.decode(np.zeros((1, K, D))))
    assert not any(leaf.flags.writeable for leaf in jax.tree.leaves(results))
    mine[:] = 0  # still the user's own, and no part of the result
    np.testing.assert_array_equal(results[0].video, video[0])


def public_functions() -> list:
    """Of the package and of its rooms for users, with the methods of their classes."""
    found = []
    for name in ("", ".api.pretrained_model", ".api.results", ".api.saving", ".api.places",
                 ".api.slot_files", ".api.clips", ".api.outputs", ".api.segmenting", ".api.checks",
                 ".api.inference", ".api.masks", ".segment", ".pictures.overlay",
                 ".pictures.colours", ".pictures.grids"):
        module = importlib.import_module(f"parts_jax{name}")
        for member in vars(module).values():
            if getattr(member, "__module__", "") != module.__name__:
                continue
            members = vars(member).values() if inspect.isclass(member) else [member]
            functions = (getattr(m, "fget", m) for m in members)
            found += [f for f in functions if inspect.isfunction(f)
                      and f.__module__ == module.__name__
                      and (f.__name__ == "__init__" or not f.__name__.startswith("_"))]
    return found


@pytest.mark.parametrize("function", public_functions(), ids=lambda function: function.__qualname__)
def test_the_public_api_says_all_types(function):
    signature = inspect.signature(function)
    untyped = [name for name, parameter in signature.parameters.items()
               if parameter.annotation is parameter.empty and name != "self"]
    assert not untyped and (function.__name__ == "__init__"
                            or signature.return_annotation is not signature.empty)


def test_importing_data_imports_no_model():
    code = ("import sys, parts_jax; assert 'load' in dir(parts_jax) and 'jax' not in sys.modules; "
            "import parts_jax.data.pipeline; "
            "bad = [m for m in sys.modules if m.startswith(('parts_jax.models', 'parts_jax.pre', "
            "'flax'))]; assert not bad, bad; parts_jax.nothing")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "AttributeError: module 'parts_jax' has no attribute 'nothing'" in result.stderr
