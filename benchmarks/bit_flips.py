"""Flips single bits in the files of a checkpoint, and looks at what a run and a model make of it.

    python -m benchmarks.bit_flips --flips=1000

A small run has two checkpoints. Of each flip the file is drawn first, among all files of the newer
one, then the bit. Then the run goes on (`checkpoint_fallback.restore_newest`) and its model is
loaded (`checkpoint.restore_params`). What may come of the run:

  before      it goes on from the checkpoint before, bit for bit, and an error in the log says so
  harmless    it goes on from the damaged one, whose state and place in the data are bit for bit
              those that were saved: the bit was of nothing that is read
  silent      it goes on with other arrays, or at another place in the data
  refused     it does not go on at all

and of the model: `refused`, in a sentence that says that the checkpoint is damaged; `harmless`; or
`silent`; all else is `wrong_reason`. Prints the counts by kind of file, and a summary as JSON; exit
code 1 if anything was silent or refused for a wrong reason.
"""

import argparse
import collections
import json
import logging as standard_logging
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags, logging

from parts_jax.runs import checkpoint, checkpoint_fallback, earlier_configs
from parts_jax.train import TrainState

CONFIG = earlier_configs.modernised({
    "seed": 0, "data": {}, "eval": {"batch_size": 4}, "train": {}, "model": {},
    "schedule": {"steps": [2, 2], "learning_rate": [3e-4, 1e-4]}})
STEPS = (1, 2)
ALLOWED = {"run": {"before", "harmless"}, "model": {"refused", "harmless"}}


def make_state(step: int) -> TrainState:
    """Random parameters and moments, which compression cannot make small."""
    draw = np.random.default_rng(step)
    params = {"decoder": {"kernel": jnp.asarray(draw.normal(size=(16, 24)), jnp.float32)},
              "slots": jnp.asarray(draw.normal(size=(3,)), jnp.float32)}
    tx = optax.adam(1e-3)
    return TrainState(jnp.int32(step), params, tx.update(params, tx.init(params))[1])


def make_iterator() -> grain.DatasetIterator:
    """Shuffled and endless, as that of training."""
    data = grain.MapDataset.range(100).seed(3).shuffle().repeat().batch(4)
    return iter(data.to_iter_dataset(grain.ReadOptions(num_threads=1)))


def save(workdir: pathlib.Path) -> dict[int, tuple[TrainState, Any]]:
    """Makes the run's checkpoints; returns (state, place in the data) by step."""
    saved, iterator = {}, make_iterator()
    with checkpoint.open_checkpoints(str(workdir), keep=len(STEPS)) as manager:
        for step in STEPS:
            next(iterator)
            saved[step] = jax.device_get(make_state(step)), iterator.get_state()
            checkpoint.save(manager, step, make_state(step), iterator, CONFIG)
    return saved


def flip(path: pathlib.Path, bit: int) -> None:
    """Turns one bit of a file round."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def same(a: Any, b: Any) -> bool:
    """Whether two pytrees of arrays are equal, bit for bit."""
    leaves_a, leaves_b = jax.tree.leaves(a), jax.tree.leaves(b)
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in zip(leaves_a, leaves_b, strict=True))


class _Heard(standard_logging.Handler):
    """Keeps the errors that were logged."""

    def __init__(self):
        super().__init__(standard_logging.ERROR)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def of_run(workdir: pathlib.Path, saved: dict[int, tuple[TrainState, Any]]) -> tuple[str, str]:
    """What comes of a run whose newest checkpoint is damaged, and what was said."""
    iterator, heard = make_iterator(), _Heard()
    logger = logging.get_absl_logger()
    logger.addHandler(heard)
    try:
        with checkpoint.open_checkpoints(str(workdir), keep=len(STEPS)) as manager:
            state = checkpoint_fallback.restore_newest(
                str(workdir), manager, jax.eval_shape(lambda: make_state(0)), iterator, CONFIG)
    except Exception as error:
        return "refused", f"{type(error).__name__}: {error}"
    finally:
        logger.removeHandler(heard)
    said = " ".join(heard.lines)
    before, newest = STEPS
    for step, outcome in ((newest, "harmless"), (before, "before")):
        state_then, place = saved[step]
        if same(state, state_then) and iterator.get_state() == place:
            told = f"checkpoint of step {newest} is moved to" in said
            return (outcome if told == (outcome == "before") else "silent"), said
    return "silent", said


def of_model(workdir: pathlib.Path, saved: dict[int, tuple[TrainState, Any]]) -> tuple[str, str]:
    """What comes of loading the parameters of a damaged checkpoint, and what was said."""
    params = saved[STEPS[-1]][0].params
    try:
        found, _ = checkpoint.restore_params(
            str(workdir), jax.eval_shape(lambda: make_state(0).params), STEPS[-1])
    except checkpoint.UnreadableError as error:
        return "refused", str(error)
    except Exception as error:
        return "wrong_reason", f"{type(error).__name__}: {error}"
    return ("harmless" if same(found, params) else "silent"), ""


def kind_of(path: pathlib.PurePath) -> str:
    """Name of a file of a checkpoint, without what is drawn at random or numbered by process."""
    parent = path.parent.name
    return str(path.parent / "*") if parent in ("d", "iterator", "array_metadatas") else str(path)


def run_flips(folder: pathlib.Path, num_flips: int, seed: int) -> list[dict[str, Any]]:
    """Flips so many bits, one at a time; a dict of each, with both outcomes."""
    draw, cases = random.Random(seed), []
    saved = save(folder / "whole")
    root = pathlib.PurePath(checkpoint.FOLDER) / str(STEPS[-1])
    files = sorted(path.relative_to(folder / "whole" / root)
                   for path in (folder / "whole" / root).rglob("*")
                   if path.is_file() and path.stat().st_size)
    for _ in range(num_flips):
        workdir = folder / "damaged"
        shutil.rmtree(workdir, ignore_errors=True)
        shutil.copytree(folder / "whole", workdir)
        file = draw.choice(files)
        bit = draw.randrange(8 * (workdir / root / file).stat().st_size)
        flip(workdir / root / file, bit)
        model, model_said = of_model(workdir, saved)
        run, run_said = of_run(workdir, saved)
        cases.append({"kind": kind_of(file), "file": str(file), "bit": bit, "run": run,
                      "model": model, "said": {"run": run_said, "model": model_said}})
    return cases


def faults(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that may not be."""
    return [case for case in cases
            if case["run"] not in ALLOWED["run"] or case["model"] not in ALLOWED["model"]]


def main(arguments: Sequence[str]) -> int:
    """Does what the head of the file says; exit code 1 if a flip had an effect that may not be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.flips < 1:
        parser.error(f"--flips must be 1 or more; got {options.flips}")
    if not flags.FLAGS.is_parsed():  # grain and absl's logging ask for it
        flags.FLAGS(["bit_flips"])
    logging.get_absl_handler().addFilter(lambda record: False)  # a thousand errors are expected
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        cases = run_flips(pathlib.Path(folder), options.flips, options.seed)
    for kind in sorted({case["kind"] for case in cases}):
        of_kind = [case for case in cases if case["kind"] == kind]
        print(kind, len(of_kind), *(dict(collections.Counter(case[what] for case in of_kind))
                                    for what in ("run", "model")))
    for case in faults(cases):
        print(json.dumps(case))
    print(json.dumps({"flips": len(cases), "faults": len(faults(cases)), "seed": options.seed,
                      **{what: dict(collections.Counter(case[what] for case in cases))
                         for what in ("run", "model")},
                      "seconds": round(time.monotonic() - began), "cores": os.cpu_count()}))
    return 1 if faults(cases) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
