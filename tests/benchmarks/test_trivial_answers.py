"""Trivial answers score one where they are right, and by hand elsewhere."""

import numpy as np

from benchmarks import trivial_answers

COLOURS = np.asarray([[90, 90, 90], [250, 0, 0], [0, 250, 0], [0, 0, 250]], np.uint8)


def clip(ids: np.ndarray) -> dict[str, np.ndarray]:
    """One example of two equal frames, each id of a colour of its own."""
    ids = np.broadcast_to(ids, (1, 2, *ids.shape)).astype(np.uint8)
    return {"video": COLOURS[ids], "segmentation": ids}


def means(report: dict, answer: str) -> dict[str, float]:
    return {column: value["mean"] for column, value in report[answer].items()}


def test_trivial_answers_score_one_where_they_are_right():
    columns = np.broadcast_to(np.arange(8) // 2, (8, 8))
    blocks = np.kron(np.asarray([[0, 1], [2, 3]]), np.ones((4, 4), int))
    in_columns = trivial_answers.score_segmentations([clip(columns)], 4)
    in_blocks = trivial_answers.score_segmentations([clip(blocks)], 4)
    for right in (means(in_columns, "strips"), means(in_blocks, "quadrants"),
                  means(in_columns, "kmeans_colour"), means(in_blocks, "kmeans_colour"),
                  means(in_blocks, "kmeans_colour_position")):
        assert right == dict.fromkeys(trivial_answers.COLUMNS, 1.0)
    wrong = means(in_columns, "quadrants")
    assert wrong["ari_last"] < 0.5 and wrong["miou_last"] < 0.5


def test_kmeans_joins_objects_of_one_colour_and_position_parts_them():
    ids = np.broadcast_to([1, 1, 0, 0, 0, 0, 2, 2], (1, 2, 4, 8)).astype(np.uint8)
    batch = {"video": COLOURS[np.minimum(ids, 1)], "segmentation": ids}
    scores = trivial_answers.score_segmentations([batch], 3)
    assert means(scores, "kmeans_colour")["fg_ari_last"] == 0.0
    assert means(scores, "kmeans_colour_position")["fg_ari_last"] == 1.0


def test_the_empty_room_is_the_median_and_its_error_is_by_hand():
    video = np.full((3, 2, 4, 4, 3), 51, np.uint8)
    video[0, 0] = 255
    room = trivial_answers.background(video)
    np.testing.assert_allclose(room, 0.2)
    error = trivial_answers.background_error(video, room)
    np.testing.assert_allclose(error["mse"], [0.32, 0, 0], atol=1e-12)
    np.testing.assert_allclose(error["mse_last"], 0, atol=1e-12)
    text = trivial_answers.table({
        "num_sequences": 3, "dataset": "d", "split": "test", "num_frames": 2, "resolution": 4,
        "num_slots": 2, "background": {k: trivial_answers.summarise(v) for k, v in error.items()},
        "answers": trivial_answers.score_segmentations([clip(np.eye(4, dtype=int))], 2)})
    assert "| strips | " in text and "MSE 0.10667, last frame 0.00000" in text
