"""`sim_objects_room`: flights through rooms in the manner of Objects Room, as a TFDS builder."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from parts_jax.data import episodes
from parts_jax.data.sets import simulated
from parts_jax.data.sets.simulated import numbers
from parts_jax.simulate import objects_room

OF_OBJECTS = ("shape", "colour", "size")
OF_THE_ROOM = ("floor", "wall", "sky")
FLOATS = ("position", "visibility", "camera")


class SimObjectsRoom(simulated.SimulatedBuilder):
    """A camera that flies around three objects in a room, with its poses and instance masks.

    An example has
      video: T strings, PNG of uint8 [H, W, 3];
      segmentation: T strings, PNG of uint8 [H, W], 0 for floor, walls and sky, 1..N the objects;
      objects: N texts such as "azure capsule", in the order of the ids;
      shape, colour, size: int32 [T, N]; floor, wall, sky: int32 [T]; the same in all frames. What
        the numbers stand for, `info.metadata` lists under the same names (sizes in metres);
      position: float32 [T, N, 3], centres of the objects in metres, the same in all frames;
      visibility: float32 [T, N], the share of the object within the picture that no other hides
        (`parts_jax.simulate.visibility`); 0 out of view;
      camera: float32 [T, 5]: x, y and z in metres, yaw and pitch in radians;
      id: text, such as "train-00012".
    The position of an example in its split is the number of its clip. The arrays of factors can be
    read as cues (see `parts_jax.data.pipeline`).
    """

    name = "sim_objects_room"
    VERSION = tfds.core.Version("1.0.0")  # to be raised whenever the clips change
    ABOUT = "Simulated flights through rooms in the manner of Objects Room."
    BUILDER_CONFIGS = [
        simulated.SimulatedConfig(
            name="full", world=objects_room.FULL, num_clips=(4000, 320, 320),
            description="64x64, 16 frames, 3 objects."),
        simulated.SimulatedConfig(
            name="tiny", world=objects_room.TINY, num_clips=(16, 8, 8), num_workers=1,
            description="16x16, 6 frames, 3 objects: for tests and a first try."),
    ]

    def factors(self) -> dict[str, Any]:
        world = self.builder_config.world
        length, count = world.num_frames, world.num_objects
        shapes = dict.fromkeys(OF_OBJECTS, (length, count)) | dict.fromkeys(OF_THE_ROOM, (length,))
        kinds = {key: numbers(*shape, dtype=np.int32) for key, shape in shapes.items()}
        return dict(**kinds, position=numbers(length, count, 3), visibility=numbers(length, count),
                    camera=numbers(length, 5))

    def words(self) -> dict[str, Any]:
        return objects_room.names(self.builder_config.world)

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        return simulated.with_progress(make_example, self.name, self.builder_config, split)


def make_example(world: objects_room.RoomSettings, seed: tuple[int, int, int], id: str) -> dict:
    """The example of a clip."""
    clip = objects_room.simulate_clip(world, seed)
    return episodes.encode(
        f"The simulated clip {id}", clip["video"], id=id, resolution=world.resolution,
        segmentation=clip["segmentation"],
        objects=[f"{objects_room.HUES[item.colour]} {item.shape}" for item in clip["objects"]],
        **{key: clip[key] for key in (*OF_OBJECTS, *OF_THE_ROOM, *FLOATS)})
