"""PARTS (Zoran et al., ICCV 2021): Predict, Attend, Refine with Transformers and Slots."""

from parts_jax.models.parts.family import create
from parts_jax.models.parts.keys import KEYS, LATER_KEYS, SCORES_PIXELS, SCORES_UNSEEN, check

__all__ = ["KEYS", "LATER_KEYS", "SCORES_PIXELS", "SCORES_UNSEEN", "check", "create"]
