"""Training, from top to bottom: devices, model, data, state, then one loop."""

import contextlib
import functools
import itertools
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import ml_collections
import optax
from absl import logging
from flax import struct

from parts_jax import models
from parts_jax.api import inference
from parts_jax.data import curriculum, pipeline, preprocess
from parts_jax.devices import distributed, sharding, signals
from parts_jax.equations import truncation
from parts_jax.equations.notation import Pixels
from parts_jax.evaluation import stages, writing
from parts_jax.metrics import table
from parts_jax.models import contract
from parts_jax.models.contract import Model
from parts_jax.runs import (
    best_checkpoint,
    checkpoint,
    checkpoint_fallback,
    init_from,
    metric_writer,
)
from parts_jax.training import optimizer, progress


class NonFiniteError(RuntimeError):
    """Loss or gradient was not finite for too many steps in a row."""


@struct.dataclass
class TrainState:
    """All that training needs to go on from where it stopped, beside the data iterator.

    Attributes:
      step: int32 scalar, number of optimizer steps taken or skipped.
      params: parameters of the model.
      opt_state: an optax.ApplyIfFiniteState: it counts the updates skipped as not finite.
    """

    step: jax.Array
    params: Any
    opt_state: Any


def train(config: ml_collections.ConfigDict, workdir: str | Path) -> dict[str, float]:
    """Trains the model of `config`, going on from the newest checkpoint in `workdir` if any.

    A new run starts from the parameters of another, if config.train.init_from says so.

    A checkpoint is written after the metrics of its step and before its evaluation: a run that goes
    on from it finds all that was written before, and evaluates first.

    Args:
      config: a config as in configs/parts_clevrer.py.
      workdir: where checkpoints, metrics and evaluations go.

    Returns:
      The metrics of the evaluation after training; none if the run had ended before.

    Raises:
      NonFiniteError: config.train.max_bad_steps steps in a row were not finite. The checkpoint
        before them is kept.
      distributed.Preempted: the process got TERM, or Ctrl-C; the run was saved.
      checkpoint.SaveError: the disk has no room for checkpoints, or one could not be written.
      checkpoint.UnreadableError: there are checkpoints, here or where config.train.init_from
        says, but all are damaged.
      ValueError: the newest checkpoint is of another config, or of an unknown format; or none of
        the parameters of config.train.init_from fits.
    """
    # ---- Devices, model, optimizer ----------------------------------------------------------
    mesh = sharding.make_mesh()
    model = models.create(config)
    tx = optimizer.create(config)
    make_state = functools.partial(create_state, config, model, tx)
    checkpoint.check_room(workdir, jax.eval_shape(make_state),
                          config.train.keep_checkpoints + bool(config.eval.best_by))

    # ---- Data -------------------------------------------------------------------------------
    read = curriculum.stages(config)
    data = pipeline.train_iterator(
        config.data, batch_size=config.train.batch_size // jax.process_count(), seed=config.seed,
        action_size=config.data.action_size, cues=model.cues, stages=read,
        process_index=jax.process_index(), process_count=jax.process_count(),
        place=functools.partial(sharding.split_batch, mesh=mesh))

    # ---- State: new, or from the newest checkpoint ------------------------------------------
    best = best_checkpoint.Best(workdir, config.eval.best_by, config.schedule.resolution)
    checkpoints = checkpoint.open_checkpoints(workdir, config.train.keep_checkpoints, best)
    if checkpoint.latest_step(checkpoints) is None:
        state = jax.jit(make_state)()  # the optimizer's is zeros, whatever the parameters
        state = state.replace(params=init_from.start(config, state.params))
    else:
        state = checkpoint_fallback.restore_newest(
            workdir, checkpoints, jax.eval_shape(make_state), data, config.to_dict())
    state, step = sharding.replicate(state, mesh), int(state.step)
    best.forget_after(step)
    end = sum(config.schedule.steps)
    if step == end and writing.is_written(config, workdir, end, config.eval.final_split):
        logging.info("This run ended before, with step %d.", end)
        checkpoint.close(checkpoints)
        return {}
    writer = metric_writer.create_writer(workdir, resume_step=step)
    metric_writer.write_config(writer, config)
    logging.info("From step %d of %d: %d parameters, %d devices.", step, end,
                 sum(p.size for p in jax.tree.leaves(state.params)), mesh.size)

    # ---- Loop: stage after stage from coarse to fine ----------------------------------------
    log = progress.Log(writer, config, step)
    with (distributed.preemption_notice() as (notice, leaves_at), contextlib.closing(writer),
          checkpoint.closing(checkpoints), contextlib.closing(log)):
        for stage, last_step in enumerate(itertools.accumulate(config.schedule.steps)):
            resolution = config.schedule.resolution[stage]
            factor = config.data.resolution // resolution
            take_step = log.announcing(sharding.data_parallel(
                functools.partial(train_step, config=config, model=model, tx=tx, stage=stage),
                mesh, in_split=(False, True), out_split=(False, False), donate=(0,)),
                f"{read[stage].batch_size} clips of {read[stage].num_frames} frames of "
                f"{resolution} x {resolution}")
            evaluator = stages.compile_stages(config, model, mesh, factor)
            while step < last_step:
                if step > 0 and step % config.train.evaluate_every == 0:
                    with log.paused():
                        found = writing.evaluate_in_training(
                            evaluator, state.params, step, workdir, writer)
                    log.note_evaluation(step, found)
                    if step in checkpoints.all_steps():
                        best.offer(step, stage, found, writes=jax.process_index() == 0)
                with log.waiting():
                    batch = next(data)
                state, metrics = take_step(state, batch)
                step += 1
                log.append(metrics, read[stage].frames_per_step)
                leaves = leaves_at(step)
                saves = leaves or step == end or any(
                    step % c == 0
                    for c in (config.train.checkpoint_every, config.train.evaluate_every))

                if saves or step % config.train.log_every == 0:
                    log.write(step)
                if saves:
                    log.wait()
                stop_if_not_finite(log.latest, config.train.max_bad_steps)
                if saves and (step == end or not log.latest["skipped_in_a_row"]):
                    checkpoint.save(checkpoints, step, state, data, config.to_dict())
                if leaves:
                    leave(notice, step, end, checkpoint.latest_step(checkpoints))

        # ---- The end: the last step may be the best; then the split that is kept for last ----
        checkpoint.wait(checkpoints)
        if config.eval.split != config.eval.final_split:
            best.offer(end, stage, writing.evaluate_in_training(
                evaluator, state.params, end, workdir, writer), writes=jax.process_index() == 0)
        found = writing.evaluate_and_write(
            evaluator if factor == 1 else stages.compile_stages(config, model, mesh), state.params,
            end, config.eval.final_split, workdir, writer)
        if config.eval.split == config.eval.final_split:
            best.offer(end, stage, found, writes=jax.process_index() == 0)
        return found


def leave(notice: signals.Notice, step: int, end: int, saved: int | None) -> NoReturn:
    """Raises distributed.Preempted, which says where the run left, and what is kept of it.

    Args:
      notice: how this process was told.
      step: that was taken last.
      end: number of steps of the whole run.
      saved: the step of the newest checkpoint; None if there is none.
    """
    kept = "there is no checkpoint yet" if saved is None else (
        f"the newest checkpoint is of step {saved}")
    raise distributed.Preempted(
        f"{'Ctrl-C' if notice.interrupted else 'TERM'}: left after step {step} of {end}; {kept}.",
        signals.INTERRUPTED if notice.interrupted else signals.START_AGAIN)


def create_state(config: ml_collections.ConfigDict, model: Model, tx) -> TrainState:
    """A new train state."""
    params = model.init(jax.random.key(config.seed))
    return TrainState(jnp.zeros((), jnp.int32), params, tx.init(params))


def stop_if_not_finite(metrics: dict, max_bad_steps: int) -> None:
    """Raises NonFiniteError when the last max_bad_steps updates were all skipped as not finite.

    Args:
      metrics: of the last step that was written to the log, `progress.Log.latest`.
      max_bad_steps: config.train.max_bad_steps.
    """
    in_a_row = int(metrics.get("skipped_in_a_row", 0))
    if in_a_row >= max_bad_steps:
        raise NonFiniteError(
            f"Loss or gradient was not finite for {in_a_row} steps in a row, up to step "
            f"{metrics['step']}, "
            f"and config.train.max_bad_steps allows {max_bad_steps}. The parameters are those of "
            "before; lower the learning rate, or start from another seed.")


def train_step(state: TrainState, batch: dict, *, config, model: Model, tx,
               stage: int) -> tuple[TrainState, dict[str, jax.Array]]:
    """One step of one device: gradients of its examples, one mean over devices, one update.

    Args:
      state: replicated.
      batch: this device's share: video uint8 [B, T, H, W, 3], actions [B, T, A] if there are any.
      config, model, tx: as in `train`.
      stage: of the schedule: how far frames are pooled, and which share of their pixels explained.

    Returns:
      The new state and a dict of scalar metrics.
    """
    c, subset = config.train, config.train.pixels[stage]
    factor = config.data.resolution // config.schedule.resolution[stage]
    num_examples, num_frames, height, width, _ = batch["video"].shape
    keys = contract.example_keys(jax.random.fold_in(jax.random.key(config.seed), state.step),
                                 sharding.example_indices(num_examples))
    clip = inference.clip_of(model, batch, keys, config.data.action_size)
    clip = with_pixels(clip, keys, factor, subset, c.encoder_pooling[stage])
    if c.rollout:
        clip = clip._replace(seen=frames_seen(
            keys, num_frames, c.burn_in, c.rollout, c.rollout_share))
    # Of a subset of pixels the loss times p^2 is, from one posterior, an unbiased estimate of that
    # of all: the KL is weighted by the number of pixels explained, too.
    scale = subset**2 * (factor**2 / (height * width) if config.optimizer.loss_per_pixel else 1.0)

    def chunk_loss(params, model_state, chunk):
        chunk = chunk._replace(video=preprocess.average_pool(
            preprocess.to_float(chunk.video), factor * c.encoder_pooling[stage]))
        loss, left = model.loss(params, model_state, chunk, state.step)
        share = chunk.video.shape[1] / num_frames  # of this chunk in (1/T) sum_t L_t
        return scale * share * loss, (left.state, left.metrics)

    take = truncation.truncated_value_and_grad(
        chunk_loss, c.truncation, c.unroll >= min(c.truncation, num_frames))
    (loss, _, metrics), gradients = take(
        sharding.vary(state.params), sharding.vary(model.start(num_examples, None)), clip)
    loss, gradients, metrics = sharding.mean_over_devices(
        (loss, gradients, summarise(metrics, subset)))

    gradients = jax.tree.map(lambda g: jnp.where(jnp.isfinite(loss), g, jnp.nan), gradients)
    updates, opt_state = tx.update(gradients, state.opt_state, state.params)
    params = jax.tree.map(jnp.add, state.params, updates)
    metrics |= dict(loss=loss, gradient_norm=optax.tree.norm(gradients),
                    skipped_steps=opt_state.total_notfinite,
                    skipped_in_a_row=opt_state.notfinite_count)
    return TrainState(state.step + 1, params, opt_state), metrics


def with_pixels(clip: contract.Clip, keys: jax.Array, factor: int, subset: int,
                encoder_pooling: int = 1) -> contract.Clip:
    """A clip whose loss is that of one pixel out of each block, drawn anew for every frame.

    Where what the encoder sees is all that is explained, the clip is left as it is.

    Args:
      clip: as the pipeline gives it.
      keys: of its examples, [B].
      factor: of average pooling before pixels are taken; 1: none.
      subset: p, edge of the blocks; 1: all pixels.
      encoder_pooling: of what the encoder sees; that is never explained unless it is all pixels.
    """
    if subset == encoder_pooling == 1:
        return clip
    num_frames = clip.video.shape[1]
    offsets = jax.vmap(lambda key: jax.random.randint(
        jax.random.fold_in(key, 1), (num_frames, 2), 0, subset))(keys)
    frames = preprocess.average_pool(preprocess.to_float(clip.video), factor)
    return clip._replace(pixels=Pixels(
        preprocess.pixel_subset(frames, offsets, subset), (offsets + 0.5) / subset))


def frames_seen(keys: jax.Array, num_frames: int, burn_in: tuple[int, int], rollout: int,
                share: float = 1.0) -> jax.Array:
    """Which frames of a batch are seen (section 4.2): those before and after a roll-out.

    Args:
      keys: of the examples, [B].
      num_frames: T.
      burn_in: frames that are seen before it, from ... to; the number of each example is drawn.
      rollout: frames that are predicted only; fewer where the clip ends before. What comes after
        them is seen again.
      share: of examples that have one; of the others all frames are seen.

    Returns:
      bool [B, T].
    """
    least, most = burn_in

    def example(key):
        of_length, of_share = jax.random.split(jax.random.fold_in(key, 2))
        first = jax.random.randint(of_length, (), least, most + 1)  # that is not seen
        is_whole = jax.random.uniform(of_share) >= share
        t = jnp.arange(num_frames)
        return (t < first) | (t >= first + rollout) | is_whole

    return jax.vmap(example)(keys)


def summarise(metrics: dict[str, jax.Array], subset: int = 1) -> dict[str, jax.Array]:
    """Means over time and examples of a model's metrics.

    Args:
      metrics: arrays [B, T].
      subset: p; of sums over a frame's pixels one out of p^2 is in them, so they are that often.

    Returns:
      Scalars, by the same names; and of those for which the table of metrics asks it, also
      `<name>_first` and `<name>_last`, of the first and last frame.
    """
    metrics = {name: values * (subset**2 if name in table.summed_over_pixels() else 1)
               for name, values in metrics.items()}
    ends = {f"{name}_{end}": values[:, t] for name, values in metrics.items()
            if name in table.with_ends() for end, t in (("first", 0), ("last", -1))}
    return jax.tree.map(jnp.mean, metrics | ends)
