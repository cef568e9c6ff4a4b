"""IODINE's experiments that are of a config: their commands, by runs that train nothing; FLOPs."""

import ast
import json
import pathlib
import types

import jax
import jax.numpy as jnp
import pytest

from benchmarks.iodine import __main__ as command
from benchmarks.iodine import ablation, flops, vae
from benchmarks.paper import rows
from configs import iodine_tetrominoes

CONFIG = "configs/iodine_tetrominoes.py:tiny"


@pytest.fixture
def page(tmp_path) -> pathlib.Path:
    path = tmp_path / "iodine.md"
    path.write_text("# A\n")
    return path


@pytest.fixture
def fake_runs(monkeypatch) -> list[list[str]]:
    """The commands that were run; each leaves what a run leaves."""
    commands: list[list[str]] = []

    def fake(arguments, **_):
        given = arguments[arguments.index("-m") - 1:]
        commands.append(given)
        flags = dict(flag.split("=", 1) for flag in given if flag.startswith("--"))
        steps = sum(ast.literal_eval(flags["--config.schedule.steps"]))
        folder = pathlib.Path(flags["--workdir"])
        (folder / "evaluation").mkdir()
        (folder / "config.json").write_text(json.dumps({"schedule": {"steps": [steps]}}))
        lost = "image" in folder.name
        record = dict(step=steps, dataset="s/t", split="test", seed=0, num_sequences=8,
                      stages=["final"], median={}, fg_ari_last=.4 if lost else .9,
                      fg_ari_last_assigned=.8, neg_elbo=-100., mse=.01, kl=20.)
        (folder / "evaluation" / f"s_t-test-{steps}.json").write_text(json.dumps(record))
        (folder / "evaluation" / f"s_t-test-{steps}.csv").write_text("clip,id\n")
        return types.SimpleNamespace(returncode=0)

    monkeypatch.setattr(rows.subprocess, "run", fake)
    return commands


def test_each_input_is_left_out_once_and_done_runs_are_left_alone(fake_runs, page, monkeypatch):
    monkeypatch.chdir(rows.ROOT)
    arguments = ["ablation", f"--config={CONFIG}", "--steps=6", "--jobs=2",
                 f"--folder={page.parent / 'runs'}", f"--page={page}"]
    with pytest.raises(ValueError, match="No run of .* with 6 steps is done"):
        command.run([*arguments, "--no-train"])
    said = command.run(arguments)
    inputs = iodine_tetrominoes.INPUTS
    assert len(fake_runs) == len(inputs) + 1
    for line in fake_runs:
        assert line[1:3] == ["-m", "parts_jax.main"]
        assert line[3] == f"--config={rows.ROOT / CONFIG}" and "--config.seed=0" in line
        assert "--config.schedule.steps=(6,)" in line
    left = {flag for line in fake_runs for flag in line if "refiner.inputs" in flag}
    assert left == {"--config.model.refiner.inputs=" + repr(tuple(
        name for name in inputs if name != out)) for out in inputs}
    assert "| all |  | 0.900 | 0.800 | -100.0 | 0.01000 | 20.0 |" in said
    assert "| `image` | x | 0.400 (-0.500) | 0.800 (+0.000) |" in said
    command.run(arguments)
    assert len(fake_runs) == len(inputs) + 1
    command.run([*arguments, "--config.train.batch_size=4"])  # other runs
    assert len(fake_runs) == 2 * (len(inputs) + 1)
    with pytest.raises(ValueError, match="cannot be read"):
        command.run([*arguments, "--config.train.no_such=4"])


def test_a_vae_is_the_config_with_one_slot(fake_runs, tmp_path, monkeypatch):
    monkeypatch.chdir(rows.ROOT)
    flags = types.SimpleNamespace(config=CONFIG, more=[], steps=5, folder=tmp_path)
    one, several = vae.every(flags)
    assert one.command[1:3] == ["-m", "benchmarks.iodine.single"]
    assert one.command[-1] == "--config.data.name=sim_tetrominoes/single"
    for run in (one, several):
        assert {"--config.model.num_slots=1", "--config.model.decoder.colour=full",
                "--config.schedule.steps=(5,)", f"--workdir={run.workdir}"} < set(run.command)
    assert one.workdir != several.workdir
    flags.more = ["--config.data.name=sim_sprites/tiny"]
    assert [run.row for run in vae.every(flags)] == [vae.SEVERAL]
    flags.config = "configs/parts_clevrer.py:demo"
    with pytest.raises(ValueError, match="is not one of IODINE on images"):
        vae.every(flags)


def test_stages_keep_their_shares_of_a_short_schedule():
    config = types.SimpleNamespace(schedule=types.SimpleNamespace(
        steps=(5000, 800), warmup_steps=(100, 20)))
    def steps(number, flag=1):
        return ast.literal_eval(ablation.schedule("a.py:b", config, number, [])[flag].split("=")[1])
    assert steps(1500) == (1293, 207) and steps(5800) == (5000, 800) and steps(2) == (1, 1)
    assert [steps(number, flag=2) for number in (1500, 100)] == [(100, 20), (43, 7)]
    with pytest.raises(ValueError, match="--steps is 1, but a.py:b has 2 stages"):
        steps(1)


def test_names_of_configs():
    assert ablation.name_of("configs/a.py:b") == "a_b" and ablation.name_of("/x/a.py") == "a"


# ---- FLOPs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size, kernel, stride", [(12, 3, 2), (35, 5, 2), (7, 3, 1), (9, 5, 3)])
def test_taps_of_strided_convolutions(size, kernel, stride):
    """Each output pixel of a convolution of ones with ones is how many taps fall inside."""
    ones = jnp.ones((1, size, 1)), jnp.ones((kernel, 1, 1))
    inside = jax.lax.conv_general_dilated(*ones, (stride,), "SAME",
                                          dimension_numbers=("NWC", "WIO", "NWC"))
    assert flops.strided(size, kernel, stride) == (inside.shape[1], int(inside.sum()))


def test_flops_of_the_step_are_little_above_the_least():
    config = iodine_tetrominoes.get_config("tiny").copy_and_resolve_references().unlock()
    config.data.resolution, config.schedule.resolution, config.train.batch_size = 16, (16,), 2
    config.model.num_slots, config.model.num_iterations, config.train.pixels = 2, 1, (1,)
    config.model.decoder.kind, config.model.decoder.colour = "broadcast", "full"
    config.model.decoder.frequencies, config.model.decoder.centred = 0, False
    config.model.decoder.channels, config.model.decoder.kernel_size = (32, 32), 5
    config.model.refiner.channels = (32, 32)
    least = flops.minimum(config)
    # By hand: 8 decodings of three layers, forward and two gradients each.
    taps = sum(max(16 - abs(o), 0) for o in range(-2, 3)) ** 2
    decoded = 6 * (25 * 4 * 32 + taps * 32 * 32 + taps * 32 * 4)
    shared = 4 * taps * 2 * 32
    assert least["decoder"] == 8 * decoded + shared
    found = flops.measure(config)
    assert 1 <= found["over_minimum"] <= flops.MOST
    config.data.num_frames = 2
    with pytest.raises(ValueError, match="FLOPs are counted of IODINE on images"):
        flops.measure(config)
