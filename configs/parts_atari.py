"""PARTS on Atari games, with the player's actions.

    python -m parts_jax.main --config=configs/parts_atari.py
    python -m parts_jax.main --config=configs/parts_atari.py --config.data.name=atari/ms_pacman \\
        --config.data.action_size=9 --workdir=runs/ms_pacman

Variants (`--config=configs/parts_atari.py:VARIANT`):

| variant          | data                   | for         |
|------------------|------------------------|-------------|
| `demo` (default) | atari/pong, 64x64, T=8 | 2 CPU cores |

Any game of ale-py can be named, with the size of its minimal set of actions; a wrong one is told of
before the game is played. There are no masks: the pictures, `mse` and `neg_elbo` tell what is
learned: docs/results.md shows two games.
"""

import ml_collections

from configs import parts_clevrer

VARIANTS = ("demo",)


def get_config(variant: str = "demo") -> ml_collections.ConfigDict:
    """Returns the config of a variant, which starts from parts_clevrer's `laptop`."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/parts_atari.py has no variant {variant!r}; "
                         f"it has: {', '.join(VARIANTS)}.")
    config = parts_clevrer.get_config("laptop")
    config.data.name = "atari/pong"
    config.data.action_size = 6
    config.train.init_from = "laptop"    # whose slots find coloured things on a floor
    config.schedule.steps = (3_000,)
    config.eval.rollout_steps = 15       # clips have 24 frames
    return config
