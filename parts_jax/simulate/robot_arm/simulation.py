"""A robot arm that stacks three cubes in a basket, after DeepMind's "Sketchy" recordings.

`simulate_clip(settings, seed)` is a pure function: equal arguments give equal clips, bit for bit,
so clips can be made in any order by any number of processes. `world` has the things,
`policy` the script that moves the arm.
"""

import dataclasses
from collections.abc import Sequence

import mujoco
import numpy as np

from parts_jax.simulate import rays, render, seeds
from parts_jax.simulate.robot_arm import policy, world

SMALL = world.WorldSettings()
TINY = dataclasses.replace(SMALL, resolution=16, num_frames=8, samples=1)

# What a model of few pixels can learn from: a near camera, larger cubes, a bare floor of one
# colour. Hand and fingers differ in colour, as otherwise colour alone would tell all things apart.
ORANGE, YELLOW, GREY = (0.80, 0.34, 0.05), (0.95, 0.80, 0.08), (0.5, 0.5, 0.5)
DEMO = dataclasses.replace(
    SMALL, resolution=32, num_frames=24, max_start=60,
    camera=rays.Camera(position=(0.0, -0.60, 0.34), target=(0.0, 0.0, -0.048), fov=31.0),
    light=render.Light(position=(-0.5, -0.5, 1.6), diffuse=0.28, ambient=0.78, sideways=0.85,
                       size=0.6),
    edge=(0.074, 0.080), basket=(0.16, 0.14), bare=True, has_distractor=False,
    spacing=(0.115, 0.105), max_opening=0.12, finger=1.6, hover=(0.015, 0.035),
    paints=(("floor", GREY), ("shell", YELLOW), ("pad", YELLOW), ("steel", ORANGE),
            ("graphite", ORANGE)))
DEMO_64 = dataclasses.replace(DEMO, resolution=64)

SKY = (0.10, 0.10, 0.11)
SETTLING_STEPS = 80


def simulate_clip(settings: world.WorldSettings, seed: Sequence[int]) -> dict:
    """Simulates an episode and draws a window of it.

    An action is float32 [7], all in -1 to 1: the velocity of the gripper along the world's axes
    (times `max_speed`), its angular velocity about them (times `max_spin`), and the opening of the
    fingers (-1: closed, 1: `max_opening` apart). Velocities hold from one frame to the next. They
    move the commanded pose, which the arm follows as closely as its springs and contacts let it.

    Args:
      settings: the world.
      seed: non-negative integers that name the clip, such as (seed, split, clip).

    Returns:
      A dict of
        video: uint8 [T, H, W, 3];
        segmentation: uint8 [T, H, W]: 1, 2, 3 the red, green and blue cube, 4 the distractor,
          if any, the last the whole arm, 0 for background, which the arm's pedestal belongs to;
        actions: float32 [T, 7], the last one taken after the last frame;
        objects: tuple of 3 or 4 `world.Item`, in the order of the ids;
        location: float32 [T, 3 or 4, 3], their centres, in metres;
        gripper: float32 [T, 8]: the point between the fingertips, its orientation as a
          quaternion (w,x,y,z), and the distance between the fingers in metres;
        command: float64 [T, 7]: the commanded place and orientation.

    Raises:
      ValueError: if the settings leave no room for the objects.
    """
    rng = seeds.generator(seed)
    items = world.draw_items(settings, rng)
    model = world.build_model(settings, items)
    data = mujoco.MjData(model)
    start = int(rng.integers(settings.max_start + 1))
    place(settings, model, data, rng)
    actions = policy.act(settings, items, data, rng)
    surfaces = world.look(model, items)
    frames = []
    for frame in range(start + settings.num_frames):
        action = next(actions)
        if frame >= start:
            frames.append(observe(settings, model, data, surfaces, len(items))
                          | {"actions": action})
        advance(settings, model, data, action)
    clip = {key: np.stack([frame[key] for frame in frames]) for key in frames[0]}
    return clip | {"objects": items}


def place(settings: world.WorldSettings, model: mujoco.MjModel, data: mujoco.MjData,
          rng: np.random.Generator) -> None:
    """Sets the state to the start of an episode: the gripper somewhere above the basket."""
    mujoco.mj_resetData(model, data)
    joints = model.jnt_qposadr[model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE]
    data.qpos[joints] = [link.home for link in world.LINKS]
    data.mocap_pos[0] = rng.uniform([-0.12, -0.10, 0.02], [0.12, 0.10, 0.14])
    data.mocap_quat[0] = policy.turned(world.DOWN, rng.normal(scale=[0.05, 0.05, 0.4]))
    data.ctrl[:] = settings.max_opening / 2
    mujoco.mj_step(model, data, SETTLING_STEPS)
    mujoco.mj_forward(model, data)


def advance(settings: world.WorldSettings, model: mujoco.MjModel, data: mujoco.MjData,
            action: np.ndarray) -> None:
    """Moves the world on by one frame under an action, float32 [7]."""
    action = action.astype(np.float64)
    velocity, spin = settings.max_speed * action[:3], settings.max_spin * action[3:6]
    data.ctrl[:] = settings.max_opening / 2 * (action[6] + 1) / 2
    for _ in range(settings.steps_per_frame):
        data.mocap_pos[0] += settings.timestep * velocity
        data.mocap_quat[0] = policy.turned(data.mocap_quat[0], settings.timestep * spin)
        mujoco.mj_step(model, data)
    mujoco.mj_forward(model, data)


def observe(settings: world.WorldSettings, model: mujoco.MjModel, data: mujoco.MjData,
            surfaces: render.Surfaces, num_items: int) -> dict[str, np.ndarray]:
    """The picture, the mask and the poses of one frame, under the names of `simulate_clip`."""
    image, mask = render.render(model, data, settings.camera, settings.light, surfaces,
                                settings.resolution, settings.resolution, settings.samples, SKY)
    hand = data.body("hand")
    opening = data.joint("left").qpos + data.joint("right").qpos
    return {"video": image, "segmentation": mask,
            "location": data.xpos[1:num_items + 1].astype(np.float32),
            "gripper": np.concatenate([hand.xpos, hand.xquat, opening]).astype(np.float32),
            "command": np.concatenate([data.mocap_pos[0], data.mocap_quat[0]])}
