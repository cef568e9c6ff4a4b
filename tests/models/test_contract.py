"""Shapes that enter a model are checked by the names of their axes; noise belongs to examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parts_jax.models import contract
from parts_jax.models.contract import Clip, Model, Step, View

B, T, A, S, K = 2, 3, 1, 4, 2
VIEW = View(jnp.zeros((B, S, S, 3)), jnp.zeros((B, K, S, S)))


def family(**changes) -> Model:
    """One whose numbers are of the right shapes, unless `changes` says otherwise."""
    parts = dict(
        metrics={"mse": jnp.zeros((B, T))}, latents={"only": jnp.zeros((B, T, K))},
        maps={"alpha": jnp.zeros((B, T, K, S, S))}, loss=jnp.zeros(()),
        view=VIEW,
        predicted=jnp.zeros((B, T, K)), assigned=jnp.zeros((B, K, S, S))) | changes
    return contract.checked(Model(
        init=lambda key: {}, start=lambda batch_size, num_slots: jnp.zeros(batch_size),
        noise=lambda keys, num_frames, num_slots: jnp.zeros((len(keys), num_frames)),
        loss=lambda params, state, clip, step: (parts["loss"], Step(
            state, parts["latents"], parts["metrics"], parts["maps"])),
        decode=lambda params, latents, resolution: parts["view"], num_slots=K, stages=("only",),
        predict=lambda params, state, actions, noise: parts["predicted"],
        assign=lambda view, frame: parts["assigned"],
        reads=("video", "flow")), A)


def clip(**changes) -> Clip:
    return Clip(jnp.zeros((B, T, S, S, 3)), jnp.zeros((B, T, A)), jnp.zeros((B, T)),
                {"flow": jnp.zeros((B, T, S, S, 2))})._replace(**changes)


def loss(model, state=None, **changes):
    return model.loss({}, jnp.zeros(B) if state is None else state, clip(**changes), None)


def test_right_shapes_pass():
    model = family()
    assert loss(model)[1].metrics["mse"].shape == (B, T)
    assert model.decode({}, jnp.zeros((B, K)), (S, S)).masks.shape == (B, K, S, S)
    assert model.predict({}, jnp.zeros(B), jnp.zeros((B, T, A)), ()).shape == (B, T, K)
    assert model.assign(VIEW, jnp.zeros((B, S, S, 3))).shape == (B, K, S, S)
    assert contract.checked(model._replace(assign=None), A).assign is None
    assert model.cues == ("flow",)


@pytest.mark.parametrize("changes, message", [
    (dict(video=jnp.zeros((B, S, S, 3))),
     r"video has the shape \[2, 4, 4, 3\], but must be \[B, T, H, W, 3\]"),
    (dict(video=jnp.zeros((B, T, S, S, 1))), r"video .* \[2, 3, 4, 4, 1\]"),
    (dict(actions=jnp.zeros((B, T, 5))),
     r"actions has the shape \[2, 3, 5\], but must be \[B, T, A\] with B = 2, T = 3, A = 1\."),
    (dict(actions=jnp.zeros((T, B, A))), r"actions has the shape \[3, 2, 1\]"),
    (dict(noise={"z": jnp.zeros((B, T + 1, 3))}),
     r"noise\['z'\] has the shape \[2, 4, 3\], but must be \[B, T, \.\.\.\] with B = 2, T = 3\."),
    (dict(state=jnp.zeros(B + 1)), r"state has the shape \[3\], but must be \[B, \.\.\.\]"),
    (dict(seen=jnp.ones((T, B), bool)), r"seen has the shape \[3, 2\], but must be \[B, T, "),
    (dict(cues={}), r"The clip has the cues \[\], but the model reads \['flow'\]"),
])
def test_a_wrong_shape_that_enters_loss_names_its_axes(changes, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: loss(family(), **changes))


@pytest.mark.parametrize("changes, message", [
    (dict(metrics={"mse": jnp.zeros((T, B))}),
     r"metrics\['mse'\] has the shape \[3, 2\], but must be \[B, T\] with B = 2, T = 3\."),
    (dict(loss=jnp.zeros(B)), r"loss has the shape \[2\], but must be \[\]"),
    (dict(latents={"other": jnp.zeros((B, T))}), r"gives latents of \['other'\], .* \['only'\]"),
    (dict(latents={"only": jnp.zeros((T, B))}), r"latents\['only'\] has the shape"),
    (dict(maps={"alpha": jnp.zeros((B, T, S, S))}), r"maps\['alpha'\] .* \[B, T, K, H, W\]"),
])
def test_a_family_that_gives_a_wrong_shape_is_told(changes, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: loss(family(**changes)))


def test_decode_and_predict_are_checked():
    with pytest.raises(ValueError, match=r"latents of one frame has the shape \[5, 2\]"):
        family().decode({}, jnp.zeros((5, K)), (S, S))
    narrow = family(view=View(jnp.zeros((B, S, S, 1)), jnp.zeros((B, K, S, S))))
    with pytest.raises(ValueError, match=r"recon .* \[B, H, W, 3\] with B = 2, H = 4, W = 4\."):
        narrow.decode({}, jnp.zeros((B, K)), (S, S))
    boxed = family(view=View(jnp.zeros((B, S, S, 3)), jnp.zeros((B, K, S, S)), None,
                             jnp.zeros((B, K, 4))))
    with pytest.raises(ValueError, match=r"boxes .* \[B, K, 5\]"):
        boxed.decode({}, jnp.zeros((B, K)), (S, S))
    with pytest.raises(ValueError, match=r"actions has the shape \[2, 3, 2\]"):
        family().predict({}, jnp.zeros(B), jnp.zeros((B, T, 2)), ())
    with pytest.raises(ValueError, match=r"latents has the shape \[3, 2\]"):
        family(predicted=jnp.zeros((T, B))).predict(
            {}, jnp.zeros(B), jnp.zeros((B, T, A)), ())


def test_what_assigns_pixels_is_checked():
    with pytest.raises(ValueError, match=r"frame to assign has the shape \[2, 3, 4, 4, 3\], but"):
        family().assign(VIEW, jnp.zeros((B, T, S, S, 3)))
    with pytest.raises(ValueError, match=r"masks has the shape .* with B = 2, K = 2, H = 5, W = 5"):
        family().assign(VIEW, jnp.zeros((B, 5, 5, 3)))
    with pytest.raises(ValueError, match=r"responsibilities has the shape \[2, 4, 4\], but"):
        family(assigned=jnp.zeros((B, S, S))).assign(VIEW, jnp.zeros((B, S, S, 3)))


def test_keys_belong_to_examples_and_actions_come_one_frame_later():
    keys = contract.example_keys(jax.random.key(0), jnp.asarray([5, 7]))
    again = contract.example_keys(jax.random.key(0), jnp.asarray([7]))
    draw = lambda key: np.asarray(jax.random.normal(key, (3,)))
    np.testing.assert_array_equal(draw(keys[1]), draw(again[0]))
    np.testing.assert_array_equal(draw(keys[0]), draw(jax.random.fold_in(jax.random.key(0), 5)))
    actions = np.arange(6.0).reshape(1, 3, 2)
    np.testing.assert_array_equal(contract.previous_actions(jnp.asarray(actions)),
                                  [[[0, 0], [0, 1], [2, 3]]])
