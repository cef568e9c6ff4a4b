"""Batches: windows, order, shards, flips, padding and exact resumption."""

import collections

import grain
import ml_collections
import numpy as np
import orbax.checkpoint as ocp
import pytest

from parts_jax.data import pipeline

LENGTH = 10


def make_config(**changes):
    return ml_collections.ConfigDict({
        "name": "sim_clevrer/demo", "data_dir": "", "source_dir": "", "download": False,
        "max_bytes": 2 ** 30, "skip_bad": False, "prepared": "",
        "train_split": "train", "num_frames": 4,
        "train_frames": 0, "stride": 1, "resolution": 4, "flip": False, "num_threads": 2,
        **changes})


def make_source(count=12, **extra):
    """Pixel (0, 0) of frame t of example i is (i, t, 0); the red of the last column is 255."""
    examples = []
    for i in range(count):
        video = np.zeros((LENGTH, 4, 4, 3), np.uint8)
        video[..., 0] = i
        video[..., 1] = np.arange(LENGTH)[:, None, None]
        video[:, :, 3, 2] = 255
        segmentation = np.zeros((LENGTH, 4, 4), np.uint8)
        segmentation[:, :, 3] = 1
        examples.append({"video": video, "segmentation": segmentation, **extra})
    return examples


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def examples_of(batch):
    return batch["video"][:, 0, 0, 0, 0].tolist()


def frames_of(batch):
    return batch["video"][:, :, 0, 0, 1].astype(int)


def same(one, other):
    return all(a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
               for a, b in zip(one, other, strict=True))


def train(source=None, batch_size=3, seed=0, process_index=0, process_count=1,
          mirrored_actions=None, action_size=0, cues=(), **changes):
    return pipeline.train_iterator(
        make_config(**changes), batch_size=batch_size, seed=seed, action_size=action_size,
        cues=cues, process_index=process_index,
        process_count=process_count, split=make_split(source, mirrored_actions))


def make_split(source=None, mirrored_actions=None):
    examples = make_source() if source is None else source
    return pipeline.Split(examples, LENGTH, mirrored_actions)


def evaluate(source=None, batch_size=3, **arguments):
    return pipeline.eval_iterator(make_config(num_frames=3, stride=2), make_split(source),
                                  batch_size=batch_size, **arguments)


def test_shapes_and_dtypes():
    batch = next(train())
    assert set(batch) == {"video", "valid"}
    assert batch["video"].shape == (3, 4, 4, 4, 3) and batch["video"].dtype == np.uint8
    evaluated = next(evaluate())
    assert set(evaluated) == {"video", "segmentation", "valid", "index"}
    assert evaluated["segmentation"].shape == (3, 3, 4, 4)
    assert evaluated["segmentation"].dtype == np.uint8
    assert batch["valid"].dtype == bool and batch["valid"].tolist() == [True] * 3


def test_actions_are_passed_on():
    actions = np.arange(2 * LENGTH, dtype=np.float32).reshape(LENGTH, 2)
    assert "actions" not in next(train(make_source(actions=actions)))
    batch = next(train(make_source(actions=actions), action_size=2))
    assert batch["actions"].shape == (3, 4, 2) and batch["actions"].dtype == np.float32
    np.testing.assert_array_equal(batch["actions"][..., 0], 2 * frames_of(batch))


def make_cues():
    """A source in which row t of the cue `flow` is (t, 7), and `boxes` are there besides."""
    flow = np.stack([np.arange(LENGTH), np.full(LENGTH, 7)], axis=1).astype(np.float32)
    return make_source(flow=flow, boxes=np.zeros((LENGTH, 2, 4), np.int32))


def test_cues_are_handed_out_by_their_names():
    assert set(next(train(make_cues()))) == {"video", "valid"}
    for batch in take(train(make_cues(), cues=("flow",), stride=2, resolution=2), 4):
        assert set(batch) == {"video", "valid", "flow"}
        assert batch["flow"].shape == (3, 4, 2) and batch["flow"].dtype == np.float32
        np.testing.assert_array_equal(batch["flow"][..., 0], frames_of(batch))
    batches = list(evaluate(make_cues()[:8], cues=("flow", "boxes")))
    assert set(batches[0]) == {"video", "segmentation", "valid", "index", "flow", "boxes"}
    assert batches[0]["boxes"].shape == (3, 3, 2, 4) and batches[0]["boxes"].dtype == np.int32
    np.testing.assert_array_equal(batches[0]["flow"][0], [[0, 7], [2, 7], [4, 7]])
    assert batches[-1]["valid"].tolist() == [True, True, False]
    assert not batches[-1]["flow"][2].any() and batches[-1]["flow"][1].any()


def test_cues_change_nothing_else_of_a_batch():
    plain, cued = (take(train(make_cues(), cues=cues), 5) for cues in ((), ("flow",)))
    assert same(plain, [{key: batch[key] for key in ("video", "valid")} for batch in cued])


def test_a_cue_that_is_not_there_is_missed_at_once():
    message = "The cue 'depth' is asked for, but the data have boxes, flow. A cue is"
    for make in (train, evaluate):
        with pytest.raises(ValueError, match=message):
            make(make_cues(), cues=("flow", "depth"))
    with pytest.raises(ValueError, match="'flow' is asked for, but the data have no cues"):
        train(cues=("flow",))


def test_flips_are_refused_with_cues():
    with pytest.raises(ValueError, match=r"data.flip must be False where cues \(flow, boxes\) are"):
        train(make_cues(), cues=("flow", "boxes"), flip=True)


@pytest.mark.parametrize("arguments, message", [
    ({"eval_splits": ("test",)}, "'depth' is asked for"),
    ({"train_split": "train"}, "'depth' is asked for"),
    ({"train_split": "train", "flip": True}, "data.flip must be False where cues"),
])
def test_the_check_before_a_run_knows_cues(monkeypatch, arguments, message):
    monkeypatch.setattr(pipeline, "open_split", lambda config, name: make_split(make_cues()))
    config = make_config(flip=arguments.pop("flip", False))
    pipeline.check(make_config(), "train", ("test",), cues=("flow", "boxes"))
    with pytest.raises(ValueError, match=message):
        pipeline.check(config, **arguments, cues=("depth",))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_windows_have_their_stride_and_start_anywhere(stride):
    starts = collections.Counter()
    for batch in take(train(stride=stride), 60):
        assert (np.diff(frames_of(batch), axis=1) == stride).all()
        starts.update(frames_of(batch)[:, 0].tolist())
    num_starts = LENGTH - 3 * stride
    assert set(starts) == set(range(num_starts))
    assert max(starts.values()) < 3 * 180 / num_starts


@pytest.mark.parametrize("stride", [1, 3])
def test_clips_that_are_shorter_than_a_window_are_played_back_and_forth(stride):
    """Steps of one stride, and a turn only at the ends; from any frame on, in both directions."""
    there = list(range(0, LENGTH, stride))
    starts = set()
    for batch in take(train(stride=stride, train_frames=3 * LENGTH), 60):
        for window in frames_of(batch):
            assert len(window) == 3 * LENGTH and set(window) == set(there)
            steps = np.diff(window)
            assert (np.abs(steps) == stride).all()
            turns = window[1:-1][steps[1:] != steps[:-1]]
            assert set(turns) <= {there[0], there[-1]}
            starts.add((window[0], window[1] > window[0]))
    assert len(starts) == 2 * len(there) - 2


def test_a_window_that_fits_is_as_ever_whatever_the_frames_of_evaluation():
    assert same(take(train(), 4), take(train(train_frames=4, num_frames=2), 4))


def test_every_epoch_has_every_example_once_in_a_new_order():
    batches = take(train(), 12)  # 12 examples, 4 batches an epoch
    epochs = [sum((examples_of(batch) for batch in batches[i:i + 4]), []) for i in (0, 4, 8)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert all(epoch != list(range(12)) for epoch in epochs)


def test_the_seed_decides_everything():
    assert same(take(train(flip=True), 9), take(train(flip=True, num_threads=0), 9))
    assert not same(take(train(seed=1), 4), take(train(seed=0), 4))
    first = [sum((examples_of(batch) for batch in take(train(seed=seed), 4)), [])
             for seed in (0, 1)]
    assert first[0] != first[1]
    # The second epoch of a seed is not the first of the next one.
    second = sum((examples_of(batch) for batch in take(train(seed=0), 8)[4:]), [])
    assert second != first[1]


def test_flips_mirror_whole_clips_half_of_the_time():
    flipped = []
    for batch in take(train(flip=True), 60):
        left = batch["video"][:, :, :, 0, 2] == 255
        assert (left.all((1, 2)) | ~left.any((1, 2))).all()
        flipped.extend(left.all((1, 2)))
    assert 0.35 < np.mean(flipped) < 0.65
    assert not any((batch["video"][:, :, :, 0, 2] == 255).any() for batch in take(train(), 20))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_sets_smaller_than_a_batch_are_repeated(count):
    seen = sum((examples_of(batch) for batch in take(train(make_source(count), 4), 5)), [])
    assert collections.Counter(seen[:count * (20 // count)]) == dict.fromkeys(
        range(count), 20 // count)


def test_processes_share_the_batches_of_one():
    whole = take(train(batch_size=4, flip=True), 7)
    parts = [take(train(batch_size=2, flip=True, process_index=p, process_count=2), 7)
             for p in range(2)]
    for batch, *pieces in zip(whole, *parts, strict=True):
        for key in batch:
            np.testing.assert_array_equal(batch[key], np.concatenate([p[key] for p in pieces]))


def test_resumes_exactly_from_its_state():
    iterator = train(flip=True)
    take(iterator, 5)
    state = iterator.get_state()
    expected = take(iterator, 6)
    resumed = train(flip=True)
    resumed.set_state(state)
    assert same(take(resumed, 6), expected)


def test_resumes_exactly_through_orbax(tmp_path):
    iterator = train(flip=True)
    take(iterator, 5)
    with ocp.CheckpointManager(tmp_path) as manager:
        manager.save(5, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(iterator)))
        manager.wait_until_finished()
        expected = take(iterator, 6)
        resumed = train(flip=True)
        take(resumed, 2)
        manager.restore(5, args=ocp.args.Composite(
            data=grain.checkpoint.CheckpointRestore(resumed)))
    assert same(take(resumed, 6), expected)


def test_evaluation_reads_every_example_once_and_pads():
    batches = list(evaluate(make_source(8)))
    assert [batch["valid"].tolist() for batch in batches] == [[True] * 3, [True] * 3,
                                                              [True, True, False]]
    assert np.concatenate([batch["index"] for batch in batches]).tolist() == list(range(9))
    assert batches[0]["index"].dtype == np.int32
    assert sum((examples_of(batch) for batch in batches), []) == [*range(8), 0]
    assert not batches[-1]["video"][2].any() and not batches[-1]["segmentation"][2].any()
    for batch in batches:
        assert (frames_of(batch)[batch["valid"]] == [0, 2, 4]).all()


def test_evaluation_of_the_first_sequences():
    batches = list(evaluate(num_sequences=4))
    valid = np.concatenate([batch["valid"] for batch in batches])
    assert valid.tolist() == [True] * 4 + [False] * 2
    assert len(list(evaluate(num_sequences=100))) == 4


def test_processes_evaluate_all_examples_in_as_many_batches():
    shards = [list(evaluate(make_source(8), batch_size=2, process_index=p, process_count=3))
              for p in range(3)]
    assert [len(shard) for shard in shards] == [2, 2, 2]
    seen = [index for shard in shards for batch in shard
            for index in batch["index"][batch["valid"]].tolist()]
    assert sorted(seen) == list(range(8))


@pytest.mark.parametrize("changes, message", [
    ({"num_frames": 11}, "num_frames is 11 with data.stride 1, but the shortest clip has 10 "
                         "frames: at most 10 frames"),
    ({"num_frames": 5, "stride": 3}, "at most 4 frames can be read with this stride"),
    ({"num_frames": 0}, "data.num_frames must be at least 1; got 0"),
    ({"stride": 0}, "data.stride must be at least 1; got 0"),
    ({"resolution": 0}, "data.resolution must be at least 1; got 0"),
    ({"num_threads": -1}, "data.num_threads must be at least 0; got -1"),
    ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
    ({"seed": -1}, "seed must be between 0 and 4294967295; got -1"),
    ({"process_index": 2, "process_count": 2}, "process_index must be between 0 and 1"),
    ({"source": []}, "There are no examples"),
])
def test_wrong_numbers_are_refused_at_once(changes, message):
    with pytest.raises(ValueError, match=message):
        train(**changes)


def test_wrong_examples_are_refused_at_once():
    source = make_source()
    source[0]["video"] = source[0]["video"].astype(np.float32) / 255
    with pytest.raises(ValueError, match="A video must be uint8 .* got float32"):
        train(source)
    with pytest.raises(ValueError, match="A video must be uint8 .* got float32"):
        evaluate(source)


@pytest.mark.parametrize("changes, message", [
    ({"flip": True}, "data.flip must be False where data.action_size is not 0; got True"),
    ({"stride": 2}, "data.stride must be 1 where data.action_size is not 0; got 2"),
    ({"action_size": 3}, "data.action_size is 3, but the data have actions of size 2"),
    ({"train_frames": LENGTH + 1}, "does not hold for a clip that is played backwards"),
])
def test_what_actions_do_not_allow(changes, message):
    source = make_source(actions=np.zeros((LENGTH, 2), np.float32))
    with pytest.raises(ValueError, match=message):
        train(source, **({"action_size": 2} | changes))


def test_actions_that_are_not_there_are_missed():
    with pytest.raises(ValueError, match="data.action_size is 2, but the data have no actions"):
        evaluate(action_size=2)


def test_flips_mirror_the_actions_that_the_set_names():
    source = make_source(actions=np.tile(np.float32([1, 2, 3]), (LENGTH, 1)))
    seen = set()
    for batch in take(train(source, flip=True, action_size=3, mirrored_actions=(0, 2)), 20):
        flipped = batch["video"][:, 0, 0, 0, 2] == 255
        for mirrored, actions in zip(flipped, batch["actions"], strict=True):
            assert (actions == ([-1, 2, -3] if mirrored else [1, 2, 3])).all()
            seen.add(bool(mirrored))
    assert seen == {True, False}


def test_the_shortest_clip_decides():
    split = pipeline.Split(make_source(), fewest_frames=3)
    with pytest.raises(ValueError, match="shortest clip has 3 frames: at most 3 frames"):
        pipeline.train_iterator(make_config(), batch_size=1, seed=0, split=split)


def test_negative_num_sequences_is_refused():
    with pytest.raises(ValueError, match="num_sequences must be 0 .* got -1"):
        evaluate(num_sequences=-1)


def test_an_unknown_split_is_answered_with_the_splits(monkeypatch):
    builder = type("Builder", (), {"info": type("Info", (), {"splits": {"train": 0, "test": 0}})})
    monkeypatch.setattr(pipeline.data, "prepare", lambda *arguments: builder)
    with pytest.raises(ValueError, match="'sim_clevrer/demo' has no split 'dev'.* train, test"):
        pipeline.eval_iterator(make_config(), "dev", batch_size=1)


def test_clips_that_are_too_short_are_named():
    source = [example | {"id": f"train/{n}.mp4:0".encode(), "video": example["video"][:8 + n % 3]}
              for n, example in enumerate(make_source(6))]
    split = pipeline.Split(source, fewest_frames=8)
    with pytest.raises(ValueError, match="2 of 6 clips have fewer than 9 frames, such as "
                                         "'train/0.mp4:0', which has 8"):
        pipeline.train_iterator(make_config(num_frames=9), batch_size=2, seed=0, split=split)
