"""How SPACE's glimpses become one foreground, and the boundary loss: Algorithm 1, appendix C.

The picture of every cell is never there for all cells at once: `compose` goes through the grid a
row of cells at a time and keeps sums, with the softmax over cells done as it goes. Going back, a
row is made again.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from parts_jax.models.space import spatial_transformer

IMPORTANCE = 100.0  # c of Algorithm 1, by the authors' code; the paper gives no number
DEPTHS = ("code", "paper")
BOUNDARIES = ("code", "paper", "none")


class Glimpses(NamedTuple):
    """What all cells of a grid show, N = G G of them, row by row.

    Attributes:
      colours: o^att, [B, N, g, g, 3].
      alpha: alpha^att times z^pres, [B, N, g, g].
      presence: z^pres, [B, N].
      depth: z^depth, [B, N].
      where: boxes, [B, N, 4].
    """

    colours: jax.Array
    alpha: jax.Array
    presence: jax.Array
    depth: jax.Array
    where: jax.Array


class Foreground(NamedTuple):
    """The cells together.

    Attributes:
      mean: mu^fg, [B, H, W, 3]: colours times alpha already.
      alpha: [B, H, W].
      log_total: log of the sum of what the softmax over cells has above its line, [B, H, W].
      boundary: the boundary kernels of all cells, placed and added, [B, H, W].
    """

    mean: jax.Array
    alpha: jax.Array
    log_total: jax.Array
    boundary: jax.Array


def importance(alpha: jax.Array, depth: jax.Array, order: str) -> jax.Array:
    """What the softmax over cells compares, of glimpses: [B, N, g, g].

    Args:
      alpha: with presence, [B, N, g, g].
      depth: z^depth, [B, N].
      order: "code", of the authors' code: c alpha sigmoid(-z^depth). "paper", of Algorithm
        1 to the letter: -c alpha sigmoid(z^depth), by which a cell that covers a pixel loses to
        all that do not.
    """
    depth = depth[..., None, None]
    if order == "paper":
        return -IMPORTANCE * alpha * jax.nn.sigmoid(depth)
    return IMPORTANCE * alpha * jax.nn.sigmoid(-depth)


def compose(glimpses: Glimpses, kernel: jax.Array, order: str,
            resolution: tuple[int, int]) -> Foreground:
    """The foreground of a grid of cells.

    Args:
      glimpses: of all cells.
      kernel: of the boundary loss, [g, g].
      order: of depths, see `importance`.
      resolution: (H, W).
    """
    rows = round(glimpses.depth.shape[1] ** 0.5)
    in_rows = jax.tree.map(
        lambda a: jnp.moveaxis(a.reshape(a.shape[0], rows, -1, *a.shape[2:]), 1, 0), glimpses)

    @jax.checkpoint
    def add_row(kept, row):
        greatest, total, sums, boundary = kept
        placed = spatial_transformer.place(
            _channels(row, kernel, order), row.where, resolution)  # [B, n, H, W, 6]
        logits = placed[..., 4]
        # Any shift leaves the softmax as it is, so no gradient goes through it.
        new = jax.lax.stop_gradient(jnp.maximum(greatest, jnp.max(logits, axis=1)))
        share, weights = jnp.exp(greatest - new), jnp.exp(logits - new[:, None])
        return (new, total * share + jnp.sum(weights, axis=1),
                sums * share[..., None] + jnp.einsum("bnhw,bnhwc->bhwc", weights, placed[..., :4]),
                boundary + jnp.sum(placed[..., 5], axis=1)), None

    zeros = jnp.zeros_like(glimpses.depth[:, 0])[:, None, None]
    zeros = jnp.broadcast_to(zeros, (zeros.shape[0], *resolution))
    start = (zeros - jnp.inf, zeros, jnp.stack([zeros] * 4, axis=-1), zeros)
    (greatest, total, sums, boundary), _ = jax.lax.scan(add_row, start, in_rows)
    sums = sums / total[..., None]
    return Foreground(sums[..., :3], sums[..., 3], greatest + jnp.log(total), boundary)


def cell_alphas(glimpses: Glimpses, log_total: jax.Array, order: str,
                resolution: tuple[int, int]) -> jax.Array:
    """Each cell's part of the foreground's alpha, [B, N, H, W].

    Args:
      glimpses, order, resolution: as of `compose`.
      log_total: of `compose`.
    """
    both = jnp.stack([glimpses.alpha,
                      importance(glimpses.alpha, glimpses.depth, order)], axis=-1)
    placed = spatial_transformer.place(both, glimpses.where, resolution)
    return placed[..., 0] * jnp.exp(placed[..., 1] - log_total[:, None])


def _channels(glimpses: Glimpses, kernel: jax.Array, order: str) -> jax.Array:
    """What is placed of a glimpse: colours with alpha, alpha, importance, boundary; [..., 6]."""
    alpha = glimpses.alpha
    planes = (alpha, importance(alpha, glimpses.depth, order),
              jnp.multiply.outer(glimpses.presence, kernel))
    return jnp.concatenate([glimpses.colours * alpha[..., None], jnp.stack(planes, axis=-1)], -1)


def boundary_kernel(size: int, gap: int, form: str) -> np.ndarray:
    """The kernel of the boundary loss, float32 [g, g] (appendix C).

    Args:
      size: g.
      gap: pixels from the edge of a glimpse to the boundary.
      form: "code": 1 / g^2 outside of the boundary, 0 inside. "paper": 0 outside, -1 inside (the
        paper gives the sign and no number). "none": 0.
    """
    inside = np.zeros((size, size), bool)
    inside[gap:size - gap, gap:size - gap] = True
    if form == "code":
        return np.where(inside, 0, 1 / size**2).astype(np.float32)
    return np.where(inside & (form == "paper"), -1, 0).astype(np.float32)


def boundary_loss(boundary: jax.Array, alpha: jax.Array, form: str) -> jax.Array:
    """The boundary loss of pictures, [B] (section 2.2, appendix C).

    Args:
      boundary: kernels of all cells, placed, [B, H, W].
      alpha: of the foreground, [B, H, W].
      form: "code": minus log N(1000 boundary alpha; 0, .7^2), summed over pixels. "paper": mean of
        boundary alpha. "none": 0.
    """
    if form == "code":
        overlap = 1000 * boundary * alpha
        nats = 0.5 * jnp.square(overlap / 0.7) + np.log(0.7 * np.sqrt(2 * np.pi))
        return jnp.sum(nats, axis=(1, 2))
    mean = jnp.mean(boundary * alpha, axis=(1, 2))
    return mean if form == "paper" else jnp.zeros_like(mean)
