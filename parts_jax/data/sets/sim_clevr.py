"""`sim_clevr`: simulated still pictures in the manner of CLEVR, as a TFDS builder."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from parts_jax.data import episodes
from parts_jax.data.sets import simulated
from parts_jax.data.sets.simulated import numbers
from parts_jax.simulate.clevrer import stills

KINDS = ("shape", "colour", "material", "size")
FACTORS = (*KINDS, "position", "visibility")


class SimClevr(simulated.SimulatedBuilder):
    """Spheres, boxes and cylinders at rest, with instance masks and factors.

    An example has
      video: one string, PNG of uint8 [H, W, 3];
      segmentation: one string, PNG of uint8 [H, W], 0 for background, from 1 the objects;
      objects: a text for each object such as "small red rubber sphere", in the order of the ids;
      shape, colour, material, size: int32 [1, N], in the order of the ids; what the numbers stand
        for, `info.metadata` lists under the same names: sphere, box, cylinder; the colours of the
        variant; rubber, metal; small, large;
      position: float32 [1, N, 3], centres of the objects in world units: to the right, away from
        the camera, up;
      visibility: float32 [1, N], the share of the object that no other hides, more than 0
        (`parts_jax.simulate.visibility`);
      id: text, such as "train-00012".
    N is the most objects that a picture of the variant has; the rows of those that are not there
    are 0, which their visibility alone tells. The position of an example in its split is the number
    of its picture. The arrays of factors can be read as cues (see `parts_jax.data.pipeline`).
    """

    name = "sim_clevr"
    VERSION = tfds.core.Version("1.0.0")  # to be raised whenever the pictures change
    ABOUT = "Simulated still pictures in the manner of CLEVR."
    BUILDER_CONFIGS = [
        simulated.SimulatedConfig(
            name="full", world=stills.FULL, num_clips=(10000, 320, 320),
            description="128x128, 3-10 objects, in the look of CLEVR."),
        simulated.SimulatedConfig(
            name="clevr6", world=stills.CLEVR6, num_clips=(10000, 320, 320),
            description="128x128, 3-6 objects, else as full."),
        simulated.SimulatedConfig(
            name="small", world=stills.SMALL, num_clips=(8000, 320, 320),
            description="32x32, 2-4 large objects of different, saturated colours."),
        simulated.SimulatedConfig(
            name="tiny", world=stills.TINY, num_clips=(16, 8, 8), num_workers=1,
            description="16x16, else as small: for tests and a first try."),
    ]

    def factors(self) -> dict[str, Any]:
        count = self.builder_config.world.world.max_objects
        kinds = {key: numbers(1, count, dtype=np.int32) for key in KINDS}
        return dict(**kinds, position=numbers(1, count, 3), visibility=numbers(1, count))

    def words(self) -> dict[str, Any]:
        return stills.names(self.builder_config.world)

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        return simulated.with_progress(make_example, self.name, self.builder_config, split)


def make_example(world: stills.StillSettings, seed: tuple[int, int, int], id: str) -> dict:
    """The example of a picture."""
    still = stills.draw_still(world, seed)
    sizes = [stills.names(world)["size"][number] for number in still["size"][0]]
    objects = [f"{size} {item.colour} {item.material} {item.shape}"
               for size, item in zip(sizes, still["objects"], strict=False)]
    return episodes.encode(
        f"The simulated picture {id}", still["video"], id=id,
        resolution=world.world.frame_size[0], segmentation=still["segmentation"],
        objects=objects, **{key: still[key] for key in FACTORS})
