"""The train step beside other ways to write it, timed in turn: what each way costs, as a ratio.

    python -m benchmarks.variants --config=configs/parts_clevrer.py:demo
    python -m benchmarks.variants --config=configs/parts_clevrer.py:paper --compile_only

`variants` says what there is. Prints a table; --out=FILE gets the JSON, `measure` says what stands
in it. Variants are timed one call of each in turn, so that a machine shared with other work slows
all of them alike, and ratios of time are medians over the turns. Single values of the config are
set with --config.path.to.key=value.
"""

import contextlib
from typing import Any, NamedTuple
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import app, flags
from flax.linen.dtypes import promote_dtype

from benchmarks import step
from parts_jax.data import pipeline
from parts_jax.devices import sharding
from parts_jax.equations import refinement, truncation
from parts_jax.models.parts import slot_attention
from parts_jax.networks import decoders, layers

OURS = "ours"


def score_without_gradient(objective, decoder_params, lambda_, x, noise, beta,
                           examples_at_once=0, prior=None) -> refinement.Score:
    """`refinement.score` with zeros as refinement's gradient: what a step costs without one."""
    del examples_at_once
    loss, auxiliary = objective(decoder_params, lambda_, prior, (x, noise, beta))
    zeros = jax.tree.map(jnp.zeros_like, lambda_)
    return refinement.Score(loss, *jax.lax.stop_gradient((zeros, *auxiliary)))


class TiledConv(layers.BroadcastConv):
    """`layers.BroadcastConv` without linearity: the slot is tiled, and convolved at every pixel."""

    @nn.compact
    def __call__(self, z: jax.Array, basis: jax.Array) -> jax.Array:
        """z [..., D], basis [H, W, D] -> [..., H, W, features]."""
        k, size = self.kernel_size, z.shape[-1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (k, k, size, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        tiled, kernel, bias = promote_dtype(tile(z, basis), kernel, bias, dtype=self.dtype)
        out = jax.lax.conv_general_dilated(
            tiled.reshape(-1, *tiled.shape[-3:]), kernel, (1, 1), "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return out.reshape(*tiled.shape[:-1], self.features) + jnp.expand_dims(
            bias, range(tiled.ndim - 1))


class TiledPixelNetwork(decoders.PixelNetwork):
    """`decoders.PixelNetwork` without linearity: its first layer, too, is taken at every pixel."""

    @nn.compact
    def __call__(self, z: jax.Array, basis: jax.Array) -> jax.Array:
        """z [..., K, D], basis [H, W, D] or [..., H, W, D] -> [..., K, H, W, widths[-1]]."""
        tiled, = promote_dtype(tile(z, basis), dtype=self.dtype)
        h = tiled.reshape(-1, tiled.shape[-1]).T
        for i, inputs in enumerate((z.shape[-1], *self.widths[:-1])):
            kernel, bias = self.layer(i, inputs)
            h = kernel.T @ (nn.relu(h) if i else h) + bias[:, None]
        return jnp.moveaxis(h.reshape(-1, *tiled.shape[:-1]), 0, -1)


def tile(z: jax.Array, basis: jax.Array) -> jax.Array:
    """z [..., K, D] at every pixel, plus basis [H, W, D] or [..., H, W, D] -> [..., K, H, W, D]."""
    basis = jnp.expand_dims(basis, -4)  # over K
    return z[..., None, None, :] + jnp.expand_dims(basis, range(z.ndim + 2 - basis.ndim))


def attend_with_keys(queries, key_kernel, encoding):
    """`slot_attention.attention_weights` with keys formed at every pixel."""
    return slot_attention_weights(queries, jnp.eye(queries.shape[-1], dtype=queries.dtype),
                                  encoding @ key_kernel)


def outputs_with_values(attn, value_kernel, encoding, epsilon=1e-6):
    """`slot_attention.slot_outputs` with values formed at every pixel."""
    values = encoding @ value_kernel
    return slot_attention_outputs(attn, jnp.eye(values.shape[-1], dtype=values.dtype), values,
                                  epsilon)


def whole_value_and_grad(chunk_loss, truncation: int, unroll: bool = False):
    """`truncated_value_and_grad` in one piece: one scan, state cut by stop_gradient."""
    del truncation, unroll  # the model cuts its state itself, see truncation.truncate
    take = jax.value_and_grad(chunk_loss, has_aux=True)

    def value_and_grad(params, state, inputs):
        (loss, (state, metrics)), gradients = take(params, state, inputs)
        return (loss, state, metrics), gradients
    return value_and_grad


slot_attention_weights, slot_attention_outputs = (
    slot_attention.attention_weights, slot_attention.slot_outputs)


def scan_with_remat(scan):
    """lax.scan that keeps no activations of its body: they are computed again, backward."""
    return lambda body, *args, **kwargs: scan(jax.checkpoint(body), *args, **kwargs)


class Variant(NamedTuple):
    """A way to write the train step.

    Attributes:
      what: in words.
      changes: of the config, dotted keys.
      patches: (object, name of what is replaced, by what).
    """

    what: str
    changes: dict[str, Any] = {}
    patches: tuple[tuple[Any, str, Any], ...] = ()

    def patched(self) -> contextlib.ExitStack:
        """A context in which the step is traced this way."""
        stack = contextlib.ExitStack()
        for patch in self.patches:
            stack.enter_context(mock.patch.object(*patch))
        return stack


def variants(config: ml_collections.ConfigDict) -> dict[str, Variant]:
    """The step as `config` has it, by the name `OURS`, and the others."""
    twice = (refinement, "score", refinement.score_naively)
    tiled = ((layers, "BroadcastConv", TiledConv), (decoders, "PixelNetwork", TiledPixelNetwork))
    formed = ((slot_attention, "attention_weights", attend_with_keys),
              (slot_attention, "slot_outputs", outputs_with_values))
    whole_clip = (truncation, "truncated_value_and_grad", whole_value_and_grad)
    naive = (twice, *tiled, *formed, whole_clip)
    whole, single = pipeline.train_frames(config.data), config.model.dtype == "float32"
    every = {
        OURS: Variant("the config's own"),
        "naive": Variant("as the equations are written: none of the savings", patches=naive),
        "naive, remat": Variant("the same, jax.checkpoint of the scan's body", patches=(
            *naive, (jax.lax, "scan", scan_with_remat(jax.lax.scan)))),
        "twice": Variant("inner value_and_grad, differentiated again", patches=(twice,)),
        "tiled": Variant("the decoder's first layer at every pixel", patches=tiled),
        "keys": Variant("keys and values at every pixel", patches=formed),
        "whole": Variant("all frames in one chunk, state cut by stop_gradient", patches=(
            whole_clip,)),
        "no inner gradient": Variant("refinement sees zeros: the floor", patches=(
            (refinement, "score", score_without_gradient),)),
        "unroll 1": Variant("a loop over time", {"train.unroll": 1}),
        "unroll T": Variant("no loop over time", {"train.unroll": whole}),
        "bfloat16" if single else "float32": Variant(
            "convolutions and products", {"model.dtype": "bfloat16" if single else "float32"}),
    }
    same = "unroll T" if config.train.unroll >= whole else f"unroll {config.train.unroll}"
    return {name: variant for name, variant in every.items() if name != same}


def measure(config: ml_collections.ConfigDict, stage: int = -1, num_steps: int = 20,
            compile_only: bool = False, devices: list | None = None,
            names: list[str] | None = None) -> dict[str, Any]:
    """Measures the train step in each of the ways of `variants`.

    Args:
      config: as in configs/.
      stage: of config.schedule; -1: the last.
      num_steps: how many steps of each are timed, after 3 for warming up.
      compile_only: runs nothing: no times.
      devices: on which; None: all.
      names: which variants beside `OURS`; None: all.

    Returns:
      `hardware`, `stage`, `resolution`, and `variants`: by name, what `step.measure` has of a train
      step (compilation, memory, FLOPs, times) and `ratios` to ours: of `flops`, peak `memory` and
      `seconds`, the last the median over turns.

    Raises:
      ValueError: there is no variant of such a name.
    """
    mesh, every = sharding.make_mesh(devices), variants(config)
    for name in names or ():
        if name not in every:
            raise ValueError(f"{name!r} is no variant of this config; it has: {', '.join(every)}.")
    report, runs = {}, {}
    for name in dict.fromkeys([OURS, *(names or every)]):
        report[name], compiled, start = compile_variant(config, every[name], stage, mesh)
        if not compile_only:
            runs[name] = start(compiled)
    seconds = step.time_in_turn(runs, num_steps)
    ours = report[OURS]
    for name, part in report.items():
        part["ratios"] = {"flops": part["flops"] / ours["flops"]}
        if "memory_bytes" in part:
            part["ratios"]["memory"] = part["memory_bytes"]["peak"] / ours["memory_bytes"]["peak"]
        if runs:
            part["step_seconds"] = step.summarise(seconds[name]) | {"num_steps": num_steps}
            part["ratios"]["seconds"] = float(np.median(seconds[name] / seconds[OURS]))
    return {"hardware": step.hardware(mesh), "stage": stage,
            "resolution": config.schedule.resolution[stage], "variants": report}


def compile_variant(config, variant: Variant, stage: int, mesh) -> tuple[dict[str, Any], Any, Any]:
    """Compiles a variant: its part of the report, the program, and what starts it."""
    config = config.copy_and_resolve_references().unlock()
    config.update_from_flattened_dict(variant.changes)
    with variant.patched():
        program, arguments, start = step.train_program(config, stage, mesh)
        described, compiled = step.describe_compiled(program, arguments)
        described |= step.describe_flops(config, "train_step", stage, mesh, compiled)
    return {"what": variant.what} | described, compiled, start


def as_table(report: dict[str, Any]) -> str:
    """A row a variant: times, FLOPs and memory, and their ratios to ours."""
    rows = []
    for name, part in report["variants"].items():
        ratios, times = part["ratios"], part.get("step_seconds")
        memory = part.get("memory_bytes", {}).get("peak")
        rows.append((
            f"{name}: {part['what']}",
            f"{1e3 * times['median']:.1f}" if times else "",
            f"{ratios['seconds']:.2f}" if times else "",
            f"{part['flops_over_minimum']:.3f}", f"{ratios['flops']:.2f}",
            f"{memory / 2**20:.0f}" if memory else "", f"{ratios['memory']:.2f}" if memory else "",
            f"{part['compile_seconds']:.0f}"))
    return step.table(("step", "ms", "ratio", "FLOPs over minimum", "ratio", "peak MiB", "ratio",
                       "compile s"), rows)


def main(arguments: list[str]) -> None:
    """Reads the flags, measures, prints and writes."""
    del arguments
    values, config = flags.FLAGS, step.read_config()
    report = {"config": values["config"].config_filename}
    report |= measure(config, values.stage, values.num_steps, values.compile_only,
                      names=values.variants)
    print(as_table(report))
    step.write(report, values.out)


if __name__ == "__main__":
    step.define_flags()
    flags.DEFINE_list("variants", None, "Names of those to be measured beside ours; else all.")
    app.run(main)
