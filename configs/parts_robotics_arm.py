"""PARTS on robot videos with 7-D actions, and on their simulated stand-in.

    python -m parts_jax.main --config=configs/parts_robotics_arm.py --config.data.source_dir=FOLDER
    python -m parts_jax.main --config=configs/parts_robotics_arm.py:demo
    python -m parts_jax.main --config=configs/parts_robotics_arm.py:predict   # goes on from demo

Variants (`--config=configs/parts_robotics_arm.py:VARIANT`):

| variant           | data                                  | for                          |
|-------------------|---------------------------------------|------------------------------|
| `paper` (default) | robotics_arm, 64x64, T=8              | a pod                        |
| `small`           | sim_robotics_arm/small, 64x64, T=8    | one GPU                      |
| `laptop`          | sim_robotics_arm/demo_64, 64x64, T=16 | 2 CPU cores                  |
| `demo`            | sim_robotics_arm/demo, 32x32, T=16    | 2 CPU cores, minutes         |
| `predict`         | the same: what actions do             | 2 CPU cores, minutes         |

Other sets with 7-D actions by --config.data.name, such as rlds/bridge: docs/data.md. `paper`,
`small` and `laptop` are not trained yet. What the paper does not give is marked `ours` in
parts_clevrer.py.
"""

import ml_collections

from configs import parts_clevrer

VARIANTS = ("paper", "small", "laptop", "demo", "predict")


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Returns the config of a variant, which starts from parts_clevrer's; demo from its mixed."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/parts_robotics_arm.py has no variant {variant!r}; "
                         f"it has: {', '.join(VARIANTS)}.")
    from_mixed = variant in ("demo", "predict")
    config = parts_clevrer.get_config("mixed" if from_mixed else variant)
    config.data.name = {
        "paper": "robotics_arm", "small": "sim_robotics_arm/small",
        "laptop": "sim_robotics_arm/demo_64", "demo": "sim_robotics_arm/demo",
        "predict": "sim_robotics_arm/demo"}[variant]
    config.data.num_frames = 8
    config.data.action_size = 7
    if variant == "paper":
        config.eval.rollout_steps = 12   # clips are cut to 16 frames: sets/robotics_arm.py
    if variant in ("laptop", "demo", "predict"):
        make_demo(config, variant)
    if variant == "predict":
        make_predict(config)
    return config


def make_demo(config: ml_collections.ConfigDict, variant: str) -> None:
    """The demo's world, seen from near: floor, arm and three cubes; clips of 24 frames."""
    parts_clevrer.go_on_with_actions(config, variant)
    config.data.num_frames = 16
    config.model.num_slots = 5


def make_predict(config: ml_collections.ConfigDict) -> None:
    """Goes on from a run of `demo`, which parts the cubes: as one run, two of them stay one."""
    parts_clevrer.go_on_to_act(config, "runs/parts_robotics_arm-demo")  # where that is by default
    # What the hand does in a frame, in metres and radians, brought to about 1: its place, its
    # turns, and whether it closes.
    config.model.transition.action_scale = (4.0, 4.0, 4.0, 10.0, 10.0, 5.0, 1.0)
