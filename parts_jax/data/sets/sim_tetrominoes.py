"""`sim_tetrominoes`: simulated pictures in the manner of Tetrominoes, as a TFDS builder."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from parts_jax.data import episodes
from parts_jax.data.sets import simulated
from parts_jax.data.sets.simulated import numbers
from parts_jax.simulate import tetrominoes


class SimTetrominoes(simulated.SimulatedBuilder):
    """Three tetrominoes of six colours on black, which do not overlap, with instance masks.

    An example is a video of one frame; it has
      video: 1 string, PNG of uint8 [H, W, 3];
      segmentation: 1 string, PNG of uint8 [H, W], 0 for background, 1..N the pieces;
      objects: N texts such as "red T90", colour and shape, in the order of the ids;
      shape: int32 [1, N], positions in `parts_jax.simulate.tetrominoes.SHAPES`;
      colour: float32 [1, N, 3], RGB in [0, 1];
      position: float32 [1, N, 2], y and x of the centres in pixels;
      visibility: float32 [1, N], 1: all of each piece is seen;
      id: text, such as "train-00012".
    The position of an example in its split is the number of its clip. The arrays of factors can be
    read as cues (see `parts_jax.data.pipeline`).
    """

    name = "sim_tetrominoes"
    VERSION = tfds.core.Version("1.0.0")  # to be raised whenever the pictures change
    ABOUT = "Simulated pictures in the manner of Tetrominoes."
    # One process: a picture takes less time than sending it to another.
    BUILDER_CONFIGS = [
        simulated.SimulatedConfig(
            name="demo", world=tetrominoes.DEFAULT, num_clips=(20000, 320, 320), num_workers=1,
            description="35x35, 3 pieces: the first third of full."),
        simulated.SimulatedConfig(
            name="twins", world=tetrominoes.TWINS, num_clips=(20000, 320, 320), num_workers=1,
            description="As demo, but all pieces of a picture have one colour."),
        simulated.SimulatedConfig(
            name="full", world=tetrominoes.DEFAULT, num_clips=(60000, 320, 320), num_workers=1,
            description="35x35, 3 pieces, as many pictures as IODINE has."),
        simulated.SimulatedConfig(
            name="tiny", world=tetrominoes.DEFAULT, num_clips=(16, 8, 8), num_workers=1,
            description="35x35, 3 pieces, few pictures: for tests and a first try."),
    ]

    def factors(self) -> dict[str, Any]:
        count = self.builder_config.world.num_pieces
        return dict(shape=numbers(1, count, dtype=np.int32), colour=numbers(1, count, 3),
                    position=numbers(1, count, 2), visibility=numbers(1, count))

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        return simulated.with_progress(make_example, self.name, self.builder_config, split)


def make_example(world: tetrominoes.TetrominoSettings, seed: tuple[int, int, int],
                 id: str) -> dict:
    """The example of a picture."""
    clip = tetrominoes.scene(world, seed)
    names = {tuple(rgb): name for name, rgb in tetrominoes.COLOURS.items()}
    objects = [f"{names[tuple((255 * colour).astype(int))]} {tetrominoes.SHAPE_NAMES[shape]}"
               for colour, shape in zip(clip["colour"][0], clip["shape"][0], strict=True)]
    video, segmentation = clip.pop("video"), clip.pop("segmentation")
    return episodes.encode(f"The simulated picture {id}", video, id=id, segmentation=segmentation,
                           resolution=world.resolution, objects=objects, **clip)
