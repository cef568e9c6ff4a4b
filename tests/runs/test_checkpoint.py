"""State and iterator come back together, exactly; half-written checkpoints do no harm."""

import json
import os
import pathlib
import platform
import shutil
import types
from typing import Any

import google_crc32c
import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct

from parts_jax.runs import checkpoint, checkpoint_fallback, checkpoint_record, configuration

CONFIG = {"seed": 0, "eval": {"batch_size": 4},
          "schedule": {"steps": (1,), "train_frames": (), "batch_size": ()},
          "data": {"skip_bad": False, "camera": "", "actions": "", "train_frames": 0},
          "train": {"init_from": "", "init_from_step": -1, "pixels": (1,), "encoder_pooling": (1,),
                    "rollout": 0, "burn_in": (4, 4), "rollout_share": 1.0}}


@struct.dataclass
class State:
    step: jax.Array
    params: Any
    opt_state: Any


def make_state(fill: float = 0.0) -> State:
    params = {"a": {"kernel": jnp.full((64, 32), fill)}, "b": jnp.arange(3.0)}
    return State(jnp.int32(fill), params, optax.adam(1e-3).init(params))


def make_iterator():
    data = grain.MapDataset.range(100).shuffle(seed=3).repeat()
    return iter(data.to_iter_dataset(grain.ReadOptions(num_threads=2)).batch(4))


def assert_equal(a: State, b: State) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> pathlib.Path:
    """A run with checkpoints of steps 2 and 3, of states filled with 2 and 3."""
    folder = tmp_path_factory.mktemp("saved")
    iterator = make_iterator()
    manager = checkpoint.open_checkpoints(str(folder), keep=2)
    for step in (1, 2, 3):
        next(iterator)
        assert checkpoint.save(manager, step, make_state(float(step)), iterator, CONFIG)
    manager.close()
    return folder


@pytest.fixture
def workdir(tmp_path, saved) -> str:
    """A copy of it."""
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    return str(tmp_path)


def test_state_and_iterator_come_back_together(workdir):
    straight = make_iterator()
    items = [next(straight) for _ in range(5)]
    manager = checkpoint.open_checkpoints(workdir, keep=2)
    for step in (2, 3):
        iterator = make_iterator()
        state = checkpoint.restore(manager, jax.eval_shape(make_state), iterator, step)
        assert_equal(state, make_state(float(step)))
        np.testing.assert_array_equal(next(iterator), items[step])
    newest = checkpoint.restore(manager, jax.eval_shape(make_state), make_iterator())
    assert newest.step == 3 and isinstance(newest.params["b"], np.ndarray)
    manager.close()


def test_keeps_the_newest_and_does_not_save_a_step_twice(workdir):
    manager = checkpoint.open_checkpoints(workdir, keep=2)
    assert sorted(manager.all_steps()) == [2, 3] and checkpoint.latest_step(manager) == 3
    assert not checkpoint.save(manager, 3, make_state(9.0), make_iterator(), CONFIG)
    assert checkpoint.save(manager, 4, make_state(4.0), make_iterator(), CONFIG)
    checkpoint.wait(manager)
    assert sorted(manager.all_steps()) == [3, 4]
    manager.close()


def test_arrays_may_be_donated_right_after_saving(tmp_path):
    """On several devices, as in training: what is saved is the state before the next step."""
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    advance = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
    manager = checkpoint.open_checkpoints(str(tmp_path), keep=5)
    state, expected = jax.device_put(make_state(), replicated), make_state()
    for step in range(1, 6):
        state, expected = advance(state), jax.tree.map(lambda x: x + 1, expected)
        checkpoint.save(manager, step, state, make_iterator(), CONFIG)
    state = advance(state)
    restored = checkpoint.restore(manager, jax.eval_shape(make_state), make_iterator())
    assert_equal(restored, expected)
    manager.close()


def test_half_written_checkpoints_are_passed_over_and_removed(workdir):
    folder = os.path.join(workdir, checkpoint.FOLDER)
    half = os.path.join(folder, "5.orbax-checkpoint-tmp")
    os.makedirs(os.path.join(half, "state.orbax-checkpoint-tmp"))
    params, step = checkpoint.restore_params(workdir, jax.eval_shape(make_state).params)
    assert step == 3 and os.path.isdir(half)  # a look from outside changes nothing
    np.testing.assert_array_equal(params["a"]["kernel"], np.full((64, 32), 3.0))

    manager = checkpoint.open_checkpoints(workdir, keep=2)
    assert checkpoint.latest_step(manager) == 3
    assert checkpoint.save(manager, 4, make_state(4.0), make_iterator(), CONFIG)
    manager.close()
    assert not os.path.exists(half)
    assert checkpoint.choose_step(workdir) == 4


def test_parameters_alone(workdir):
    params, step = checkpoint.restore_params(workdir, jax.eval_shape(make_state).params, 2)
    assert step == 2
    jax.tree.map(np.testing.assert_array_equal, params, make_state(2.0).params)


def test_a_missing_checkpoint_is_named(workdir, tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint of step 7 in .*steps 2, 3"):
        checkpoint.choose_step(workdir, 7)
    empty = str(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="no checkpoint in .*empty"):
        checkpoint.choose_step(empty)
    with pytest.raises(FileNotFoundError, match="no checkpoint in .*empty"):
        checkpoint.restore_params(empty, jax.eval_shape(make_state).params)
    manager = checkpoint.open_checkpoints(empty, keep=1)
    assert checkpoint.latest_step(manager) is None
    with pytest.raises(FileNotFoundError, match="no checkpoint in .*empty"):
        checkpoint.restore(manager, jax.eval_shape(make_state), make_iterator())
    manager.close()


def test_new_checkpoints_are_told_one_by_one_until_the_last(tmp_path, monkeypatch):
    """Two are there, the next is written while it waits; one was deleted before its turn."""
    iterator = make_iterator()
    manager = checkpoint.open_checkpoints(str(tmp_path), keep=2)

    def write(*steps):
        for step in steps:
            checkpoint.save(manager, step, make_state(float(step)), iterator, CONFIG)
        checkpoint.wait(manager)

    waits = iter([lambda: write(1, 2), lambda: write(3, 4, 5)])
    monkeypatch.setattr(checkpoint.time, "sleep", lambda seconds: next(waits)())
    assert list(checkpoint.new_steps(str(tmp_path), last_step=5)) == [1, 2, 4, 5]
    manager.close()


@pytest.mark.parametrize("shape", [{"a": {"kernel": jnp.zeros((64, 31))}, "b": jnp.zeros(3)},
                                   {"a": {"kernel": jnp.zeros((64, 32))}, "c": jnp.zeros(3)}])
def test_parameters_of_another_form_are_refused(workdir, shape):
    with pytest.raises(checkpoint.UnreadableError, match="checkpoint of step 3 .* is damaged, or"):
        checkpoint.restore_params(workdir, jax.eval_shape(lambda: shape))


# ---- What a checkpoint says of itself ------------------------------------------------------------
def record_of(workdir: str, step: int) -> pathlib.Path:
    return pathlib.Path(workdir) / checkpoint.FOLDER / str(step) / "record" / "metadata"


def rewrite(workdir: str, step: int, **changes: Any) -> None:
    """Gives a record other entries, whole as if it had been written so."""
    path = record_of(workdir, step)
    record = json.loads(path.read_text()) | changes
    record["checksum"] = checkpoint_record.json_checksum(
        {key: value for key, value in record.items() if key != "checksum"})
    path.write_text(json.dumps(record))


def restore(workdir: str, step: int | None = None, config: dict = CONFIG) -> State:
    with checkpoint.open_checkpoints(workdir, keep=2) as manager:
        return checkpoint.restore(manager, jax.eval_shape(make_state), make_iterator(), step,
                                  config)


def test_the_record_has_format_versions_config_and_checksums(workdir):
    record = json.loads(record_of(workdir, 3).read_text())
    assert (record["format"], record["step"]) == (3, 3)
    assert record["config"] == json.loads(json.dumps(CONFIG))
    assert record["place"] == google_crc32c.value(b'{"next_index": 12}')
    rest = {key: value for key, value in record.items() if key != "checksum"}
    text = json.dumps(rest, sort_keys=True).encode()
    assert record["checksum"] == google_crc32c.value(text)
    assert record["versions"]["jax"] == jax.__version__
    assert record["versions"]["python"] == platform.python_version()
    kernel = np.full((64, 32), 3.0, np.float32)
    assert record["checksums"]["params.a.kernel"] == google_crc32c.value(kernel.tobytes())
    assert len(record["checksums"]) == len(jax.tree.leaves(make_state()))


def test_checksums_are_looked_at_where_only_parameters_are_read(workdir):
    rewrite(workdir, 3, checksums=json.loads(record_of(workdir, 3).read_text())["checksums"]
            | {"params.b": 7})
    with pytest.raises(checkpoint.UnreadableError, match="the bytes of params.b are not those"):
        checkpoint.restore_params(workdir, jax.eval_shape(make_state).params, 3)
    checkpoint.restore_params(workdir, jax.eval_shape(make_state).params, 2)


def test_a_checkpoint_without_a_record_is_of_the_first_format_and_is_read(workdir):
    """That it never had one is told by what orbax noted of it when it was saved."""
    remove_record_as_of_format_1(workdir, 3)
    assert_equal(restore(workdir), make_state(3.0))
    assert checkpoint.restore_params(workdir, jax.eval_shape(make_state).params)[1] == 3


def remove_record_as_of_format_1(workdir: str, step: int) -> None:
    folder = record_of(workdir, step).parent
    shutil.rmtree(folder)
    path = folder.parent / "_CHECKPOINT_METADATA"
    noted = json.loads(path.read_text())
    del noted["item_handlers"]["record"]
    path.write_text(json.dumps(noted))


def test_a_record_of_the_second_format_is_read(workdir):
    """It has no checksum of itself or of the place in the data."""
    path = record_of(workdir, 3)
    record = json.loads(path.read_text()) | {"format": 2}
    path.write_text(json.dumps({key: record[key] for key in (
        "format", "versions", "config", "checksums")}))
    assert_equal(restore(workdir), make_state(3.0))
    for part in ("config", "checksums", "versions"):
        path.write_text(json.dumps({key: value for key, value in record.items() if key != part}))
        with pytest.raises(checkpoint.UnreadableError, match="its record is damaged"):
            restore(workdir)


@pytest.mark.parametrize("part", ["checksums", "versions"])
@pytest.mark.parametrize("value", [None, 7, ["jax"]])
def test_a_record_without_names_is_damaged(workdir, part, value):
    rewrite(workdir, 3, **{part: value})
    with pytest.raises(checkpoint.UnreadableError, match=f"its record has no {part} by name"):
        restore(workdir)


@pytest.mark.parametrize("number", [4, 0, "two", None])
def test_an_unknown_format_says_which_version_is_needed(workdir, number):
    rewrite(workdir, 3, format=number, versions={"parts_jax": "9.1"})
    message = rf"step 3 in .* is of format {number!r}, written by parts_jax 9\.1; this is .* 1 to 3"
    with pytest.raises(checkpoint_record.FormatError, match=message):
        restore(workdir)
    with pytest.raises(checkpoint_record.FormatError, match=message):
        checkpoint.restore_params(workdir, jax.eval_shape(make_state).params)
    with checkpoint.open_checkpoints(workdir, keep=2) as manager:
        with pytest.raises(checkpoint_record.FormatError):  # it is not damaged: nothing is moved
            checkpoint_fallback.restore_newest(
                workdir, manager, jax.eval_shape(make_state), make_iterator(), CONFIG)
    assert checkpoint.complete_steps(pathlib.Path(workdir) / checkpoint.FOLDER) == [2, 3]


def test_another_config_is_refused_with_the_keys_that_differ(workdir):
    with pytest.raises(configuration.DifferentConfigError, match="  seed: 0 there, 1 now") as error:
        restore(workdir, config=CONFIG | {"seed": 1, "eval": {"batch_size": 8}})
    assert "batch_size" not in str(error.value)  # which changes no parameter


def test_other_packages_are_told_of(workdir, caplog):
    rewrite(workdir, 3, versions=checkpoint_record.versions() | {"jax": "0.1"})
    with caplog.at_level("WARNING"):
        assert_equal(restore(workdir), make_state(3.0))
    assert f"jax 0.1 then, {jax.__version__} now" in caplog.text


# ---- Damage --------------------------------------------------------------------------------------
def damage(workdir: str, step: int, how: str) -> None:
    folder = pathlib.Path(workdir) / checkpoint.FOLDER / str(step)
    if how == "no arrays":
        shutil.rmtree(folder / "state")
    elif how == "cut short":
        for path in (folder / "state").rglob("d/*"):
            path.write_bytes(path.read_bytes()[:-20])
    elif how == "no place in the data":
        next((folder / "iterator").glob("process_0*")).write_text("{")
    elif how == "record":
        record_of(workdir, step).write_text('{"format": 2')
    elif how == "no record":
        shutil.rmtree(folder / "record")
    elif how == "nothing says what there was":
        shutil.rmtree(folder / "record")
        (folder / "_CHECKPOINT_METADATA").unlink()
    elif how == "another place in the data":
        path = next((folder / "iterator").glob("process_0*"))
        path.write_text(path.read_text().replace("12", "13"))
    elif how.startswith("of another step: "):
        name = how.removeprefix("of another step: ")
        shutil.rmtree(folder / name)
        shutil.copytree(folder.parent / "2" / name, folder / name)
    elif how.startswith("in the record: "):
        old, new = how.removeprefix("in the record: ").split(" -> ")
        text = record_of(workdir, step).read_text()
        assert text.count(old) == 1
        record_of(workdir, step).write_text(text.replace(old, new))


@pytest.mark.parametrize("how", [
    "no arrays", "cut short", "no place in the data", "record", "no record",
    "nothing says what there was", "another place in the data", "of another step: iterator",
    "of another step: state", "of another step: record", "of another step: .",
    'in the record: "seed": 0 -> "seed": 1', 'in the record: "format": 3 -> "format": 2',
    'in the record: "format": 3 -> "format": 7', 'in the record: "params.b" -> "params.c"',
    'in the record: "checksum": -> "checksul":', 'in the record: "config" -> "confih"'])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(workdir, caplog, how):
    damage(workdir, 3, how)
    iterator, straight = make_iterator(), make_iterator()
    expected = [next(straight) for _ in range(3)][2]
    with checkpoint.open_checkpoints(workdir, keep=2) as manager, caplog.at_level("ERROR"):
        state = checkpoint_fallback.restore_newest(
            workdir, manager, jax.eval_shape(make_state), iterator, CONFIG)
        assert_equal(state, make_state(2.0))
        np.testing.assert_array_equal(next(iterator), expected)
        assert "The checkpoint of step 3 in" in caplog.text and "cannot be read" in caplog.text
        assert "damaged checkpoint of step 3 is moved to" in caplog.text
        assert checkpoint.save(manager, 3, make_state(3.0), iterator, CONFIG)  # as if it never was
    assert os.listdir(os.path.join(workdir, "damaged")) == ["3"]
    assert_equal(restore(workdir), make_state(3.0))


def test_a_model_is_not_loaded_from_a_checkpoint_whose_record_is_gone(workdir):
    shape = jax.eval_shape(make_state).params
    damage(workdir, 3, "no record")
    with pytest.raises(checkpoint.UnreadableError, match="step 3 in .* its record is gone"):
        checkpoint.restore_params(workdir, shape)
    damage(workdir, 2, "nothing says what there was")
    with pytest.raises(checkpoint.UnreadableError, match="whether it had one is not known"):
        checkpoint.restore_params(workdir, shape, 2)


def test_with_nothing_whole_left_nothing_is_moved(workdir):
    damage(workdir, 3, "cut short")
    damage(workdir, 2, "no arrays")
    with checkpoint.open_checkpoints(workdir, keep=2) as manager:
        with pytest.raises(checkpoint.UnreadableError, match="No checkpoint in .* can be read.*"
                                                             "give another --workdir"):
            checkpoint_fallback.restore_newest(
                workdir, manager, jax.eval_shape(make_state), make_iterator(), CONFIG)
    assert checkpoint.complete_steps(pathlib.Path(workdir) / checkpoint.FOLDER) == [2, 3]


# ---- The disk ------------------------------------------------------------------------------------
def test_too_small_a_disk_is_told_of_with_numbers(workdir, monkeypatch):
    """Two checkpoints are there; keeping four, and one more in writing, three more are to come."""
    size = 2**20 + 3 * 4 * (64 * 32 + 3) + 4 + 4  # parameters and two moments; step and count
    for free, fits in ((3 * size, True), (3 * size - 1, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: types.SimpleNamespace(
            free=free))
        if fits:
            checkpoint.check_room(workdir, jax.eval_shape(make_state), keep=4)
        else:
            with pytest.raises(checkpoint.SaveError, match=r"has 3\.2 MB left, but 4 checkpoints"):
                checkpoint.check_room(workdir, jax.eval_shape(make_state), keep=4)


def test_a_save_that_fails_names_what_is_there(workdir, monkeypatch):
    """The error comes from orbax's thread, by the next call."""
    with checkpoint.open_checkpoints(workdir, keep=2) as manager:
        def full(*args, **kwargs):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(manager, "wait_until_finished", full)
        with pytest.raises(checkpoint.SaveError, match=r"No space left on device\. That of step 3 "
                                                       "is complete; when the cause"):
            checkpoint.wait(manager)
        monkeypatch.undo()
    assert_equal(restore(workdir), make_state(3.0))


def test_a_checkout_that_is_not_installed_has_no_version_but_a_record(monkeypatch):
    monkeypatch.setattr(checkpoint_record, "PACKAGES", ("jax", "not_installed_at_all"))
    versions = checkpoint_record.versions()
    assert versions["jax"] == jax.__version__
    assert versions["not_installed_at_all"] == "?"
