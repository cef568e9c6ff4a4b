"""`sim_sprites`: simulated pictures in the manner of Multi-dSprites, as a TFDS builder."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from parts_jax.data import episodes
from parts_jax.data.sets import simulated
from parts_jax.data.sets.simulated import numbers
from parts_jax.simulate import sprites

NUM_CLIPS = (20000, 320, 320)
# The corners of the cube of colours, by whether there is much red, green and blue.
CORNERS = {(0, 0, 0): "black", (1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue",
           (1, 1, 0): "yellow", (1, 0, 1): "magenta", (0, 1, 1): "cyan", (1, 1, 1): "white"}


class SimSprites(simulated.SimulatedBuilder):
    """Squares, ellipses and hearts that cover each other, with instance masks.

    An example is a video of one frame; it has
      video: 1 string, PNG of uint8 [H, W, 3];
      segmentation: 1 string, PNG of uint8 [H, W], 0 for background, then the sprites from 1: each
        lies on top of those before it;
      objects: a text for each sprite such as "red heart", in the order of the ids; the colour is
        the corner of the cube of RGB that is nearest;
      shape, scale, orientation, visibility: [1, N], colour [1, N, 3], position [1, N, 2] and
        background [1, 3], as in `parts_jax.simulate.sprites.scene`; 0 for sprites that are not
        there, whose visibility alone tells it;
      id: text, such as "train-00012".
    The position of an example in its split is the number of its clip. The arrays of factors can be
    read as cues (see `parts_jax.data.pipeline`).
    """

    name = "sim_sprites"
    VERSION = tfds.core.Version("1.0.0")  # to be raised whenever the pictures change
    ABOUT = "Simulated pictures in the manner of Multi-dSprites."
    # One process: a picture takes less time than sending it to another.
    BUILDER_CONFIGS = [
        simulated.SimulatedConfig(
            name="demo", world=sprites.DEMO, num_clips=NUM_CLIPS, num_workers=1,
            description="32x32, 2-4 large sprites of any colour on grey."),
        simulated.SimulatedConfig(
            name="demo_56", world=sprites.CROWD, num_clips=NUM_CLIPS, num_workers=1,
            description="32x32, 5-6 of demo's sprites."),
        simulated.SimulatedConfig(
            name="coloured_on_grey", world=sprites.COLOURED_ON_GREY, num_clips=NUM_CLIPS,
            num_workers=1, description="64x64, 2-5 sprites of saturated colours on grey."),
        simulated.SimulatedConfig(
            name="coloured_on_coloured", world=sprites.COLOURED_ON_COLOURED, num_clips=NUM_CLIPS,
            num_workers=1, description="64x64, 1-4 sprites of any colour on any colour."),
        simulated.SimulatedConfig(
            name="binary", world=sprites.BINARY, num_clips=NUM_CLIPS, num_workers=1,
            description="64x64, 2-3 white sprites on black."),
        simulated.SimulatedConfig(
            name="tiny", world=sprites.TINY, num_clips=(16, 8, 8), num_workers=1,
            description="16x16, 2-3 sprites: for tests and a first try."),
    ]

    def factors(self) -> dict[str, Any]:
        count = self.builder_config.world.max_sprites
        return dict(shape=numbers(1, count, dtype=np.int32), colour=numbers(1, count, 3),
                    scale=numbers(1, count), orientation=numbers(1, count),
                    position=numbers(1, count, 2), visibility=numbers(1, count),
                    background=numbers(1, 3))

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        return simulated.with_progress(make_example, self.name, self.builder_config, split)


def make_example(world: sprites.SpriteSettings, seed: tuple[int, int, int], id: str) -> dict:
    """The example of a picture."""
    clip = sprites.scene(world, seed)
    there = clip["visibility"][0] > 0
    objects = [f"{CORNERS[tuple((colour >= 0.5).astype(int))]} {sprites.SHAPES[shape]}"
               for colour, shape in zip(clip["colour"][0, there], clip["shape"][0, there],
                                        strict=True)]
    video, segmentation = clip.pop("video"), clip.pop("segmentation")
    return episodes.encode(f"The simulated picture {id}", video, id=id, segmentation=segmentation,
                           resolution=world.resolution, objects=objects, **clip)
