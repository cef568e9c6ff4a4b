"""progress.Log: what it writes, that it writes aside, and that it bounds how far the host runs."""

import io
import re
import threading
import time

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from parts_jax.metrics import table
from parts_jax.training import progress

CONFIG = ml_collections.ConfigDict({"schedule": {"steps": (10, 10)}})


class Writer:
    """Keeps what it is given, after `gate` is open."""

    def __init__(self):
        self.written, self.gate = [], threading.Event()
        self.gate.set()

    def write_scalars(self, step, scalars):
        assert self.gate.wait(10)
        self.written.append((step, scalars))


@pytest.fixture
def log():
    log = progress.Log(Writer(), CONFIG, 3)
    yield log
    log.writer.gate.set()
    log.close()


def metrics(**values):
    return {name: jnp.float32(value)
            for name, value in (dict.fromkeys(table.in_progress("train"), 0.0) | values).items()}


def test_means_since_the_last_write_and_speed(log):
    for loss, frames in ((1.0, 16), (2.0, 16), (6.0, 40)):
        log.append(metrics(loss=loss), frames)
    time.sleep(0.2)
    log.write(6)
    log.append(metrics(loss=5.0), 24)
    log.write(7)
    log.wait()
    (first, means), (second, later) = log.writer.written
    assert (first, second) == (6, 7)
    assert means["train/loss"] == 3.0 and later["train/loss"] == 5.0
    assert 0 < means["train/steps_per_second"] < 3 / 0.2
    frames = means["train/frames_per_second"] / means["train/steps_per_second"]
    assert frames == pytest.approx((16 + 16 + 40) / 3)
    assert log.latest["step"] == 7 and log.latest["loss"] == 5.0


def test_a_write_does_not_hold_up_the_steps_after_it(log):
    log.append(metrics(loss=1.0), 24)
    log.writer.gate.clear()
    log.write(4)  # returns, though the writer stands still
    log.append(metrics(loss=2.0), 24)
    assert log.writer.written == [] and log.latest == {}
    log.writer.gate.set()
    log.wait()
    assert [step for step, _ in log.writer.written] == [4]


def test_an_error_of_a_write_is_not_lost(log):
    log.writer.write_scalars = lambda *_: (_ for _ in ()).throw(OSError("The disk is full."))
    log.append(metrics(), 24)
    log.write(4)
    log.append(metrics(), 24)
    with pytest.raises(OSError, match="The disk is full"):
        log.write(5)


def test_the_host_stays_few_steps_ahead(log, monkeypatch):
    waited_for = []
    monkeypatch.setattr(jax, "block_until_ready", lambda m: waited_for.append(float(m["loss"])))
    for step in range(5):
        log.append(metrics(loss=step), 24)
    assert waited_for == [0.0, 1.0, 2.0]  # after step n, for step n - 2


def test_waiting_pausing_and_compiling_are_told_apart(log):
    with log.waiting():
        time.sleep(0.1)
    with log.paused():
        time.sleep(0.5)
    jax.jit(lambda x: jnp.sin(x) * 3.25 + 1.125)(np.ones(7, np.float32))
    log.append(metrics(), 24)
    log.write(4)
    log.wait()
    (_, means), = log.writer.written
    seconds = 1 / means["train/steps_per_second"]
    assert 0.1 <= seconds < 0.5
    assert means["train/waiting_share"] == pytest.approx(0.1 / seconds, rel=0.3)
    assert means["train/compile_seconds"] > 0


def test_compiling_is_announced_and_left_out_of_the_speed(log, caplog):
    caplog.set_level("INFO", logger="absl")
    calls = []

    def take_step(state, batch):
        if not calls:
            jax.jit(lambda x: jnp.tan(x) * 6.25 + 3.125)(np.ones(13, np.float32))
            time.sleep(0.5)
            assert "Compiling the training step for frames of 8 x 8" in caplog.messages[-1]
        calls.append(batch)
        return state, metrics(loss=batch)

    step = log.announcing(take_step, "frames of 8 x 8")
    start = time.monotonic()
    for number in range(3):
        log.append(step(None, number)[1], 24)
    log.write(6)
    log.wait()
    assert calls == [0, 1, 2]
    (_, means), = log.writer.written
    assert means["train/loss"] == 1.0 and means["train/compile_seconds"] > 0
    assert 3 / means["train/steps_per_second"] <= time.monotonic() - start - 0.5
    assert sum("ompil" in message for message in caplog.messages) == 2  # once, and how long


def test_waiting_while_the_device_is_busy_is_none(log):
    class Busy:
        def is_ready(self):
            return False

    log.newest = Busy()
    with log.waiting():
        time.sleep(0.05)
    assert log.waited == 0


def test_a_closed_log_listens_no_more():
    log = progress.Log(Writer(), CONFIG, 0)
    log.close()
    jax.jit(lambda x: jnp.cos(x) * 5.25 + 2.125)(np.ones(11, np.float32))
    assert log.compiled == 0


def test_a_line_shows_loss_scores_speed_and_time_left(log, caplog):
    caplog.set_level("INFO", logger="absl")
    log.append(metrics(loss=1.5), 24)
    log.write(4)
    log.wait()
    assert "fg_ari" not in caplog.messages[-1]
    log.note_evaluation(4, {"fg_ari_last": 0.8125, "ari_last": 0.5, "mse": 0.1})
    log.append(metrics(loss=2.5), 24)
    log.write(5)
    log.wait()
    assert re.fullmatch(
        r"step 5/20: loss 2.5, nll 0, kl 0, mse 0, mask_entropy 0, fg_ari_last 0.812, ari_last 0.5 "
        r"\(step 4\), \S+ steps/s, \S+ frames/s, \S+ min left", caplog.messages[-1])


def test_what_another_model_does_not_give_is_left_out_and_its_own_is_written(log, caplog):
    caplog.set_level("INFO", logger="absl")
    log.append({"loss": jnp.float32(1.5), "glimpses": jnp.float32(3.0)}, 24)
    log.write(4)
    log.note_evaluation(4, {"average_precision": 0.5})
    log.append({"loss": jnp.float32(1.5), "glimpses": jnp.float32(3.0)}, 24)
    log.write(5)
    log.wait()
    assert re.fullmatch(r"step 5/20: loss 1.5, \S+ steps/s, .*", caplog.messages[-1])
    assert log.writer.written[-1][1]["train/glimpses"] == 3.0


def shown_on(stream, monkeypatch) -> str:
    """What a log of two steps writes to standard error."""
    monkeypatch.setattr("sys.stderr", stream)
    log = progress.Log(Writer(), CONFIG, 3)
    for step in (4, 5):
        log.append(metrics(), 24)
        log.write(step)
    log.close()
    return stream.getvalue()


def test_a_bar_stands_on_terminals_alone(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    assert "/20 [" in shown_on(Terminal(), monkeypatch)
    assert shown_on(io.StringIO(), monkeypatch) == ""


def test_skipped_batches_are_said_with_their_count(log, caplog):
    for in_a_row, total in ((0, 3), (1, 4), (2, 5)):
        log.append(metrics(skipped_in_a_row=in_a_row, skipped_steps=total), 24)
    log.write(6)
    log.wait()
    assert "step 6/20: 2 of the last 3 batches were skipped, as loss or gradient was not finite; " \
        "5 so far." in caplog.text
    caplog.clear()
    log.append(metrics(skipped_in_a_row=0, skipped_steps=5), 24)
    log.write(7)
    log.wait()
    assert "skipped" not in caplog.text
