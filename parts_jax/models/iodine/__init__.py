"""IODINE (Greff et al., ICML 2019): multi-object representation learning by iterative inference."""

from parts_jax.models.iodine.family import create
from parts_jax.models.iodine.keys import KEYS, LATER_KEYS, SCORES_PIXELS, check

__all__ = ["KEYS", "LATER_KEYS", "SCORES_PIXELS", "check", "create"]
