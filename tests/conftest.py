"""What all tests share: four CPU devices, no silent broadcasting of ranks, parsed flags."""

import atexit
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
_FLAGS = {
    "--xla_force_host_platform_device_count": "4",
    # Tests compile much and compute little: programs are compiled quickly, not to run quickly.
    "--xla_backend_optimization_level": "0",
    "--xla_llvm_disable_expensive_passes": "true",
}
_GIVEN = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = " ".join(
    [_GIVEN, *(f"{flag}={value}" for flag, value in _FLAGS.items() if flag not in _GIVEN)]).strip()

# A program is compiled once for all tests, their processes, and the commands that they start.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # else a worker of pytest-xdist, or the user's
    _PROGRAMS = tempfile.mkdtemp(prefix="parts_jax_tests_")
    atexit.register(shutil.rmtree, _PROGRAMS, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _PROGRAMS
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import jax  # noqa: E402  (the environment above is read at import)
import pytest  # noqa: E402
from absl import flags, logging  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

# grain's workers, and absl's logging, ask for parsed flags.
if not flags.FLAGS.is_parsed():
    flags.FLAGS(sys.argv[:1])


LONGEST = ("test_topologies.py", "test_variants.py", "test_train.py", "test_faults.py",
           "test_parts.py")


def pytest_collection_modifyitems(items):
    """The longest files first, so that no process is left with one of them at the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST
               else len(LONGEST))


@pytest.fixture(scope="session")
def one_device() -> dict[str, str]:
    """The environment of a command on one device, with programs compiled quickly as here."""
    flags = [flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag]
    return os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parent.parent),
                         "XLA_FLAGS": " ".join(flags)}


@pytest.fixture(autouse=True)
def _same_verbosity():
    """Commands that are called in tests set how much is logged; tests run in any order."""
    level = logging.get_verbosity()
    yield
    logging.set_verbosity(level)


@pytest.fixture(scope="session")
def tiny() -> dict:
    """What makes a run of seconds of configs/parts_clevrer.py:demo, dotted key to value."""
    return {
        "data.name": "sim_clevrer/tiny", "data.num_frames": 4, "data.resolution": 16,
        "data.train_frames": 0, "train.pixels": (2, 1), "train.encoder_pooling": (1, 1),
        "train.rollout": 3, "train.burn_in": (1, 3), "train.rollout_share": 0.5,
        "model.num_slots": 3, "model.slot_size": 4, "train.truncation": 2, "train.unroll": 1,
        "model.decoder.channels": (8, 8), "model.encoder.channels": (4,),
        "model.encoder.output_size": 8, "model.attention.size": 8, "model.attention.mlp": (8,),
        "model.transition.width": 8, "model.transition.num_heads": 2,
        "model.transition.mlp_width": 8, "model.transition.lstm_size": 8,
        "schedule.steps": (20, 20), "schedule.resolution": (8, 16),
        "schedule.learning_rate": (3e-3, 2e-3), "schedule.warmup_steps": (2, 2),
        "schedule.final_scale": (0.3, 0.1), "model.beta_scale": (1.0, 0.3),
        "model.beta_warmup_steps": 10,
        "train.batch_size": 4, "eval.batch_size": 4, "eval.burn_in": 4, "eval.rollout_steps": 2,
        "eval.length": 0,
        "eval.report": False}


@pytest.fixture(scope="session")
def save_untrained(tiny):
    """Makes the workdir of a run that was stopped before its first step."""
    import grain

    from configs import parts_clevrer
    from parts_jax import models, train
    from parts_jax.runs import checkpoint, configuration
    from parts_jax.training import optimizer

    def save(workdir: str, steps: tuple[int, ...] = (0,), **changes):
        """`changes` are dotted keys of the config, with __ for the dots."""
        config = parts_clevrer.get_config("demo")
        config.update_from_flattened_dict(
            tiny | {key.replace("__", "."): value for key, value in changes.items()})
        configuration.claim_workdir(str(workdir), config)
        model, tx = models.create(config), optimizer.create(config)
        state = jax.jit(lambda: train.create_state(config, model, tx))()
        with checkpoint.open_checkpoints(str(workdir), keep=len(steps)) as manager:
            for step in steps:  # no two have the same parameters
                params = jax.tree.map(lambda p, step=step: p + 0.1 * step, state.params)
                checkpoint.save(manager, step, state.replace(params=params),
                                iter(grain.MapDataset.range(1).to_iter_dataset()),
                                config.to_dict())
        return workdir

    return save


@pytest.fixture
def tools(tmp_path) -> pathlib.Path:
    """A folder for the whole PATH: what every machine has, and nothing of a cluster."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("bash", "cat", "chmod", "cksum", "dirname", "env", "flock", "git", "gzip", "mkdir",
                 "mktemp", "rm", "sleep", "tail"):
        found = subprocess.run(["which", name], capture_output=True, text=True, check=True)
        (folder / name).symlink_to(found.stdout.strip())
    return folder


@pytest.fixture
def launch(tools, tmp_path):
    """Runs a launcher with nothing in its environment but the settings."""
    folder = pathlib.Path(__file__).parent.parent / "launch"

    def call(script: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["bash", str(folder / script), *arguments], cwd=tmp_path, capture_output=True,
            text=True, timeout=120, env={"PATH": str(tools), "HOME": str(tmp_path)} | settings)

    return call
