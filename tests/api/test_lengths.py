"""Videos longer than a checkpoint was tested for: what it was tested for, the warning, restarts."""

import json
import warnings

import numpy as np
import pytest

import parts_jax
from parts_jax.api import lengths, restarting, segmenting
from parts_jax.api.iterations import Iterations
from parts_jax.api.lengths import LengthWarning, Tested
from parts_jax.api.results import Segmentation
from parts_jax.equations.notation import Gaussian
from parts_jax.runs import configuration

T, S, K, D = 4, 16, 3, 4  # T: of training
pytestmark = pytest.mark.filterwarnings("ignore::parts_jax.api.lengths.LengthWarning")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, save_untrained):
    return save_untrained(tmp_path_factory.mktemp("lengths") / "run", steps=(7,))


@pytest.fixture(scope="module")
def model(workdir):
    return parts_jax.load(workdir)


@pytest.fixture(scope="module")
def video() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 13, S, S, 3), np.uint8)


def said(call) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(one.message) for one in caught if one.category is LengthWarning]


def test_what_a_checkpoint_was_tested_for_stands_in_its_evaluations(tmp_path, workdir):
    config = configuration.load(str(workdir))
    folder = tmp_path / "evaluation"
    folder.mkdir()

    def write(name: str, frames, length=200):
        (folder / f"{name}-length.json").write_text(
            json.dumps({"tested_frames": frames, "length": length}))

    assert lengths.find(tmp_path, config, 7) == Tested(T, T, None)
    write("sim_clevrer_tiny-test-8", 9)
    write("sim_clevrer_other-test-7", 9)
    assert lengths.find(tmp_path, config, 7) == Tested(T, T, None)
    write("sim_clevrer_tiny-test-7", 50)
    write("sim_clevrer_tiny-validation-7", 40)
    assert lengths.find(tmp_path, config, 7) == Tested(40, T, 200)
    for frames, usable in ((1, 1), (0, 1)):  # however long clips of training are
        write("sim_clevrer_tiny-test-7", frames)
        assert lengths.find(tmp_path, config, 7) == Tested(usable, T, 200)
    for frames in (None, -1, 2.5, "9"):
        write("sim_clevrer_tiny-test-7", frames)
        with pytest.raises(ValueError, match="test-7-length.json' cannot be read as an evaluation "
                                             "of long clips: .* Evaluating again writes it anew"):
            lengths.find(tmp_path, config, 7)


def test_clips_of_training_may_be_longer_than_those_of_evaluation(tmp_path, workdir):
    config = configuration.load(str(workdir)).unlock()
    config.data.train_frames = 9
    assert lengths.find(tmp_path, config, 7) == lengths.of_training(config) == Tested(9, 9, None)


@pytest.mark.parametrize("tested, words", [
    (Tested(6, 6), "more than 6 frames: clips of training have 6, and longer ones were not tested"),
    (Tested(11, 6, 200), "more than 11 frames: up to there its scores hold, later ones get worse"),
    (Tested(200, 6, 200), "more than 200 frames: longer ones were not tested, and clips of"),
])
def test_the_warning_says_what_is_known_and_what_to_do(tested, words):
    assert tested.warning(tested.frames) is None
    sentence = tested.warning(tested.frames + 1)
    assert words in sentence and f"--restart_every={tested.frames})" in sentence
    assert sentence.endswith("or train with a larger data.train_frames.")


def made_up(number: int, video: np.ndarray, age: int = 0) -> Segmentation:
    """K stripes that stay where they are, by slots in an order of the call's number.

    The posterior's mean is the slot's stripe, its log_std how many frames the state has seen.
    """
    order = np.random.default_rng(number).permutation(K)
    frames = video.shape[:-3]
    stripes = np.arange(S) * K // S
    masks = np.broadcast_to((stripes == order[:, None])[:, None], (*frames, K, S, S)) * 1.0
    numbers = np.broadcast_to(order[:, None], (*frames, K, D)) * 1.0
    seen = np.broadcast_to(age + 1 + np.arange(frames[-1])[:, None, None], (*frames, K, D))
    return Segmentation(
        video=video, masks=masks, segmentation=masks.argmax(-3).astype(np.uint8), recon=video / 255,
        slot_pictures=np.broadcast_to(order[:, None, None, None], (*frames, K, S, S, 3)) * 1.0,
        posterior=Gaussian(numbers, seen), maps={"attention": masks / 2}, state=number,
        last_action=np.zeros((*frames[:-1], 0)), num_frames=age + frames[-1], iterations=Iterations(
            np.stack([video / 255] * 2, axis=-4), np.stack([masks / 4, masks], axis=-4)))


@pytest.fixture
def quick(model, monkeypatch) -> list:
    """Nothing is inferred: `made_up` stands for what one state makes of a part; lists the parts."""
    parts = []

    def segment_part(video, cues, actions, *, after=None, **_):
        number = len(parts) if after is None else after.state
        made = made_up(number, video, after.num_frames if after else 0)
        parts.append(made)
        return made

    monkeypatch.setattr(model, "_segment_part", segment_part)
    return parts


def test_it_is_said_once_for_a_long_video_and_never_for_a_short_one(model, video, quick,
                                                                     monkeypatch):
    assert said(lambda: model.segment(video[:, :T])) == []
    sentence, = said(lambda: model.segment(video))
    assert "more than 4 frames" in sentence

    def in_parts():
        after = None
        for start in range(0, 12, 3):
            after = model.segment(video[:, start:start + 3], after=after)

    assert said(in_parts) == [sentence]
    assert said(lambda: model.segment(video, restart_every=T)) == []
    assert said(lambda: model.segment(video, restart_every=T + 1)) == [sentence]
    monkeypatch.setattr(model, "tested", Tested(20, T, 40))
    assert said(lambda: model.segment(video)) == []


@pytest.mark.parametrize("every", [1, 2, 5, 8, 12])
@pytest.mark.parametrize("single", [True, False])
def test_slots_keep_their_numbers_when_the_state_starts_anew(model, video, quick, every, single):
    given = video[0] if single else video
    result = model.segment(given, restart_every=every)
    order = np.random.default_rng(0).permutation(K)
    assert len(quick) > 1
    assert any((part.posterior.mean != quick[0].posterior.mean).any() for part in quick)
    assert {part.num_frames for part in quick} == {every}
    np.testing.assert_array_equal(result.video, given)
    frames = given.shape[:-3]
    stripes = np.argsort(order)[np.arange(S) * K // S]
    np.testing.assert_array_equal(result.segmentation, np.broadcast_to(stripes, (*frames, S, S)))
    np.testing.assert_array_equal(result.segmentation, result.masks.argmax(-3))
    np.testing.assert_array_equal(result.maps["attention"], result.masks / 2)
    for i, scale in enumerate((4, 1)):
        np.testing.assert_array_equal(result.iterations.masks[..., i, :, :, :] * scale,
                                      result.masks)
        np.testing.assert_array_equal(result.iterations.recon[..., i, :, :, :], result.recon)
    np.testing.assert_array_equal(result.posterior.mean,
                                  np.broadcast_to(order[:, None], (*frames, K, D)))
    np.testing.assert_array_equal(result.slot_pictures[..., 0, 0, 0],
                                  np.broadcast_to(order, (*frames, K)))
    ages, again = result.posterior.log_std[..., 0, 0], min(3, every // 2)
    new = [*range(1, every + 1), *([*range(again + 1, every + 1)] * 13)][:13]
    np.testing.assert_array_equal(ages, np.broadcast_to(new, frames))
    assert result.num_frames == 13 and result.state is None
    assert not result.masks.flags.writeable


def test_slots_are_matched_by_the_pixels_that_they_share():
    before = np.array([[0, 0, 0, 1], [2, 2, 1, 1]])
    now = np.array([[2, 2, 0, 1], [0, 0, 1, 1]])
    np.testing.assert_array_equal(restarting.match(before, now, 3), [2, 1, 0])
    np.testing.assert_array_equal(
        sorted(restarting.match(np.zeros((2, 2), int), np.ones((2, 2), int), 4)), [0, 1, 2, 3])


def test_each_state_sees_the_last_frames_once_more(model, video):
    """As the model itself splits each stretch, up to the order of slots."""
    result = model.segment(video, restart_every=5)
    assert result.masks.shape == (2, 13, K, S, S) and result.last_action.shape == (2, 0)
    assert result.masks_are == "assigned" and result.predicted_masks.shape == result.masks.shape
    decoded = model.segment(video, restart_every=5, masks="decoder")
    assert decoded.masks_are == "decoder" and np.abs(decoded.masks - result.masks).max() > 0.01
    for start, first, stop in ((0, 0, 5), (3, 5, 8), (6, 8, 11), (9, 11, 13)):
        alone = model.segment(np.concatenate([video, video[:, -1:]], 1)[:, start:start + 5])
        ours, theirs = (np.sort(one.masks.sum((-2, -1)), axis=-1) for one in (
            restarting.frames_of(result, first, stop),
            restarting.frames_of(alone, first - start, stop - start)))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("every, size", [(1, 1), (4, 4), (16, 16), (19, 16)])
def test_the_commands_parts_start_anew_alike(model, video, quick, every, size):
    """In parts of 16 frames at the most."""
    long = np.concatenate([video[0], video[1], video[0][::-1]])
    parts = list(segmenting.segment_parts(model, iter(long), restart_every=every))
    found = restarting.joined([restarting.frames_of(part, 0, count) for part, count in parts])
    quick.clear()
    expected = model.segment(long, restart_every=size)
    assert found.num_frames == len(long)
    np.testing.assert_array_equal(found.posterior.log_std, expected.posterior.log_std)
    np.testing.assert_array_equal(found.masks, expected.masks)


def test_of_a_state_that_sees_several_parts_each_goes_on(model, video, quick):
    long = np.concatenate([*video, *video, *video])  # 78 frames
    parts = list(segmenting.segment_parts(model, iter(long), restart_every=40))
    ages = np.concatenate([part.posterior.log_std[:count, 0, 0] for part, count in parts])
    np.testing.assert_array_equal(ages, [*range(1, 33), *range(4, 33), *range(4, 21)])
    order = parts[0][0].posterior.mean[0]
    assert all((part.posterior.mean == order).all() for part, _ in parts)


def test_what_cannot_start_anew_is_refused(model, video):
    for every in (0, -3, 2.5, True, "4"):
        with pytest.raises(ValueError, match=f"restart_every is {every!r}, but must be a whole"):
            model.segment(video, restart_every=every)
    with pytest.raises(ValueError, match="takes frames of 16x16 pixels"):
        model.segment(video[:, :, :8], restart_every=4)
    with pytest.raises(ValueError, match="trained without actions"):
        model.segment(video[0], np.zeros((13, 2)), restart_every=4)
    part = made_up(0, video)
    with pytest.raises(ValueError, match="after goes on with a state, which restart_every starts"):
        model.segment(video[:, T:], after=part, restart_every=4)
    with pytest.raises(ValueError, match="after was made with restart_every, so it has no state"):
        model.segment(video, after=restarting.frames_of(part, 0, 2))


@pytest.mark.parametrize("frames", [12, 14])
def test_a_cue_of_another_number_of_frames_is_refused(video, frames):
    """It would be cut, or end in an IndexError, as the video is cut into parts here."""
    def segment_part(*_):
        raise AssertionError("It was not refused in time.")

    with pytest.raises(ValueError, match=r"cue 'flow' must have one row .* \[2, 13\]; got \[2, 1"):
        restarting.segment(segment_part, video, None, {"flow": np.zeros((2, frames, 3))}, 5)
