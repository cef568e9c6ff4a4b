"""Evaluation of a run's checkpoints, from top to bottom: devices, model, parameters, metrics."""

import contextlib
from pathlib import Path

import jax
import ml_collections
from absl import logging

from parts_jax import models
from parts_jax.devices import sharding
from parts_jax.evaluation import stages, writing
from parts_jax.runs import checkpoint, metric_writer, shipped


def evaluate(config: ml_collections.ConfigDict, workdir: str | Path) -> dict[str, float]:
    """Evaluates checkpoints of `workdir` on config.eval.split and writes what it finds there.

    That of config.eval.step; or, if config.eval.watch is set, all that are there and all that
    training writes from now on, until the last step of the schedule. What training deleted before
    its turn came is left out.

    Args:
      config: the config that the model was trained with, with its own `eval` and `data`.
      workdir: the run; of one that comes with the package nothing is changed, and what is found
        goes to `shipped.results_folder`.

    Returns:
      The metrics of the last of them.

    Raises:
      FileNotFoundError: there is no such checkpoint.
      checkpoint.UnreadableError: it is damaged, or of another model.
    """
    mesh, model = sharding.make_mesh(), models.create(config)
    evaluator = stages.compile_stages(config, model, mesh)
    shape = jax.eval_shape(model.init, jax.random.key(0))
    watch, metrics = config.eval.watch, {}
    steps = checkpoint.new_steps(workdir, sum(config.schedule.steps)) if watch else (
        config.eval.step,)
    # A folder of its own: training may be writing to the workdir's files.
    out = shipped.results_folder(workdir)
    if shipped.is_shipped(workdir):
        logging.info("What is found goes to %s: %s comes with the package and stays as it is.", out,
                     workdir)
    writer = metric_writer.create_writer(out / metric_writer.EVALUATIONS)
    with contextlib.closing(writer):
        for step in steps:
            try:
                params, step = checkpoint.restore_params(workdir, shape, step)
            except FileNotFoundError:
                if not watch:
                    raise
                logging.warning("The checkpoint of step %d was deleted before its turn.", step)
                continue
            metrics = writing.evaluate_and_write(
                evaluator, sharding.replicate(params, mesh), step, config.eval.split, out, writer)
    return metrics
