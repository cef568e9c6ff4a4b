"""metrics.jsonl survives a killed run; TensorBoard reads what is written without TensorFlow."""

import csv
import io
import json
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import metadata as hparams_metadata

from configs import parts_clevrer
from parts_jax.runs import configuration, metric_writer

from clu import metric_writers, periodic_actions  # isort: skip  (after parts_jax's own)


def read_events(folder) -> event_accumulator.EventAccumulator:
    events = event_accumulator.EventAccumulator(str(folder), size_guidance={"tensors": 0})
    return events.Reload()


def lines(folder) -> list[dict]:
    text = (folder / metric_writer.FILE_NAME).read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_one_line_of_json_a_write_at_once(tmp_path):
    writer = metric_writer.create_writer(str(tmp_path), resume_step=0)
    writer.write_scalars(10, {"loss": jnp.float32(1.5), "count": np.int64(3), "bad": np.nan})
    assert lines(tmp_path) == [{"step": 10, "loss": 1.5, "count": 3, "bad": None}]
    writer.write_scalars(20, {"loss": 0.25})
    assert lines(tmp_path)[1:] == [{"step": 20, "loss": 0.25}]
    writer.close()


@pytest.mark.parametrize("resume_step, kept", [
    (0, []), (20, [10, 10, 20]), (25, [10, 10, 20, 20]), (None, [10, 10, 20, 20, 30, 30])])
def test_going_on_drops_what_a_killed_run_wrote_later(tmp_path, resume_step, kept):
    """Also the evaluation of the step that it goes on from, which it makes again."""
    writer = metric_writer.create_writer(str(tmp_path), resume_step=0)
    for step in (10, 20, 30):
        writer.write_scalars(step, {"train/loss": step / 7})
        writer.write_scalars(step, {"eval/mse": step / 9})
    writer.close()
    if resume_step is not None:
        with (tmp_path / metric_writer.FILE_NAME).open("a") as file:
            file.write('{"step": 40, "lo')  # killed in the middle of a line
    writer = metric_writer.create_writer(str(tmp_path), resume_step)
    writer.write_scalars(99, {"loss": 0.0})
    writer.close()
    assert [line["step"] for line in lines(tmp_path)] == [*kept, 99]
    assert sum("eval/mse" in line for line in lines(tmp_path)) == len(kept) // 2


@pytest.mark.parametrize("resume_step", [20, None])
@pytest.mark.parametrize("damage", [
    b'{"step": 1\xff, "train/loss": 1.0}', b"\0" * 40, b'{"step": null, "train/loss": 1.0}',
    b'{"step": "10"}', b'{"step": true}', b"[1]", b"7", b"[" * 100_000, b'{"step": 1e999}'],
    ids=lambda content: repr(content)[:40])
def test_a_damaged_line_costs_itself_alone(tmp_path, caplog, resume_step, damage):
    path = tmp_path / metric_writer.FILE_NAME
    good = b'{"step": 10, "train/loss": 1.0}\n'
    path.write_bytes(good + damage + b"\n" + good)
    with caplog.at_level("WARNING"):
        writer = metric_writer.JsonLinesWriter(str(path), resume_step)
    writer.write_scalars(21, {"train/loss": 2.0})
    writer.close()
    assert [line["step"] for line in lines(tmp_path)] == [10, 10, 21]
    assert "1 of the 3 lines of" in caplog.text and "cannot be read" in caplog.text
    assert (tmp_path / "metrics.jsonl.damaged").read_bytes() == damage + b"\n"


def test_half_a_line_is_dropped_and_a_whole_one_without_its_end_is_kept(tmp_path, caplog):
    """Also where nothing is dropped for a step: else the next line would stand behind it."""
    path = tmp_path / metric_writer.FILE_NAME
    for half, kept in ((b'{"step": 20, "lo', [10]), (b'{"step": 20}', [10, 20])):
        path.write_bytes(b'{"step": 10}\n' + half)
        metric_writer.JsonLinesWriter(str(path)).close()
        assert [line["step"] for line in lines(tmp_path)] == kept
    assert caplog.text == "" and len(list(tmp_path.iterdir())) == 1


def test_tensorboard_forgets_what_a_killed_run_wrote_later(tmp_path):
    for resume_step, steps in ((0, (10, 20, 30)), (20, (30, 40))):
        writer = metric_writer.TensorBoardWriter(str(tmp_path), resume_step)
        for step in steps:
            writer.write_scalars(step, {"loss": resume_step + step})
        writer.close()
    files = sorted(tmp_path.glob("events*"), key=lambda path: int(path.name.split(".")[-1]))
    assert len(files) == 2
    # The reader goes through a folder's files by name; names have the time in seconds first.
    joined = tmp_path / "joined"
    joined.mkdir()
    (joined / files[0].name).write_bytes(b"".join(file.read_bytes() for file in files))
    scalars = read_events(joined).Scalars("loss")
    assert [(s.step, s.value) for s in scalars] == [(10, 10), (20, 20), (30, 50), (40, 60)]


def test_tensorboard_can_be_read_while_training_goes_on(tmp_path):
    writer = metric_writer.TensorBoardWriter(str(tmp_path))
    writer.write_scalars(1, {"loss": 4.0})
    assert read_events(tmp_path).Scalars("loss")[0].value == 4.0
    writer.close()


def test_tensorboard_reads_all_kinds(tmp_path):
    writer = metric_writer.create_writer(str(tmp_path))
    frames = np.random.default_rng(0).random((5, 8, 9, 3))
    writer.write_images(1, {"one": frames[0], "three": frames[:3]})
    writer.write_videos(1, {"clip": frames, "clips": np.stack([frames, frames])})
    writer.write_texts(1, {"text": "hello"})
    writer.write_histograms(1, {"histogram": np.arange(100.0)}, {"histogram": 10})
    writer.write_hparams({"rate": 0.1, "sizes": (1, 2)})
    writer.write_summaries(1, {"raw": np.ones((2, 2))})
    writer.close()

    events = read_events(tmp_path)
    values = {tag: events.Tensors(tag)[0].tensor_proto for tag in events.Tags()["tensors"]}
    assert {"one", "three", "clip", "clips", "text", "histogram", "raw"} <= values.keys()
    assert list(values["one"].string_val[:2]) == [b"9", b"8"]
    image = np.asarray(Image.open(io.BytesIO(values["one"].string_val[2])))
    np.testing.assert_array_equal(image, np.round(frames[0] * 255).astype(np.uint8))
    assert len(values["three"].string_val) == 2 + 3 and len(values["clips"].string_val) == 2 + 2
    clip = Image.open(io.BytesIO(values["clip"].string_val[2]))
    assert (clip.format, clip.n_frames, clip.size) == ("GIF", 5, (9, 8))
    assert values["text"].string_val[0] == b"hello"


def test_tensorboard_has_config_and_hyper_parameters(tmp_path):
    config = parts_clevrer.get_config("demo")
    writer = metric_writer.create_writer(str(tmp_path), resume_step=0)
    metric_writer.write_config(writer, config)
    writer.close()
    assert (tmp_path / metric_writer.FILE_NAME).read_text() == ""
    events = read_events(tmp_path)
    text = events.Tensors("config")[0].tensor_proto.string_val[0].decode()
    assert json.loads(text) == json.loads(configuration.to_json(config))
    content = events.SummaryMetadata(hparams_metadata.SESSION_START_INFO_TAG).plugin_data.content
    given = hparams_metadata.parse_session_start_info_plugin_data(content).hparams
    assert given["train.batch_size"].number_value == config.train.batch_size
    assert given["schedule.steps"].string_value == "(3300, 1200)"


def test_an_evaluation_has_scores_of_each_clip(tmp_path):
    names = ["train, 1", 'the "second"']
    metric_writer.write_evaluation(tmp_path, "a", {}, None, {
        "clip": range(2), "id": names, "mse": np.asarray([1 / 3, np.nan])})
    with (tmp_path / "evaluation" / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"clip": "0", "id": names[0], "mse": "0.333333"},
                    {"clip": "1", "id": names[1], "mse": "nan"}]


def test_clu_works_without_tensorflow(tmp_path):
    assert "tensorflow" not in sys.modules
    writer = metric_writers.create_default_writer(str(tmp_path))
    report = periodic_actions.ReportProgress(
        num_train_steps=100, every_steps=1, every_secs=None, writer=writer)
    for step in (1, 2, 3):
        report(step)
    writer.write_scalars(3, {"loss": 2.0})
    writer.flush()
    writer.close()
    events = read_events(tmp_path)
    assert events.Scalars("loss")[0].value == 2.0
    assert "steps_per_sec" in events.Tags()["scalars"]


def test_writers_are_clu_writers(tmp_path):
    for writer in (metric_writer.TensorBoardWriter(str(tmp_path)),
                   metric_writer.JsonLinesWriter(str(tmp_path / "x.jsonl"))):
        assert isinstance(writer, metric_writers.MetricWriter)
        for name in metric_writers.MetricWriter.__abstractmethods__:
            assert callable(getattr(writer, name))
        writer.close()


@pytest.mark.parametrize("kind", [metric_writer.JsonLinesWriter, metric_writer.TensorBoardWriter])
def test_a_full_disk_is_told_of_in_a_sentence(tmp_path, kind):
    """/dev/full takes nothing."""
    name = "metrics.jsonl" if kind is metric_writer.JsonLinesWriter else "events"
    writer = kind(str(tmp_path / name))
    if kind is metric_writer.JsonLinesWriter:
        writer._file.close()
        writer._file = open("/dev/full", "a")
    else:
        writer.flush()
        writer._writer._async_writer._writer._writer = open("/dev/full", "ab")
    with pytest.raises(OSError, match="Metrics cannot be written to .*: No space left on device. "
                                      "When the cause is mended, the same command goes on"):
        writer.write_scalars(1, {"loss": 1.0})
        writer.write_scalars(2, {"loss": 1.0})
