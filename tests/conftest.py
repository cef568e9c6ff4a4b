"""What all tests share: four CPU devices, no silent broadcasting of ranks, parsed flags."""

import os
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
_FLAG = "--xla_force_host_platform_device_count"
if _FLAG not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}=4".strip()

import jax  # noqa: E402  (the environment above is read at import)
from absl import flags  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

# grain's workers, and absl's logging, ask for parsed flags.
if not flags.FLAGS.is_parsed():
    flags.FLAGS(sys.argv[:1])
