"""IODINE's experiments: arithmetic by hand, tilings that are known, commands without training."""

import io
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from benchmarks.iodine import __main__ as command
from benchmarks.iodine import (
    drawing,
    iterations,
    probing,
    restarts,
    scores,
    seen,
    slots,
    traversals,
    writing,
)
from benchmarks.paper import clips
from configs import iodine_tetrominoes
from parts_jax import models
from parts_jax.data import pipeline, preprocess
from parts_jax.equations.notation import Gaussian
from parts_jax.models.contract import Clip
from parts_jax.models.iodine import family

SIZE = 12


# ---- A model of random parameters, and images of two squares ------------------------------------


@pytest.fixture(scope="module")
def run() -> seen.Run:
    config = iodine_tetrominoes.get_config("tiny").copy_and_resolve_references().unlock()
    config.data.resolution, config.schedule.resolution = SIZE, (SIZE,)
    config.train.pixels = (1,)
    config.model.num_slots, rng = 3, np.random.default_rng(0)
    model = models.create(config)
    params = jax.tree.map(lambda p: 0.3 * rng.normal(size=p.shape).astype(np.float32),
                          jax.eval_shape(model.init, jax.random.key(0)))
    return seen.Run("run", config, family.build(config), model, params, 7)


@pytest.fixture
def split(run, monkeypatch) -> list[dict]:
    """Five images; what `load` finds is `run`."""
    rng, examples = np.random.default_rng(1), []
    for i in range(5):
        ids = np.zeros((1, SIZE, SIZE), np.uint8)
        ids[:, :4, :4], ids[:, 6:, 5 + i % 2:] = 1, 2
        examples.append({
            "video": rng.integers(0, 256, (1, SIZE, SIZE, 3), np.uint8), "segmentation": ids,
            "shape": np.asarray([[0, i % 2]], np.int32),
            "position": rng.normal(size=(1, 2, 2)).astype(np.float32)})
    opened = pipeline.Split(examples, fewest_frames=1)
    monkeypatch.setattr(pipeline, "open_split", lambda data_config, name: opened)
    monkeypatch.setattr(clips, "load", lambda workdir, step=-1: clips.Trained(
        run.config, run.model, run.params, run.step))
    return examples


@pytest.fixture
def page(tmp_path) -> pathlib.Path:
    path = tmp_path / "iodine.md"
    path.write_text("# A\n\n<!-- probe-sim_tetrominoes_tiny -->\nnot measured yet\n"
                    "<!-- /probe-sim_tetrominoes_tiny -->\n")
    return path


def test_every_iteration_is_what_a_run_of_so_many_gives(run):
    images = np.random.default_rng(0).random((2, SIZE, SIZE, 3)).astype(np.float32)
    keys = seen.keys_of(run, np.arange(2))
    found = seen.trace(run, images, keys, num_slots=2, num_iterations=3)
    assert found.ids.shape == (2, 4, SIZE, SIZE) and found.posterior.mean.shape == (2, 4, 2, 4)
    see = jax.jit(lambda noise: run.model.loss(run.params, (), Clip(
        jnp.asarray(images)[:, None], jnp.zeros((2, 1, 0)), noise), None)[1])
    for n in (1, 3):
        step = see(run.model.noise(keys, 1, 2, n))
        for name in ("mse", "nll", "kl", "neg_elbo"):
            np.testing.assert_allclose(getattr(found, name)[:, n], step.metrics[name][:, 0],
                                       rtol=2e-5)
        masks, recon = step.iterations.masks[:, 0], step.iterations.recon[:, 0]
        np.testing.assert_allclose(found.recon[:, :n + 1], recon, atol=2e-5)
        assert np.mean(found.ids[:, :n + 1] == masks.argmax(2)) > 0.999
        view = jax.tree.map(lambda a: a[:, 0], step.views["final"])
        assigned = run.model.assign(view, jnp.asarray(images)).argmax(1)
        assert np.mean(found.assigned[:, n] == assigned) > 0.995
        np.testing.assert_allclose(found.posterior.mean[:, n],
                                   step.latents["final"].posterior.mean[:, 0], atol=2e-5)


def test_commands_on_images_write_page_picture_and_numbers(run, split, page):
    said = command.run(["iterations", "runs/a", "runs/b", "--iterations=4", "--batch_size=2",
                        f"--page={page}"])
    assert "Trained with N=2 (2 runs). 4 iterations in place of 2 change" in said
    numbers = json.loads((page.parent / "iodine_iterations-sim_tetrominoes_tiny.json").read_text())
    assert numbers["images"] == 5  # the sixth of the last batch is none
    assert np.shape(numbers["trained"]["2"]["quartiles"]["kl"]) == (3, 5)
    command.run(["traversals", "runs/a", "--image=1", f"--page={page}"])
    command.run(["restarts", "runs/a", "--restarts=3", "--batch_size=2", f"--page={page}"])
    numbers = json.loads((page.parent / "iodine_restarts-sim_tetrominoes_tiny.json").read_text())
    assert list(numbers["best_of"]) == ["1", "2"] and numbers["images"] == 5
    said = command.run(["probe", "runs/a", "--batch_size=4", f"--page={page}"])
    assert "10 objects, told by 10 of training" in said and "| shape | accuracy |" in said
    text = page.read_text()
    assert "not measured yet" not in text and "| position | R2 |" in text
    assert text.count("<!-- /") == 4 and (page.parent / "iodine_traversals-sim_tetrominoes_tiny.png"
                                          ).stat().st_size < writing.MOST_BYTES
    with pytest.raises(ValueError, match="--image is 9, but the test split .* has 5 images"):
        command.run(["traversals", "runs/a", "--image=9", f"--page={page}"])
    del split[0]["shape"], split[0]["position"]
    with pytest.raises(ValueError, match="has no factors that it was drawn from"):
        command.run(["probe", "runs/a", f"--page={page}"])


def test_what_cannot_be_shown_is_refused_in_a_sentence(run, split, page, monkeypatch):
    with pytest.raises(ValueError, match="'--image=1' is no flag of slots"):
        command.run(["slots", "runs/a", "--image=1", f"--page={page}"])
    with pytest.raises(FileNotFoundError, match="There is no page"):
        command.run(["slots", "runs/a", f"--page={page.parent}/none.md"])
    with pytest.raises(ValueError, match="is 35x35 pixels, but runs/a is of 12x12"):
        command.run(["ambiguous", "runs/a", f"--page={page}"])
    other = run.config.copy_and_resolve_references()
    other.model.sequential = True
    monkeypatch.setattr(clips, "load", lambda workdir, step=-1: clips.Trained(other, None, None, 0))
    with pytest.raises(ValueError, match="runs/a is a run of IODINE on sequences"):
        command.run(["slots", "runs/a", f"--page={page}"])


# ---- Tables -------------------------------------------------------------------------------------


def by_hand(fg_ari: np.ndarray) -> dict[str, np.ndarray]:
    """Scores whose FG-ARI is given, [images, N+1]; MSE is a tenth of what lacks to 1."""
    return {"fg_ari": fg_ari, "fg_ari_assigned": np.ones_like(fg_ari), "ari": fg_ari / 2,
            "ari_assigned": fg_ari, "mse": (1 - fg_ari) / 10, "kl": 20 + fg_ari,
            "objects": np.arange(len(fg_ari)) % 2 + 2}


def test_twice_as_many_iterations_hurt_where_scores_fall():
    rng = np.random.default_rng(0)
    good = np.repeat([[.1, .5, .9]], 40, axis=0) + 0.01 * rng.random((40, 3))
    found = iterations.beyond([by_hand(good), by_hand(good + .02)], 1)
    np.testing.assert_allclose(found["fg_ari"]["change"], (good[:, 2] - good[:, 1]).mean())
    assert not any(one["worse"] for one in found.values())
    found = iterations.beyond([by_hand(good[:, ::-1])], 1)
    assert found["fg_ari"]["worse"] and found["mse"]["worse"]
    assert not found["fg_ari_assigned"]["worse"]  # it stays where it is
    assert "2 iterations in place of 1" in iterations.verdict(found, 1)
    assert "worse by FG-ARI, MSE" in iterations.verdict(found, 1)
    assert iterations.beyond([by_hand(good)], 2) is None
    np.testing.assert_allclose(
        iterations.quartiles_of([by_hand(good), by_hand(good + .02)])["fg_ari"][:, 2],
        np.quantile(good[:, 2] + .01, (.25, .5, .75)))


def test_scores_by_number_of_objects():
    last = np.asarray([.1, .2, .3, .4])
    runs = [by_hand(np.stack([last * 0, last + shift], axis=1)) for shift in (0, .2)]
    found = slots.by_count(runs)
    assert list(found) == ["all", "2", "3"] and found["2"]["images"] == 2
    np.testing.assert_allclose([found[group]["fg_ari"] for group in found], [.35, .3, .4])
    np.testing.assert_allclose(found["3"]["std"], np.std([.3, .5], ddof=1))
    text = slots.words_of(dict(dataset="a/b", runs=["x"], trained=4, restarts=1, fewest=0,
                               by_slots={4: found}))
    assert "best of 1 restarts. Images" in text
    assert "| 3 | **4** | 0.400 ± 0.141 |" in text and "all: 4, 2: 2, 3: 2" in text
    alone = slots.by_count([by_hand(np.ones((2, 1))) | {"objects": np.asarray([3, 3])}])
    assert list(alone) == ["all"] and np.isnan(alone["all"]["std"])


def test_slots_are_counted_on_a_set_of_other_numbers_of_objects(run, split, page, monkeypatch):
    opened, one = [], pipeline.open_split
    monkeypatch.setattr(pipeline, "open_split", lambda data_config, name: (
        opened.append(data_config.name) or one(data_config, name)))
    text = command.run(["slots", "runs/a", "--set=sim_tetrominoes/twins", "--restarts=2",
                        "--fewest_slots=2", f"--page={page}"])
    assert "sim_tetrominoes/twins, test; runs a, trained with K=3" in text
    assert "best of 2 restarts, down to 2 slots." in text
    assert set(opened) == {"sim_tetrominoes/twins"}
    assert run.config.data.name == "sim_tetrominoes/tiny"
    numbers = json.loads((page.parent / "iodine_slots-sim_tetrominoes_twins.json").read_text())
    assert list(numbers["by_slots"]) == ["2", "3", "4", "5", "6", "7"]


def test_what_is_measured_of_several_restarts_is_of_the_best(run, split):
    of_all = restarts.measure(run, 0, 2, 3)
    one, best = (restarts.best_of(of_all, count) for count in (1, 3))
    assert np.abs(one["mse"] - best["mse"]).max() > 0  # not all are of the first
    for count, expected in ((1, one), (3, best)):
        found = seen.measure(run, 0, 2, restarts=count)
        for name in restarts.SHOWN:
            np.testing.assert_allclose(found[name][:, -1], expected[name], rtol=1e-5)


def test_restarts_that_are_measured_have_as_many_slots_as_those_in_use(run, split):
    """By the model itself, of two restarts: K slots, then one."""
    fewer = seen.with_fewest_slots(run, 1)
    fewer.config.model.restarts = 2
    assert run.config.model.fewest_slots == 0 and seen.with_fewest_slots(run, None) is run
    model = models.create(fewer.config)
    batch = next(seen.batches(run.config, 2, 2))
    noise = model.noise(seen.keys_of(run, batch["index"]), 1, None)
    video = preprocess.to_float(batch["video"][:, None])
    found = model.loss(run.params, (), Clip(video, np.zeros((2, 1, 0)), noise), None)[1]
    measured = seen.measure(fewer, 2, 2, restarts=2)
    np.testing.assert_allclose(measured["kl"][:, -1], found.metrics["kl"][:, 0], rtol=1e-3)
    np.testing.assert_allclose(measured["mse"][:, -1], found.metrics["mse"][:, 0], rtol=1e-3)


def test_the_best_of_restarts_is_that_of_the_greatest_elbo():
    scores = {"neg_elbo": np.asarray([[2., 1.], [1., 3.], [0., 0.]]),
              "mse": np.asarray([[.1, .2], [.3, .4], [.5, .6]])}
    for count, expected in ((1, [.1, .2]), (2, [.3, .2]), (3, [.5, .6])):
        np.testing.assert_array_equal(restarts.best_of(scores, count)["mse"], expected)


def test_the_table_of_seeds_beside_trivial_answers():
    records = [dict(fg_ari_last=.5, mse=.01), dict(fg_ari_last=.7, mse=.02, kl=3.)]
    values = scores.values_of(records, [1.0, 2.0])
    assert "kl" not in values  # not all have it
    text = scores.words_of(dict(
        dataset="a/b", runs=["x", "y"], seeds=[0, 1], num_sequences=3, resolution=35, num_slots=4,
        step=9, scores=values, trivial={"strips": {"fg_ari_last": .25}, "room": {"mse": .1}}))
    assert "| FG-ARI | 0.500 | 0.700 | 0.600 | 0.500 - 0.700 | 0.141 | 0.250 |  |" in text
    assert "| MSE | 0.01000 | 0.02000 | 0.01500 | 0.01000 - 0.02000 | 0.00707 |  | 0.10" in text


def test_files_are_small_finite_and_in_their_place(page):
    noise = np.random.default_rng(0).integers(0, 256, (90, 200, 3), np.uint8)
    writing.write(writing.Made("x-a_b", {"a": np.float32(1 / 3), 2: [float("nan"), True]}, "words",
                               noise[:40]), page, page.parent)
    assert json.loads((page.parent / "iodine_x-a_b.json").read_text()) == {
        "a": 0.333333, "2": [None, True]}
    assert "![x-a_b](iodine_x-a_b.png)\n\nwords" in page.read_text()
    with pytest.raises(ValueError, match="would have .* bytes, but may have 100,000"):
        writing.write(writing.Made("y", {}, "", np.random.default_rng(1).integers(
            0, 256, (500, 500, 3), np.uint8)), page, page.parent)
    assert not (page.parent / "iodine_y.json").exists()
    ramps = (np.add.outer(np.arange(640), np.arange(900)) % 256).astype(np.uint8)
    ramps = np.stack([ramps, ramps[::-1], ramps[:, ::-1]], axis=-1) // 8 * 8
    ramps[::7] = np.random.default_rng(2).integers(0, 256, ramps[::7].shape)
    few = writing._few_colours(ramps)  # more than 32 colours, for which 256 are too many
    colours = len(np.unique(np.asarray(Image.open(io.BytesIO(few)))))
    assert len(few) <= writing.MOST_BYTES and 32 <= colours < 256
    picture = drawing.curves("t", {"a": drawing.Curve([0, 1], np.asarray([1., 2.]), mark=1)})
    dots = (picture == drawing.colours.palette(1)[0]).all(-1)
    assert dots[20:30, 300:].any() and not dots[100:130, 300:].any()  # up to the right
    bars = drawing.bars("t", {"a": 1.0, "b": 0.5}) == drawing.colours.palette(1)[0]
    lengths = bars.all(-1)[[27, 42]].sum(1)
    assert abs(lengths[0] - 2 * lengths[1]) <= 2


def test_what_a_traversal_changes():
    pictures, masks = np.zeros((3, 8, 8, 3)), np.zeros((3, 8, 8))
    true = np.zeros((8, 8), int)
    true[:4, :2], true[:4, 6:] = 1, 2
    pictures[-1, :4, :2] = 1
    masks[0, :2, :2], masks[-1, :4, 2:4] = 1, 1
    found = traversals.effect(pictures, masks, true)
    np.testing.assert_allclose(list(found.values()), [8 / 64, 1, np.hypot(1, 2), 2])
    pictures[-1, :4, 6:] = 1  # of the other object as much
    np.testing.assert_allclose(traversals.effect(pictures, masks, true)["objects"], 2)
    rng = np.random.default_rng(0)
    q = Gaussian(*rng.normal(size=(2, 3, 4)).astype(np.float32))
    kl = 0.5 * (np.exp(2 * q.log_std) + q.mean**2 - 1) - q.log_std
    np.testing.assert_allclose(traversals.kl_by_number(q, "exp"), kl, rtol=1e-4)


def test_factors_are_told_as_what_they_are():
    np.testing.assert_array_equal(probing.as_told("colour", np.asarray([[1., 0, 1], [0, 0, 0]])),
                                  [5, 0])
    assert probing.as_told("colour", np.full((2, 3), .5)).dtype.kind == "f"
    np.testing.assert_allclose(probing.as_told("orientation", np.asarray([0, np.pi / 2])),
                               [[0, 1], [1, 0]], atol=1e-7)
    rng, objects = np.random.default_rng(0), []
    for count in (200, 80):
        kind, place = rng.integers(3, size=count), rng.normal(size=(count, 2))
        told = np.concatenate([np.eye(3)[kind], place @ [[1, 2], [3, 1]]], axis=1)
        objects.append(probing.probe.Objects(
            {"slots": told, "untrained": rng.normal(size=(count, 4))},
            {"shape": kind, "position": place, "size": np.zeros(count, int)}, np.ones(count)))
    found = probing.scores_of(*objects)
    assert set(found) == {"shape", "position"}  # all are of one size
    assert found["shape"]["slots"] == 1 and found["position"]["slots"] > .99
    assert found["shape"]["untrained"] < .6 and abs(found["position"]["nothing"]) < .1
    assert found["shape"]["nothing"] == np.mean(
        objects[1].factors["shape"] == stats.mode(objects[0].factors["shape"]).mode)
