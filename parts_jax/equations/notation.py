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

from typing import Any, Generic, TypeVar

import jax
import numpy as np
from flax import struct

Array = TypeVar("Array", jax.Array, np.ndarray)  # inside a model; in what a user gets of it


@struct.dataclass
class Gaussian(Generic[Array]):
    """A diagonal Gaussian by its mean and log standard deviation, both [..., K, D]."""

    mean: Array
    log_std: Array


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
class Pixels:
    """Some pixels of a frame: one out of each block of p x p, at the same place in every block.

    Attributes:
      colours: in [0, 1], [..., H / p, W / p, 3].
      place: where in its block the pixel's centre lies, (y, x) in blocks, from 0 to 1, [..., 2];
        the middle is (1/2, 1/2), where the pixels of a frame of H / p x W / p are.
    """

    colours: jax.Array
    place: jax.Array


@struct.dataclass
class InferenceState:
    """The carry of the scan over time.

    Attributes:
      posterior: lambda, the raw parameters (zero at the start), Gaussian of [B, K, D].
      hidden: the recurrent state of the transition, a pytree of [B, K, ...].
      refiner: that of a recurrent refinement network, a pytree of [B, K, ...]; () without one.
      started: 1 once a frame was seen, 0 before, [B]; () where no prior asks for it.
    """

    posterior: Gaussian
    hidden: Any
    refiner: Any = ()
    started: Any = ()


@struct.dataclass
class Slots(Generic[Array]):
    """What a decoder of slots takes, and where it is from.

    Attributes:
      z: slots, [..., K, D]: a sample of the posterior, its mean, or any other numbers.
      posterior: q that z belongs to, Gaussian of [..., K, D]; None where there is none.
    """

    z: Array
    posterior: Gaussian[Array] | None = None
