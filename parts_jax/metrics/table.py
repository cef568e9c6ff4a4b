"""The one table of metrics: their names, which way is better, what they say, where they are shown.

Whoever writes a metric's name anywhere reads it here: best checkpoint, progress line, report,
benchmarks. A metric that does not stand here, of a new family, is written and shown all the same:
last, by its bare name.

An evaluation scores what a model decodes at several stages. The metrics of the first have no
suffix, those of another end in `_<stage>`: `fg_ari_last_refined`. Where the family has `assign`,
the segmentation metrics of each stage have a twin, of pixels assigned to slots by p(k | x_i, z):
`_assigned` of the last stage, `_<stage>_assigned` of another. In tables these stand as stages do.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from parts_jax.metrics import boxes

# Of evaluations that do not say it; and what the stages that are known are called in a report.
STAGES = ("predicted", "refined")
ASSIGNED = "assigned"
WORDS_OF_STAGES = {"predicted": "masks of the prediction (the paper's score)",
                   "refined": "masks after refinement by the frame",
                   ASSIGNED: "assigned after refinement (uses the frame)",
                   f"predicted_{ASSIGNED}": "assigned by the prediction (uses the frame)"}

# Learning curves in their order, by the titles of their charts.
CURVES = ("Loss", "Negative log-likelihood, nats a frame", "KL, nats a frame", "Mean squared error",
          "Masks of held-out clips, last frame", "Mask entropy, nats a pixel", "Effective slots",
          "Boxes of held-out images", "Speed, steps a second")
ASSIGNED_MASKS = "Assigned pixels of held-out clips, last frame"  # after those of MASKS
LOSS, NLL, KL, MSE, MASKS, ENTROPY, SLOTS, BOXES, SPEED = CURVES

# The first that is scored says which clip is worse, where the run's own choice is not scored.
RANKS_CLIPS = ("miou_last_assigned", "miou_last", "neg_elbo", "mse_last")

# Names of before: what they are called now, and the factor that their values take.
RENAMED = {"log_likelihood": ("nll", -1.0), "negative_elbo": ("neg_elbo", 1.0)}


# What evaluation keeps of each clip, [N, ...], and how often each clip counts, in R sets of them,
# [R, N] -> the number of each set, [R, ...].
Reduce = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number that training or evaluation gives.

    Attributes:
      name: in files, logs and tables.
      better: 1: higher is better; -1: lower; 0: neither.
      words: what it says, for people who see it in the report.
      evaluated: whether the evaluation of a split gives it of each clip. One that is, and has a
        direction, can choose the best checkpoint.
      of_ids: whether it scores a segmentation, so that it is given of assigned pixels, too.
      summed: whether it is a sum over the frame's pixels, estimated where training explains
        a subset of them.
      headline: whether it stands first where there is room for few.
      progress: its source, `train` or `eval`, and its place in the line of progress.
      curve: the chart of `CURVES` that it is drawn in.
      lines: its lines there, (what stands beside the line, its source: `train` or `eval`).
      horizon: title of the chart of roll-outs that it is drawn in, and what stands beside its line.
      ends: whether training gives its value at the first and at the last frame too, as
        `<name>_first` and `<name>_last`.
      reduce: the number of many clips, see `Reduce`; None: the mean over clips.
    """

    name: str
    better: int = 0
    words: str = ""
    evaluated: bool = False
    of_ids: bool = False
    summed: bool = False
    headline: bool = False
    progress: tuple[str, int] | None = None
    curve: str | None = None
    lines: tuple[tuple[str, str], ...] = (("train", "train"),)
    horizon: tuple[str, str] | None = None
    ends: bool = False
    reduce: Reduce | None = None


# In the order of every table.
TABLE = (
    Metric("fg_ari_last", 1, "Do pixels of one true object share a slot, in the last frame? "
           "Background left out. 1: always; 0: no better than chance.", evaluated=True,
           of_ids=True, headline=True, progress=("eval", 1), curve=MASKS,
           lines=(("FG-ARI", "eval"),)),
    Metric("fg_ari_frame", 1, "The same, mean over all frames.", evaluated=True, of_ids=True),
    Metric("fg_ari_video", 1, "The same, all frames at once: a slot must keep its object.",
           evaluated=True, of_ids=True),
    Metric("ari_last", 1, "As fg_ari_last, with the background. Near 0 beside a high fg_ari: masks "
           "cut the picture into cells.", evaluated=True, of_ids=True, headline=True,
           progress=("eval", 2), curve=MASKS, lines=(("ARI", "eval"),)),
    Metric("ari_frame", 1, "The same, mean over all frames.", evaluated=True, of_ids=True),
    Metric("ari_video", 1, "The same, all frames at once.", evaluated=True, of_ids=True),
    Metric("miou_last", 1, "How far each true object and the slot matched to it overlap in the "
           "last frame (intersection over union). 1: exactly.", evaluated=True, of_ids=True,
           headline=True, curve=MASKS, lines=(("mIoU", "eval"),)),
    Metric("miou", 1, "The same, mean over all frames.", evaluated=True, of_ids=True),
    Metric("ap_50", 1, "Average precision of boxes: 1 where all objects, and nothing else, have a "
           "box that overlaps theirs by more than .5 (intersection over union).", evaluated=True,
           curve=BOXES, lines=(("AP at .5", "eval"),), reduce=boxes.mean_reduced),
    Metric("ap", 1, "The same, mean over overlaps of more than .5, .55, ..., .95.", evaluated=True,
           curve=BOXES, lines=(("AP at .5:.95", "eval"),), reduce=boxes.mean_reduced),
    Metric("count_error", -1, "How far the number of boxes is off, as a share of the number of "
           "objects.", evaluated=True, curve=BOXES, lines=(("count error", "eval"),)),
    Metric("mask_ap_50", 1, "As ap_50, of boxes around the masks of slots; the largest slot is "
           "taken for the background, and has none.", evaluated=True, of_ids=True,
           reduce=boxes.mean_reduced),
    Metric("mask_ap", 1, "As ap, of the same boxes.", evaluated=True, of_ids=True,
           reduce=boxes.mean_reduced),
    Metric("mask_count_error", -1, "As count_error, of the same boxes.", evaluated=True,
           of_ids=True),
    Metric("mse_last", -1, "Mean squared error of the last frame's picture; colours go from 0 to "
           "1.", evaluated=True),
    Metric("mse", -1, "The same, mean over all frames.", evaluated=True, progress=("train", 4),
           curve=MSE, lines=(("train", "train"), ("held out", "eval")),
           horizon=("Mean squared error", "model")),
    Metric("repeat_mse", horizon=("Mean squared error", "last seen frame")),
    Metric("moved_mse", horizon=("Mean squared error", "constant velocity")),
    Metric("psnr", 1, "Peak signal to noise ratio, dB.", horizon=("PSNR, dB", "model")),
    Metric("repeat_psnr", horizon=("PSNR, dB", "last seen frame")),
    Metric("moved_psnr", horizon=("PSNR, dB", "constant velocity")),
    Metric("ssim", 1, "Structural similarity. 1: the same picture.", horizon=("SSIM", "model")),
    Metric("repeat_ssim", horizon=("SSIM", "last seen frame")),
    Metric("moved_ssim", horizon=("SSIM", "constant velocity")),
    Metric("fg_ari", 1, "FG-ARI of one frame's predicted masks.",
           horizon=("FG-ARI of masks", "model")),
    Metric("repeat_fg_ari", horizon=("FG-ARI of masks", "last seen frame")),
    Metric("moved_fg_ari", horizon=("FG-ARI of masks", "constant velocity")),
    Metric("fg_miou", 1, "mIoU of one frame's predicted masks.",
           horizon=("Foreground mIoU of masks", "model")),
    Metric("repeat_fg_miou", horizon=("Foreground mIoU of masks", "last seen frame")),
    Metric("moved_fg_miou", horizon=("Foreground mIoU of masks", "constant velocity")),
    Metric("nll", -1, "Minus log-likelihood of a frame, in nats; lower is better.", evaluated=True,
           summed=True, progress=("train", 2), curve=NLL, ends=True),
    Metric("neg_elbo", -1, "What training makes small: minus log-likelihood, plus the weighted KL; "
           "nats.", evaluated=True, summed=True),
    Metric("kl", 0, "How much the slots say about a frame, in nats, summed over slots.",
           evaluated=True, progress=("train", 3), curve=KL),
    Metric("kl_greatest_share", 0, "Share of the slot with most KL. Near 1: one does everything."),
    Metric("mask_entropy", 0, "How undecided masks are, nats a pixel. 0: one slot a pixel; ln K: "
           "all alike.", evaluated=True, progress=("train", 5), curve=ENTROPY),
    Metric("effective_slots", 0, "How many slots share the picture.", evaluated=True, curve=SLOTS),
    Metric("attention_entropy", 0, "How undecided attention is, nats a pixel."),
    Metric("slot_spread", 0, "How unlike slots are. Near 0: they are identical."),
    Metric("sigma_q", 0, "Mean standard deviation of the slots' posterior.", ends=True),
    Metric("empty_foreground", 0, "Share of frames that show no object; they score 1 above.",
           evaluated=True),
    Metric("loss", -1, "What the optimizer makes small.", progress=("train", 1), curve=LOSS),
    Metric("gradient_norm", 0, "Of all parameters, before it is clipped."),
    Metric("skipped_steps", -1, "Updates so far that were not finite."),
    Metric("skipped_in_a_row", -1, "Updates that were not finite, up to this one."),
    Metric("steps_per_second", 1, "Evaluations and compiling left out.", curve=SPEED),
    Metric("frames_per_second", 1, "Evaluations and compiling left out."),
    Metric("waiting_share", -1, "Of the time, waiting for input; a bound from above."),
    Metric("compile_seconds", -1, "Spent on compiling since the last line."),
)


NAMES = tuple(metric.name for metric in TABLE)


def find(name: str, metrics: Iterable[Metric] = TABLE) -> Metric | None:
    """The metric of a name, whatever its stage: that of the longest name it begins with, or None.

    `fg_ari_last_refined` is `fg_ari_last`; `nll_first` is `nll`.
    """
    found = [metric for metric in metrics if f"{name}_".startswith(f"{metric.name}_")]
    return max(found, key=lambda metric: len(metric.name), default=None)


def direction(name: str) -> int:
    """1 where higher is better, -1 where lower is, 0 where neither, or nobody knows."""
    metric = find(name)
    return metric.better if metric else 0


def words(name: str) -> str:
    """What a metric of this very name says; "" where nobody knows."""
    return next((metric.words for metric in TABLE if metric.name == name), "")


def choosing(*later: str) -> tuple[str, ...]:
    """Names that can say which of two checkpoints is better: evaluated, and with a direction.

    Args:
      *later: stages beside the first, or assignments, whose names are given too:
        `choosing("refined", "assigned")`.
    """
    metrics = [metric for metric in TABLE if metric.evaluated and metric.better]
    return tuple(metric.name for metric in metrics) + tuple(
        metric.name + _suffix(stage) for stage in later for metric in metrics
        if metric.of_ids or not f"_{stage}".endswith(_suffix(ASSIGNED)))


def headlines() -> tuple[str, ...]:
    """Names that stand first where there is room for few."""
    return tuple(metric.name for metric in TABLE if metric.headline)


def in_progress(source: str) -> tuple[str, ...]:
    """Names in the line of progress, in its order: those of `train` or those of `eval`."""
    shown = [metric for metric in TABLE if metric.progress and metric.progress[0] == source]
    return tuple(metric.name for metric in sorted(shown, key=lambda metric: metric.progress[1]))


def summed_over_pixels() -> tuple[str, ...]:
    """Names that are sums over the pixels of a frame."""
    return tuple(metric.name for metric in TABLE if metric.summed)


def with_ends() -> tuple[str, ...]:
    """Names whose value training gives at the first and at the last frame too."""
    return tuple(metric.name for metric in TABLE if metric.ends)


def in_order(names: Iterable[str]) -> list[str]:
    """Names, without stage, as they stand in tables: those of `TABLE`, then all others as given."""
    return sorted(dict.fromkeys(names),
                  key=lambda name: NAMES.index(name) if name in NAMES else len(NAMES))


def without_stage(name: str, stages: Sequence[str]) -> tuple[str, str]:
    """A metric and its stage, of a name in an evaluation of these stages.

    `mse_refined` is (`mse`, `refined`), and `mse` is of the first of the stages.
    """
    for stage in sorted(stages[1:], key=len, reverse=True):
        if name.endswith(_suffix(stage)):
            return name.removesuffix(_suffix(stage)), stage
    return name, stages[0]


def with_stage(name: str, stage: str, stages: Sequence[str]) -> str:
    """The name of a metric at one of these stages; undoes `without_stage`."""
    return name if stage == stages[0] else name + _suffix(stage)


def assignment_of(stage: str, stages: Sequence[str]) -> str:
    """What stands in the place of a stage in names of metrics of its assigned pixels."""
    return ASSIGNED if stage == stages[-1] else f"{stage}{_suffix(ASSIGNED)}"


def scored(stages: Sequence[str], names: Iterable[str]) -> tuple[str, ...]:
    """The stages of an evaluation, and those of their assignments that any of its names is of.

    What this returns can be given as `stages` to `without_stage` and `with_stage`. Evaluations of
    before, and of families without `assign`, have no assignments.
    """
    possible = (*stages, *(assignment_of(stage, stages) for stage in reversed(stages)))
    there = {without_stage(name, possible)[1] for name in names}
    return (*stages, *(stage for stage in possible[len(stages):] if stage in there))


def learning_curves() -> dict[str, dict[str, str]]:
    """Charts by title, and their lines: what stands beside one, and its `current_metrics` name."""
    charts = {}
    for title in CURVES:
        charts[title] = {line: f"{source}/{metric.name}" for metric in TABLE
                         if metric.curve == title for line, source in metric.lines}
        if title == MASKS:
            charts[ASSIGNED_MASKS] = {line: name + _suffix(ASSIGNED)
                                      for line, name in charts[MASKS].items()}
    return charts


def horizon_charts(names: Collection[str]) -> dict[str, dict[str, str]]:
    """Charts of roll-outs by title, and their lines: what stands beside one, and the metric.

    Args:
      names: of what was scored. One that `TABLE` does not know has a chart of its own, the last.
    """
    charts = {}
    for metric in TABLE:
        if metric.horizon and metric.name in names:
            title, line = metric.horizon
            charts.setdefault(title, {})[line] = metric.name
    known = {metric.name for metric in TABLE if metric.horizon}
    return charts | {name: {"model": name} for name in names if name not in known}


def current_name(name: str) -> tuple[str, float]:
    """What a name of any version is called now, and the factor that its values take.

    What stands before a slash is kept: `train/negative_elbo` is (`train/neg_elbo`, 1.0).
    """
    before, slash, bare = name.rpartition("/")
    new, factor = RENAMED.get(bare, (bare, 1.0))
    return f"{before}{slash}{new}", factor


def current_metrics(metrics: Mapping[str, Any], held_out: str = "") -> dict[str, Any]:
    """Values by name, of a line of metrics.jsonl of any version, under today's names.

    A value may be None, or a list, whose elements are taken one by one.

    Args:
      metrics: of the line.
      held_out: the name of the evaluations during training, such as `sim_clevrer_demo-validation`.
        Their metrics come as `eval/<metric>`, which they were called in versions before.
    """
    return {f"eval/{name.removeprefix(f'{held_out}/')}"
            if held_out and name.startswith(f"{held_out}/") else name: value
            for name, value in _renamed(metrics, _times).items()}


def current_evaluation(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the JSON of an evaluation of any version holds, under today's names.

    Medians change as means do; an interval's ends change places where the sign turns, and a
    standard error has none. `stages` are there, too.
    """
    def interval(pair, factor):
        return pair if pair is None or factor > 0 else _times(pair, factor)[::-1]

    changes = {"median": _times, "standard_error": lambda value, factor: _times(value, abs(factor)),
               "interval": interval}
    return {"stages": list(STAGES)} | current_metrics(record) | {key: _renamed(record[key], change)
                                     for key, change in changes.items() if key in record}


def _renamed(values: Mapping[str, Any], change: Callable[[Any, float], Any]) -> dict[str, Any]:
    """Values under today's names, each changed by its name's factor."""
    return {new: change(value, factor) for (new, factor), value in zip(
        map(current_name, values), values.values(), strict=True)}


def _times(value: Any, factor: float) -> Any:
    if factor == 1 or value is None:
        return value
    return [_times(one, factor) for one in value] if isinstance(value, list) else factor * value


def _suffix(stage: str) -> str:
    return f"_{stage}"
