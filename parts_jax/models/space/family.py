"""SPACE by the contract of families: what a config describes, as functions of parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from parts_jax.models.contract import Model, Step
from parts_jax.models.space import annealing, background, foreground, initial, model


def create(config: ml_collections.ConfigDict) -> Model:
    """The model that a config describes, by the contract of families.

    Frames of a clip are pictures each by itself. Slots are the G G cells, row by row, if there is a
    foreground, and after them the components of the background; of another number of slots, so many
    more or fewer are components. There is one stage, "final": the sample that was scored.
    """
    c, cells = config.model, num_cells(config.model)
    space, values_at = build(config), annealing.values_at(config)

    def init(key):
        return initial.parameters(space, key, "make_parameters")

    def noise(keys, num_frames, num_slots):
        components = num_slots - cells if num_slots else c.background.num_components
        if components < 1:
            raise ValueError(f"num_slots is {num_slots}, but SPACE has {cells} cells and at least "
                             f"one component of the background: it must be {cells + 1} or more.")
        return jax.vmap(lambda key: _draw(c, key, num_frames, components))(keys)

    def loss(params, state, clip, step):
        pictures, noise = jax.tree.map(_flat, (clip.video, clip.noise))
        losses, scene, metrics = space.apply(
            {"params": params}, pictures, noise, values_at(step))
        scene, metrics = jax.tree.map(
            lambda a: a.reshape(*clip.video.shape[:2], *a.shape[1:]), (scene, metrics))
        return jnp.mean(losses), Step(state, {"final": scene},
                                      jax.lax.stop_gradient(metrics), {})

    def decode(params, scene, resolution):
        return model.view_of(scene, *space.apply(
            {"params": params}, scene, tuple(resolution), method="decode"))

    return Model(init, lambda batch_size, num_slots: (), noise, loss, decode,
                 cells + c.background.num_components, ("final",))


def build(config: ml_collections.ConfigDict) -> model.SPACE:
    """The linen module of the `model` part of a config."""
    c = config.model
    fg, bg, dtype = c.foreground, c.background, compute_dtype(c)
    return model.SPACE(
        foreground=foreground.ForegroundNetworks(
            image_size=c.image_size, grid=fg.grid, glimpse_size=fg.glimpse_size,
            what_size=fg.what_size, cells=fg.cells, spread_offset=c.spread_offset, width=c.width,
            dtype=dtype),
        background=background.BackgroundNetworks(
            image_size=c.image_size, mask_size=bg.mask_size, component_size=bg.component_size,
            decoder=bg.decoder, norm=bg.norm, spread_offset=c.spread_offset,
            width=c.width, dtype=dtype),
        scale_std=fg.scale_std, foreground_std=fg.sigma_x, background_std=bg.sigma_x,
        likelihood=c.likelihood, kl_gate=fg.kl_gate, depth_order=fg.depth_order,
        boundary=c.boundary.form, boundary_gap=c.boundary.gap, alpha_value=c.alpha.fixed_value,
        beta_pixels=c.beta_pixels)


def num_cells(c: ml_collections.ConfigDict) -> int:
    """N of the `model` part of a config."""
    return 0 if c.foreground.cells == "none" else c.foreground.grid**2


def compute_dtype(config: ml_collections.ConfigDict) -> Any:
    """What convolutions and matrix products are computed in; None: as the parameters."""
    return jnp.bfloat16 if config.dtype == "bfloat16" else None


def _draw(c: ml_collections.ConfigDict, key: jax.Array, num_frames: int,
          components: int) -> dict[str, jax.Array]:
    """Noise of one example, [T, ...] each."""
    fg, bg, cells = c.foreground, c.background, num_cells(c)
    normal = lambda i, *shape: jax.random.normal(
        jax.random.fold_in(key, i), (num_frames, *shape))
    # A key a component: with more of them, the first are what they were.
    each = lambda i, size: jax.vmap(
        lambda k: jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, i), k),
                                    (num_frames, size)), out_axes=1)(jnp.arange(components))
    return {"presence": jax.random.logistic(jax.random.fold_in(key, 0), (num_frames, cells)),
            "depth": normal(1, cells, 1), "scale": normal(2, cells, 2),
            "shift": normal(3, cells, 2), "what": normal(4, cells, fg.what_size),
            "mask": each(5, bg.mask_size), "component": each(6, bg.component_size)}


def _flat(array: jax.Array) -> jax.Array:
    """[B, T, ...] -> [B T, ...]."""
    return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])
