"""Figures 6 to 9 of the paper, of runs of configs/ablations.py: a picture, JSON, a paragraph.

6: roll-outs of PARTS, OP3 and S-IODINE on the same clips, by horizon; beside them Table 1. Those
   roll-outs are of runs trained for them, which it makes.
7: one still frame for 32 frames with actions of zero, by the fixed and by the predictive prior.
8: attention with and without top-down queries, and the scores of both on the same clips.
9: single numbers of a slot moved from where the last frame left them, by -2 to 2.
"""

import argparse
import json
import os
import pathlib
from collections.abc import Sequence

import numpy as np

import parts_jax
from benchmarks.paper import clips, draw, page, rows, table2
from configs import ablations
from parts_jax.equations import gaussian
from parts_jax.files import whole
from parts_jax.metrics import segmentation
from parts_jax.pictures import colours, grids

ROLLED_OUT = tuple(row.removesuffix("_rollout") for row in ablations.ROLLED_OUT)
ROLLOUT_METRICS = {"fg_ari": "FG-ARI", "fg_miou": "mIoU", "mse": "MSE"}
TABLE_1 = {"s_iodine": (.4461, .0044), "op3": (.4104, .0041), "parts": (.7349, .0023)}
STILL_FRAMES = 32
STILL_CHARTS = {"kl": "KL to its own prior, nats a frame",
                "kl_to_standard": "KL of the refined posterior to N(0, I)",
                "mse": "MSE of the prediction", "mse_refined": "MSE after refinement",
                "fg_ari": "FG-ARI of the predicted masks"}
MOVES = np.linspace(-2, 2, 9)
NUM_DIMS = 6


def write(flags: argparse.Namespace, rest: Sequence[str]) -> str:
    """Draws what is asked for; which files it wrote, in a sentence.

    Raises:
      ValueError, OSError: with a message for the user.
    """
    which = flags.size if "size" in flags else pathlib.Path(flags.workdir).name
    out = flags.out or page.PAGE.parent / f"{flags.what}_{which}"
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"There is no folder for --out={out}.")
    make = {"figure6": figure6, "figure7": figure7, "figure8": figure8,
            "figure9": figure9}[flags.what]
    picture, numbers, words = make(flags, rest)
    whole.write_whole(out.with_suffix(".png"), grids.encode_png(picture))
    whole.write_whole(out.with_suffix(".json"), json.dumps(numbers, indent=1) + "\n")
    link = os.path.relpath(out.with_suffix(".png"), flags.page.parent)
    page.put(flags.page, f"{flags.what}-{which}", f"![{flags.what}]({link})\n\n{words}")
    return f"{out}.png and .json, and a paragraph in {flags.page}."


# ---- Figure 6 and Table 1 ----------------------------------------------------------------------


def figure6(flags: argparse.Namespace, rest: Sequence[str]) -> tuple[np.ndarray, dict, str]:
    """Roll-outs by horizon, means over the seeds that are done: curves, numbers, both tables."""
    base = {row: [run for run in rows.every((row,), flags.size, flags.seeds, flags.runs)
                  if run.record() is not None] for row in ROLLED_OUT}
    missing = [row for row, runs in base.items() if not runs]
    if missing:
        raise FileNotFoundError(f"{flags.runs} has no run of {', '.join(missing)} at the size "
                                f"{flags.size!r} that is done; table2 makes them.")
    ahead = {row: [looking_ahead(run, rest) for run in runs] for row, runs in base.items()}
    if not flags.no_train:
        rows.make_missing([run for runs in ahead.values() for run in runs], flags.jobs)
    done = {row: [run for run in runs if run.record() is not None] for row, runs in ahead.items()}
    missing = [f"{row}_rollout" for row, runs in done.items() if not runs]
    if missing:
        raise FileNotFoundError(f"{flags.runs} has no run of {', '.join(missing)} at the size "
                                f"{flags.size!r} that is done; leave out --no-train.")
    rollouts = {row: [run.rollout() for run in runs] for row, runs in done.items()}
    numbers = {row: {name: np.mean([found["metrics"][name]["mean"] for found in several], 0)
                     for name in several[0]["metrics"]} for row, several in rollouts.items()}
    still = numbers["parts"].get("repeat_mse")
    charts = [draw.chart(title, {row: numbers[row][name] for row in ROLLED_OUT} | (
        {"last frame seen": still} if name == "mse" and still is not None else {}))
        for name, title in ROLLOUT_METRICS.items() if name in numbers["parts"]]
    first = rollouts["parts"][0]
    counts = ", ".join(f"{row}: {len(runs)}" for row, runs in done.items())
    words = (f"Clip {flags.clip} of the test split, frames after the first {first['burn_in']} "
             f"predicted. Curves: {first['dataset']}, test: {first['num_sequences']} clips, "
             f"{first['burn_in']} frames seen, {first['num_steps']} predicted by actions alone; "
             f"means over clips and seeds ({counts}).\n\n"
             f"{horizon_table(numbers, first['horizon'])}\n\n"
             f"Table 1, of frames that are seen, by the runs of Table 2:\n\n{table1(base)}")
    plain = {row: {name: values.tolist() for name, values in found.items()}
             for row, found in numbers.items()}
    strip = rolled_out({row: runs[0] for row, runs in done.items()}, flags.clip, first["burn_in"])
    return draw.stacked([strip, *charts]), plain, words


def rolled_out(runs: dict[str, rows.Run], index: int, burn_in: int) -> np.ndarray:
    """A clip of the test split, and what each run predicts of its frames after the first ones."""
    pictures = {}
    for row, run in runs.items():
        model = parts_jax.load(run.workdir)
        clip = clips.of_split(model.config, index)
        num_steps = len(clip["video"]) - burn_in
        actions = clip["actions"] if model.config.data.action_size else None
        found = model.predict(clip["video"][:burn_in], actions, num_steps)
        pictures.setdefault("frame", clip["video"])
        pictures[row] = np.concatenate([found.seen.recon, found.recon])
        pictures[f"{row}: masks"] = colours.colour_masks(
            np.concatenate([found.seen.masks, found.masks]))
    return draw.over_time(pictures, range(0, burn_in + num_steps, 2))


def looking_ahead(run: rows.Run, flags: Sequence[str]) -> rows.Run:
    """The run that learns roll-outs; where its config goes on from the row's own, from that."""
    found = run._replace(row=f"{run.row}_rollout", flags=tuple(flags))
    if ablations.get_config(f"{found.row}_{run.size}").train.init_from:
        found = found._replace(flags=(f"--config.train.init_from={run.workdir}", *flags))
    return found


def horizon_table(numbers: dict, horizon: Sequence[int]) -> str:
    """FG-ARI, mIoU and MSE of some horizons, a row a model."""
    shown = sorted({0, len(horizon) // 3, 2 * len(horizon) // 3, len(horizon) - 1})
    names = [name for name in ROLLOUT_METRICS if name in numbers["parts"]]
    lines = [["row", *(f"{ROLLOUT_METRICS[name]} +{horizon[h]}" for name in names for h in shown)]]
    lines.append(["---", *["---:"] * (len(lines[0]) - 1)])
    lines += [[f"`{row}`", *(f"{found[name][h]:.{4 if name == 'mse' else 3}f}"
                             for name in names for h in shown)] for row, found in numbers.items()]
    return table2.as_table(lines)


def table1(done: dict[str, list[rows.Run]]) -> str:
    """ARI-F of the last frame and MSE, beside the paper's."""
    lines = [["row", "FG-ARI, paper", "here", "MSE, paper", "here"], ["---", *["---:"] * 4]]
    for row, runs in done.items():
        here = [table2.spread(table2.scores_of(runs, name)[row]) for name in (table2.METRIC, "mse")]
        lines.append([f"`{row}`", f"{TABLE_1[row][0]:.4f}", here[0], f"{TABLE_1[row][1]:.4f}",
                      here[1]])
    return table2.as_table(lines)


# ---- Figure 7 ----------------------------------------------------------------------------------


def figure7(flags: argparse.Namespace, rest: Sequence[str]) -> tuple[np.ndarray, dict, str]:
    """Fixed against predictive prior on still scenes: one as a picture, means by frame, words."""
    _no_more(rest)
    if flags.clips < 1:
        raise ValueError(f"--clips is {flags.clips}, but must be a whole number, 1 or more.")
    workdirs = {"fixed": rows.Run("parts", flags.size, 0, flags.runs).workdir,
                "predictive": rows.Run("sa_actions_trx", flags.size, 0, flags.runs).workdir}
    models = {name: clips.load(workdir) for name, workdir in workdirs.items()}
    config = models["fixed"].config
    stills = [clips.still(clip, STILL_FRAMES)
              for clip in clips.first_of_split(config, flags.clips)]
    shown = clips.still(clips.of_split(config, flags.clip), STILL_FRAMES)
    numbers, pictures = {}, {"frame": shown["video"]}
    for name, trained in models.items():
        first, last = trained.model.stages[0], trained.model.stages[-1]
        found = [still_numbers(clips.see(trained, clip), clip, first, last)
                 for clip in stills]
        numbers[name] = {key: np.nanmean([each[key] for each in found], 0).tolist()
                         for key in found[0]}
        seen = clips.see(trained, shown)
        pictures[f"{name}: masks"] = colours.colour_masks(seen.masks[first])
        pictures[f"{name}: recon"] = seen.recon[first]
    charts = [draw.chart(title, {name: np.asarray(found[key]) for name, found in numbers.items()})
              for key, title in STILL_CHARTS.items() if key in numbers["fixed"]]
    words = (f"Clip {flags.clip} of the test split of {config.data.name}, its first frame for "
             f"{STILL_FRAMES} frames, actions of zero, by `{workdirs['fixed'].name}` and "
             f"`{workdirs['predictive'].name}`; curves are means over the first frames of "
             f"{len(stills)} clips. On the last frame: " + "; ".join(
                 f"{name}: " + ", ".join(f"{key} {found[key][-1]:.4g}" for key in found)
                 for name, found in numbers.items()) + ".")
    frames = (*range(0, STILL_FRAMES - 4, 4), STILL_FRAMES - 1)
    return draw.stacked([draw.over_time(pictures, frames), *charts]), numbers, words


def still_numbers(seen: clips.Seen, clip: dict, first: str, last: str) -> dict[str, list[float]]:
    """By frame: the KL that the loss has, that to N(0, I), errors, and FG-ARI of the masks."""
    video = clip["video"] / 255
    error = lambda stage: np.square(seen.recon[stage] - video).mean((1, 2, 3))
    found = dict(kl=seen.metrics["kl"], kl_to_standard=seen.kl, mse=error(first),
                 mse_refined=error(last))
    if "segmentation" in clip:
        ids = seen.masks[first].argmax(1).astype(np.uint8)
        scores = segmentation.mask_metrics(clip["segmentation"][None], ids[None])
        found["fg_ari"] = scores["fg_ari"][0]
    return {name: np.asarray(values, np.float64).tolist() for name, values in found.items()}


# ---- Figure 8 ----------------------------------------------------------------------------------


def figure8(flags: argparse.Namespace, rest: Sequence[str]) -> tuple[np.ndarray, dict, str]:
    """With and without top-down queries: attention over frames, scores, entropy."""
    pair = {"top-down": rows.Run("parts", flags.size, 0, flags.runs, tuple(rest)),
            "none": rows.Run("no_top_down", flags.size, 0, flags.runs, tuple(rest))}
    if not flags.no_train:
        rows.make_missing(list(pair.values()), flags.jobs)
    for run in pair.values():
        if run.record() is None:
            raise FileNotFoundError(f"{run.workdir} holds no run that is done; leave out "
                                    "--no-train.")
    pictures, numbers = {}, {}
    for name, run in pair.items():
        trained = clips.load(run.workdir)
        clip = clips.of_split(trained.config, flags.clip)
        attention = clips.see(trained, clip).maps["attention"]
        pictures.setdefault("frame", clip["video"])
        pictures |= {f"{name}: slot {k + 1}": draw.attended(clip["video"], attention[:, k])
                     for k in range(attention.shape[1])}
        record = run.record()
        entropy = -(attention * np.log(np.maximum(attention, 1e-30))).sum(1).mean((1, 2))
        numbers[name] = dict(
            {key: record[key] for key in (table2.METRIC, *table2.BESIDE) if key in record},
            attention_entropy=record["attention_entropy"],
            attention_entropy_of_clip=np.float64(entropy).tolist())
    scores = table2.scores_of(list(pair.values()))
    difference = scores["parts"] - scores["no_top_down"]
    words = "; ".join(f"{name}: FG-ARI {found[table2.METRIC]:.3f}, attention entropy "
                      f"{found['attention_entropy']:.3f} nats" for name, found in numbers.items())
    numbers["difference"] = float(difference.mean())
    frames = range(0, len(clip["video"]), max(1, len(clip["video"]) // 8))
    return draw.over_time(pictures, frames), numbers, (
        f"Means over {difference.shape[1]} clips of the test split, one seed each; the paper has "
        f"ARI .78 with top-down queries and .72 without. {words}.")


# ---- Figure 9 ----------------------------------------------------------------------------------


def figure9(flags: argparse.Namespace, rest: Sequence[str]) -> tuple[np.ndarray, dict, str]:
    """Traversals from the last frame, of the slot with most KL and of all slots."""
    _no_more(rest)
    model = parts_jax.load(flags.workdir)
    clip = clips.of_split(model.config, flags.clip)
    actions = clip.get("actions") if model.config.data.action_size else None
    seen = model.segment(clip["video"], actions)
    if seen.posterior is None:
        raise ValueError(f"Models of the family {model.config.model.name!r} have no slots to "
                         "traverse.")
    mean = seen.posterior.mean[-1]
    kl = kl_by_dimension(mean, seen.posterior.log_std[-1])
    slot = int(kl.sum(1).argmax())
    dims = np.argsort(-kl[slot])[:NUM_DIMS].tolist()
    pictures, numbers = {}, {}
    for dim in dims:
        for who, which in ((f"slot {slot + 1}", slot), ("all slots", slice(None))):
            slots = np.repeat(mean[None], len(MOVES), axis=0)
            slots[:, which, dim] += MOVES.reshape(-1, *[1] * (slots[:, which, dim].ndim - 1))
            recon = model.decode(slots).recon
            pictures[f"dim {dim + 1}, {who}"] = recon
            moved = np.abs(recon[[0, -1]] - recon[len(MOVES) // 2]).mean()
            numbers[f"dim {dim + 1}, {who}"] = {
                "kl": float(kl[slot, dim]), "mean_change": float(moved)}
    words = (f"`{flags.workdir}`, clip {flags.clip} of the test split, last frame; the {len(dims)} "
             f"numbers of slot {slot + 1} with most KL to N(0, I), from -2 to 2 around where they "
             "were, of that slot and of all slots at once.")
    titles = [f"{move:+g}" for move in MOVES]
    return draw.over_time(pictures, range(len(MOVES)), titles), numbers, words


def kl_by_dimension(mean: np.ndarray, log_std: np.ndarray) -> np.ndarray:
    """KL to N(0, 1) of every number of every slot, nats: [K, D], [K, D] -> [K, D]."""
    one = gaussian.Gaussian(mean[..., None], log_std[..., None])
    return np.asarray(gaussian.kl_to_standard_normal(one))


def _no_more(rest: Sequence[str]) -> None:
    if rest:
        raise ValueError(f"{rest[0]!r} is of training, and this figure trains nothing.")
