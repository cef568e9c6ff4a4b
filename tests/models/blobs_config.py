"""A run of seconds of the family in blobs.py: single frames, two groups of parameters."""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """Returns the config."""
    config = base.get_base()
    config.update_from_flattened_dict({
        "data.name": "sim_clevrer/tiny", "data.num_frames": 1, "data.resolution": 16,
        "schedule.steps": (24,), "schedule.resolution": (16,), "schedule.learning_rate": (3e-3,),
        "schedule.warmup_steps": (2,), "schedule.final_scale": (0.3,), "train.batch_size": 4,
        "train.log_every": 1, "train.evaluate_every": 8, "train.checkpoint_every": 6,
        "train.keep_checkpoints": 2, "eval.batch_size": 4, "eval.num_sequences": 6,
        "eval.num_pictures": 2, "eval.rollout_steps": 0, "eval.best_by": ("mse",),
        "eval.length": 3, "eval.length_clips": 2})
    config.model = ConfigDict(dict(
        name="blobs", num_slots=3, num_iterations=2, slot_size=4, width=8, coldest=0.5,
        cooling=0.1))
    config.optimizer = ConfigDict(dict(
        name="adam", decay=0.99, momentum=0.9, clip_norm=1.0, loss_per_pixel=False, groups=dict(
            decoder=dict(prefix="decoder", name="rmsprop", decay=0.9, momentum=0.0,
                         learning_rate_scale=0.5))))
    return config
