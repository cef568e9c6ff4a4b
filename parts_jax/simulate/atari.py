"""Clips of Atari 2600 games, played by a random agent in the Arcade Learning Environment.

The emulator is ale-py, whose wheel brings the games; it is imported when a game is opened, so that
nothing else needs it. `play_clip(settings, seed)` depends on its arguments and on the version of
ale-py alone: every clip has an emulator of its own.
"""

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np

from parts_jax.simulate import seeds

# Stands for a game: all of SPACE's joint training (Lin et al., 2020, appendix E), in turn.
TEN_GAMES = "ten_games"
GAMES = ("asterix", "atlantis", "carnival", "double_dunk", "kangaroo", "montezuma_revenge",
         "ms_pacman", "pooyan", "qbert", "space_invaders")
MISSING = ("Atari games are played by ale-py, which is not installed: install the extra [atari] of "
           "parts_jax, in a checkout by .venv/bin/pip install -e '.[atari]'.")


@dataclasses.dataclass(frozen=True)
class GameSettings:
    """A game, how it is played, and how its screen is kept.

    Attributes:
      game: its name in ale-py, such as "space_invaders"; `play_clip` alone takes TEN_GAMES, too.
      resolution: height and width of the stored frames, in pixels.
      crop: "none" squeezes the whole screen into a square; "center" cuts the largest square out of
        its middle first.
      num_frames: T.
      frame_skip: pictures of the console (60 a second) from one frame to the next, through which
        an action is held.
      repeat: the chance that the agent takes its last action again. Else it draws one; all of the
        game's minimal set are as likely.
      warm_up: how many actions, at least and at most, are taken before a clip begins; drawn.
      most_tries: so many clips in a row may be left out before the game is given up.
    """

    game: str = "pong"
    resolution: int = 64
    crop: str = "none"
    num_frames: int = 24
    frame_skip: int = 4
    repeat: float = 0.75
    warm_up: tuple[int, int] = (8, 512)
    most_tries: int = 30


def play_clip(settings: GameSettings, seed: Sequence[int]) -> dict:
    """Plays a game until it has a clip in which something changes and no episode ends.

    Where an episode ends before the clip begins, the next one is played on. The emulator repeats no
    action by itself (its own "sticky actions" are off), so the actions given are those taken.

    Args:
      settings: the game and the agent.
      seed: non-negative integers that name the clip, such as (seed, split, clip).

    Returns:
      A dict of
        video: uint8 [T, H, W, 3], whole screens. A frame is the greater, in each pixel and colour,
          of the console's last two pictures: what is drawn in every other one only is seen, too;
        actions: float32 [T, A], one-hot, in the order of `action_names`; actions[t] is held from
          frame t to t+1, the last one is taken after the last frame;
        game: its name; of TEN_GAMES that at the place of the last number of `seed`, modulo 10;
        ended, unchanged: how many clips were left out before this one because an episode ended in
          them, or because all of their frames were the same.

    Raises:
      ValueError: as `open_game`, and if `most_tries` clips in a row had to be left out.
    """
    asked = settings.game
    if asked == TEN_GAMES:
        settings = dataclasses.replace(settings, game=GAMES[seed[-1] % len(GAMES)])
    player = Player(settings, seeds.generator(seed))
    left_out = {"ended": 0, "unchanged": 0}
    for _ in range(settings.most_tries):
        player.warm_up()
        clip = player.record()
        if clip is None:
            left_out["ended"] += 1
        elif (clip["video"] == clip["video"][0]).all():
            left_out["unchanged"] += 1
        else:
            if asked == TEN_GAMES:
                clip["actions"] = clip["actions"] @ player.places(action_names(asked))
            return clip | left_out | {"game": settings.game}
    raise ValueError(f"The random agent gets no clip of {settings.num_frames} frames out of the "
                     f"game {settings.game!r}: in {left_out['unchanged']} of "
                     f"{settings.most_tries} tries nothing changed, in {left_out['ended']} an "
                     "episode ended. Choose another game.")


class Player:
    """A game that goes on, and the random agent that plays it.

    Args:
      settings: the game and the agent.
      rng: whatever is drawn is drawn from it, the seed of the emulator, too.
    """

    def __init__(self, settings: GameSettings, rng: np.random.Generator):
        self.settings, self.rng = settings, rng
        self.ale = open_game(settings.game, int(rng.integers(2 ** 31)))
        self.moves = self.ale.getMinimalActionSet()
        self.action = int(rng.integers(len(self.moves)))
        self.frame = self.ale.getScreenRGB()

    def places(self, names: Sequence[str]) -> np.ndarray:
        """Which of `names` each action of the game is, float32 [moves, names]."""
        return np.eye(len(names), dtype=np.float32)[[names.index(move.name) for move in self.moves]]

    def choose(self) -> int:
        """The number of the next action: the last one, or one that is drawn."""
        if self.rng.random() >= self.settings.repeat:
            self.action = int(self.rng.integers(len(self.moves)))
        return self.action

    def play(self, action: int) -> None:
        """Holds an action until the next frame, in a new episode if the last one is over."""
        if self.ale.game_over():
            self.ale.reset_game()
        for _ in range(self.settings.frame_skip):
            before = self.ale.getScreenRGB()
            self.ale.act(self.moves[action])
        self.frame = np.maximum(before, self.ale.getScreenRGB())

    def warm_up(self) -> None:
        """Plays for a time that is drawn."""
        least, most = self.settings.warm_up
        for _ in range(self.rng.integers(least, most + 1)):
            self.play(self.choose())

    def record(self) -> dict | None:
        """`video` and `actions` from the frame that is seen on; None if an episode ends in them."""
        frames, actions = [], []
        for _ in range(self.settings.num_frames):
            if self.ale.game_over():
                return None
            frames.append(self.frame)
            actions.append(self.choose())
            self.play(actions[-1])
        return {"video": np.stack(frames),
                "actions": np.eye(len(self.moves), dtype=np.float32)[actions]}


def open_game(game: str, seed: int = 0) -> Any:
    """An `ale_py.ALEInterface` at the start of a game.

    Args:
      game: its name in ale-py.
      seed: of what the console has at random when it is switched on, 0 to 2**31 - 1.

    Raises:
      ValueError: if ale-py is missing, or has no such game for one player.
    """
    ale_py, roms = _import()
    check_game(game)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", seed)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(roms.get_rom_path(game))
    ale.reset_game()
    return ale


def check_game(game: str) -> None:
    """Raises ValueError if ale-py is missing, or has no such game for one player."""
    if game == TEN_GAMES:
        for one in GAMES:
            check_game(one)
        return
    ale_py, roms = _import()
    known = sorted(roms.get_all_rom_ids())
    if game not in known:
        nearest = difflib.get_close_matches(game, known, n=3, cutoff=0.4)
        hint = f"The nearest are: {', '.join(nearest)}. " if nearest else ""
        raise ValueError(f"ale-py {ale_py.__version__} has no game {game!r}. {hint}"
                         f"All games: {', '.join(known)}.")
    if not ale_py.ALEInterface.isSupportedROM(roms.get_rom_path(game)):  # else it ends the process
        raise ValueError(f"The game {game!r} of ale-py {ale_py.__version__} is for several players "
                         "and cannot be played by one. Choose another game.")


def is_installed() -> bool:
    """Whether ale-py is there."""
    try:
        _import()
    except ValueError:
        return False
    return True


def action_names(game: str) -> tuple[str, ...]:
    """The actions of a game's minimal set, in the order of the one-hot actions: "NOOP", "FIRE", ...

    Of TEN_GAMES all 18 of the console; each game draws of its own.

    Raises:
      ValueError: as `open_game`.
    """
    if game == TEN_GAMES:
        return tuple(move.name for move in open_game(GAMES[0]).getLegalActionSet())
    return tuple(move.name for move in open_game(game).getMinimalActionSet())


def version() -> str:
    """The version of ale-py.

    Raises:
      ValueError: if it is missing.
    """
    return _import()[0].__version__


def _import() -> tuple[Any, Any]:
    """The modules ale_py and ale_py.roms."""
    try:
        import ale_py
        from ale_py import roms
    except ImportError as error:
        raise ValueError(MISSING) from error
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # not its name, for every clip
    return ale_py, roms
