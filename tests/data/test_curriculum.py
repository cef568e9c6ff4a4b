"""Stages of training with clips and batches of their own: what is read, in which order, resumed."""

import itertools

import numpy as np
import pytest

from configs import grid_lstm_balls
from parts_jax.data import curriculum, pipeline
from parts_jax.data.curriculum import Stage
from parts_jax.runs import config_rules
from tests.data import test_pipeline

STAGES = (Stage(3, 2, 6), Stage(2, 5, 4), Stage(2, 8, 2))


def train(stages=STAGES, batch_size=6, process_index=0, process_count=1, **changes):
    return pipeline.train_iterator(
        test_pipeline.make_config(**changes), batch_size=batch_size, seed=3,
        process_index=process_index, process_count=process_count, split=test_pipeline.make_split(),
        stages=stages)


def test_stages_have_their_shapes_and_take_their_clips_from_one_stream():
    batches = list(train())
    assert [batch["video"].shape[:2] for batch in batches] == [
        (6, 2), (6, 2), (6, 2), (4, 5), (4, 5), (2, 8), (2, 8)]
    single = itertools.chain.from_iterable(map(test_pipeline.examples_of, train((), 2)))
    for batch in batches:
        assert test_pipeline.examples_of(batch) == list(itertools.islice(single, len(
            batch["video"])))
        assert (np.diff(test_pipeline.frames_of(batch), axis=1) == 1).all()


def test_stages_that_are_alike_read_what_one_stage_reads():
    expected = test_pipeline.take(train((), 3, flip=True), 5)
    assert test_pipeline.same(train([Stage(2, 4, 3), Stage(3, 4, 3)], flip=True), expected)


def test_every_step_is_gone_on_from():
    expected, iterator = list(train()), train()
    for step in range(len(expected)):
        resumed = train()
        resumed.set_state(iterator.get_state())
        assert test_pipeline.same(list(resumed), expected[step:])
        next(iterator)


def test_processes_share_the_batches_of_every_stage():
    parts = [list(train(process_index=p, process_count=2)) for p in range(2)]
    for batch, *pieces in zip(train(), *parts, strict=True):
        for key in batch:
            np.testing.assert_array_equal(batch[key], np.concatenate([p[key] for p in pieces]))


def config_of(**changes):
    config = grid_lstm_balls.get_config("tiny")
    one = {"schedule.warmup_steps": (1, 1), "schedule.resolution": (16, 16),
           "schedule.learning_rate": (1e-3, 1e-3), "schedule.final_scale": (1.0, 1.0),
           "model.beta_scale": (1.0, 1.0), "model.sigma_scale": (1.0, 1.0), "train.pixels": (1, 1),
           "train.encoder_pooling": (1, 1), "schedule.steps": (6, 8), "data.train_frames": 4,
           "train.batch_size": 8, "schedule.train_frames": (), "schedule.batch_size": ()}
    config.update_from_flattened_dict(one | changes)
    return config


def test_stages_of_a_config():
    assert curriculum.stages(config_of()) == ((6, 4, 8), (8, 4, 8))
    assert curriculum.stages(config_of(**{"data.train_frames": 0})) == ((6, 6, 8), (8, 6, 8))
    config = config_of(**{"schedule.train_frames": (2, 4), "schedule.batch_size": (8, 4)})
    config_rules.check(config, 4)
    assert curriculum.stages(config) == ((6, 2, 8), (8, 4, 4))
    assert [stage.frames_per_step for stage in curriculum.stages(config)] == [16, 16]


@pytest.mark.parametrize("changes, message", [
    ({"schedule.train_frames": (2, 3, 4)}, r"schedule.train_frames is \(2, 3, 4\).* has 2"),
    ({"schedule.batch_size": (8,)}, r"schedule.batch_size is \(8,\).* has 2"),
    ({"schedule.train_frames": (0, 4)}, r"must be \(\) or a tuple of whole numbers"),
    ({"schedule.batch_size": (8, 4.5)}, r"must be \(\) or a tuple of whole numbers"),
    ({"schedule.train_frames": (2, 3)}, "its greatest must be data.train_frames.*, which is 4"),
    ({"schedule.train_frames": (2, 4), "data.train_frames": 0}, "data.num_frames., which is 6"),
    ({"schedule.batch_size": (16, 8)}, "its greatest must be train.batch_size, which is 8"),
    ({"schedule.batch_size": (8, 6)}, r"\(8, 6\), of which 6 cannot be divided .* 4 devices"),
])
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config_rules.check(config_of(**changes), 4)
