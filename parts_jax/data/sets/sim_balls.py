"""`sim_balls`: simulated balls in the manner of those of R-NEM, as a TFDS builder."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from parts_jax.data import episodes
from parts_jax.data.sets import simulated
from parts_jax.data.sets.simulated import numbers
from parts_jax.simulate import balls

NUM_CLIPS = (10000, 256, 256)


def _variant(name: str, description: str, num_clips: tuple[int, int, int] = NUM_CLIPS,
             world: balls.BallSettings = balls.FOUR, **changes) -> simulated.SimulatedConfig:
    """One that has a process to itself: a clip takes about as long as sending it to another."""
    return simulated.SimulatedConfig(
        name=name, world=dataclasses.replace(world, **changes), num_clips=num_clips,
        num_workers=1, description=description)


class SimBalls(simulated.SimulatedBuilder):
    """Balls on black that bounce off each other and off the walls, with instance masks.

    An example has
      video: T strings, PNG of uint8 [H, W, 3];
      segmentation: T strings, PNG of uint8 [H, W], 0 for background, 1..N the balls;
      objects: a text for each ball such as "light blue ball", in the order of the ids;
      colour, radius: [T, N], position and velocity [T, N, 2], as in
        `parts_jax.simulate.balls.scene`; 0 for balls that are not there, whose radius tells it;
      id: text, such as "train-00012".
    The position of an example in its split is the number of its clip. The arrays of factors can be
    read as cues (see `parts_jax.data.pipeline`). Variants that differ in resolution or colour alone
    have the same balls on the same ways.
    """

    name = "sim_balls"
    VERSION = tfds.core.Version("1.0.0")  # to be raised whenever the pictures change
    ABOUT = "Simulated balls of different masses that bounce."
    BUILDER_CONFIGS = [
        _variant("demo", "32x32, 4 balls in 4 colours.", resolution=32, num_colours=4),
        _variant("demo_binary", "32x32, 4 white balls.", resolution=32),
        _variant("demo_678", "32x32, 6 to 8 balls in 8 colours.", world=balls.CROWD,
                 resolution=32, num_colours=8),
        _variant("demo_678_4", "32x32, 6 to 8 balls in the colours of demo.", world=balls.CROWD,
                 resolution=32, num_colours=4),
        _variant("demo_678_binary", "32x32, 6 to 8 white balls.", world=balls.CROWD,
                 resolution=32),
        _variant("balls4", "64x64, 4 white balls."),
        _variant("balls678", "64x64, 6 to 8 white balls.", world=balls.CROWD),
        _variant("balls4_colour", "64x64, 4 balls in 4 colours.", num_colours=4),
        _variant("balls678_colour", "64x64, 6 to 8 balls in 8 colours.", world=balls.CROWD,
                 num_colours=8),
        _variant("balls678_colour_4", "64x64, 6 to 8 balls in the colours of balls4_colour.",
                 world=balls.CROWD, num_colours=4),
        _variant("tiny", "16x16, 3 balls, few short clips: for tests and a first try.",
                 (16, 8, 8), balls.TINY),
    ]

    def factors(self) -> dict[str, Any]:
        shape = self.builder_config.world.num_frames, self.builder_config.world.max_balls
        return dict(colour=numbers(*shape, dtype=np.int32), position=numbers(*shape, 2),
                    velocity=numbers(*shape, 2), radius=numbers(*shape))

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        return simulated.with_progress(make_example, self.name, self.builder_config, split)


def make_example(world: balls.BallSettings, seed: tuple[int, int, int], id: str) -> dict:
    """The example of a clip."""
    clip = balls.scene(world, seed)
    there = clip["radius"][0] > 0
    objects = [f"{balls.COLOUR_NAMES[colour] if colour >= 0 else 'white'} ball"
               for colour in clip["colour"][0, there]]
    video, segmentation = clip.pop("video"), clip.pop("segmentation")
    return episodes.encode(f"The simulated clip {id}", video, id=id, segmentation=segmentation,
                           resolution=world.resolution, objects=objects, **clip)
