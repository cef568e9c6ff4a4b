"""PARTS (Zoran et al., ICCV 2021): Predict, Attend, Refine with Transformers and Slots."""

from parts_jax.models.parts.family import KEYS, check, create

__all__ = ["KEYS", "check", "create"]
