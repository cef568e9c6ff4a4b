"""A child's room seen by an agent that walks about in it, after the Playroom of the paper.

Walls, floor and ceiling are the background; every piece of furniture and every toy is one object,
of however many geoms. The agent walks round furniture; toys that it bumps into are pushed.

`simulate_clip(settings, seed)` is a pure function: equal arguments give equal clips, bit for bit,
so clips can be made in any order by any number of processes.
"""

import dataclasses
import functools
from collections.abc import Sequence

import mujoco
import numpy as np

from parts_jax.simulate import render, seeds
from parts_jax.simulate.playroom.agent import Agent, draw_start, num_seen, walk
from parts_jax.simulate.playroom.furniture import FIXED_COLOURS, Part
from parts_jax.simulate.playroom.look import Look, Row, draw_background, draw_panels, gather, view
from parts_jax.simulate.playroom.room import Room, RoomSettings, draw_room

WALK_TRIES = 12
BARE = Row((128, 128, 128), (128, 128, 128), "plain", 1.0, 0)  # floor, ceiling and walls


@dataclasses.dataclass(frozen=True)
class PlayroomSettings:
    """Everything that decides how clips turn out, but the seed.

    Attributes:
      resolution: height and width of the frames, in pixels.
      num_frames: frames of a clip.
      room: the rooms.
      agent: body and habits of the agent.
      bare: whether floor, walls and ceiling are of one colour, and nothing hangs on the walls.
      lamp_size: edge of the shining square, in metres, which softens shadows.
      diffuse: range of the strength of the lamp, see `render.Light`.
      ambient: range of the strength of the light from everywhere.
      sideways: share of it that reaches what faces sideways.
      timestep: of the physics, in seconds.
      steps_per_frame: physics steps from frame to frame.
      settling_steps: physics steps before the first frame, in which toys come to rest.
      samples: rays a pixel, along each side.
    """

    resolution: int = 64
    num_frames: int = 25
    room: RoomSettings = RoomSettings()
    agent: Agent = Agent()
    bare: bool = False
    lamp_size: float = 0.35
    diffuse: tuple[float, float] = (0.42, 0.58)
    ambient: tuple[float, float] = (0.54, 0.66)
    sideways: float = 0.8
    timestep: float = 0.01
    steps_per_frame: int = 10
    settling_steps: int = 40
    samples: int = 2


SMALL = PlayroomSettings()

TINY = dataclasses.replace(SMALL, resolution=16, num_frames=6, samples=1)

# What a model of few pixels can learn from: few large toys in a bare room, and an agent that takes
# its time.
DEMO = dataclasses.replace(
    SMALL, resolution=32, num_frames=24, bare=True, lamp_size=0.8, diffuse=(0.22, 0.30),
    ambient=(0.70, 0.78), sideways=1.0,
    room=RoomSettings(
        edge=(3.0, 3.6), by_the_wall=(0, 0), has_table=False, chairs=(0, 0), toys=(3, 4),
        toy_kinds=("ball", "car", "cube", "drum", "duck", "house", "mug", "rings", "teddy"),
        toy_colours=("red", "yellow", "green", "blue", "azure", "pink"), toy_size=(0.54, 0.66)),
    agent=Agent(fov=60.0, max_step=0.06, max_turn=5.0, max_tilt=2.0, pitch=(-28.0, -12.0),
                reach=(1.1, 1.6), bumping=0.15, enough=2))
DEMO_64 = dataclasses.replace(DEMO, resolution=64)


def simulate_clip(settings: PlayroomSettings, seed: Sequence[int]) -> dict:
    """Furnishes a room, walks through it and draws what is seen.

    Args:
      settings: the world.
      seed: non-negative integers that name the clip, such as (seed, split, clip).

    Returns:
      A dict of
        video: uint8 [T, H, W, 3];
        segmentation: uint8 [T, H, W], 0 for background, 1..N the objects, the same in all frames;
        actions: float32 [T, 4] in [-1, 1], see `agent.ACTIONS`; actions[t] is taken
          between frame t and t+1, the last one after the last frame;
        poses: float64 [T, 4], x, y, yaw and pitch of the camera (metres, radians);
        objects: tuple of N `RoomObject`, in the order of the ids;
        location: float32 [T, N, 3], the centres of mass of the objects in metres.

    Raises:
      ValueError: if the settings leave no room for the objects or the agent.
    """
    rng = seeds.generator(seed)
    room = draw_room(settings.room, rng)
    model = build_model(settings, room)
    look = draw_look(room, rng, settings.bare)
    light = draw_light(settings, room, rng)
    poses, actions = draw_walk(settings, room, rng)
    data = mujoco.MjData(model)
    data.mocap_pos[0, :2] = poses[0, :2]
    mujoco.mj_step(model, data, settings.settling_steps)
    frames, masks, locations = [], [], []
    for t, (x, y, yaw, pitch) in enumerate(poses):
        if t:
            push(settings, model, data, poses[t - 1, :2], poses[t, :2])
        mujoco.mj_forward(model, data)
        eye = np.array([x, y, settings.agent.eye_height])
        image, mask = view(model, data, look, light, eye, yaw, pitch,
                           settings.agent.fov, settings.resolution, settings.samples)
        frames.append(image)
        masks.append(mask)
        locations.append(data.xipos[1:1 + len(room.objects)].astype(np.float32))
    return {"video": np.stack(frames), "segmentation": np.stack(masks), "actions": actions,
            "poses": poses, "objects": room.objects, "location": np.stack(locations)}


def draw_walk(settings: PlayroomSettings, room: Room,
              rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Poses float64 [T, 4] and actions float32 [T, 4] of a walk through a room.

    Of a few walks it takes the first that always has enough in view, or else the one whose
    emptiest frames have most.

    Raises:
      ValueError: if there is no free place to start from.
    """
    agent = settings.agent
    places = np.array([item.centre for item in room.objects])
    is_free = functools.partial(room.is_free, clearance=agent.clearance)
    is_start = functools.partial(is_free, from_toys=agent.radius + 0.05)
    walks, scores = [], []
    for _ in range(WALK_TRIES):
        start = draw_start(agent, places, is_start, room.half, rng)
        walks.append(walk(agent, places, is_free, start, settings.num_frames, rng))
        seen = [num_seen(agent, pose[:2], pose[2], places) for pose in walks[-1][0]]
        scores.append(np.sort(seen)[:3].mean())
        if scores[-1] >= agent.enough:
            break
    return walks[int(np.argmax(scores))]


def push(settings: PlayroomSettings, model: mujoco.MjModel, data: mujoco.MjData,
         start: np.ndarray, stop: np.ndarray) -> None:
    """Moves the agent's body evenly from one place [2] to another while the physics runs."""
    for step in range(1, settings.steps_per_frame + 1):
        data.mocap_pos[0, :2] = start + (stop - start) * step / settings.steps_per_frame
        mujoco.mj_step(model, data)


def build_model(settings: PlayroomSettings, room: Room) -> mujoco.MjModel:
    """The MuJoCo model: floor, ceiling and walls first, then body i+1 is object i, then the agent.

    The agent's body, a cylinder, is transparent, so that no ray meets it.
    """
    spec = mujoco.MjSpec()
    spec.option.timestep = settings.timestep
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    for position, axes in _planes(room.half, settings.room.height):
        quat = np.zeros(4)
        mujoco.mju_mat2Quat(quat, np.transpose(axes).ravel())
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1], pos=position,
                                quat=quat)
    for item in room.objects:
        body = spec.worldbody.add_body(pos=item.position, quat=_turn((0, 0, item.yaw)))
        if item.movable:
            body.add_freejoint()
        for part in item.shape.parts:
            _add_part(body, part)
    agent = spec.worldbody.add_body(mocap=True, pos=[0, 0, settings.agent.eye_height / 2])
    # Slippery, whatever it touches: toys must not climb up on it.
    agent.add_geom(type=mujoco.mjtGeom.mjGEOM_CYLINDER, rgba=[0, 0, 0, 0], priority=1,
                   friction=[0.01, 0.001, 0.0001], condim=3,
                   size=[settings.agent.radius, settings.agent.eye_height / 2, 0])
    return spec.compile()


def _planes(half: np.ndarray, height: float) -> list[tuple[tuple, tuple]]:
    """Position and axes (x, y, z as rows; z into the room; on walls y up) of the background."""
    x, y = half
    return [((0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1))),
            ((0, 0, height), ((1, 0, 0), (0, -1, 0), (0, 0, -1))),
            ((x, 0, 0), ((0, -1, 0), (0, 0, 1), (-1, 0, 0))),
            ((-x, 0, 0), ((0, 1, 0), (0, 0, 1), (1, 0, 0))),
            ((0, y, 0), ((1, 0, 0), (0, 0, 1), (0, -1, 0))),
            ((0, -y, 0), ((-1, 0, 0), (0, 0, 1), (0, 1, 0)))]


def _add_part(body: mujoco.MjsBody, part: Part) -> None:
    # Toys of wood: light enough to be pushed, and spheres roll until friction stops them.
    rolls = part.kind == "sphere"
    body.add_geom(type=getattr(mujoco.mjtGeom, f"mjGEOM_{part.kind.upper()}"),
                  size=[*part.size, 0, 0][:3], pos=part.position,
                  quat=_turn(np.radians(part.turn)), density=150.0,
                  friction=[0.6, 0.01, 0.004], condim=6 if rolls else 3)


def _turn(angles: Sequence[float]) -> np.ndarray:
    """The quaternion of turns about the fixed x, y and z axes, in radians, in this order."""
    quat = np.zeros(4)
    mujoco.mju_euler2Quat(quat, np.asarray(angles, np.float64), "XYZ")
    return quat


def draw_light(settings: PlayroomSettings, room: Room, rng: np.random.Generator) -> render.Light:
    """A lamp under the ceiling."""
    x, y = rng.uniform(-0.4, 0.4, 2) * room.half
    return render.Light((x, y, settings.room.height - 0.1), diffuse=rng.uniform(*settings.diffuse),
                        ambient=rng.uniform(*settings.ambient), sideways=settings.sideways,
                        size=settings.lamp_size)


def draw_look(room: Room, rng: np.random.Generator, bare: bool = False) -> Look:
    """Draws how the background looks, and gathers how the objects do: a row a geom."""
    rows = [BARE] * 6 if bare else draw_background(rng)
    for instance, item in enumerate(room.objects, start=1):
        rgb = dict(main=item.rgb[0], second=item.rgb[1], **FIXED_COLOURS)
        for part in item.shape.parts:
            pattern = item.pattern if part.patterned else "plain"
            # Some three bands over a part of a toy and seven over furniture, whatever its size.
            scale = max(part.size) / (1.6 if item.movable else 3.5)
            rows.append(Row(rgb[part.colour], item.rgb[1], pattern, scale, instance))
    return gather(rows, () if bare else draw_panels(room.half, rng))
