"""SPACE (Lin et al., ICLR 2020): spatially parallel attention and component extraction."""

from parts_jax.models.space.family import create
from parts_jax.models.space.keys import KEYS, LATER_KEYS, check

__all__ = ["KEYS", "LATER_KEYS", "check", "create"]
