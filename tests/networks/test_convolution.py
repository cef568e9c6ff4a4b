"""The convolution whose gradients are written out: against JAX's own, and in what form they are."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import test_util
from jax.sharding import PartitionSpec

from parts_jax.networks.convolution import CHANNELS_LAST, Conv, convolve

PADDINGS = ("SAME", "VALID", ((1, 2), (0, 3)), ((0, 0), (2, 0)))


def by_jax(x, kernel, strides, padding):
    """What is to be had."""
    return jax.lax.conv_general_dilated(x, kernel, strides, padding,
                                        dimension_numbers=CHANNELS_LAST)


def both(convolution, x, kernel, strides, padding):
    """A number that depends on all of the output, and its gradients."""
    return jax.value_and_grad(
        lambda x, kernel: jnp.sum(jnp.sin(convolution(x, kernel, strides, padding))),
        (0, 1))(x, kernel)


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
def test_values_and_gradients_are_those_of_jax(padding):
    for (s, t), (k, m), h in itertools.product(((1, 1), (2, 2), (3, 2)), ((1, 1), (3, 3), (4, 2)),
                                               (7, 8)):
        x = jax.random.normal(jax.random.key(0), (2, h, 9, 3))
        kernel = jax.random.normal(jax.random.key(1), (k, m, 3, 5))
        found, expected = (both(f, x, kernel, (s, t), padding) for f in (convolve, by_jax))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)


def test_a_gradient_is_the_slope():
    x = jax.random.normal(jax.random.key(0), (1, 5, 6, 2))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 2, 4))
    test_util.check_grads(lambda x, kernel: convolve(x, kernel, (2, 2), "SAME"), (x, kernel),
                          order=2, modes=["rev"], rtol=1e-2, atol=1e-2)


def test_gradients_keep_the_kind_of_number():
    x, kernel = jnp.ones((1, 4, 4, 2), jnp.bfloat16), jnp.ones((3, 3, 2, 2), jnp.bfloat16)
    gradients = jax.grad(lambda x, kernel: jnp.sum(convolve(x, kernel, (1, 1), "SAME")), (0, 1))(
        x, kernel)
    assert [g.dtype for g in gradients] == [jnp.bfloat16] * 2


@pytest.mark.parametrize("shared", [0, 1], ids=["inputs", "kernel"])
def test_what_devices_share_has_the_sum_of_their_gradients(shared):
    """Inside of a shard_map one of both is the same on all devices, as coordinates are."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,),
                         devices=jax.devices()[:2])
    given = [jax.random.normal(jax.random.key(0), (2, 1, 6, 6, 2)),
             jax.random.normal(jax.random.key(1), (2, 3, 3, 2, 4))]
    given[shared] = given[shared][:1]
    specs = tuple(PartitionSpec() if i == shared else PartitionSpec("data") for i in (0, 1))
    loss = lambda x, kernel: jnp.sum(jnp.sin(convolve(x[0], kernel[0], (2, 2), "SAME")))
    found = jax.shard_map(jax.grad(loss, (0, 1)), mesh=mesh, in_specs=specs, out_specs=specs)(
        *given)
    pairs = zip(*(jnp.broadcast_to(a, (2, *a.shape[1:])) for a in given), strict=True)
    alone = [both(by_jax, x, kernel, (2, 2), "SAME")[1] for x, kernel in pairs]
    for i, gradients in enumerate(zip(*alone, strict=True)):
        expected = sum(gradients)[None] if i == shared else jnp.stack(gradients)
        np.testing.assert_allclose(found[i], expected, rtol=1e-5, atol=1e-4)


def forms_in_a_loop(convolution) -> set[str]:
    """Axes of all convolutions of a scan and of its gradients, as XLA compiles them."""
    x = jnp.ones((2, 8, 8, 3))

    def loss(kernel, x):
        def step(x, _):
            return x + jnp.mean(convolution(x, kernel, (2, 2), "SAME")), None
        return jnp.sum(jax.lax.scan(step, x, None, length=3)[0])

    text = jax.jit(jax.grad(loss, (0, 1))).lower(jnp.ones((3, 3, 3, 5)), x).compile().as_text()
    return set(re.findall(r"dim_labels=(\S+?->\w+)", text))


def test_in_a_loop_all_have_the_form_that_is_fast():
    assert forms_in_a_loop(convolve) == {"b01f_01io->b01f"}
    assert len(forms_in_a_loop(by_jax)) > 1, "XLA does it by itself now: convolution.py can go"


def test_a_layer_is_flax_own():
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    ours, theirs = Conv(4, (3, 3), strides=2), Conv(4, (3, 3), strides=2,
                                                    conv_general_dilated=jax.lax.conv_general_dilated)
    params = ours.init(jax.random.key(1), x)
    np.testing.assert_array_equal(ours.apply(params, x), theirs.apply(params, x))
    assert params["params"]["kernel"].shape == (3, 3, 3, 4)


@pytest.mark.parametrize("option", [dict(kernel_dilation=2), dict(feature_group_count=3),
                                    dict(input_dilation=2), dict(precision="highest")])
def test_what_it_cannot_do_is_refused(option):
    with pytest.raises(ValueError, match="without dilation, groups"):
        Conv(3, (3, 3), **option).init(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
