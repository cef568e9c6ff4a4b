"""`sim_clevrer`: simulated clips in the manner of CLEVRER, as a TFDS builder."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from parts_jax.data.formats import frames
from parts_jax.data.sets import simulated
from parts_jax.simulate.clevrer import simulation, world_settings


@dataclasses.dataclass
class SimClevrerConfig(simulated.SimulatedConfig):
    """A variant of `sim_clevrer`.

    Attributes:
      annotates_collisions: whether examples have `collisions`.
    """

    annotates_collisions: bool = False


class SimClevrer(simulated.SimulatedBuilder):
    """Spheres, boxes and cylinders that collide, with instance masks.

    An example has
      video: T strings, PNG of uint8 [H, W, 3];
      segmentation: T strings, PNG of uint8 [H, W], 0 for background, 1..N the objects;
      location: float32 [T, N, 3], centres of the objects in world units, in the order of the ids;
      objects: N texts such as "red rubber sphere";
      collisions: int32 [C, 3], only in some variants: frame, id and greater id of two objects that
        began to touch since the frame before;
      id: text, such as "train-00012".
    The position of an example in its split is the number of its clip.
    """

    name = "sim_clevrer"
    ABOUT = "Simulated clips in the manner of CLEVRER."
    # A version is raised whenever the clips change: here, or for some variants below.
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {
        "1.0.0": "Hard shadows, rubber; objects slide.",
        "1.1.0": "small, full, large: the look of CLEVRER; objects roll and tumble; in every clip "
                 "objects collide, and one enters or leaves; collisions are annotated.",
    }
    BUILDER_CONFIGS = [
        SimClevrerConfig(name="demo", world=world_settings.DEMO, num_clips=(3000, 256, 256),
                         description="32x32, 8 frames, 2-3 large objects of saturated colours."),
        SimClevrerConfig(name="demo_64", world=world_settings.DEMO_64, num_clips=(3000, 256, 256),
                         description="The clips of demo at 64x64."),
        SimClevrerConfig(name="medium", world=world_settings.MEDIUM, num_clips=(3000, 256, 256),
                         description="64x64, 8 frames, 3-5 objects in the manner of demo."),
        SimClevrerConfig(name="medium_128", world=world_settings.MEDIUM_128,
                         num_clips=(1500, 128, 128),
                         description="The clips of medium at 128x128."),
        SimClevrerConfig(name="twins", world=world_settings.TWINS, num_clips=(3000, 256, 256),
                         description="As demo, but all objects of a clip have one colour."),
        SimClevrerConfig(name="mixed", world=world_settings.MIXED, num_clips=(3000, 256, 256),
                         description="32x32, 8 frames, 2-4 objects of colours drawn with repeats, "
                                     "often all of one; light and camera vary."),
        SimClevrerConfig(name="demo_long", world=world_settings.DEMO_LONG,
                         num_clips=(1500, 256, 256),
                         description="The clips of demo, which go on to 24 frames."),
        SimClevrerConfig(name="medium_long", world=world_settings.MEDIUM_LONG,
                         num_clips=(8, 128, 128),
                         description="The clips of medium, which go on to 24 frames."),
        SimClevrerConfig(name="demo_crowded", world=world_settings.DEMO_CROWDED,
                         num_clips=(8, 256, 256),
                         description="As demo, with 4-6 objects, somewhat smaller."),
        SimClevrerConfig(name="demo_camera", world=world_settings.DEMO_CAMERA,
                         num_clips=(8, 256, 256),
                         description="As demo, seen from the side and from lower."),
        SimClevrerConfig(name="demo_slow", world=world_settings.DEMO_SLOW,
                         num_clips=(8, 32, 32),
                         description="As demo, 200 frames of objects that hardly move from one to "
                                     "the next, and stay in view."),
        SimClevrerConfig(name="small", world=world_settings.SMALL,
                         version="1.1.0", annotates_collisions=True,
                         description="64x64, 24 frames, 3-5 objects that enter and leave."),
        SimClevrerConfig(name="full", world=world_settings.FULL, num_clips=(10000, 500, 500),
                         version="1.1.0", annotates_collisions=True,
                         description="64x64, 32 frames, 3-6 objects that enter and leave."),
        SimClevrerConfig(name="large", world=world_settings.LARGE, num_clips=(8, 4, 4),
                         version="1.1.0", annotates_collisions=True,
                         description="The clips of small at 320x480: to be looked at."),
        SimClevrerConfig(name="tiny", world=world_settings.TINY, num_clips=(16, 8, 8),
                         num_workers=1,
                         description="16x16, 6 frames, 2 objects: for tests and a first try."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        num_frames = self.builder_config.world.num_frames
        encoded = tfds.features.Tensor(shape=(), dtype=np.object_)
        features = {
            "video": tfds.features.Sequence(encoded, length=num_frames),
            "segmentation": tfds.features.Sequence(encoded, length=num_frames),
            "location": tfds.features.Tensor(shape=(num_frames, None, 3), dtype=np.float32),
            "objects": tfds.features.Sequence(tfds.features.Text()),
            "id": tfds.features.Text(),
        }
        if self.builder_config.annotates_collisions:
            features["collisions"] = tfds.features.Tensor(shape=(None, 3), dtype=np.int32)
        return self.info_of(tfds.features.FeaturesDict(features))

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        clips = simulated.with_progress(make_example, self.name, self.builder_config, split)
        for clip, example in clips:
            yield clip, {name: example[name] for name in self.info.features}


def make_example(world: world_settings.WorldSettings, seed: tuple[int, int, int],
                 id: str) -> dict:
    """The example of a clip, of any picture size, with all that some variant has."""
    clip = simulation.simulate_clip(world, seed)
    return {
        "video": frames.encode(clip["video"]),
        "segmentation": frames.encode(clip["segmentation"]),
        "location": clip["location"],
        "objects": [f"{item.colour} {item.material} {item.shape}" for item in clip["objects"]],
        "collisions": clip["collisions"],
        "id": id,
    }
