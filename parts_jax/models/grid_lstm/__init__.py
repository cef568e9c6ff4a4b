"""The 2D-LSTM model: unsupervised video decomposition by spatio-temporal iterative inference."""

from parts_jax.models.grid_lstm.family import create
from parts_jax.models.grid_lstm.keys import KEYS, SCORES_PIXELS, check

__all__ = ["KEYS", "SCORES_PIXELS", "check", "create"]
