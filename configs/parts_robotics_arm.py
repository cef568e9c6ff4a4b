"""PARTS on robot videos with 7-D actions, and on their simulated stand-in.

    python -m parts_jax.main --config=configs/parts_robotics_arm.py --config.data.source_dir=FOLDER
    python -m parts_jax.main --config=configs/parts_robotics_arm.py:demo --workdir=runs/arm

Variants (`--config=configs/parts_robotics_arm.py:VARIANT`):

| variant           | data                                  | for                          |
|-------------------|---------------------------------------|------------------------------|
| `paper` (default) | robotics_arm, 64x64, T=8              | a pod                        |
| `small`           | sim_robotics_arm/small, 64x64, T=8    | one GPU                      |
| `laptop`          | sim_robotics_arm/demo_64, 64x64, T=16 | 2 CPU cores                  |
| `demo`            | sim_robotics_arm/demo, 32x32, T=16    | 2 CPU cores, minutes         |

Other sets with 7-D actions by --config.data.name, such as rlds/bridge: docs/data.md. `paper`,
`small` and `laptop` are not trained yet. What the paper does not give is marked `ours` in
parts_clevrer.py.
"""

import ml_collections

from configs import parts_clevrer

VARIANTS = ("paper", "small", "laptop", "demo")


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Returns the config of a variant, which starts from parts_clevrer's; demo from its mixed."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/parts_robotics_arm.py has no variant {variant!r}; "
                         f"it has: {', '.join(VARIANTS)}.")
    config = parts_clevrer.get_config("mixed" if variant == "demo" else variant)
    config.data.name = {
        "paper": "robotics_arm", "small": "sim_robotics_arm/small",
        "laptop": "sim_robotics_arm/demo_64", "demo": "sim_robotics_arm/demo"}[variant]
    config.data.num_frames = 8
    config.data.action_size = 7
    if variant == "paper":
        config.eval.rollout_steps = 12   # clips are cut to 16 frames: sets/robotics_arm.py
    if variant in ("laptop", "demo"):
        make_demo(config, variant)
    return config


def make_demo(config: ml_collections.ConfigDict, variant: str) -> None:
    """The demo's world, seen from near: floor, arm and three cubes; clips of 24 frames."""
    parts_clevrer.go_on_with_actions(config, variant)
    config.data.num_frames = 16
    config.model.num_slots = 5
