"""PARTS on the Playroom and on its simulated stand-in, with the agent's actions.

    python -m parts_jax.main --config=configs/parts_playroom.py --config.data.source_dir=FOLDER
    python -m parts_jax.main --config=configs/parts_playroom.py:small

Variants (`--config=configs/parts_playroom.py:VARIANT`):

| variant           | data                            | for                      |
|-------------------|---------------------------------|--------------------------|
| `paper` (default) | playroom/64, 64x64, T=16        | a pod                    |
| `small`           | sim_playroom/small, 64x64, T=16 | one GPU                  |

Not trained yet. What the paper does not give is marked `ours`, here and in parts_clevrer.py.
"""

import ml_collections

from configs import parts_clevrer

VARIANTS = ("paper", "small")


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Returns the config of a variant, which starts from parts_clevrer's of the same name."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/parts_playroom.py has no variant {variant!r}; "
                         f"it has: {', '.join(VARIANTS)}.")
    config = parts_clevrer.get_config(variant)
    config.data.name = "playroom/64" if variant == "paper" else "sim_playroom/small"
    config.data.num_frames = 16
    config.model.num_slots = 8 if variant == "small" else 7  # 5-7 objects in view, and the room
    config.data.action_size = 4          # (ours) that of the stand-in; yours: --config.data...
    return config
