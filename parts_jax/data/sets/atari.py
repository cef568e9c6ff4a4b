"""`atari`: clips of Atari 2600 games with actions, as a TFDS builder.

The games are those of ale-py (the extra [atari]), which plays them when a set is built; a set that
is built is read without it. Any game can be named: `variant` says how.
"""

import dataclasses
import re
from collections.abc import Iterator

import tensorflow_datasets as tfds
from absl import logging

from parts_jax.data import episodes
from parts_jax.data.sets import simulated, splits
from parts_jax.simulate import atari

RESOLUTION = 64  # of a name without one
RESOLUTIONS = (8, 256)
NAME = re.compile(r"(?P<game>\w+?)(_(?P<resolution>\d{1,4}))?(?P<crop>_center)?")
LISTED = ("pong", "space_invaders", "freeway", "boxing")  # games, of all that can be named
PATTERNS = ("GAME", "GAME_RESOLUTION", "GAME_RESOLUTION_center")  # of all names, for lists of them


def config_of(settings: atari.GameSettings) -> simulated.SimulatedConfig:
    """The variant of a game; those that differ in resolution or crop alone have the same clips."""
    size, crop = f"_{settings.resolution}", "_center" if settings.crop == "center" else ""
    return simulated.SimulatedConfig(
        name=settings.game + (size if crop or settings.resolution != RESOLUTION else "") + crop,
        world=settings,
        num_clips=(5000, 500, 500) if settings.game == atari.TEN_GAMES else (1500, 256, 256),
        description=f"{settings.game}, {settings.resolution}x{settings.resolution}, "
                    f"{settings.num_frames} frames, crop {settings.crop}.")


class Atari(tfds.core.GeneratorBasedBuilder):
    """A game of the Arcade Learning Environment, played by a random agent, with its actions.

    An example has
      video: T strings, PNG of uint8 [H, W, 3];
      actions: float32 [T, A], one-hot over the game's minimal action set, taken after each frame;
      id: text, such as "train-00012"; of ten games with the game's name, "train-00012-carnival".
    `info.metadata` has `actions`, the names of the A actions, `ended` and `unchanged`, how many
    clips of each split were left out because an episode ended or nothing changed in them, and
    `ale_py`, the version that played. See `parts_jax.simulate.atari` for how.
    """

    name = "atari"
    VERSION = tfds.core.Version("1.0.0")  # to be raised whenever the clips change
    # TFDS finds this path by itself, but with a package that it needs and does not declare.
    code_path = tfds.core.Path(__file__)
    BUILDER_CONFIGS = [config_of(atari.GameSettings(game=game)) for game in LISTED]

    def _info(self) -> tfds.core.DatasetInfo:
        about = {}
        if not (self.data_path / "features.json").exists():
            about = {"actions": list(atari.action_names(self.builder_config.world.game)),
                     "ale_py": atari.version(), "ended": {}, "unchanged": {}}
        return tfds.core.DatasetInfo(
            builder=self,
            description="Games of the Arcade Learning Environment, played by a random agent.",
            features=episodes.features(has_masks=False, has_actions=True),
            metadata=tfds.core.MetadataDict(about),
            disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {split: self._generate_examples(split) for split in splits.SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        left_out = {"ended": 0, "unchanged": 0}
        for clip, example in simulated.with_progress(make_example, self.name, self.builder_config,
                                                     split):
            for reason in left_out:
                left_out[reason] += example.pop(reason)
            yield clip, example
        for reason, count in left_out.items():
            self.info.metadata[reason][split] = count
        if any(left_out.values()):
            logging.info("Left out of %s/%s, %s: %d clips in which an episode ended, and %d in "
                         "which nothing changed.", self.name, self.builder_config.name, split,
                         left_out["ended"], left_out["unchanged"])


def make_example(world: atari.GameSettings, seed: tuple[int, int, int], id: str) -> dict:
    """The example of a clip, and how many were left out before it."""
    clip = atari.play_clip(world, seed)
    name = f"{id}-{clip['game']}" if world.game == atari.TEN_GAMES else id
    return episodes.encode(
        f"The clip {id} of {clip['game']}", clip["video"], id=name, resolution=world.resolution,
        crop=world.crop, actions=clip["actions"], ended=clip["ended"], unchanged=clip["unchanged"])


def variant(name: str) -> simulated.SimulatedConfig:
    """The variant of a name: GAME, GAME_RESOLUTION or GAME_RESOLUTION_center.

    GAME is a name of ale-py, such as "space_invaders"; or "ten_games": clip i of a split is then of
    the game i modulo 10 of `simulate.atari.GAMES`, and its actions are among all 18. Frames have
    64x64 pixels, or RESOLUTION x RESOLUTION; the whole screen is squeezed into them, or the largest
    square in its middle is cut out. Whether there is such a game is looked at where ale-py is
    installed.

    Raises:
      ValueError: if there is no such game, with the nearest, or the resolution is out of range.
    """
    found = NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"There is no data set 'atari/{name}': the name must be atari/"
                         f"{', or atari/'.join(PATTERNS)}, such as atari/pong_128.")
    resolution = int(found["resolution"] or RESOLUTION)
    least, most = RESOLUTIONS
    if not least <= resolution <= most:
        raise ValueError(f"The resolution of the data set 'atari/{name}' must be from {least} to "
                         f"{most}; got {resolution}.")
    if atari.is_installed():
        try:
            atari.check_game(found["game"])
        except ValueError as error:
            raise ValueError(f"There is no data set 'atari/{name}'. {error}") from error
    config = config_of(dataclasses.replace(
        atari.GameSettings(), game=found["game"], resolution=resolution,
        crop="center" if found["crop"] else "none"))
    # TFDS refuses an equal one of the same name.
    return next((listed for listed in Atari.BUILDER_CONFIGS if listed == config), config)


def check_action_size(builder: Atari, asked: int) -> None:
    """Raises ValueError, before a set is built, if its actions are not of the size asked for.

    Args:
      builder: of the set.
      asked: `data.action_size`; 0: actions are not read, and may be of any size.
    """
    names = builder.info.metadata["actions"]
    if asked not in (0, len(names)):
        raise ValueError(f"data.action_size is {asked}, but the actions of the game "
                         f"{builder.builder_config.world.game!r} have size {len(names)} "
                         f"({', '.join(names)}); 0 leaves actions out.")
