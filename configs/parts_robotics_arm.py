"""PARTS on robot videos with 7-D actions, and on their simulated stand-in.

    python -m parts_jax.main --config=configs/parts_robotics_arm.py --config.data.source_dir=FOLDER
    python -m parts_jax.main --config=configs/parts_robotics_arm.py:small

Variants (`--config=configs/parts_robotics_arm.py:VARIANT`):

| variant           | data                               | for     |
|-------------------|------------------------------------|---------|
| `paper` (default) | robotics_arm, 64x64, T=8           | a pod   |
| `small`           | sim_robotics_arm/small, 64x64, T=8 | one GPU |

Other sets with 7-D actions by --config.data.name, such as rlds/bridge: docs/data.md. Not trained
yet. What the paper does not give is marked `ours` in parts_clevrer.py.
"""

import ml_collections

from configs import parts_clevrer

VARIANTS = ("paper", "small")


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Returns the config of a variant, which starts from parts_clevrer's of the same name."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/parts_robotics_arm.py has no variant {variant!r}; "
                         f"it has: {', '.join(VARIANTS)}.")
    config = parts_clevrer.get_config(variant)
    config.data.name = "robotics_arm" if variant == "paper" else "sim_robotics_arm/small"
    config.data.num_frames = 8
    config.data.action_size = 7
    if variant == "paper":
        config.eval.rollout_steps = 12   # clips are cut to 16 frames: sets/robotics_arm.py
    return config
