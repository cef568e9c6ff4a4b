"""Which objects a camera sees, and how much of each the others hide, by ray casting."""

import copy

import mujoco
import numpy as np

from parts_jax.simulate import rays, render


def seen(model: mujoco.MjModel, data: mujoco.MjData, camera: rays.Camera, instance: np.ndarray,
         height: int, width: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """The mask of a picture, without the picture, and the visible share of every object.

    Args:
      model: the MuJoCo model.
      data: its state, geoms placed.
      camera: the viewer.
      instance: uint8 [G], the ids of the geoms, 0 for background; the objects are 1..N.
      height: pixels.
      width: pixels.
      samples: `samples` x `samples` rays a pixel.

    Returns:
      mask uint8 [H, W], that of `render.render`; and visibility float32 [N] in [0, 1]: of the rays
      through the picture that would meet the object if it were alone in the world, the share that
      meets it first. 0 for an object that is out of the picture.
    """
    directions = rays.camera_rays(camera, height, width, samples)
    num_objects = int(instance.max())
    first = _ids(model, data, camera, instance, directions)
    alone = copy.copy(model)
    visibility = np.zeros(num_objects, np.float32)
    for i in range(1, num_objects + 1):
        alone.geom_rgba[:, 3] = instance == i  # no ray meets what is transparent
        whole = np.count_nonzero(_ids(alone, data, camera, instance, directions))
        if whole:
            visibility[i - 1] = np.count_nonzero(first == i) / whole
    return render.majority(first.reshape(height, width, -1), num_objects + 1), visibility


def _ids(model: mujoco.MjModel, data: mujoco.MjData, camera: rays.Camera, instance: np.ndarray,
         directions: np.ndarray) -> np.ndarray:
    """The id of what each ray [R, 3] from the camera meets first, uint8 [R]; 0 for nothing."""
    geom, _, _ = rays.cast(model, data, np.asarray(camera.position, np.float64), directions)
    return np.where(geom == rays.NO_GEOM, 0, instance[geom]).astype(np.uint8)
