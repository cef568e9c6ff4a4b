"""SPACE on Atari games.

    python -m parts_jax.main --config=configs/space_atari.py
    python -m parts_jax.main --config=configs/space_atari.py --config.data.name=atari/qbert_128 \\
        --workdir=runs/qbert

Variants (`--config=configs/space_atari.py:VARIANT`):

| variant           | data                               | for                                |
|-------------------|------------------------------------|------------------------------------|
| `paper` (default) | atari/ten_games_128, 16x16         | GPUs: the paper's table for Atari  |
| `code`            | atari/space_invaders_128, 16x16    | the authors' code's Space Invaders |
| `demo`            | atari/space_invaders, 64x64, 16x16 | 2 CPU cores, half an hour          |
| `tiny`            | atari/space_invaders_16            | a smoke run: learns nothing        |

The paper's table is of ten games jointly. Any game of ale-py can be named in their place, as `_128`
for `paper` and `code`. There are no masks and no boxes.
Each starts from that of space_rooms.py, where keys are explained; differences stand here.
"""

import ml_collections

from configs import space_rooms

VARIANTS = ("paper", "code", "demo", "tiny")


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/space_atari.py has no variant {variant!r}; "
                         f"it has: {', '.join(VARIANTS)}.")
    config = space_rooms.get_config(variant)
    make_atari(config)
    if variant == "code":
        make_code(config)
    if variant == "demo":
        config.data.name = "atari/space_invaders"
        config.model.foreground.grid = 16
        config.model.foreground.temperature = (2.5, 0.5, 0, 4000)
        config.model.foreground.scale_mean = (-1.5, -1.8, 0, 4000)  # ours, for pictures of 64x64
        config.model.alpha.fixed_steps = 500
    if variant == "tiny":
        config.data.name = "atari/space_invaders_16"
        config.model.alpha.fixed_steps = 4
    return config


def make_atari(config: ml_collections.ConfigDict) -> None:
    """The table Joint Training on 10 Atari Games of appendix D.2."""
    config.data.name = "atari/ten_games_128"
    config.eval.best_by = ("neg_elbo",)
    config.model.foreground.presence_prior = (0.01, 0.01, 0, 0)
    config.model.foreground.scale_mean = (-2.0, -2.5, 0, 20000)
    config.model.foreground.sigma_x = 0.2
    config.model.foreground.temperature = (2.5, 2.5, 0, 0)
    config.model.background.sigma_x = 0.1
    config.model.background.num_components = 3
    config.model.alpha.fixed_steps = 2000
    config.model.alpha.fixed_value = 0.1
    config.model.boundary.steps = 0      # the authors' code has none for Atari


def make_code(config: ml_collections.ConfigDict) -> None:
    """What the authors' code has for Space Invaders; over which steps tau falls is ours."""
    config.data.name = "atari/space_invaders_128"
    config.model.foreground.scale_mean = (-2.2, -2.5, 0, 20000)
    config.model.foreground.scale_std = 0.2
    config.model.foreground.temperature = (2.5, 0.1, 0, 20000)
    config.model.alpha.fixed_value = 0.2
