"""Tables and charts of SPACE's experiments, of runs written by hand; nothing is compiled."""

import json

import numpy as np
import pytest

from benchmarks.space import __main__ as command
from benchmarks.space import runs, steptime, writing
from configs import iodine_sprites, space_rooms
from parts_jax.runs import config_rules, configuration

STAGES = ["final"]


def write_run(folder, config, scores=None, seed=0):
    """100 steps at 2 a second, 100 at 1; an evaluation if there are scores."""
    (folder / "evaluation").mkdir(parents=True)
    config.seed = seed
    (folder / configuration.FILE_NAME).write_text(configuration.to_json(config))
    held_out = "sim_rooms_demo-validation"
    lines = [{"step": 50, f"{held_out}/mse": 0.1}, {"step": 100, "train/steps_per_second": 2.0},
             {"step": 150, f"{held_out}/mse": 0.04}, {"step": 200, "train/steps_per_second": 1.0}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if scores:
        record = dict(step=200, dataset="sim_rooms/demo", split="test", seed=seed, num_slots=69,
                      num_sequences=320, resolution=64, stages=STAGES, **scores)
        (folder / "evaluation" / "sim_rooms_demo-test-200.json").write_text(json.dumps(record))
    return folder


def rooms_by_iodine():
    config = iodine_sprites.get_config("demo")
    config.data.name = "sim_rooms/demo"
    return config


@pytest.fixture
def workdirs(tmp_path):
    """Two seeds of SPACE, one not evaluated of SPAIR's cells, and IODINE, without boxes."""
    space = [write_run(tmp_path / f"space-{i}", space_rooms.get_config("demo"), dict(
        ap_50=ap, ap=0.2, count_error=0.1, miou_last=0.5, mse=0.002), i)
        for i, ap in enumerate((0.6, 0.7))]
    other = write_run(tmp_path / "spair", space_rooms.get_config("demo_spair"))
    iodine = write_run(tmp_path / "iodine", rooms_by_iodine(), dict(
        mask_ap_50=0.3, mask_ap_50_assigned=0.4, fg_ari_last=0.8, mse=0.003))
    return [*space, other, iodine]


def page_of(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Before.\n")
    return page


def test_table_1_says_what_was_measured_and_what_was_not(workdirs, tmp_path):
    page = page_of(tmp_path)
    words = command.run(["table1", *map(str, workdirs), f"--page={page}"])
    rows = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
            for line in words.splitlines() if line.startswith("|")}
    columns = rows["model, run"]
    cell = lambda row, column: rows[row][columns.index(column)]
    assert cell("SPACE, space-1", "AP .5") == "0.700"
    assert cell("SPACE, mean of 2 (std)", "AP .5") == "0.650 (0.071)"
    assert cell("SPAIR's cells, spair", "AP .5") == writing.NOT_MEASURED
    assert cell("IODINE, iodine", "AP .5") == "no boxes"
    assert cell("IODINE, iodine", "masks: AP .5") == "0.400"  # of assigned pixels, before masks
    assert cell("SPACE, space-0", "masks: AP .5") == writing.NOT_MEASURED
    assert cell("SPACE, space-0", "s a step") == "0.750"  # the median of .5 and 1
    assert cell("SPACE, space-0", "minutes of training") == "2.5"
    assert "ARI" not in columns  # no run has it
    found = json.loads((tmp_path / "space_table1-sim_rooms_demo.json").read_text())
    assert found["rows"][0]["ap_50"] == 0.6 and found["rows"][2]["ap_50"] is None
    text = page.read_text()
    assert text.startswith("Before.") and "<!-- table1-sim_rooms_demo -->" in text


def test_curves_are_of_minutes_without_evaluations(workdirs, tmp_path):
    minutes, mse = runs.mse_by_minutes(runs.load(workdirs[0]))
    np.testing.assert_allclose(minutes, [25 / 60, 100 / 60])
    assert mse == [0.1, 0.04]
    page = page_of(tmp_path)
    words = command.run(["curves", *map(str, workdirs[1:]), f"--page={page}"])
    assert "| SPAIR's cells, spair | 1.7 | 0.04000 | 0.04000 |" in words
    chart = (tmp_path / "space_curves-sim_rooms_demo-mse.svg").read_text()
    assert chart.startswith("<svg") and "IODINE, iodine" in chart
    assert "![curves-sim_rooms_demo, mse](space_curves" in page.read_text()
    (workdirs[0] / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="was not evaluated while it was trained"):
        command.run(["curves", str(workdirs[0]), f"--page={page}"])


def test_steps_that_are_timed_are_allowed_and_have_the_capacity_they_are_drawn_at():
    config = space_rooms.get_config("demo")
    points = steptime.points_of(config, [16, 64], [1, 5], [4, 8], [rooms_by_iodine()])
    assert [(p.model, p.capacity) for p in points] == [
        ("SPACE", 21), ("SPACE", 69), ("SPAIR's cells", 17), ("SPAIR's cells", 65), ("SPACE", 65),
        ("background alone", 4), ("background alone", 8), ("IODINE", 4), ("IODINE", 8)]
    for point in points:
        config_rules.check(point.config, 1)
        assert point.config.train.batch_size == config.train.batch_size
        assert point.config.schedule.resolution[-1] == 64
    with pytest.raises(ValueError, match="--cells has 20, but a grid has a square number"):
        steptime.points_of(config, [20], [], [], [])


def test_growth_is_from_the_fewest_cells_to_the_most():
    row = lambda model, cells, components, seconds: dict(
        model=model, cells=cells, components=components, seconds={"median": seconds})
    rows = [row("SPACE", 64, 5, 3.0), row("SPACE", 16, 5, 2.0), row("SPACE", 256, 5, 6.0),
            row("SPACE", 256, 9, 50.0), row("IODINE", 0, 8, 9.0)]
    assert steptime.growth_of(rows) == ["SPACE: 16 times as many cells take 3.00 times as long."]


def test_what_a_user_may_type_wrong_is_told(workdirs, tmp_path):
    page = page_of(tmp_path)
    other = space_rooms.get_config("small")
    wrong = write_run(tmp_path / "small", other)
    for arguments, message in (
            (["table1", str(workdirs[0]), str(wrong)], "several sets: sim_rooms/demo, sim_rooms"),
            (["table1", str(workdirs[0]), "--config.x=1"], "'--config.x=1' is no flag of table1"),
            (["curves", str(workdirs[0])] + [str(workdirs[0])], "Two of the runs have one name"),
            (["steptime", "--config=configs/iodine_sprites.py:demo"], "of the family 'iodine'")):
        with pytest.raises(ValueError, match=message):
            command.run([*arguments, f"--page={page}"])
    with pytest.raises(FileNotFoundError, match="There is no page"):
        command.run(["table1", str(workdirs[0]), "--page=none.md"])
