"""Figure 6: a VAE, IODINE with one slot, on one object and on several, beside IODINE."""

import argparse
import pathlib
import sys

from benchmarks.iodine import seen, single, traversals
from benchmarks.iodine.ablation import folder_name, name_of, schedule, short_run
from benchmarks.iodine.writing import Made, config_of
from benchmarks.paper import draw, rows

ONE, SEVERAL = "one object", "several objects"


class Vae(rows.Run):
    """A run of a VAE: `row` is ONE or SEVERAL; its `flags` begin with --config=FILE."""

    @property
    def workdir(self) -> pathlib.Path:
        return self.runs / f"{self.size}-{self.row.replace(' ', '_')}-{self.seed}"

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "benchmarks.iodine.single", *short_run(self)[3:]]


def every(flags: argparse.Namespace) -> list[Vae]:
    """The runs: on several objects, and on one where the set has such a variant.

    Raises:
      ValueError: the config is not one of IODINE on images.
    """
    config = config_of(flags.config, flags.more)
    if config.model.name != "iodine" or config.model.sequential:
        raise ValueError(f"--config={flags.config} is not one of IODINE on images.")
    common = (*schedule(flags.config, config, flags.steps, flags.more),
              "--config.model.num_slots=1", "--config.model.decoder.colour=full")
    name = folder_name("vae", flags)
    make = lambda row, *more: Vae(row, name, config.seed, flags.folder.absolute(),
                                  (*common, *more))
    several = make(SEVERAL)
    if config.data.name.split("/")[0] != single.SET.split("/")[0]:
        return [several]
    return [make(ONE, f"--config.data.name={single.SET}"), several]


def make(flags: argparse.Namespace) -> Made:
    """Trains what is missing; traversals of all, one under the other.

    Raises:
      ValueError: see `every`; or a run failed.
      FileNotFoundError: with --no-train, a run is not there.
    """
    single.register()
    vaes = every(flags)
    if not flags.no_train:
        rows.make_missing(vaes, flags.jobs)
    loaded = {f"VAE, {vae.row}": seen.load(vae.workdir) for vae in vaes}
    if flags.beside:
        loaded["IODINE, one slot"] = seen.load(flags.beside)
    pictures, parts, numbers = [], [], dict(config=flags.config, steps=flags.steps,
                                            image=flags.image)
    for name, run in loaded.items():
        image = traversals.image_of(run, flags.image)
        found = traversals.traverse(run, image)
        mse = float(seen.measure(run, 64)["mse"][:, -1].mean())
        pictures.append(traversals.picture_of(found))
        alone = run.config.model.num_slots == 1
        parts.append(f"{name} ({run.name}, step {run.step:,}, {run.dataset}, MSE of 64 test images "
                     f"{mse:.5f}):\n\n{traversals.table(found, alone)}")
        numbers[name] = dict(run=run.name, step=run.step, dataset=run.dataset, mse=mse,
                             numbers={dim + 1: row for dim, row in found.rows.items()})
    words = (f"From the top: {', '.join(loaded)}; image {flags.image} of the test split. Columns "
             "as in the section on traversals.")
    return Made(f"vae-{name_of(flags.config)}", numbers, "\n\n".join([words, *parts]),
                draw.stacked(pictures))
