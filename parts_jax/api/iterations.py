"""What a pretrained model shows of each iteration, as numpy arrays."""

import numpy as np
from flax import struct

from parts_jax.models.contract import View


@struct.dataclass
class Iterations:
    """What each of the N + 1 decodings of a frame showed, the first guess first.

    Attributes:
      recon: the picture that the slots make together, [T, N+1, H, W, 3].
      masks: the decoder's, [T, N+1, K, H, W], sum to 1 over K.
    """

    recon: np.ndarray
    masks: np.ndarray


def of_view(view: View | None) -> Iterations | None:
    """`Step.iterations` as numpy; None of a family that has none."""
    return view and Iterations(np.asarray(view.recon), np.asarray(view.masks))
