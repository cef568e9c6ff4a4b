"""The central types, and the notation that every file keeps to.

| symbol | meaning                         | symbol  | meaning                                 |
|--------|---------------------------------|---------|-----------------------------------------|
| B      | batch                           | lambda  | posterior parameters (mu, log sigma)    |
| T      | frames                          | z       | sampled slots, [B, K, D]                |
| N      | refinements per frame           | x       | a frame in [0, 1], [B, H, W, 3]         |
| K      | slots                           | C       | component mean images, [B, K, H, W, 3]  |
| D      | slot size                       | m       | masks, softmax over K of the logits     |
| A      | action size                     | O       | bottom-up encoding, [B, H, W, C]        |
| H W C  | height, width, channels         | a_{t-1} | action between frame t-1 and t, [B, A]  |

Arrays at the model's door are [B, T, ...]; time goes first only at the scan.
"""

from typing import Any

import jax
from flax import struct


@struct.dataclass
class Batch:
    """Clips as the pipeline gives them.

    Attributes:
      video: uint8 [B, T, H, W, 3].
      valid: bool [B]; False marks the padding of a ragged last batch.
      segmentation: uint8 [B, T, H, W], 0 = background, ids stable over time; or None.
      actions: float32 [B, T, A], actions[t] taken between frame t and t+1; or None.
    """

    video: jax.Array
    valid: jax.Array
    segmentation: jax.Array | None = None
    actions: jax.Array | None = None


@struct.dataclass
class Gaussian:
    """A diagonal Gaussian by its mean and log standard deviation, both [..., K, D]."""

    mean: jax.Array
    log_std: jax.Array


@struct.dataclass
class PixelMixture:
    """What the decoder says of a frame: K components per pixel.

    Attributes:
      means: component mean images C, [..., K, H, W, 3].
      mask_logits: mask logits, [..., K, H, W]; their softmax over K are the masks m.
    """

    means: jax.Array
    mask_logits: jax.Array


@struct.dataclass
class InferenceState:
    """The carry of the scan over time.

    Attributes:
      posterior: lambda, the raw parameters (zero at the start), Gaussian of [B, K, D].
      hidden: the recurrent state of the transition, a pytree of [B, K, ...].
    """

    posterior: Gaussian
    hidden: Any


@struct.dataclass
class ModelOutput:
    """What a model makes of a batch of clips.

    Attributes:
      loss: scalar, mean over batch and frames of the negative ELBO, in nats per frame.
      metrics: dict of [B, T] (or [B, T, K]) arrays, parts of the loss and signs of collapse.
      recon: [B, T, H, W, 3], mean of the pixel mixture under the predicted posterior.
      masks: [B, T, K, H, W], masks under the predicted posterior.
      means: [B, T, K, H, W, 3], component means under the predicted posterior.
      posterior: Gaussian of [B, T, K, D]: the refined posterior of each frame.
      attention: [B, T, K, H, W], or None where the model has none.
      state: the state after the last frame, from which a roll-out or the next chunk goes on.
    """

    loss: jax.Array
    metrics: dict[str, jax.Array]
    recon: jax.Array | None
    masks: jax.Array | None
    means: jax.Array | None
    posterior: Gaussian | None
    attention: jax.Array | None
    state: InferenceState


@struct.dataclass
class TrainState:
    """All that training needs to go on from where it stopped, beside the data iterator.

    Attributes:
      step: int32 scalar, number of optimizer steps taken or skipped.
      params: parameters of the model.
      opt_state: an optax.ApplyIfFiniteState: it counts the updates skipped as not finite.
    """

    step: jax.Array
    params: Any
    opt_state: Any
