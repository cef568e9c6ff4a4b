"""`rlds`: other robotics arms, from a local copy of a TFDS set in the RLDS layout.

RLDS (https://github.com/google-research/rlds) keeps an episode as one example with a nested data
set `steps`; in a tf.train.Example that is one feature for each part of a step, such as
"steps/observation/image", with the values of all steps one after the other. All variants here have
actions of size 7, and none has masks; with `data.actions` an action is of other features.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from parts_jax.data import episodes
from parts_jax.data.formats import local_tfds, reading, tfrecord
from parts_jax.data.sets import robotics_arm


@dataclasses.dataclass
class RldsConfig(episodes.SourceConfig):
    """A variant of `rlds`.

    Attributes:
      dataset: TFDS's name of the set.
      camera: the feature with the pictures.
      actions: features that make the action, one after the other.
      action_size: of the whole action; 0: what it is in the first episode.
      clip_length: frames of the clips into which episodes are cut; what is left over at the end
        of an episode is dropped.
    """

    dataset: str = ""
    camera: str = "steps/observation/image"
    actions: tuple[str, ...] = ("steps/action",)
    action_size: int = robotics_arm.ACTION_SIZE
    clip_length: int = robotics_arm.CLIP_LENGTH


class Rlds(tfds.core.GeneratorBasedBuilder):
    """Clips of an arm, with the splits of the copy (see `local_tfds.open_set`).

    An example has
      video: T strings, PNG of uint8 [H, W, 3];
      actions: float32 [T, A], A = 7 of all variants, actions[t] taken in response to frame t;
      id: text, such as "train-00012-00016": split, episode, first step of the clip.
    """

    name = "rlds"
    VERSION = tfds.core.Version("1.0.0")
    code_path = tfds.core.Path(__file__)
    BUILDER_CONFIGS = [
        RldsConfig(name="taco_play", dataset="taco_play", camera="steps/observation/rgb_static",
                   actions=("steps/action/rel_actions_world",),
                   description="Franka arm at a table with coloured blocks; relative poses in the "
                               "world's frame, and the gripper."),
        RldsConfig(name="bridge", dataset="bridge",
                   actions=("steps/action/world_vector", "steps/action/rotation_delta",
                            "steps/action/open_gripper"),
                   description="WidowX arm in toy kitchens (version 0.1.0 of TFDS's catalogue)."),
        RldsConfig(name="utokyo_xarm_pick_and_place",
                   dataset="utokyo_xarm_pick_and_place_converted_externally_to_rlds",
                   description="xArm that picks and places; absolute poses, and the gripper."),
        RldsConfig(name="berkeley_autolab_ur5", dataset="berkeley_autolab_ur5",
                   actions=("steps/action/world_vector", "steps/action/rotation_delta",
                            "steps/action/gripper_closedness_action"),
                   description="UR5 arm that picks, places and folds cloth."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Clips of a robotics arm, from an RLDS set.",
            features=episodes.features(has_masks=False, has_actions=True),
            disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        config = self.builder_config
        source = local_tfds.open_set(config.source_dir, config.dataset, config.max_bytes)
        return {split: self._generate_examples(source, split) for split in source.splits}

    def _generate_examples(self, source: local_tfds.LocalSet,
                           split: str) -> Iterator[tuple[int, dict]]:
        config = self.builder_config
        left_out = reading.LeftOut("episodes", config.skip_bad)
        progress = tqdm.tqdm(source.read(split, left_out), total=source.num_examples(split),
                             unit=" episodes", mininterval=1.0,
                             desc=f"Preparing {config.dataset}, {split}")
        count, too_short = 0, []
        for index, episode in enumerate(progress):
            clips = left_out.attempt(self._clips, episode, f"{split}-{index:05d}")
            if clips is None:
                continue
            for example in clips:
                yield count, example
                count += 1
            if not clips:
                too_short.append(episode.source)
        left_out.say(split)
        robotics_arm.report_short(split, too_short, config.clip_length)
        if not count:
            raise ValueError(f"The split {split!r} of the TFDS set in {source.folder} has no "
                             f"episode of {config.clip_length} frames or more.")

    def _clips(self, episode: tfrecord.Example, name: str) -> list[dict]:
        """The examples of an episode."""
        config = self.builder_config
        num_frames = len(episode.strings(config.camera))
        if num_frames == 0 and not any(episode.numbers(key).size for key in config.actions):
            return []
        actions = np.concatenate(
            [_per_step(episode, key, num_frames) for key in config.actions], axis=1)
        if not hasattr(self, "_first"):  # whose actions all others are to be like
            self._first = ((config.dataset, config.action_size) if config.action_size
                           else (episode.source, actions.shape[1]))
        episodes.check_same_action_size((self._first[0], episode.source),
                                        (self._first[1], actions.shape[1]))
        length, clips = config.clip_length, []
        for start in range(0, num_frames - length + 1, length):
            # Only the frames of a clip are decoded at a time: whole episodes can be large.
            video = episode.pictures(config.camera, slice(start, start + length))
            clips.append(episodes.encode(
                episode.source, video, id=f"{name}-{start:05d}",
                actions=actions[start:start + length], resolution=config.resolution,
                crop=config.crop))
        return clips


def _per_step(episode: tfrecord.Example, key: str, num_frames: int) -> np.ndarray:
    """The numbers of a feature for each step: float32 [num_frames, N]."""
    values = episode.numbers(key)
    if num_frames == 0 or values.size % num_frames:
        raise ValueError(f"The feature {key!r} of {episode.source} must have numbers for each of "
                         f"the {num_frames} pictures, equally many; got {values.size} in all.")
    return values.reshape(num_frames, -1).astype(np.float32)
