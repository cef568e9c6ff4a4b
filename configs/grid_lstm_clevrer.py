"""The 2D-LSTM model (spatio-temporal iterative inference) on CLEVRER and its simulated stand-in.

    python -m parts_jax.main --config=configs/grid_lstm_clevrer.py   # the paper's setting

Variants (`--config=configs/grid_lstm_clevrer.py:VARIANT`):

| variant           | data                                | for                               |
|-------------------|-------------------------------------|-----------------------------------|
| `paper` (default) | clevrer/64_center, 64x64, K=6       | GPUs: the paper                   |
| `code`            | the same                            | the authors' code's choices       |
| `demo`            | sim_clevrer/demo_long, 32x32, K=4   | 2 CPU cores                       |
| `tiny`            | sim_clevrer/tiny, 16x16             | a smoke run: learns nothing       |

Each starts from that of grid_lstm_balls.py, where keys are explained; differences stand here. What
was measured, and what was not, stands in docs/grid_lstm.md.
"""

import ml_collections

from configs import grid_lstm_balls

VARIANTS = ("paper", "code", "demo", "tiny")


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/grid_lstm_clevrer.py has no variant {variant!r}; "
                         f"it has: {', '.join(VARIANTS)}.")
    config = grid_lstm_balls.get_config(variant)
    if variant in ("paper", "code"):
        # The middle 320x320, as the authors' code has it; the paper says 400x320, squeezed.
        config.data.name = "clevrer/64_center"
        config.model.num_slots = 6       # 7 where there are 6 objects
        config.model.num_refinements = 5
    if variant == "demo":
        config.data.name = "sim_clevrer/demo_long"
        config.data.num_frames = config.data.train_frames = 24
        config.schedule.train_frames = (*config.schedule.train_frames[:-1], 24)
        config.model.decoder.extent = 0.0  # the floor takes more than one slot of flat colour
        config.model.num_slots = 4
        config.eval.burn_in = 12
    if variant == "tiny":
        config.data.name = "sim_clevrer/tiny"
    return config
