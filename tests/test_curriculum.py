"""A run whose clips grow and whose batches shrink, stopped anywhere and gone on with."""

import logging

import jax
import numpy as np
import pytest

from benchmarks import kills
from configs import grid_lstm_balls
from parts_jax import train
from parts_jax.devices import sharding
from parts_jax.runs import configuration
from parts_jax.training import progress

STOPS = (4, 7)  # the last step of the first stage, and one in the midst of the second
TWO = {"schedule.steps": (4, 6), "schedule.train_frames": (2, 4), "schedule.batch_size": (8, 4),
       "schedule.resolution": (16, 16), "schedule.learning_rate": (3e-3, 3e-3),
       "schedule.warmup_steps": (1, 1), "schedule.final_scale": (1.0, 1.0),
       "model.beta_scale": (1.0, 1.0), "model.sigma_scale": (1.0, 1.0), "train.pixels": (1, 1),
       "train.encoder_pooling": (1, 1),
       "train.batch_size": 8, "train.log_every": 1, "train.evaluate_every": 100,
       "train.checkpoint_every": 2, "eval.batch_size": 4, "eval.num_sequences": 4,
       "eval.num_pictures": 0, "eval.rollout_steps": 0, "eval.report": False, "eval.best_by": ()}


class Stopped(Exception):
    pass


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Trains in a folder, to the end or until a step's metrics are noted."""
    append, make_mesh = progress.Log.append, sharding.make_mesh
    monkeypatch.setattr(sharding, "make_mesh", lambda: make_mesh(jax.devices()[:1]))

    def call(name: str, stop: int | None = None) -> None:
        config = grid_lstm_balls.get_config("tiny")
        config.update_from_flattened_dict(TWO | {"data.data_dir": str(tmp_path / "data")})
        workdir, taken = str(tmp_path / name), []
        configuration.claim_workdir(workdir, config)

        def noted(log, metrics, num_frames):
            append(log, metrics, num_frames)
            frames.append(num_frames)
            taken.append(log.step + len(log.metrics))
            if stop == taken[-1]:
                raise Stopped

        monkeypatch.setattr(progress.Log, "append", noted)
        train.train(config, workdir)

    frames: list[int] = []
    call.frames = frames
    return call


def test_a_run_of_two_lengths_ends_as_if_it_had_not_been_stopped(run, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="absl")
    run("whole")
    said = [message for message in caplog.messages if message.startswith("Compiling")]
    assert [message.split(" for ")[1].split(";")[0] for message in said] == [
        "8 clips of 2 frames of 16 x 16", "4 clips of 4 frames of 16 x 16"]  # once a stage
    assert run.frames == 10 * [16]
    for stop in STOPS:
        with pytest.raises(Stopped):
            run("stopped", stop)
    run("stopped")
    assert "From step 6 of 10" in caplog.text
    whole, stopped = (kills.outcome(tmp_path / name) for name in ("whole", "stopped"))
    assert kills.differences(whole, stopped) == []
    assert len(whole["lines"]) >= 10 and '"next_index": 10' in whole["place"]
    assert all(np.isfinite(line["train/loss"]) for line in whole["lines"] if "train/loss" in line)
