"""Atari games: clips are what the emulator shows when their actions are replayed by hand."""

import dataclasses
import hashlib
import sys

import ale_py
import numpy as np
import pytest
from ale_py import roms

from parts_jax.simulate import atari, seeds

SHORT = atari.GameSettings(game="space_invaders", num_frames=6, warm_up=(2, 40))


class Console:
    """In the place of the emulator: each picture says its episode and its time, in red and green.

    In blue every second picture is bright, as of a thing that flickers.
    """

    def __init__(self, length: int = 1000, still_until: int = 0):
        self.length, self.still_until = length, still_until
        self.episode = self.time = self.pictures = 0

    def getMinimalActionSet(self):
        return list(ale_py.Action.__members__.values())[:3]

    def getScreenRGB(self):
        if self.pictures < self.still_until:
            return np.zeros((2, 2, 3), np.uint8)
        return np.full((2, 2, 3), [self.episode, self.time, 200 * (self.pictures % 2)], np.uint8)

    def act(self, move):
        self.time += not self.game_over()
        self.pictures += 1

    def game_over(self):
        return self.time == self.length

    def reset_game(self):
        self.episode, self.time = self.episode + 1, 0


@pytest.fixture
def console(monkeypatch):
    """Puts a `Console` of some settings in the place of the emulator."""
    def put(**settings):
        monkeypatch.setattr(atari, "open_game", lambda game, seed: Console(**settings))
    return put


def pictures_by_hand(game: str, seed: int, moves: list) -> list[np.ndarray]:
    """The console's pictures before the first of some moves, and after each of them."""
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", seed)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(roms.get_rom_path(game))
    ale.reset_game()
    pictures = [ale.getScreenRGB()]
    for move in moves:
        ale.act(move)
        pictures.append(ale.getScreenRGB())
    return pictures


def test_frames_and_actions_are_those_of_the_game_replayed_by_hand(monkeypatch):
    opened, played = atari.open_game, []

    class Written:
        """The emulator, and what it was told."""

        def __init__(self, game, seed):
            self.ale, self.seed, self.told = opened(game, seed), seed, []
            played.append(self)

        def act(self, move):
            self.told.append(move)
            self.ale.act(move)

        def __getattr__(self, name):
            return getattr(self.ale, name)

    monkeypatch.setattr(atari, "open_game", Written)
    clip = atari.play_clip(SHORT, (0, 0, 3))
    [game] = played
    assert clip["ended"] == clip["unchanged"] == 0  # so that all that was told leads to the clip
    pictures = pictures_by_hand(SHORT.game, game.seed, game.told)
    length, skip = SHORT.num_frames, SHORT.frame_skip
    first = len(game.told) - length * skip
    assert clip["video"].shape == (length, 210, 160, 3) and clip["video"].dtype == np.uint8
    for t in range(length):
        seen = first + t * skip
        np.testing.assert_array_equal(
            clip["video"][t], np.maximum(pictures[seen - 1], pictures[seen]))
        move = game.getMinimalActionSet()[clip["actions"][t].argmax()]
        assert game.told[seen:seen + skip] == [move] * skip
    assert (clip["video"][1:] != clip["video"][:-1]).any((1, 2, 3)).any()
    assert clip["actions"].shape == (length, 6) and clip["actions"].dtype == np.float32
    assert (clip["actions"].sum(1) == 1).all() and (clip["actions"].max(1) == 1).all()


def test_a_clip_depends_on_its_seed_alone():
    one, again = (atari.play_clip(SHORT, (0, 0, 1)) for _ in range(2))
    other = atari.play_clip(SHORT, (0, 1, 1))
    larger = atari.play_clip(dataclasses.replace(SHORT, resolution=128, crop="center"), (0, 0, 1))
    for key in one:
        np.testing.assert_array_equal(one[key], again[key])
        np.testing.assert_array_equal(one[key], larger[key])  # of whole screens, all of them
    assert (one["video"] != other["video"]).any()


def test_clips_are_the_same_on_every_machine():
    """If the locked ale-py plays otherwise one day, the version of the set must be raised."""
    clip = atari.play_clip(SHORT, (0, 2, 5))
    digest = hashlib.sha256(clip["video"].tobytes() + clip["actions"].tobytes()).hexdigest()
    assert digest[:16] == "fa4f0ce703ac4db2", f"ale-py {ale_py.__version__} plays not as 0.12.1"


def test_no_episode_ends_in_a_clip_and_those_in_which_one_would_are_counted(console):
    settings = atari.GameSettings(num_frames=8, frame_skip=4, warm_up=(1, 20))
    console(length=50)
    left_out = 0
    for seed in range(30):
        clip = atari.play_clip(settings, (seed,))
        episode, time = clip["video"][:, 0, 0, 0], clip["video"][:, 0, 0, 1].astype(int)
        assert (episode == episode[0]).all() and time[-1] < 50
        np.testing.assert_array_equal(np.diff(time), 4)
        left_out += clip["ended"]
    assert left_out > 10
    begun = dataclasses.replace(settings, warm_up=(1, 1))
    console(length=33)  # the last frame is the last picture before the end
    clip = atari.play_clip(begun, (0,))
    assert clip["video"][:, 0, 0, 1].tolist() == [4, 8, 12, 16, 20, 24, 28, 32]
    console(length=32)
    with pytest.raises(ValueError, match="nothing changed, in 30 an episode ended"):
        atari.play_clip(begun, (0,))


def test_what_flickers_is_seen_in_every_frame(console):
    console()
    for skip in (1, 3, 4):
        clip = atari.play_clip(dataclasses.replace(SHORT, frame_skip=skip), (0,))
        assert (clip["video"][..., 2] == 200).all()


def test_clips_without_any_change_are_left_out_and_counted(console):
    settings = atari.GameSettings(num_frames=4, warm_up=(1, 1))  # 20 pictures a try
    console(still_until=61)
    clip = atari.play_clip(settings, (0,))
    assert (clip["unchanged"], clip["ended"]) == (3, 0) and clip["video"].any()
    console(still_until=10 ** 6)
    with pytest.raises(ValueError, match="no clip of 4 frames out of the game 'pong': in 30 of 30 "
                                         "tries nothing changed, in 0 an episode ended"):
        atari.play_clip(settings, (0,))


@pytest.mark.parametrize("repeat", [0.0, 0.75, 1.0])
def test_the_agent_takes_its_last_action_again_as_often_as_is_said(console, repeat):
    console()
    player = atari.Player(atari.GameSettings(repeat=repeat), seeds.generator((0,)))
    taken = np.array([player.choose() for _ in range(3000)])
    expected = repeat + (1 - repeat) / 3  # what is drawn may be the last one, too
    assert abs((taken[1:] == taken[:-1]).mean() - expected) < 0.03
    assert set(taken) == ({0, 1, 2} if repeat < 1 else {taken[0]})


def test_names_of_actions_are_in_the_order_of_the_minimal_set():
    assert atari.action_names("breakout") == ("NOOP", "FIRE", "RIGHT", "LEFT")
    assert atari.version() == ale_py.__version__


def test_games_that_cannot_be_played_are_named(monkeypatch):
    with pytest.raises(ValueError, match="has no game 'pnog'. The nearest are: pong, .*All games: "
                                         "adventure, .*zaxxon.$"):
        atari.open_game("pnog")
    with pytest.raises(ValueError, match="'combat' of ale-py .* is for several players"):
        atari.check_game("combat")
    monkeypatch.setitem(sys.modules, "ale_py", None)
    assert not atari.is_installed()
    with pytest.raises(ValueError, match=r"ale-py, which is not installed: install the extra "
                                         r"\[atari\] of parts_jax") as error:
        atari.open_game("pong")
    assert isinstance(error.value.__cause__, ImportError)


def test_ten_games_take_turns_and_share_the_consoles_actions():
    """Clip i is of game i modulo 10, and the same clip as that of the game alone."""
    settings = dataclasses.replace(SHORT, game=atari.TEN_GAMES)
    names, clip = atari.action_names(atari.TEN_GAMES), atari.play_clip(settings, (0, 0, 12))
    alone = atari.play_clip(dataclasses.replace(SHORT, game="carnival"), (0, 0, 12))
    assert clip["game"] == atari.GAMES[2] == "carnival" and len(names) == len(set(names)) == 18
    np.testing.assert_array_equal(clip["video"], alone["video"])
    own = atari.action_names("carnival")
    assert clip["actions"].shape == (SHORT.num_frames, 18) and len(own) < 18
    assert [names[i] for i in clip["actions"].argmax(1)] == [
        own[i] for i in alone["actions"].argmax(1)]
    atari.check_game(atari.TEN_GAMES)
