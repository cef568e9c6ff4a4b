"""Evaluation on other sets: which, with what slots and frames; the table; nothing is written."""

import hashlib
import json
import pathlib

import pytest

from benchmarks import generalisation
from configs import parts_clevrer
from parts_jax import evaluate
from parts_jax.runs import configuration


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("generalisation")


@pytest.fixture(scope="module")
def workdir(folder, save_untrained):
    return save_untrained(folder / "run", steps=(3,), data__data_dir=str(folder / "data"),
                          eval__rollout_steps=0, eval__split="test", eval__num_pictures=0,
                          eval__num_sequences=6)


def digests(workdir) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(pathlib.Path(workdir).rglob("*")) if path.is_file()}


def test_a_checkpoint_is_evaluated_and_its_workdir_stays_as_it_was(workdir):
    before = digests(workdir)
    report = generalisation.measure(str(workdir), ("tiny",), num_sequences=6)
    assert digests(workdir) == before
    assert (report["step"], report["split"], list(report["sets"])) == (3, "test", ["tiny"])
    found = report["sets"]["tiny"]
    assert (found["num_sequences"], found["num_frames"], found["num_slots"]) == (6, 4, 3)
    scores = evaluate.evaluate(configuration.load(str(workdir)), str(workdir))  # of the same set
    assert found["metrics"] == pytest.approx(scores, abs=1e-6)
    assert set(found["trivial"]) == set(generalisation.LAST)
    text = generalisation.table(json.loads(json.dumps(report)))
    assert len(text.splitlines()) == 2 + 2 + len(generalisation.masks_of(found["metrics"])) + 1
    assert f"| tiny | 6 | 16x16 | 4 | 3 | predicted | {scores['fg_ari_last']:.3f} |" in text


def test_sets_have_slots_for_their_objects_and_the_frames_that_are_asked_for():
    demo, medium = (parts_clevrer.get_config(name) for name in ("demo", "laptop"))
    assert generalisation.default_sets(demo) == (
        "own", "twins", "mixed", "demo_crowded", "demo_camera", "demo_long", "demo_64")
    assert generalisation.default_sets(medium)[-2:] == ("medium_long", "medium_128")
    crowded = generalisation.config_for(demo, "demo_crowded", 128)
    assert (crowded.model.num_slots, crowded.data.num_frames) == (7, demo.data.num_frames)
    assert (crowded.eval.num_sequences, crowded.eval.rollout_steps) == (128, 0)
    long = generalisation.config_for(demo, "demo_long", 128)
    assert (long.model.num_slots, long.data.num_frames) == (demo.model.num_slots, 24)
    fine = generalisation.config_for(demo, "demo_64", 128)
    assert fine.data.resolution == 64 and fine.eval.batch_size == demo.eval.batch_size // 4
    own = generalisation.config_for(demo, "own", 16)
    assert own.data.to_dict() == demo.data.to_dict() and own.eval.num_sequences == 16
    assert own.model.to_dict() == demo.model.to_dict()


def test_assignments_stand_beside_predicted_masks_where_evaluation_has_them():
    metrics = {"ari_last": 0.5, "ari_last_refined": 0.6, "ari_last_assigned": 0.9, "mse": 0.1}
    found = dict(resolution=32, num_sequences=2, num_frames=6, num_slots=4, metrics=metrics,
                 stages=["predicted", "refined"],
                 trivial={"ari_last": {"answer": "strips", "value": 0.25}})
    text = generalisation.table(dict(workdir="demo", trained_on="d", seed=1, step=7, split="test",
                                     sets={"twins": found}))
    rows = [line.split(" | ") for line in text.splitlines()[4:]]
    assert [row[5:8] for row in rows] == [["predicted", "-", "0.500"], ["assigned", "-", "0.900"],
                                          ["best trivial", "-", "0.250"]]


@pytest.mark.parametrize("changes, message", [
    ({"names": ("twin",)}, r"no set 'twin' to evaluate on\. The nearest is 'twins'\. There are: "),
    ({"split": "tset"}, r"The split must be one of train, validation, test; got 'tset'\."),
    ({"num_sequences": -1}, r"num_sequences must be 0 .* got -1\."),
    ({"step": 4}, r"no checkpoint of step 4 in"),
])
def test_bad_input_is_refused_in_a_sentence(workdir, changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        generalisation.measure(str(workdir), **changes)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        generalisation.measure(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no folder '.*nowhere' .* there is: .*demo"):
        generalisation.measure("nowhere")
