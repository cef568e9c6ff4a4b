"""bfloat16: what is computed in it, what is not, and how near it stays to float32.

Stated tolerance, of a new model on noise: loss within 1%; cosine of the whole gradient with that of
float32 above 0.99, and of each parameter's above 0.9.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import parts_clevrer
from parts_jax import models
from parts_jax.api import inference
from parts_jax.models.contract import Clip

B, T, K, S = 2, 4, 3, 8
PAPER_LIKE = {"model.encoder.use_likelihood": True, "model.decoder.kernel_size": 3,
              "model.decoder.colour": "full", "data.action_size": 2,
              "model.transition.residual": False}
# Softmax over slots does not change when all queries, all keys, or all mask logits move alike.
WITHOUT_GRADIENT = ("['attention']['norm_query']['bias']",
                    "['transition']['block_0']['attention']['key']['bias']",
                    "['decoder']['pixels']['bias_2']")  # of mask logits alone


def tiny_config(dtype: str, **changes):
    """The demo's model, narrow; keys of `changes` are dotted."""
    config = parts_clevrer.get_config("demo")
    config.update_from_flattened_dict({
        "model.dtype": dtype, "model.num_slots": K, "model.slot_size": 8, "train.unroll": 1,
        "model.decoder.channels": (16, 16), "model.encoder.channels": (8,),
        "model.encoder.output_size": 16, "model.attention.size": 16, "model.attention.mlp": (16,),
        "model.transition.width": 16, "model.transition.mlp_width": 16,
        "model.transition.lstm_size": 16, "model.transition.num_heads": 2} | changes)
    return config


def make_step(dtype: str, **changes):
    """(jitted parameters -> ((loss, (step, view)), gradient), parameters)."""
    config = tiny_config(dtype, **changes)
    model, rng = models.create(config), np.random.default_rng(0)
    clip = Clip(rng.uniform(size=(B, T, S, S, 3)).astype(np.float32),
                rng.normal(size=(B, T, config.data.action_size)).astype(np.float32),
                rng.normal(size=(B, T, 1, K, config.model.slot_size)).astype(np.float32))

    def loss(params):
        value, step = model.loss(params, model.start(B, None), clip, None)
        return value, (step, inference.decode(model, params, step.latents["refined"], (S, S)))

    return (jax.jit(jax.value_and_grad(loss, has_aux=True)),
            functools.partial(model.init, jax.random.key(0)))


def cosine(a, b) -> float:
    a, b = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (a, b))
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@pytest.fixture
def quick_compilation():
    name = "jax_disable_most_optimizations"
    before = jax.config.read(name)
    jax.config.update(name, True)
    yield
    jax.config.update(name, before)


@pytest.mark.parametrize("changes", [{}, PAPER_LIKE])
def test_loss_and_gradient_are_near_those_of_float32(quick_compilation, changes):
    single, make = make_step("float32", **changes)
    half, _ = make_step("bfloat16", **changes)
    params = jax.jit(make)()
    ((loss, _), gradient), ((loss_half, _), gradient_half) = single(params), half(params)
    assert loss != loss_half
    np.testing.assert_allclose(loss_half, loss, rtol=0.01)
    assert cosine(gradient, gradient_half) > 0.99
    named = {jax.tree_util.keystr(path): leaf
             for path, leaf in jax.tree_util.tree_leaves_with_path(gradient)}
    near = {name: cosine(leaf, other) for (name, leaf), other
            in zip(named.items(), jax.tree.leaves(gradient_half), strict=True)
            if name not in WITHOUT_GRADIENT}
    assert len(near) == len(named) - len(set(named).intersection(WITHOUT_GRADIENT))
    assert min(near.values()) > 0.9, sorted(near.items(), key=lambda item: item[1])[:3]


@pytest.mark.parametrize("changes", [{}, PAPER_LIKE, {"model.decoder.colour": "shaded"}])
def test_all_that_leaves_the_model_is_float32(changes):
    """Parameters, loss, metrics, mixture, posterior, recurrent state, gradients."""
    step, make = make_step("bfloat16", **changes)
    params = jax.eval_shape(make)
    outputs = jax.eval_shape(step, params)
    assert {leaf.dtype for leaf in jax.tree.leaves((params, outputs))} == {jnp.dtype("float32")}


def test_products_are_bfloat16_and_what_is_delicate_is_not():
    step, make = make_step("bfloat16", **PAPER_LIKE)
    lines = step.lower(jax.eval_shape(make)).as_text().splitlines()
    of_kind = lambda *kinds: [line for line in lines
                              if re.search(rf"stablehlo\.({'|'.join(kinds)})\b", line)]
    in_single = lambda line: "bf16" not in line
    assert len(of_kind("convolution")) > 10 and not any(map(in_single, of_kind("convolution")))
    products = of_kind("dot_general")
    # The basis, and the transformer's sum over K values, both with what goes backward; and the
    # basis once more where the refined posterior is decoded.
    assert len(products) > 40 and sum(map(in_single, products)) == 6
    assert len(of_kind("log", "rsqrt")) > 5 and all(map(in_single, of_kind("log", "rsqrt")))
    # All softmaxes and the likelihood; what is left are the three gates of the LSTM.
    exponentials = of_kind("exponential")
    assert len(exponentials) > 10 and sum(not in_single(line) for line in exponentials) == 3
