"""SPACE: what is inferred of pictures, how it is shown, and the loss (sections 2.1, 2.2)."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from parts_jax.models.contract import View
from parts_jax.models.space import composition, latents, spatial_transformer
from parts_jax.models.space.annealing import Values
from parts_jax.models.space.background import BackgroundNetworks, resized, stick_breaking
from parts_jax.models.space.composition import Foreground
from parts_jax.models.space.foreground import ForegroundNetworks

LIKELIHOODS = ("per_channel", "joint")
TINY = 1e-5  # beside masks and alpha in logarithms, as in the authors' code


class Scene(NamedTuple):
    """A sample of q(z | x).

    Attributes:
      presence: z^pres, relaxed, [B, N], of N = G G cells, row by row.
      probability: of presence, [B, N].
      depth: z^depth, [B, N].
      where: z^where, boxes, [B, N, 4], see spatial_transformer.py.
      what: z^what, [B, N, D].
      mask: z^m, [B, K, .], of K components of the background.
      component: z^c, [B, K, .].
    """

    presence: jax.Array
    probability: jax.Array
    depth: jax.Array
    where: jax.Array
    what: jax.Array
    mask: jax.Array
    component: jax.Array


class Decoded(NamedTuple):
    """What a scene looks like.

    Attributes:
      foreground: all cells together.
      masks: of the background's components, [B, K, H, W], sum to 1.
      components: [B, K, H, W, 3].
    """

    foreground: Foreground
    masks: jax.Array
    components: jax.Array

    @property
    def background(self) -> jax.Array:
        """[B, H, W, 3]."""
        return jnp.sum(self.masks[..., None] * self.components, axis=1)


class SPACE(nn.Module):
    """Foreground and background.

    Attributes:
      foreground: networks of it.
      background: networks of it.
      scale_std: sigma^scale of the prior, before the sigmoid.
      foreground_std: sigma^fg of pixels.
      background_std: sigma^bg of pixels.
      likelihood: "per_channel": a pixel's channels are mixed each by itself, as in the authors'
        code; "joint": as one colour.
      kl_gate: see `latents.cell_kls`.
      depth_order: see `composition.importance`.
      boundary: see `composition.boundary_kernel`, `composition.boundary_loss`.
      boundary_gap: pixels of a glimpse outside of its boundary.
      alpha_value: of alpha where it is fixed.
      beta_pixels: KLs and boundary loss have the weight 1 for pictures of so many pixels, and in
        proportion for others, so that smaller ones of a first stage are the same task; 0: always 1.
    """

    foreground: ForegroundNetworks
    background: BackgroundNetworks
    scale_std: float
    foreground_std: float
    background_std: float
    likelihood: str
    kl_gate: str
    depth_order: str
    boundary: str
    boundary_gap: int
    alpha_value: float
    beta_pixels: int = 0

    def infer(self, x: jax.Array, noise: dict[str, jax.Array],
              values: Values) -> tuple[Scene, dict[str, jax.Array], jax.Array]:
        """Samples q(z | x); pictures of another size than the networks' are resized first.

        Args:
          x: pictures, [B, H, W, 3].
          noise: one frame's of `Model.noise`: "presence" [B, N] of the logistic distribution,
            else standard normal.
          values: of the step.

        Returns:
          A scene; KLs in nats, {name: [B]}; and what the background's components take of what is
          left, [B, K, S, S]: decoded of z^m already, as their encoder sees it.
        """
        seen = jnp.moveaxis(resized(jnp.moveaxis(x, -1, 1), (self.foreground.image_size,) * 2),
                            1, -1)
        background = self.background.infer(seen, noise)
        of_background, kls = (background.mask, background.component), {"background": background.kl}
        if not self.has_foreground:
            none = jnp.zeros_like(noise["presence"])  # [B, 0], as all else of no cells
            return Scene(none, none, none, jnp.zeros_like(noise["what"][..., :1].repeat(4, -1)),
                         noise["what"], *of_background), kls, background.portions
        cells = self.foreground.infer(seen, noise, values.temperature)
        priors = latents.CellPriors(values.presence_prior, values.scale_mean, self.scale_std)
        kls = latents.cell_kls(cells.posterior, cells.what_posterior, priors, cells.presence,
                               self.kl_gate) | kls
        scene = Scene(cells.presence, nn.sigmoid(cells.posterior.presence), cells.depth,
                      cells.where, cells.what, *of_background)
        return scene, kls, background.portions

    @property
    def has_foreground(self) -> bool:
        """Whether there are cells."""
        return self.foreground.cells != "none"

    def decode(self, scene: Scene, resolution: tuple[int, int]) -> tuple[Decoded, jax.Array]:
        """A scene's picture of any resolution, and the parts of cells in alpha, [B, N, H, W]."""
        if not self.has_foreground:
            decoded = self.compose(scene, None, self.background.portions(scene.mask), resolution)
            return decoded, decoded.masks[:, :0]
        glimpses = self.glimpses(scene)
        decoded = self.compose(scene, glimpses, self.background.portions(scene.mask), resolution)
        return decoded, composition.cell_alphas(
            glimpses, decoded.foreground.log_total, self.depth_order, resolution)

    def glimpses(self, scene: Scene) -> composition.Glimpses:
        """What cells show."""
        return self.foreground.glimpses(scene.what, scene.presence, scene.depth, scene.where)

    def compose(self, scene: Scene, glimpses: composition.Glimpses | None, portions: jax.Array,
                resolution: tuple[int, int]) -> Decoded:
        """The picture, without the cells' own; `portions` are the background's, decoded."""
        masks = stick_breaking(resized(portions, resolution))
        components = self.background.components(scene.component, resolution)
        if glimpses is None:
            none = jnp.zeros_like(masks[:, 0])
            return Decoded(Foreground(none[..., None].repeat(3, -1), none, none, none), masks,
                           components)
        kernel = composition.boundary_kernel(self.foreground.glimpse_size, self.boundary_gap,
                                             self.boundary)
        return Decoded(composition.compose(glimpses, kernel, self.depth_order, resolution), masks,
                       components)

    def __call__(self, x: jax.Array, noise: dict[str, jax.Array],
                 values: Values) -> tuple[jax.Array, Scene, dict[str, jax.Array]]:
        """The loss: minus the ELBO of equation (6), and the boundary loss.

        Args:
          x: pictures in [0, 1], [B, H, W, 3].
          noise: as of `infer`.
          values: of the step.

        Returns:
          The loss in nats, [B]; the scene; metrics, {name: [B]}.
        """
        scene, kls, portions = self.infer(x, noise, values)
        glimpses = self.glimpses(scene) if self.has_foreground else None
        decoded = self.compose(scene, glimpses, portions, x.shape[1:3])
        shown = decoded.foreground
        alpha = jnp.where(values.alpha_fixed & self.has_foreground, self.alpha_value, shown.alpha)
        nll = -jnp.sum(self.log_prob(decoded, alpha, x, values.scales.sigma), axis=(1, 2))
        boundary = composition.boundary_loss(
            shown.boundary, shown.alpha, self.boundary if self.has_foreground else "none")
        kl = sum(kls.values())
        mse = jnp.mean(jnp.square(picture(decoded, alpha) - x), axis=(1, 2, 3))
        metrics = {"neg_elbo": nll + kl, "nll": nll, "kl": kl, "mse": mse, "boundary": boundary,
                   **{f"kl_{name}": kl for name, kl in kls.items()},
                   "alpha": jnp.mean(shown.alpha, axis=(1, 2)),
                   "objects": jnp.sum(scene.probability > 0.5, axis=1).astype(nll.dtype)}
        weight = x.shape[1] * x.shape[2] / self.beta_pixels if self.beta_pixels else 1.0
        return (nll + weight * (values.scales.beta * kl + values.boundary * boundary), scene,
                metrics)

    def log_prob(self, decoded: Decoded, alpha: jax.Array, x: jax.Array,
                 sigma_scale: jax.Array | float = 1.0) -> jax.Array:
        """log p(x | z) of pixels, alpha p(x | z^fg) + (1 - alpha) p(x | z^bg), [B, H, W].

        Args:
          decoded: the picture.
          alpha: of the foreground, [B, H, W].
          x: [B, H, W, 3].
          sigma_scale: factor of both standard deviations.
        """
        def density(mean: jax.Array, x: jax.Array, std: float) -> jax.Array:
            std = std * sigma_scale
            nats = -0.5 * jnp.square((x - mean) / std) - jnp.log(std * np.sqrt(2 * np.pi))
            return jnp.sum(nats, axis=-1, keepdims=True) if self.likelihood == "joint" else nats

        alpha, masks = alpha[..., None], decoded.masks[..., None]
        components = density(decoded.components, x[:, None], self.background_std)
        background = jax.nn.logsumexp(components + jnp.log(masks + TINY), axis=1)
        if not self.has_foreground:
            return jnp.sum(background, axis=-1)
        foreground = density(decoded.foreground.mean, x, self.foreground_std)
        return jnp.sum(jnp.logaddexp(foreground + jnp.log(alpha + TINY),
                                     background + jnp.log(1 - alpha + TINY)), axis=-1)

    def make_parameters(self) -> None:
        """Touches every network once so that `init` makes its parameters."""
        size = self.foreground.image_size
        cells = self.foreground.grid**2 if self.has_foreground else 0
        zeros = lambda *shape: jnp.zeros((1, *shape))
        noise = {"presence": zeros(cells), "depth": zeros(cells, 1), "scale": zeros(cells, 2),
                 "shift": zeros(cells, 2), "what": zeros(cells, self.foreground.what_size),
                 "mask": zeros(1, self.background.mask_size),
                 "component": zeros(1, self.background.component_size)}
        values = Values(jnp.ones(()), jnp.full((), 0.5), jnp.zeros(()), jnp.zeros((), bool),
                        jnp.zeros(()))
        self(zeros(size, size, 3), noise, values)


def picture(decoded: Decoded, alpha: jax.Array) -> jax.Array:
    """The picture, of a foreground's alpha [B, H, W]: [B, H, W, 3].

    The foreground's mean has alpha in it already and is multiplied by it again, as in the authors'
    code; where one cell covers a pixel alone, alpha is near 0 or 1, and it makes no difference.
    """
    alpha = alpha[..., None]
    return alpha * decoded.foreground.mean + (1 - alpha) * decoded.background


def view_of(scene: Scene, decoded: Decoded, cells: jax.Array) -> View:
    """A scene as the contract has it: cells first, then the background's components.

    Args:
      scene: the sample.
      decoded: its picture.
      cells: the cells' parts of alpha, [B, N, H, W].

    Returns:
      View: boxes end at the picture's edge; the background's are the whole picture, with
      presence 0; where there are no cells, there are no boxes either. There are no component
      pictures: G G of them would not fit.
    """
    alpha = decoded.foreground.alpha
    masks = jnp.concatenate([cells, (1 - alpha)[:, None] * decoded.masks], axis=1)
    if not cells.shape[1]:
        return View(picture(decoded, alpha), masks)
    of_cells = jnp.clip(spatial_transformer.boxes(scene.where), 0, 1)
    of_cells = jnp.concatenate([of_cells, scene.probability[..., None]], axis=-1)
    rest = jnp.broadcast_to(jnp.array([0.0, 0, 1, 1, 0]), (*decoded.masks.shape[:2], 5))
    return View(picture(decoded, alpha), masks, None,
                jnp.concatenate([of_cells, rest.astype(of_cells.dtype)], axis=1))
