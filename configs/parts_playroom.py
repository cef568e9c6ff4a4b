"""PARTS on the Playroom and on its simulated stand-in, with the agent's actions.

    python -m parts_jax.main --config=configs/parts_playroom.py --config.data.source_dir=FOLDER
    python -m parts_jax.main --config=configs/parts_playroom.py:demo
    python -m parts_jax.main --config=configs/parts_playroom.py:predict       # goes on from demo

Variants (`--config=configs/parts_playroom.py:VARIANT`):

| variant           | data                              | for                          |
|-------------------|-----------------------------------|------------------------------|
| `paper` (default) | playroom/64, 64x64, T=16          | a pod                        |
| `small`           | sim_playroom/small, 64x64, T=16   | one GPU                      |
| `laptop`          | sim_playroom/demo_64, 64x64, T=16 | 2 CPU cores                  |
| `demo`            | sim_playroom/demo, 32x32, T=16    | 2 CPU cores, minutes         |
| `predict`         | the same: what actions do         | 2 CPU cores, minutes         |

`paper`, `small`, `laptop` are not trained yet. What the paper does not give is marked `ours`, here
and in parts_clevrer.py.
"""

import ml_collections

from configs import parts_clevrer

VARIANTS = ("paper", "small", "laptop", "demo", "predict")


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Returns the config of a variant, which starts from parts_clevrer's; demo from its mixed."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/parts_playroom.py has no variant {variant!r}; "
                         f"it has: {', '.join(VARIANTS)}.")
    from_mixed = variant in ("demo", "predict")
    config = parts_clevrer.get_config("mixed" if from_mixed else variant)
    config.data.name = {
        "paper": "playroom/64", "small": "sim_playroom/small", "laptop": "sim_playroom/demo_64",
        "demo": "sim_playroom/demo", "predict": "sim_playroom/demo"}[variant]
    config.data.num_frames = 16
    config.model.num_slots = {
        "paper": 7, "small": 8,          # 5-7 objects in view, and the room
        "laptop": 5, "demo": 5, "predict": 5}[variant]  # 2-4, and the room
    config.data.action_size = 4          # (ours) that of the stand-in; yours: --config.data...
    if variant in ("laptop", "demo", "predict"):  # few large toys, a bare room; 24 frames
        parts_clevrer.go_on_with_actions(config, variant)
    if variant == "predict":
        parts_clevrer.go_on_to_act(config, "runs/parts_playroom-demo")  # where that is by default
        config.model.transition.action_scale = (2.0,)
    return config
