"""Which masks a user gets: those of the decoder, or each pixel's posterior over the slots.

A decoder's masks are the mixture's prior over slots at a pixel, whatever the frame shows there. Of
a frame that was seen the posterior is known, by Bayes' rule from equation (2):

    p(k | x_i, z) = m_k N(x_i | C_k, sigma_x) / sum_j m_j N(x_i | C_j, sigma_x)

It is what "assigned" means, and follows the edges of the frame. Of a frame that was not seen there
is none.
"""

from typing import TypedDict

import numpy as np

from parts_jax.api import inference, results
from parts_jax.models.contract import View

ASSIGNED, DECODER = KINDS = ("assigned", "decoder")


class Shown(TypedDict):
    """What all results have of a `View`."""

    masks: np.ndarray
    recon: np.ndarray
    slot_pictures: np.ndarray | None


def choose(masks: str | None, can_assign: bool, family: str) -> str:
    """Which kind a user gets.

    Args:
      masks: which is asked for, one of KINDS; None: assigned where the family can.
      can_assign: whether it can.
      family: its name.

    Raises:
      ValueError: there is no such kind, or the family cannot assign.
    """
    if masks is not None and masks not in KINDS:
        raise ValueError(f"masks is {masks!r}, but must be {' or '.join(map(repr, KINDS))}; or "
                         f"None, which is {ASSIGNED!r} where the model can, else {DECODER!r}.")
    if masks == ASSIGNED and not can_assign:
        raise ValueError(f"masks is {ASSIGNED!r}, but models of the family {family!r} give no "
                         f"posterior of a pixel over slots; ask for {DECODER!r}, or leave it out.")
    return masks or (ASSIGNED if can_assign else DECODER)


def shown(view: View, single: bool) -> Shown:
    """What a result has of a `View` [B, ...]; of one clip without their first axis."""
    masks, recon, pictures = results.as_numpy((view.masks, view.recon, view.slots), single)
    return Shown(masks=masks, recon=recon, slot_pictures=pictures)


def ids(view: View, single: bool) -> np.ndarray:
    """The slot with the greatest mask, in the same way."""
    return results.as_numpy(inference.most_likely(view.masks), single)
