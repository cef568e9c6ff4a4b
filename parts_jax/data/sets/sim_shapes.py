"""`sim_shapes`: simulated pictures of the set Shapes, as a TFDS builder."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from parts_jax.data import episodes
from parts_jax.data.sets import simulated
from parts_jax.data.sets.simulated import numbers
from parts_jax.simulate import shapes


class SimShapes(simulated.SimulatedBuilder):
    """Three white outlines of squares and triangles on black, which may overlap, with masks.

    An example is a video of one frame; it has
      video: 1 string, PNG of uint8 [H, W, 3];
      segmentation: 1 string, PNG of uint8 [H, W], 1..N the pixels of one shape alone, 0 for
        background and where shapes overlap;
      objects: N texts, "white" and a name of SHAPES, in the order of the ids;
      shape, visibility: [1, N] and position [1, N, 2], as in `parts_jax.simulate.shapes.scene`;
      id: text, such as "train-00012".
    The position of an example in its split is the number of its clip. The arrays of factors can be
    read as cues (see `parts_jax.data.pipeline`).
    """

    name = "sim_shapes"
    VERSION = tfds.core.Version("1.0.0")  # to be raised whenever the pictures change
    ABOUT = "Simulated pictures of the set Shapes."
    # One process: a picture takes less time than sending it to another.
    BUILDER_CONFIGS = [
        simulated.SimulatedConfig(
            name="full", world=shapes.DEFAULT, num_clips=(60000, 320, 320), num_workers=1,
            description="28x28, 3 outlined shapes, as many pictures as IODINE has."),
        simulated.SimulatedConfig(
            name="tiny", world=shapes.DEFAULT, num_clips=(16, 8, 8), num_workers=1,
            description="28x28, 3 outlined shapes, few pictures: for tests and a first try."),
    ]

    def factors(self) -> dict[str, Any]:
        count = self.builder_config.world.num_shapes
        return dict(shape=numbers(1, count, dtype=np.int32), position=numbers(1, count, 2),
                    visibility=numbers(1, count))

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        return simulated.with_progress(make_example, self.name, self.builder_config, split)


def make_example(world: shapes.ShapesSettings, seed: tuple[int, int, int], id: str) -> dict:
    """The example of a picture."""
    clip = shapes.scene(world, seed)
    objects = [f"white {shapes.SHAPE_NAMES[shape]}" for shape in clip["shape"][0]]
    video, segmentation = clip.pop("video"), clip.pop("segmentation")
    return episodes.encode(f"The simulated picture {id}", video, id=id, segmentation=segmentation,
                           resolution=world.resolution, objects=objects, **clip)
