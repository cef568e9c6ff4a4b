"""Table 3, what each part of the model is worth, and Table 4, how many refinements there are.

Each row is a run of its own, which is trained where it is missing; what was stopped goes on.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from benchmarks import step
from benchmarks.grid_lstm import seen
from benchmarks.iodine import drawing
from benchmarks.iodine.ablation import folder_name, name_of, schedule, short_run
from benchmarks.iodine.writing import Made, config_of
from benchmarks.paper import rows
from parts_jax.data import curriculum

ALL, BASE = "all", "base"
METRICS = {"fg_ari_frame_refined": "F-ARI", "ari_frame_refined": "ARI", "mse_refined": "MSE",
           "mse": "MSE before the frame is seen"}
ENTROPY = 0.001  # the paper's gamma / beta, of binary data


class Row(NamedTuple):
    """A row of a table: what it does otherwise than the config, in words and in flags."""

    words: str
    flags: tuple[str, ...]


class Varied(rows.Run):
    """A run of a row: `row` is its name, `size` what folders of this config begin with.

    Its `flags` begin with --config=FILE.
    """

    @property
    def workdir(self) -> pathlib.Path:
        return self.runs / f"{self.size}-{self.row}-{self.seed}"

    @property
    def command(self) -> list[str]:
        return short_run(self)


def flags_of(**changes: Any) -> tuple[str, ...]:
    """As on a command line; keys have __ for their dots."""
    return tuple(f"--config.{key.replace('__', '.')}={value!r}" if not isinstance(value, str)
                 else f"--config.{key.replace('__', '.')}={value}"
                 for key, value in changes.items())


def rows_of_table3(config: ml_collections.ConfigDict) -> dict[str, Row]:
    """All; without each part; and the base, without any.

    Parts are the efficient grid, prior and decoder conditioned on the past, clips as long as the
    config has them against half of that, and the entropy of masks, which is a part where the config
    has a weight for it (the paper: in binary data), and else is tried as one more.
    """
    model, longest = config.model, max(one.num_frames for one in curriculum.stages(config))
    half = max(1, longest // 2)
    shorter = dict(data__train_frames=half)
    if config.schedule.train_frames:
        shorter["schedule__train_frames"] = tuple(
            min(frames, half) for frames in config.schedule.train_frames)
    grid = flags_of(model__least_refinements=model.num_refinements)
    apart = flags_of(model__conditional=False)
    found = {
        ALL: Row("all of it", ()),
        "no_grid": Row("the whole grid: R refinements of every frame", grid),
        "no_conditions": Row("prior N(0, I), and a decoder that does not see the past", apart),
        "short": Row(f"clips of {half} frames at the most, not {longest}", flags_of(**shorter))}
    of_all = (*grid, *apart, *found["short"].flags)
    if model.entropy:
        found["no_entropy"] = Row("no entropy of masks in the loss", flags_of(model__entropy=0.0))
        of_all += found["no_entropy"].flags
    else:
        found["entropy"] = Row(f"entropy of masks, weight {ENTROPY}",
                               flags_of(model__entropy=ENTROPY))
    return found | {BASE: Row("none of these", of_all)}


def rows_of_table4(config: ml_collections.ConfigDict, counts: Sequence[int]) -> dict[str, Row]:
    """A row an R, in training and in use; no frame has more than R."""
    least = config.model.least_refinements
    return {f"R{count}": Row(f"R = {count}", flags_of(
        model__num_refinements=count, model__test_refinements=0,
        model__least_refinements=min(least, count))) for count in counts}


def make_table3(flags: argparse.Namespace) -> Made:
    """Trains what is missing of Table 3; the table of rows that have all their seeds."""
    config = checked(flags)
    return make("table3", flags, config, rows_of_table3(config))


def make_table4(flags: argparse.Namespace) -> Made:
    """The same of Table 4."""
    config = checked(flags)
    return make("table4", flags, config, rows_of_table4(config, sorted(set(flags.refinements))))


def checked(flags: argparse.Namespace) -> ml_collections.ConfigDict:
    """The config of the command line.

    Raises:
      ValueError: it is of another family.
    """
    config = config_of(flags.config, flags.more)
    if config.model.name != "grid_lstm":
        raise ValueError(f"--config={flags.config} is of the family {config.model.name!r}; what is "
                         "varied here are parts of grid_lstm.")
    return config


def every(what: str, flags: argparse.Namespace, config: ml_collections.ConfigDict,
          found: dict[str, Row]) -> list[Varied]:
    """The runs of a table, seed after seed."""
    common = schedule(flags.config, config, flags.steps, flags.more)
    return [Varied(name, folder_name(what, flags), seed, flags.folder.absolute(),
                   (*common, *row.flags))
            for seed in range(flags.seeds) for name, row in found.items()]


def make(what: str, flags: argparse.Namespace, config: ml_collections.ConfigDict,
         found: dict[str, Row]) -> Made:
    """Trains what is missing; the table of rows that have all their seeds.

    Raises:
      ValueError: a run failed, or no row is done.
    """
    runs = every(what, flags, config, found)
    if not flags.no_train:
        rows.make_missing(runs, flags.jobs)
    records = {run: run.record() for run in runs}
    whole = [name for name in found if all(records[run] for run in runs if run.row == name)]
    if not whole:
        raise ValueError(f"No run of {flags.config} with {flags.steps} steps is done in "
                         f"{flags.folder}; leave out --no-train.")
    scores = {name: {metric: [float(records[run][metric]) for run in runs if run.row == name]
                     for metric in METRICS} for name in whole}
    first = records[next(run for run in runs if run.row == whole[0])]
    numbers = dict(config=flags.config, dataset=first["dataset"], steps=flags.steps,
                   clips=first["num_sequences"], frames=first["num_frames"], seeds=flags.seeds,
                   flags=flags.more, words={name: found[name].words for name in whole},
                   scores=scores, missing=[name for name in found if name not in whole])
    return Made(f"{what}-{name_of(flags.config)}", numbers, words_of(numbers), picture_of(scores))


def words_of(numbers: dict[str, Any]) -> str:
    """The table: a row a run, and how far it is from the whole model, where that is a row."""
    scores, lines = numbers["scores"], []
    for name, found in scores.items():
        cells = []
        for metric, values in found.items():
            kind = "mse" if metric.startswith("mse") else metric
            text = seen.show(kind, values)
            if name != ALL and ALL in scores:
                change = np.mean(values) - np.mean(scores[ALL][metric])
                text += f" ({change:+.{seen.DIGITS.get(kind, 3)}f})"
            cells.append(text)
        lines.append((numbers["words"][name], *cells))
    seeds = numbers["seeds"]
    about = (f"`{numbers['config']}`{' '.join(['', *numbers['flags']])}, {numbers['steps']:,} "
             f"steps, {seeds} {'seed' if seeds == 1 else 'seeds'} a row; {numbers['dataset']}, "
             f"test, {numbers['clips']} clips of {numbers['frames']} frames, each frame by itself.")
    if ALL in scores:
        about += " In brackets: change from the whole model."
    about += (" ± is the standard deviation over seeds." if seeds > 1 else
              " One seed says little of small changes.")
    if numbers["missing"]:
        about += f" Not there yet: {', '.join(numbers['missing'])}."
    return f"{about}\n\n{step.table(('', *METRICS.values()), lines)}"


def picture_of(scores: dict[str, dict[str, list[float]]]) -> np.ndarray:
    """Bars of F-ARI and MSE."""
    return drawing.beside([drawing.bars(METRICS[metric], {
        name: float(np.mean(found[metric])) for name, found in scores.items()})
        for metric in ("fg_ari_frame_refined", "mse_refined")])
