"""Figure 5, the three charts to the right: MSE of held-out images against minutes of training."""

import argparse

from benchmarks import step
from benchmarks.space import runs as runs_of
from benchmarks.space.writing import Made
from parts_jax.report import charts


def make(flags: argparse.Namespace) -> Made:
    """A line a run, and a table of where each ended.

    Raises:
      FileNotFoundError: there is no such run.
      ValueError: the runs are of several sets or more than a chart has colours, two have one name,
        or one was not evaluated while it was trained.
    """
    runs = [runs_of.load(workdir) for workdir in flags.runs]
    datasets = sorted({run.config.data.name for run in runs})
    names = [f"{run.model}, {run.workdir.name}" for run in runs]
    if len(datasets) > 1:
        raise ValueError(f"The runs are of several sets: {', '.join(datasets)}; a chart is of one.")
    if len(set(names)) < len(names):
        raise ValueError(f"Two of the runs have one name; they are {', '.join(names)}.")
    if len(runs) > len(charts.COLOURS):
        raise ValueError(f"{len(runs)} runs are more than the {len(charts.COLOURS)} that a chart "
                         "can have.")
    found = {name: runs_of.mse_by_minutes(run) for name, run in zip(names, runs, strict=True)}
    numbers = dict(dataset=datasets[0], split=runs[0].config.eval.split, runs={
        name: dict(minutes=minutes, mse=mse) for name, (minutes, mse) in found.items()})
    chart = charts.line_chart(f"MSE, {datasets[0]}", {
        name: charts.Line(minutes, mse) for name, (minutes, mse) in found.items()}, "minutes")
    rows = [(name, f"{minutes[-1]:.1f}", f"{mse[-1]:.5f}", f"{min(mse):.5f}")
            for name, (minutes, mse) in found.items()]
    words = (f"MSE of {datasets[0]}, {numbers['split']}, by evaluations during training; minutes "
             "without compiling and evaluations, as each run's log has them.\n\n"
             + step.table(("model, run", "minutes", "last MSE", "least MSE"), rows))
    return Made(f"curves-{datasets[0].replace('/', '_')}", numbers, words, {"mse": chart})
