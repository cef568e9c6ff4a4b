"""IODINE on Multi-dSprites and on their simulated stand-in.

    python -m parts_jax.main --config=configs/iodine_sprites.py        # the paper's setting
    ./launch/local.sh --config=configs/iodine_sprites.py:demo --workdir=runs/sprites

Variants (`--config=configs/iodine_sprites.py:VARIANT`):

| variant           | data                                           | for                         |
|-------------------|------------------------------------------------|-----------------------------|
| `paper` (default) | multi_object/multi_dsprites_colored_on_grayscale | GPUs: appendix B.2, K=6   |
| `official`        | the same                                       | the authors' code's choices |
| `demo`            | sim_sprites/demo, 32x32, 2-4 sprites, K=5      | 2 CPU cores, half an hour   |
| `tiny`            | sim_sprites/tiny, 16x16                        | a smoke run: learns nothing |

Each starts from that of iodine_tetrominoes.py, where keys are explained; differences stand here.
Measured results stand in docs/iodine.md.
"""

import ml_collections

from configs import iodine_tetrominoes

VARIANTS = ("paper", "official", "demo", "tiny")


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/iodine_sprites.py has no variant {variant!r}; "
                         f"it has: {', '.join(VARIANTS)}.")
    config = iodine_tetrominoes.get_config(variant)
    if variant in ("paper", "official"):
        make_paper(config, variant)
    if variant == "demo":
        make_demo(config)
    if variant == "tiny":
        config.data.name = "sim_sprites/tiny"
        config.data.resolution = 16
        config.schedule.resolution = (16,)
    return config


def make_paper(config: ml_collections.ConfigDict, variant: str) -> None:
    """Appendix B.2: K=6, LSTM 128; D=16, of which the paper's table gives |lambda| = 32."""
    config.data.name = "multi_object/multi_dsprites_colored_on_grayscale"
    config.data.resolution = 64
    config.schedule.resolution = (64,)
    config.model.num_slots = 6
    config.model.slot_size = 16
    config.model.beta_pixels = 64 * 64
    config.model.refiner.lstm_size = 128
    config.train.batch_size = 128 if variant == "official" else 32


def make_demo(config: ml_collections.ConfigDict) -> None:
    """Two CPU cores: half of the pixels a side, then all."""
    config.data.name = "sim_sprites/demo"
    config.data.resolution = 32
    config.model.num_slots = 5
    config.model.slot_size = 12
    config.model.restarts = 8            # where a spare slot cut a sprite, others may not ...
    config.model.fewest_slots = 3        # ... and 2 sprites need no more than 3, 4 no more than 5
    config.model.sigma_x = 0.15          # dark sprites on dark grey have little contrast
    config.schedule.steps = (12_000, 1_000)
    config.schedule.resolution = (32, 32)
