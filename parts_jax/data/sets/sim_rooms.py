"""`sim_rooms`: simulated pictures of rooms in the manner of SPACE's 3D rooms, as a TFDS builder."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from parts_jax.data import episodes
from parts_jax.data.sets import simulated
from parts_jax.data.sets.simulated import numbers
from parts_jax.simulate import rooms

OF_OBJECTS = {"shape": ((), np.int32), "colour": ((), np.int32), "size": ((), np.float32),
              "position": ((3,), np.float32), "boxes": ((4,), np.float32),
              "visible": ((), np.int32)}
OF_THE_ROOM = ("ground", "wall", "sky")
WORDS = {"box": "cube"}


class SimRooms(simulated.SimulatedBuilder):
    """A walled enclosure with spheres, cubes and cylinders, with instance masks and boxes.

    An example is a video of one frame; it has
      video: 1 string, PNG of uint8 [H, W, 3];
      segmentation: 1 string, PNG of uint8 [H, W], 0 for ground, walls and sky, 1..N the objects;
      objects: N texts such as "cyan cube", in the order of the ids;
      shape, colour: int32 [1, M]; ground, wall, sky: int32 [1]. What the numbers stand for,
        `info.metadata` lists under the same names;
      size: float32 [1, M], half-sizes in metres;
      position: float32 [1, M, 3], centres in metres;
      boxes: float32 [1, M, 4], y0, x0, y1, x1 of what is seen, as shares of the picture;
      visible: int32 [1, M], 1 for objects, 0 for the rows after the N that there are;
      camera: float32 [1, 5]: x, y and z in metres, yaw and pitch in radians;
      id: text, such as "train-00012".
    M is the most objects of the variant. The position of an example in its split is the number of
    its clip. The arrays of factors can be read as cues (see `parts_jax.data.pipeline`).
    """

    name = "sim_rooms"
    VERSION = tfds.core.Version("1.0.0")  # to be raised whenever the pictures change
    ABOUT = "Simulated pictures of rooms in the manner of SPACE's 3D rooms."
    BUILDER_CONFIGS = [
        simulated.SimulatedConfig(
            name="demo", world=rooms.DEMO, num_clips=(8000, 320, 320),
            description="64x64, 3 to 6 objects."),
        simulated.SimulatedConfig(
            name="small", world=rooms.SMALL, num_clips=(63000, 7000, 7000),
            description="128x128, 4 to 8 objects, as many pictures as SPACE has."),
        simulated.SimulatedConfig(
            name="large", world=rooms.LARGE, num_clips=(63000, 7000, 7000),
            description="128x128, 18 to 24 objects, as many pictures as SPACE has."),
        simulated.SimulatedConfig(
            name="tiny", world=rooms.TINY, num_clips=(16, 8, 8), num_workers=1,
            description="16x16, 2 or 3 objects: for tests and a first try."),
    ]

    def factors(self) -> dict[str, Any]:
        most = self.builder_config.world.num_objects[1]
        factors = {key: numbers(1, most, *shape, dtype=dtype)
                   for key, (shape, dtype) in OF_OBJECTS.items()}
        factors |= {key: numbers(1, dtype=np.int32) for key in OF_THE_ROOM}
        return dict(**factors, camera=numbers(1, 5))

    def words(self) -> dict[str, Any]:
        return rooms.names()

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        return simulated.with_progress(make_example, self.name, self.builder_config, split)


def make_example(world: rooms.RoomsSettings, seed: tuple[int, int, int], id: str) -> dict:
    """The example of a picture."""
    clip = rooms.draw_picture(world, seed)
    colours = list(rooms.COLOURS)
    objects = [f"{colours[item.colour]} {WORDS.get(item.shape, item.shape)}"
               for item in clip.pop("objects")]
    video, segmentation = clip.pop("video"), clip.pop("segmentation")
    return episodes.encode(f"The simulated picture {id}", video, id=id, segmentation=segmentation,
                           resolution=world.resolution, objects=objects, **clip)
