"""The contract of a model family: all that trainer, evaluator, report and API know of a model.

A family is a file or folder of `models` with `create(config) -> Model`, of the whole config, and
`KEYS`, which says what stands in `config.model`; docs/families.md says what else it may have.
Nothing outside of it names it.

Sizes: B batch, T frames, K slots, A action size, H W picture. All are free at call time.

The rule for noise, which holds wherever a model runs: it is an input, drawn by `Model.noise` from
one key for each example, and belongs to the example, not to the device or batch that it is in. The
key is that of the seed, folded with numbers that say which example it is (`example_keys`):

| in                        | an example is                      | folded with                 |
|---------------------------|------------------------------------|-----------------------------|
| training                  | a clip of a batch                  | step, position in the batch |
| evaluation                | a clip of a split                  | index in the split          |
| use of a pretrained model | one frame, and alike in every clip | number of the frame         |

The last has it so that a video can be given in parts of any length with the same result.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from parts_jax.equations import pixel_mixture
from parts_jax.equations.notation import PixelMixture, Pixels
from parts_jax.models import rules  # noqa: F401  (for the KEYS of families)

Params = Any
State = Any
Latents = Any


class Clip(NamedTuple):
    """A stretch of video, batch first.

    Attributes:
      video: frames in [0, 1], [B, T, H, W, 3]; images have T = 1.
      actions: previous actions: actions[:, t] is a_{t-1}, zeros before the first, [B, T, A]; A may
        be 0.
      noise: from `Model.noise`, a pytree of [B, T, ...].
      cues: what `Model.reads` names beyond video, such as flow, by name: [B, T, ...] each.
      pixels: what the loss explains in place of the video's own pixels: `Pixels` of [B, T, ...],
        in training alone, and of families whose module says SCORES_PIXELS; None: all of `video`.
        Where they are given, `video` is what the encoder sees, and may be of another size.
      seen: whether a frame may be looked at, bool [B, T]; one that may not is predicted and scored,
        and not used to refine (section 4.2), in training alone, and of families whose module says
        SCORES_UNSEEN; None: all are.
    """

    video: jax.Array
    actions: jax.Array
    noise: Any
    cues: dict[str, jax.Array] = {}
    pixels: Pixels | None = None
    seen: jax.Array | None = None


class Step(NamedTuple):
    """What a stretch leaves.

    Attributes:
      state: carried to the next stretch; () for models of single images.
      latents: by the name of a stage (see `Model.stages`), what `Model.decode` takes: a pytree of
        [B, T, ...]. Those of a family with `slot_size` are `notation.Slots`.
      metrics: by name, [B, T] each: parts of the loss, and signs by which collapse shows.
      maps: shown under its name: [B, T, K, H, W] each, such as attention.
      views: of the stages that `loss` has decoded anyway, what `decode` would say: a `View` of
        [B, T, ...] each. It saves evaluation one decoding of the stage; in training, where nothing
        asks for it, XLA leaves it out.
      iterations: of families with `Model.num_iterations`, what each of the N + 1 decodings of a
        frame showed, the first guess first: a `View` with recon [B, T, N+1, H, W, 3] and masks
        [B, T, N+1, K, H, W], without slots; None where there is none.
    """

    state: State
    latents: dict[str, Latents]
    metrics: dict[str, jax.Array]
    maps: dict[str, jax.Array]
    views: dict[str, "View"] = {}
    iterations: "View | None" = None


class View(NamedTuple):
    """Frames, decoded.

    Attributes:
      recon: the picture, [B, H, W, 3].
      masks: [B, K, H, W], sum to 1 over K.
      slots: component pictures, [B, K, H, W, 3]; None where a family has none.
      boxes: y0, x0, y1, x1 in [0, 1] and presence, [B, K, 5]; None where a family has none.
    """

    recon: jax.Array
    masks: jax.Array
    slots: jax.Array | None = None
    boxes: jax.Array | None = None


def view_of(mixture: PixelMixture) -> View:
    """What a family without boxes decodes: picture, masks, component pictures."""
    return View(pixel_mixture.mean(mixture), pixel_mixture.masks(mixture), mixture.means)


def mixture_of(view: View) -> PixelMixture:
    """The mixture that `view_of` showed: its mask logits are the logarithms of the masks."""
    return PixelMixture(view.slots, jnp.log(jnp.maximum(view.masks, 1e-30)))


class Model(NamedTuple):
    """A model as functions of its parameters, to be called inside or outside of jit.

    Attributes:
      init: key -> parameters, whose shapes depend on none of the sizes.
      start: (B, K) -> the state before the first frame, a pytree of [B, ...]; K None: the config's.
      noise: (keys [B], T, K) -> a pytree of [B, T, ...]; K None: the config's.
      loss: (params, state, clip, step) -> the scalar that training makes small, a mean over
        examples and frames, and a `Step`. `step` is the optimizer's, an int32 scalar, for what
        changes with it; None: not in training, so everything as it is at the end of that.
        Starts that are learned are made in here, where the state says that nothing was seen yet,
        so that gradients reach them.
      decode: (params, latents of one frame [B, ...], (H, W)) -> `View`.
      num_slots: K of the config.
      stages: names of the latents in `Step`, in the order in which they are shown. The first
        gives the metrics without suffix; the last is what a user gets as the segmentation.
      predict: (params, state, actions [B, S, A], noise) -> latents [B, S, ...] of S frames that are
        not seen; None: the family cannot predict.
      assign: (view, frame [B, H, W, 3]) -> responsibilities [B, K, H, W] that sum to 1 over K:
        which slot explains a pixel that was seen, p(k | x_i, z). By the last stage they are what
        a user gets as the segmentation, and each stage is scored by them, too; None: the family
        has no such posterior, and masks stand in their place.
      slot_size: D, where latents are `notation.Slots`; None: they are something else, and what
        needs slots (a posterior, traversals, slots of one's own to decode) cannot be had.
      reads: what a clip must hold: "video", and names of cues.
      num_iterations: N of the config, of families that refine one frame again and again and whose
        `noise` takes any other N as its last argument: (keys [B], T, K, N); None: of no such.
    """

    init: Callable[[jax.Array], Params]
    start: Callable[[int, int | None], State]
    noise: Callable[..., Any]
    loss: Callable[[Params, State, Clip, jax.Array | None], tuple[jax.Array, Step]]
    decode: Callable[[Params, Latents, tuple[int, int]], View]
    num_slots: int
    stages: tuple[str, ...]
    predict: Callable[[Params, State, jax.Array, Any], Latents] | None = None
    assign: Callable[[View, jax.Array], jax.Array] | None = None
    slot_size: int | None = None
    reads: tuple[str, ...] = ("video",)
    num_iterations: int | None = None

    @property
    def cues(self) -> tuple[str, ...]:
        """What it reads beyond video."""
        return tuple(name for name in self.reads if name != "video")


def example_keys(key: jax.Array, numbers: jax.Array) -> jax.Array:
    """One key an example, by the rule at the top of this file: numbers int32 [B] -> keys [B]."""
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)


def previous_actions(actions: jax.Array) -> jax.Array:
    """a_{t-1} at every t, zeros at the first: actions after each frame [B, T, A] -> [B, T, A]."""
    return jnp.pad(actions, ((0, 0), (1, 0), (0, 0)))[:, :-1]


def time_first(array: jax.Array) -> jax.Array:
    """[B, T, ...] -> [T, B, ...], for a scan over time."""
    return jnp.swapaxes(array, 0, 1)


batch_first = time_first


# ---- Shapes, checked where they enter ---------------------------------------------------------


def checked(model: Model, action_size: int) -> Model:
    """The same model, which says which axes are wrong where it is handed a wrong shape.

    Args:
      model: of a family.
      action_size: A.

    Returns:
      A model whose `loss`, `decode`, `assign` and `predict` raise a ValueError, while they are
      traced, with the name of the array, its shape, and the axes that it must have.
    """
    def loss(params, state, clip, step):
        sizes = _sizes("video", clip.video, "B T H W 3")
        _check("actions", clip.actions, "B T A", sizes | {"A": action_size})
        _check_leaves("noise", clip.noise, "B T", sizes)
        _check_leaves("cues", clip.cues, "B T", sizes)
        _check_leaves("pixels", clip.pixels, "B T", sizes)
        _check_leaves("seen", clip.seen, "B T", sizes)
        _check_leaves("state", state, "B", sizes)
        if set(clip.cues) != set(model.cues):
            raise ValueError(f"The clip has the cues {sorted(clip.cues)}, but the model reads "
                             f"{sorted(model.cues)}.")
        value, made = model.loss(params, state, clip, step)
        _check("loss", value, "", sizes)
        for name, metric in made.metrics.items():
            _check(f"metrics[{name!r}]", metric, "B T", sizes)
        if set(made.latents) != set(model.stages):
            raise ValueError(f"The model gives latents of {sorted(made.latents)}, but says that "
                             f"its stages are {sorted(model.stages)}.")
        _check_leaves("latents", made.latents, "B T", sizes)
        _check_leaves("views", made.views, "B T", sizes)
        _check_leaves("iterations", made.iterations, "B T", sizes)
        for name, shown in made.maps.items():
            _check(f"maps[{name!r}]", shown, "B T K H W", sizes | {"K": _size(shown, 2)})
        return value, made

    def decode(params, latents, resolution):
        view = model.decode(params, latents, resolution)
        sizes = dict(zip("HW", resolution, strict=True))
        sizes |= {"B": _size(view.masks, 0), "K": _size(view.masks, 1)}
        _check_leaves("latents of one frame", latents, "B", sizes)
        _check("masks", view.masks, "B K H W", sizes)
        _check("recon", view.recon, "B H W 3", sizes)
        for name, array, axes in (("slots", view.slots, "B K H W 3"),
                                  ("boxes", view.boxes, "B K 5")):
            if array is not None:
                _check(name, array, axes, sizes)
        return view

    def assign(view, frame):
        sizes = _sizes("frame to assign", frame, "B H W 3") | {"K": _size(view.masks, 1)}
        _check("masks", view.masks, "B K H W", sizes)
        weights = model.assign(view, frame)
        _check("responsibilities", weights, "B K H W", sizes)
        return weights

    def predict(params, state, actions, noise):
        sizes = _sizes("actions", actions, "B T A", {"A": action_size})
        _check_leaves("state", state, "B", sizes)
        _check_leaves("noise", noise, "B T", sizes)
        latents = model.predict(params, state, actions, noise)
        _check_leaves("latents", latents, "B T", sizes)
        return latents

    return model._replace(loss=loss, decode=decode, assign=model.assign and assign,
                          predict=model.predict and predict)


def _sizes(name: str, array: jax.Array, axes: str, known: dict[str, int] | None = None) -> dict:
    """The sizes of an array's named axes, once its shape was checked: {"B": 2, ...}."""
    sizes = {axis: _size(array, i) for i, axis in enumerate(axes.split()) if axis.isalpha()}
    sizes |= known or {}
    _check(name, array, axes, sizes)
    return sizes


def _size(array: jax.Array, axis: int) -> int:
    return array.shape[axis] if axis < array.ndim else 0


def _check(name: str, array: jax.Array, axes: str, sizes: dict[str, int]) -> None:
    """Raises a ValueError if `array` is not of the shape that its axes, such as "B T 3", say."""
    expected = tuple(sizes[axis] if axis.isalpha() else int(axis) for axis in axes.split())
    try:
        chex.assert_shape(array, expected)
    except AssertionError as error:
        raise ValueError(f"{name} has the shape {list(jnp.shape(array))}, but must be "
                         f"[{', '.join(axes.split())}]{_here(axes, sizes)}.") from error


def _check_leaves(name: str, tree: Any, axes: str, sizes: dict[str, int]) -> None:
    """The same of the first axes of every array of a tree."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        try:
            chex.assert_tree_shape_prefix(leaf, tuple(sizes[axis] for axis in axes.split()))
        except AssertionError as error:
            raise ValueError(
                f"{name}{jax.tree_util.keystr(path)} has the shape {list(jnp.shape(leaf))}, but "
                f"must be [{', '.join(axes.split())}, ...]{_here(axes, sizes)}.") from error


def _here(axes: str, sizes: dict[str, int]) -> str:
    named = [f"{axis} = {sizes[axis]}" for axis in axes.split() if axis.isalpha()]
    return f" with {', '.join(named)}" if named else ""
