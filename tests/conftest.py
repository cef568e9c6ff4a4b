"""What all tests share: four CPU devices, no silent broadcasting of ranks, parsed flags."""

import os
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
_FLAG = "--xla_force_host_platform_device_count"
if _FLAG not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}=4".strip()

import jax  # noqa: E402  (the environment above is read at import)
import pytest  # noqa: E402
from absl import flags  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

# grain's workers, and absl's logging, ask for parsed flags.
if not flags.FLAGS.is_parsed():
    flags.FLAGS(sys.argv[:1])


@pytest.fixture(scope="session")
def tiny() -> dict:
    """What makes a run of seconds of configs/parts_clevrer.py:demo, dotted key to value."""
    return {
        "data.name": "sim_clevrer/tiny", "data.num_frames": 4, "data.resolution": 16,
        "model.num_slots": 3, "model.slot_size": 4, "model.truncation": 2, "model.unroll": 1,
        "model.decoder.channels": (8, 8), "model.encoder.channels": (4,),
        "model.encoder.output_size": 8, "model.attention.size": 8, "model.attention.mlp": (8,),
        "model.transition.width": 8, "model.transition.num_heads": 2,
        "model.transition.mlp_width": 8, "model.transition.lstm_size": 8,
        "schedule.steps": (20, 20), "schedule.resolution": (8, 16),
        "schedule.learning_rate": (3e-3, 2e-3), "schedule.warmup_steps": (2, 2),
        "schedule.final_scale": (0.3, 0.1), "schedule.beta_scale": (1.0, 0.3),
        "schedule.beta_warmup_steps": 10,
        "train.batch_size": 4, "eval.batch_size": 4}
