"""Figures 29 to 36: what leaving out each input of the refinement network costs."""

import argparse
import pathlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import step
from benchmarks.iodine import drawing, seen
from benchmarks.iodine.writing import Made, config_of
from benchmarks.paper import rows
from parts_jax.models.iodine.inputs import INPUTS

ALL = "all"
METRICS = {"fg_ari_last": "FG-ARI", "fg_ari_last_assigned": "FG-ARI assigned",
           "neg_elbo": "minus ELBO, nats", "mse": "MSE", "kl": "KL, nats"}


class Ablated(rows.Run):
    """A run without one input: `row` is that input or ALL, `size` what the config is called.

    Its `flags` begin with --config=FILE.
    """

    @property
    def workdir(self) -> pathlib.Path:
        kind = self.row if self.row == ALL else f"without_{self.row}"
        return self.runs / f"{self.size}-{kind}-{self.seed}"

    @property
    def command(self) -> list[str]:
        return short_run(self)


def short_run(run: rows.Run) -> list[str]:
    """The command of a run whose flags begin with --config=FILE."""
    command = rows.Run.command.fget(run)
    return [*command[:3], run.flags[0], *command[4:6], *run.flags[1:]]


def every(flags: argparse.Namespace) -> list[Ablated]:
    """The runs that are asked for, seed after seed.

    Raises:
      ValueError: the config is not one of IODINE, or has fewer than two inputs.
    """
    config = config_of(flags.config, flags.more)
    if config.model.name != "iodine":
        raise ValueError(f"--config={flags.config} is of the family {config.model.name!r}; the "
                         "inputs that are left out are IODINE's.")
    given = tuple(config.model.refiner.inputs)
    if len(given) < 2:
        raise ValueError(f"config.model.refiner.inputs is {given}: nothing can be left out.")
    common = schedule(flags.config, config, flags.steps, flags.more)
    found = []
    for seed in range(flags.seeds):
        for row in (ALL, *given):
            kept = tuple(name for name in given if name != row)
            more = [] if row == ALL else [f"--config.model.refiner.inputs={kept!r}"]
            found.append(Ablated(row, folder_name("ablation", flags), seed,
                                 flags.folder.absolute(), (*common, *more)))
    return found


def schedule(name: str, config: Any, steps: int, more: Sequence[str]) -> tuple[str, ...]:
    """Flags of a run of so many steps in all: evaluated at its end, without a report.

    Stages have the shares that they have in the config, and no warm-up is longer than half a stage;
    nothing else of the schedule is changed.

    Raises:
      ValueError: there are fewer steps than stages.
    """
    own = np.asarray(config.schedule.steps)
    if steps < len(own):
        raise ValueError(f"--steps is {steps}, but {name} has {len(own)} stages: it must be "
                         f"{len(own)} or more.")
    ends = np.maximum(np.round(np.cumsum(own) / own.sum() * steps).astype(int),
                      np.arange(1, len(own) + 1))
    ends = np.minimum(ends, steps - np.arange(len(own))[::-1])  # one step a stage at least
    shares = tuple(np.diff(ends, prepend=0).tolist())
    warm_ups = tuple(min(warm_up, max(1, share // 2)) for warm_up, share in zip(
        config.schedule.warmup_steps, shares, strict=True))
    file, _, variant = name.partition(":")
    path = pathlib.Path(file).absolute()
    return (f"--config={path}{':' if variant else ''}{variant}",
            f"--config.schedule.steps={shares}", f"--config.schedule.warmup_steps={warm_ups}",
            f"--config.train.evaluate_every={steps}", f"--config.train.checkpoint_every={steps}",
            "--config.eval.report=False", *more)


def folder_name(what: str, flags: argparse.Namespace) -> str:
    """What folders of runs begin with: runs of other steps or flags are not taken for these."""
    of_flags = f"-{zlib.crc32(' '.join(flags.more).encode()):08x}" if flags.more else ""
    return f"{what}-{name_of(flags.config)}-{flags.steps}{of_flags}"


def name_of(config: str) -> str:
    """What a config is called in names of files: "configs/a.py:b" -> "a_b", "configs/a.py" -> "a".
    """
    file, _, variant = config.partition(":")
    return "_".join(filter(None, (pathlib.Path(file).stem, variant)))


def make(flags: argparse.Namespace) -> Made:
    """Trains what is missing; the table of rows that have all their seeds.

    Raises:
      ValueError: see `every`; a run failed; or no row is done.
    """
    runs = every(flags)
    if not flags.no_train:
        rows.make_missing(runs, flags.jobs)
    records = {run: run.record() for run in runs}
    names = dict.fromkeys(run.row for run in runs)
    whole = [row for row in names if all(records[run] for run in runs if run.row == row)]
    if not whole:
        raise ValueError(f"No run of {flags.config} with {flags.steps} steps is done in "
                         f"{flags.folder}; leave out --no-train.")
    scores = {row: {metric: [float(records[run][metric]) for run in runs if run.row == row]
                    for metric in METRICS} for row in whole}
    first = records[next(run for run in runs if run.row == whole[0])]
    numbers = dict(config=flags.config, dataset=first["dataset"], steps=flags.steps,
                   images=first["num_sequences"], seeds=flags.seeds, flags=flags.more,
                   scores=scores, missing=[row for row in names if row not in whole])
    return Made(f"ablation-{name_of(flags.config)}", numbers, words_of(numbers),
                picture_of(scores))


def words_of(numbers: dict[str, Any]) -> str:
    """The table: a row an input left out, and how far it is from having all."""
    scores, lines = numbers["scores"], []
    for row, found in scores.items():
        cells = []
        for metric, values in found.items():
            name = "fg_ari" if metric not in seen.DIGITS else metric
            mean = float(np.mean(values))
            text = seen.show(name, mean)
            if len(values) > 1:
                text += f" ± {seen.show(name, float(np.std(values, ddof=1)))}"
            if row != ALL and ALL in scores:
                text += f" ({mean - np.mean(scores[ALL][metric]):+.{seen.DIGITS.get(name, 3)}f})"
            cells.append(text)
        lines.append([row if row == ALL else f"`{row}`",
                      "" if row == ALL else INPUTS[row].formula, *cells])
    seeds = numbers["seeds"]
    about = (f"`{numbers['config']}`{' '.join(['', *numbers['flags']])}, {numbers['steps']:,} "
             f"steps, {seeds} {'seed' if seeds == 1 else 'seeds'} a row; {numbers['dataset']}, "
             f"test, {numbers['images']} images. In brackets: change from the run with all inputs"
             + ("; ± is the standard deviation over seeds." if seeds > 1 else
                ". One seed says little of small changes."))
    if numbers["missing"]:
        about += f" Not there yet: {', '.join(numbers['missing'])}."
    return f"{about}\n\n{step.table(('left out', '', *METRICS.values()), lines)}"


def picture_of(scores: Mapping[str, Mapping[str, Sequence[float]]]) -> np.ndarray:
    """Bars of FG-ARI, of masks and of assigned pixels, and of MSE, a row an input left out."""
    return drawing.beside([drawing.bars(METRICS[metric], {
        row: float(np.mean(found[metric])) for row, found in scores.items()})
        for metric in ("fg_ari_last", "fg_ari_last_assigned", "mse")])
