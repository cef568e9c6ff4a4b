"""What a trained model says of frames that it sees, of frames to come, and of any slots.

Pure functions of parameters, to be jitted by whoever calls them. Pictures are decoded at the mean
of a posterior, one frame after the other, so that long clips need the memory of one frame.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from parts_jax.equations import gaussian, pixel_mixture
from parts_jax.equations.notation import Gaussian, InferenceState
from parts_jax.models import parts


@struct.dataclass
class Pictures:
    """Slots decoded for T frames.

    Attributes:
      masks: [B, T, K, H, W], sum to 1 over K.
      recon: mean of the pixel mixture, [B, T, H, W, 3].
      means: component mean images, [B, T, K, H, W, 3].
    """

    masks: jax.Array
    recon: jax.Array
    means: jax.Array


def frame_noise(seed: int | jax.Array, start: int | jax.Array, num_frames: int, model: parts.PARTS,
                num_slots: int) -> jax.Array:
    """Standard normal epsilon that depends on the seed and the number of the frame alone.

    So a clip gets the same noise alone, in a batch, and frame after frame.

    Args:
      seed: of all noise.
      start: number of the first frame in its video.
      num_frames: T.
      model: gives N and D.
      num_slots: K.

    Returns:
      [T, N, K, D].
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(
        jax.random.key(seed), start + jnp.arange(num_frames))
    return parts.make_noise(keys, 1, model.num_refinements, num_slots, model.slot_size)[:, 0]


def infer(model: parts.PARTS, params: Any, video: jax.Array, actions: jax.Array,
          state: InferenceState, seed: int | jax.Array, start: int | jax.Array):
    """Infers the slots of every frame and decodes the posterior after refinement at its mean.

    Args:
      model: from `models.create`.
      params: its parameters.
      video: frames in [0, 1], [B, T, H, W, 3].
      actions: previous actions, as the model takes them, [B, T, A].
      state: after the frame before the first, of K slots.
      seed: of the noise by which slots are told apart; the same for all of the batch.
      start: number of the first frame in its video.

    Returns:
      q after refinement, Gaussian of [B, T, K, D]; Pictures; attention [B, T, K, H, W]; and the
      state after the last frame.
    """
    num_slots = state.posterior.mean.shape[-2]
    noise = frame_noise(seed, start, video.shape[1], model, num_slots)
    noise = jnp.broadcast_to(noise, (video.shape[0], *noise.shape))
    output = model.apply({"params": params}, video, actions, noise, state)
    q = gaussian.from_parameters(output.posterior, model.log_std_offset)
    return q, decode(model, params, q.mean, video.shape[2:4]), output.attention, output.state


def roll_out(model: parts.PARTS, params: Any, state: InferenceState, actions: jax.Array,
             resolution: tuple[int, int]) -> tuple[Gaussian, Pictures]:
    """Predicts frames by the transition alone (section 3.2.1): no frame is seen, nothing refined.

    Args:
      model: from `models.create`.
      params: its parameters.
      state: after the last frame that was seen.
      actions: a_{t-1} for each frame t to predict, [B, S, A]; A may be 0.
      resolution: H and W.

    Returns:
      q of each of the S frames, Gaussian of [B, S, K, D], and its mean as Pictures.
    """
    transition = parts.Function(model.transition, params["transition"])

    def step(state, action):
        posterior, hidden = model.predict(transition, state, action)  # lambda_t^0
        return InferenceState(posterior, hidden), posterior

    _, posteriors = jax.lax.scan(step, state, parts.time_first(actions))
    q = gaussian.from_parameters(
        jax.tree.map(parts.batch_first, posteriors), model.log_std_offset)
    return q, decode(model, params, q.mean, resolution)


def decode(model: parts.PARTS, params: Any, z: jax.Array, resolution: tuple[int, int]) -> Pictures:
    """Decodes slots, equation (1), one frame after the other: z [B, T, K, D] -> Pictures."""
    def frame(z):
        mixture = model.apply({"params": params}, z, tuple(resolution), method="decode")
        return Pictures(pixel_mixture.masks(mixture), pixel_mixture.mean(mixture), mixture.means)

    return jax.tree.map(parts.batch_first, jax.lax.map(frame, parts.time_first(z)))
