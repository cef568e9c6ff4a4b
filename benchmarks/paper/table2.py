"""Table 2: ARI-F of the last frame by row, beside the paper's; and which of its orders hold here.

A score is the mean over clips, then over seeds; `std` is the sample standard deviation over seeds,
as in the paper. Pairs of rows are compared on the same clips, each clip's score averaged over the
seeds, by a signed-rank test (Wilcoxon) on both sides, its p multiplied by Holm's rule for all
pairs. It says whether these trained models differ on further clips, not whether other seeds would:
how many seeds have the same order stands beside it.
"""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmarks.paper.rows import SPLIT, Run
from configs import ablations

LEVEL = 0.05
METRIC = "fg_ari_last"  # ARI-F of the predicted masks on the last frame, as in the paper
BESIDE = {"ari_last": "ARI", "miou_last": "mIoU", "fg_ari_last_assigned": "FG-ARI assigned",
          "ari_last_assigned": "ARI assigned", "miou_last_assigned": "mIoU assigned", "mse": "MSE"}


class Row(NamedTuple):
    """A row of the paper's table: slot attention, fixed prior, actions, TRx, ARI-F and its std."""

    switches: tuple[bool, bool, bool, bool]
    score: float
    std: float


PAPER = {
    "s_iodine": Row((False, True, False, False), .417, .014),
    "op3": Row((False, False, True, False), .425, .004),
    "sa_fixed": Row((True, True, False, False), .476, .009),
    "sa_actions": Row((True, False, True, False), .651, .010),
    "sa_actions_trx": Row((True, False, True, True), .554, .013),
    "sa_fixed_actions": Row((True, True, True, False), .672, .014),
    "parts": Row((True, True, True, True), .712, .009),
}
assert tuple(PAPER) == ablations.ROWS


class Pair(NamedTuple):
    """Two rows, of which the paper's second is the better one.

    Attributes:
      worse, better: their names.
      difference: of their scores here, the second's less the first's.
      p: of the test over clips, by Holm's rule.
      seeds: in how many seeds the second is better.
    """

    worse: str
    better: str
    difference: float
    p: float
    seeds: int

    @property
    def verdict(self) -> str:
        if not self.p < LEVEL:
            return "undecided"
        return "holds" if self.difference > 0 else "does not hold"


def scores_of(runs: Sequence[Run], metric: str = METRIC) -> dict[str, np.ndarray]:
    """Scores of every clip by row, float64 [seeds, clips].

    Raises:
      ValueError: rows were not evaluated on the same clips.
    """
    found, ids = {}, None
    for run in runs:
        clips = run.clips()
        ids = clips["id"] if ids is None else ids
        if not np.array_equal(ids, clips["id"]):
            raise ValueError(f"{run.workdir} was evaluated on other clips than {runs[0].workdir}; "
                             "rows can only be compared on the same.")
        if metric in clips:
            found.setdefault(run.row, []).append(clips[metric])
    return {row: np.stack(seeds) for row, seeds in found.items()}


def pairs_of(scores: Mapping[str, np.ndarray]) -> list[Pair]:
    """All pairs of rows that there are, in the paper's order; scores as of `scores_of`."""
    ordered = sorted((row for row in PAPER if row in scores), key=lambda row: PAPER[row].score)
    found = []
    for worse, better in itertools.combinations(ordered, 2):
        changes = scores[better].mean(0) - scores[worse].mean(0)
        p = stats.wilcoxon(changes, method="asymptotic").pvalue if np.any(changes) else 1.0
        ahead = scores[better].mean(1) > scores[worse].mean(1)
        found.append(Pair(worse, better, float(changes.mean()), float(p), int(ahead.sum())))
    return holm(found)


def holm(pairs: Sequence[Pair]) -> list[Pair]:
    """The same pairs with each p for all of them together, by Holm's rule."""
    order = sorted(range(len(pairs)), key=lambda i: pairs[i].p)
    adjusted, greatest = list(pairs), 0.0
    for rank, i in enumerate(order):
        greatest = max(greatest, min(1.0, (len(pairs) - rank) * pairs[i].p))
        adjusted[i] = pairs[i]._replace(p=greatest)
    return adjusted


def markdown(runs: Sequence[Run]) -> str:
    """The table and its pairs, under a line that says of what.

    Args:
      runs: that are done; each row with as many seeds as every other.

    Raises:
      ValueError: see `scores_of`.
    """
    scores = scores_of(runs)
    beside = {name: scores_of(runs, name) for name in BESIDE}
    record, num_seeds = runs[0].record(), len({run.seed for run in runs})
    lines = [["row", "slot attention", "fixed prior", "actions", "TRx", "paper", "here",
              *BESIDE.values()], ["---"] + ["---"] * 4 + ["---:"] * (2 + len(BESIDE))]
    for row, values in scores.items():
        paper = PAPER[row]
        lines.append([f"`{row}`", *("yes" if on else "" for on in paper.switches),
                      f"{paper.score:.3f} ± {paper.std:.3f}", spread(values),
                      *(spread(found[row]) if row in found else "-" for found in beside.values())])
    about = (f"{record['dataset']}, {SPLIT}: {record['num_sequences']} clips of "
             f"{record['num_frames']} frames of {record['resolution']}x{record['resolution']}, "
             f"K={record['num_slots']}, {record['step']:,} steps, {num_seeds} "
             f"{'seed' if num_seeds == 1 else 'seeds'} a row, "
             f"{record.get('hardware', 'unknown hardware')}. FG-ARI of the predicted masks on the "
             "last frame, mean ± std over seeds; the paper's is of its own set, size and steps.")
    return "\n".join([about, "", as_table(lines), "", *order_lines(pairs_of(scores), num_seeds)])


def spread(values: np.ndarray) -> str:
    """Mean over clips and seeds, and the standard deviation over seeds: of [seeds, clips]."""
    by_seed = values.mean(1)
    digits = 5 if by_seed.mean() < 0.05 and by_seed.min() >= 0 else 3
    std = statistics.stdev(by_seed) if len(by_seed) > 1 else math.nan
    return f"{by_seed.mean():.{digits}f}" + ("" if math.isnan(std) else f" ± {std:.{digits}f}")


def order_lines(pairs: Sequence[Pair], num_seeds: int) -> list[str]:
    """What holds of the paper's order: a sentence, and a table of all pairs."""
    counts = {verdict: sum(pair.verdict == verdict for pair in pairs)
              for verdict in ("holds", "does not hold", "undecided")}
    lines = [["the paper has", "below", "difference here", "p over clips", "seeds", ""],
             ["---", "---", "---:", "---:", "---:", "---"]]
    lines += [[f"`{pair.worse}`", f"`{pair.better}`", f"{pair.difference:+.3f}", f"{pair.p:.2g}",
               f"{pair.seeds} of {num_seeds}", pair.verdict] for pair in pairs]
    return [f"Of the paper's {len(pairs)} pairwise orders {counts['holds']} hold here, "
            f"{counts['does not hold']} do not, and {counts['undecided']} are undecided (signed-"
            f"rank test over clips, p by Holm's rule, {LEVEL}).", "", as_table(lines)]


def as_table(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
