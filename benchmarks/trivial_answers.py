"""What trivial answers score on the clips that evaluation uses: the ground a model must clear.

    python -m benchmarks.trivial_answers --config=configs/parts_clevrer.py:demo --split=test

Segmentations, each frame on its own, with the config's K:

- strips: K vertical strips of equal width;
- quadrants: 2 x 2;
- kmeans_colour: K clusters of the frame's pixels by red, green, blue in [0, 1];
- kmeans_colour_position: the same, with the pixel's x and y in [0, 1] beside the colours.

And, as a reconstruction, the empty room: the median over training frames of each pixel, the same
picture for every frame. Prints a table and JSON. Needs scikit-learn (extra `test`). Fewer clips:
--config.eval.num_sequences=N.
"""

import json
import pathlib
from collections.abc import Callable, Iterable

import ml_collections
import numpy as np
import threadpoolctl
from absl import app, flags
from ml_collections import config_flags
from sklearn import cluster

from parts_jax.data import pipeline
from parts_jax.metrics import segmentation

COLUMNS = ("fg_ari_last", "ari_last", "miou_last", "fg_ari_frame", "ari_frame", "miou")
NUM_TRAIN_CLIPS = 500
NUM_STARTS = 4  # of k-means; the best of them is kept

Answer = Callable[[np.ndarray], np.ndarray]


def strips(video: np.ndarray, num_slots: int) -> np.ndarray:
    """K vertical strips: uint8 [..., H, W, 3] -> ids [..., H, W]."""
    width = video.shape[-2]
    return np.broadcast_to(np.arange(width) * num_slots // width, video.shape[:-1])


def quadrants(video: np.ndarray) -> np.ndarray:
    """Four quarters: uint8 [..., H, W, 3] -> ids [..., H, W]."""
    height, width = video.shape[-3:-1]
    rows, columns = np.arange(height) * 2 // height, np.arange(width) * 2 // width
    return np.broadcast_to(2 * rows[:, None] + columns, video.shape[:-1])


def kmeans(video: np.ndarray, num_slots: int, with_position: bool, seed: int = 0) -> np.ndarray:
    """K clusters of each frame's pixels: uint8 [..., H, W, 3] -> ids [..., H, W].

    Args:
      video: frames.
      num_slots: K.
      with_position: cluster by x and y in [0, 1] too, of weight equal to the colours'.
      seed: of the first centres, the same for every frame.

    Returns:
      Ids, which mean nothing from one frame to the next.
    """
    height, width = video.shape[-3:-1]
    y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width,
                       indexing="ij")
    places = np.stack([x, y], axis=-1).reshape(-1, 2)
    labels = np.zeros(video.shape[:-1], np.uint8)
    with threadpoolctl.threadpool_limits(1):  # frames are small: threads would wait for each other
        for frame in np.ndindex(video.shape[:-3]):
            pixels = video[frame].reshape(-1, 3) / 255
            pixels = np.concatenate([pixels, places], axis=1) if with_position else pixels
            number = min(num_slots, len(np.unique(pixels, axis=0)))
            fitted = cluster.KMeans(number, n_init=NUM_STARTS, random_state=seed).fit(pixels)
            labels[frame] = fitted.labels_.reshape(height, width)
    return labels


def answers(num_slots: int, seed: int) -> dict[str, Answer]:
    """Every trivial segmentation by its name."""
    return {
        "strips": lambda video: strips(video, num_slots),
        "quadrants": quadrants,
        "kmeans_colour": lambda video: kmeans(video, num_slots, False, seed),
        "kmeans_colour_position": lambda video: kmeans(video, num_slots, True, seed),
    }


def score_segmentations(batches: Iterable[dict], num_slots: int, seed: int = 0) -> dict:
    """Scores each answer on clips.

    Args:
      batches: dicts with video uint8 [B, T, H, W, 3] and segmentation uint8 [B, T, H, W].
      num_slots: K.
      seed: of k-means.

    Returns:
      {answer: {metric: {"mean", "median", "standard_error"}}} over clips, by `metrics`.
    """
    scores = {name: [] for name in answers(num_slots, seed)}
    for batch in batches:
        for name, answer in answers(num_slots, seed).items():
            labels = np.ascontiguousarray(answer(batch["video"]))
            scores[name].append(segmentation.segmentation_metrics(batch["segmentation"], labels))
    return {name: {column: summarise(np.concatenate([part[column] for part in parts]))
                   for column in COLUMNS} for name, parts in scores.items()}


def summarise(values: np.ndarray) -> dict[str, float]:
    """Mean, median and standard error of float64 [number of clips]."""
    return {"mean": float(values.mean()), "median": float(np.median(values)),
            "standard_error": float(values.std() / np.sqrt(len(values)))}


def background(video: np.ndarray) -> np.ndarray:
    """The empty room: medians over frames, uint8 [N, T, H, W, 3] -> float64 [H, W, 3] in [0, 1]."""
    return np.median(video.reshape(-1, *video.shape[2:]), axis=0) / 255


def background_error(video: np.ndarray, room: np.ndarray) -> dict[str, np.ndarray]:
    """MSE of showing only the room: `mse` over all frames and `mse_last`, float64 [B] each."""
    error = np.square(video / 255 - room).mean(axis=(-3, -2, -1))
    return {"mse": error.mean(-1), "mse_last": error[:, -1]}


def clips(config: ml_collections.ConfigDict, split: str, num_sequences: int) -> list[dict]:
    """The first window of the clips of a split, in batches without padding, as evaluation reads."""
    batches = pipeline.eval_iterator(config.data, split, batch_size=config.eval.batch_size,
                                     num_sequences=num_sequences)
    keys = ("video", "segmentation")
    return [{key: batch[key][batch["valid"]] for key in keys if key in batch} for batch in batches]


def measure(config: ml_collections.ConfigDict, split: str) -> dict:
    """Scores all trivial answers on a split.

    Raises:
      ValueError: the set has no segmentations.
    """
    train = clips(config, config.data.train_split, NUM_TRAIN_CLIPS)
    room = background(np.concatenate([batch["video"] for batch in train]))
    held_out = clips(config, split, config.eval.num_sequences)
    if "segmentation" not in held_out[0]:
        raise ValueError(f"The data set {config.data.name!r} has no segmentations to compare with.")
    errors = [background_error(batch["video"], room) for batch in held_out]
    return {
        "dataset": config.data.name, "split": split, "num_frames": config.data.num_frames,
        "resolution": config.data.resolution, "num_slots": config.model.num_slots,
        "num_sequences": sum(len(batch["video"]) for batch in held_out),
        "num_train_sequences": sum(len(batch["video"]) for batch in train),
        "background": {key: summarise(np.concatenate([e[key] for e in errors]))
                       for key in errors[0]},
        "answers": score_segmentations(held_out, config.model.num_slots)}


def table(report: dict) -> str:
    """The means as a Markdown table."""
    lines = ["| answer | " + " | ".join(COLUMNS) + " |", "|---" + "|---:" * len(COLUMNS) + "|"]
    for name, scores in report["answers"].items():
        cells = [f"{scores[column]['mean']:.3f}" for column in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    room = report["background"]
    return "\n".join([
        f"{report['num_sequences']} clips of {report['dataset']} {report['split']}, "
        f"{report['num_frames']} frames of {report['resolution']}x{report['resolution']}, "
        f"K={report['num_slots']}; means over clips.", "", *lines, "",
        f"The empty room as reconstruction: MSE {room['mse']['mean']:.5f}, "
        f"last frame {room['mse_last']['mean']:.5f}."])


def main(arguments: list[str]) -> None:
    """Reads the flags, measures, prints and writes."""
    del arguments
    report = measure(flags.FLAGS.config, flags.FLAGS.split)
    text = json.dumps(report, indent=2)
    print(table(report) + "\n\n" + text)
    if flags.FLAGS.out:
        pathlib.Path(flags.FLAGS.out).write_text(text + "\n", encoding="utf-8")


def define_flags() -> None:
    config_flags.DEFINE_config_file("config", help_string="Config file, FILE or FILE:variant.")
    flags.DEFINE_string("split", "test", "Split to score on.")
    flags.DEFINE_string("out", None, "File that the JSON is written to as well.")
    flags.mark_flag_as_required("config")


if __name__ == "__main__":
    define_flags()
    app.run(main)
