"""Checkpoints in pretrained/ find objects; demo gives the numbers beside it; the notebook runs."""

import json
import pathlib

import jax
import nbclient
import nbformat
import numpy as np
import pytest

from docs import animation
from parts_jax import models
from parts_jax.api import pretrained_model
from parts_jax.data import pipeline
from parts_jax.data.sets import splits
from parts_jax.devices import sharding
from parts_jax.evaluation import split as split_of
from parts_jax.evaluation import stages, writing
from parts_jax.metrics import segmentation
from parts_jax.runs import checkpoint, configuration
from parts_jax.simulate import balls, tetrominoes

ROOT = pathlib.Path(__file__).parents[2]
DEMO = ROOT / "pretrained" / "demo"


def stored() -> dict:
    """The evaluation that stands beside the checkpoint."""
    path, = (DEMO / "evaluation").glob("sim_clevrer_demo-test-[0-9]*[0-9].json")
    return json.loads(path.read_text())


def test_it_is_small_and_complete():
    assert not list(DEMO.rglob("*tfevents*"))
    record = stored()
    assert (DEMO / "checkpoints" / str(record["step"])).is_dir()
    assert record["num_sequences"] == 256 and record["split"] == "test"
    assert set(record["interval"]) == set(record["median"])


@pytest.fixture(scope="module")
def split() -> pipeline.Split:
    """All clips of the test split, simulated here: the set as a whole takes longer."""
    clips = [animation.held_out_clip(number) for number in range(256)]
    return pipeline.Split([{k: clip[k] for k in ("video", "segmentation")} for clip in clips],
                          min(len(clip["video"]) for clip in clips))


def test_it_finds_objects(split):
    """Through the API: far from what an untrained or a broken model gets."""
    clips, last = split.examples[:12], 7
    video = np.stack([clip["video"] for clip in clips])[:, :last + 1]
    result = pretrained_model.load(DEMO).segment(video)
    true = np.stack([clip["segmentation"] for clip in clips])[:, last].reshape(len(clips), -1)
    found = result.segmentation[:, last].reshape(len(clips), -1)
    assert segmentation.fg_ari(true, found).mean() > 0.8
    assert segmentation.ari(true, found).mean() > 0.85
    assert np.abs(result.recon[:, last] - video[:, last] / 255).mean() < 0.06


def test_iodine_finds_the_pieces_of_images():
    """The same of stills, [B, H, W, 3]; where it fails, as its card says, is one in fifteen."""
    clips = [tetrominoes.scene(tetrominoes.DEFAULT, (0, splits.SPLITS.index("test"), number))
             for number in range(12)]
    images, true = (np.stack([clip[name][0] for clip in clips])
                    for name in ("video", "segmentation"))
    result = pretrained_model.load(ROOT / "pretrained" / "iodine").segment(images)
    flat = lambda ids: ids.reshape(len(clips), -1)
    assert result.segmentation.shape == true.shape
    assert segmentation.fg_ari(flat(true), flat(result.segmentation)).mean() > 0.8
    masks = np.argmax(result.masks, axis=1)
    assert segmentation.fg_ari(flat(true), flat(masks)).mean() > 0.8
    assert segmentation.ari(flat(true), flat(masks)).mean() > 0.8


def test_the_2d_lstm_keeps_each_ball_in_a_slot():
    """Of clips of the test split, 6 frames: as one labelling, in which a change of slot counts."""
    world = balls.BallSettings(resolution=32, num_frames=6, num_colours=4)
    clips = [balls.scene(world, (0, splits.SPLITS.index("test"), number)) for number in range(8)]
    video, true = (np.stack([clip[name] for clip in clips]) for name in ("video", "segmentation"))
    result = pretrained_model.load(ROOT / "pretrained" / "balls").segment(video)
    flat = lambda ids: ids.reshape(len(clips), -1)
    assert segmentation.fg_ari(flat(true), flat(result.segmentation)).mean() > 0.85
    assert segmentation.ari(flat(true), flat(np.argmax(result.masks, axis=2))).mean() > 0.85


@pytest.fixture(scope="module")
def loaded() -> tuple[stages.Evaluator, dict]:
    """The model over four devices (the stored numbers are of one), and its parameters."""
    config, mesh = configuration.load(str(DEMO)), sharding.make_mesh()
    model = models.create(config)
    shape = jax.eval_shape(model.init, jax.random.key(0))
    params, _ = checkpoint.restore_params(str(DEMO), shape)
    return stages.compile_stages(config, model, mesh), sharding.replicate(params, mesh)


def test_evaluation_gives_the_stored_numbers(loaded, split):
    """Every metric of the whole split. Another machine rounds otherwise, so a mask may flip."""
    evaluator, params = loaded
    clips, _ = split_of.infer_split(evaluator, params, split)
    record = writing.make_record(evaluator, stored()["step"], "test", clips)
    assert record.keys() | {"commit", "hardware"} == stored().keys()
    assert record["num_sequences"] == 256
    for name in record["median"]:
        assert record[name] == pytest.approx(stored()[name], rel=5e-3, abs=5e-3), name


def test_evaluation_of_rollouts_gives_the_stored_numbers(loaded, split):
    evaluator, params = loaded
    path, = (DEMO / "evaluation").glob("*-rollout.json")
    record = json.loads(path.read_text())
    clips, _ = split_of.predict_split(evaluator, params, split)
    later = {f"{rival}_{name}" for name in ("fg_ari", "fg_miou", "mse", "psnr", "ssim")
             for rival in ("repeat", "moved")}  # some of which no evaluation had before
    assert record["metrics"].keys() <= clips.keys() <= record["metrics"].keys() | later
    for name, stored_values in record["metrics"].items():
        assert clips[name].mean(0) == pytest.approx(stored_values["mean"], rel=2e-3), name


def test_the_tour_runs_and_its_cells_are_shown_executed(tmp_path):
    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in code), "docs/tour.ipynb should be saved with its outputs"
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3",
                                     resources={"metadata": {"path": str(ROOT / "docs")}})
    client.execute()
    shown = [output for cell in code for output in cell.outputs if "text/html" in output.get(
        "data", {})]
    assert len(shown) >= 5
