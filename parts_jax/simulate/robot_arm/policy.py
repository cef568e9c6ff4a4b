"""A script that stacks cubes with the arm, with a trembling hand and mistakes.

It sees where the cubes are, but grasps beside some of them, holds others too weakly, lets go too
early or puts them down beside the middle; what follows is left to the physics.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import mujoco
import numpy as np

from parts_jax.simulate.robot_arm import world

ACTION_SIZE = 7
OPEN, CLOSED = 1.0, -1.0
STUCK = 0.03  # metres between the commanded place and the gripper; half of it in free motion
MAX_FRAMES = 25  # for one movement
ARRIVAL_TIME = 0.25  # seconds to the goal at the speed that is wished for
INERTIA = 0.25  # share of an action that is left in the next


@dataclasses.dataclass(frozen=True)
class Plan:
    """One attempt: which cube to grasp, where to put it, and what goes wrong.

    Attributes:
      cube: its place among the items.
      grasp: where the fingertips meet, float64 [3].
      release: where they open, float64 [3].
      turn: orientation of the gripper at the grasp, a quaternion.
      squeeze: opening command (-1 to 1) that holds the cube.
      hover: height of the fingertips on the way.
      drops: whether the cube is let go on the way.
    """

    cube: int
    grasp: np.ndarray
    release: np.ndarray
    turn: np.ndarray
    squeeze: float
    hover: float
    drops: bool


def act(settings: world.WorldSettings, items: Sequence[world.Item],
        data: mujoco.MjData, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yields the actions of an endless episode, float32 [7]; `data` must move between them."""
    action, noise = np.array([0.0] * (ACTION_SIZE - 1) + [OPEN]), np.zeros(ACTION_SIZE)
    for wish in stack(settings, items, data, rng):
        # Actions follow wishes with some inertia, and tremble slowly; the fingers do not tremble.
        noise[:-1] = 0.7 * (noise[:-1] + rng.normal(scale=settings.tremble, size=ACTION_SIZE - 1))
        action = np.clip(INERTIA * action + (1 - INERTIA) * (wish + noise), -1, 1)
        yield action.astype(np.float32)


def stack(settings: world.WorldSettings, items: Sequence[world.Item],
          data: mujoco.MjData, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yields the wished actions, float64 [7], of one attempt after the other."""
    while True:
        plan = draw_plan(settings, items, data, rng)
        yield from attempt(settings, plan, data, rng)


def attempt(settings: world.WorldSettings, plan: Plan, data: mujoco.MjData,
            rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yields the wished actions of one attempt to pick a cube up and put it down."""
    above, over = plan.grasp.copy(), plan.release.copy()
    above[2] = over[2] = plan.hover

    def reach(position: np.ndarray, opening: float) -> Iterator[np.ndarray]:
        return approach(settings, data, position, plan.turn, opening)

    yield from reach(above, OPEN)
    yield from reach(plan.grasp, OPEN)
    yield from hold(settings, data, plan.turn, plan.squeeze, rng.integers(3, 6))
    yield from reach(above, plan.squeeze)
    if np.linalg.norm(data.xpos[plan.cube + 1] - data.body("hand").xpos) > 0.04:
        yield from hold(settings, data, plan.turn, OPEN, 1)
        return
    if plan.drops:
        yield from reach((above + over) / 2, plan.squeeze)
        yield from hold(settings, data, plan.turn, OPEN, 2)
        return
    yield from reach(over, plan.squeeze)
    yield from reach(plan.release, plan.squeeze)
    yield from hold(settings, data, plan.turn, OPEN, rng.integers(2, 5))
    yield from reach(over, OPEN)


def approach(settings: world.WorldSettings, data: mujoco.MjData, position: np.ndarray,
             turn: np.ndarray, opening: float) -> Iterator[np.ndarray]:
    """Yields wished actions until the commanded pose is at the goal, or the gripper is stuck."""
    for _ in range(MAX_FRAMES):
        wish, distance, angle = steer(settings, data, position, turn, opening)
        lag = np.linalg.norm(data.mocap_pos[0] - data.body("hand").xpos)
        if (distance < 0.008 and angle < 0.08) or lag > STUCK:
            return
        yield wish


def hold(settings: world.WorldSettings, data: mujoco.MjData, turn: np.ndarray,
         opening: float, num_frames: int) -> Iterator[np.ndarray]:
    """Yields the wish to stay where the gripper is, with the fingers at `opening`."""
    position = data.body("hand").xpos.copy()
    for _ in range(num_frames):
        yield steer(settings, data, position, turn, opening)[0]


def steer(settings: world.WorldSettings, data: mujoco.MjData, position: np.ndarray,
          turn: np.ndarray, opening: float) -> tuple[np.ndarray, float, float]:
    """The action, float64 [7], that leads straight to a pose, and how far away that is."""
    offset = position - data.mocap_pos[0]
    rotation, local = np.empty(3), np.empty(3)
    mujoco.mju_subQuat(local, turn, data.mocap_quat[0])
    mujoco.mju_rotVecQuat(rotation, local, data.mocap_quat[0])
    velocity = offset / ARRIVAL_TIME / settings.max_speed
    spin = rotation / ARRIVAL_TIME / settings.max_spin
    wish = np.array([*(velocity / max(1.0, np.abs(velocity).max())),
                     *(spin / max(1.0, np.abs(spin).max())), opening])
    return wish, float(np.linalg.norm(offset)), float(np.linalg.norm(rotation))


def draw_plan(settings: world.WorldSettings, items: Sequence[world.Item],
              data: mujoco.MjData, rng: np.random.Generator) -> Plan:
    """Draws the next attempt, from where the cubes are now."""
    places = data.xpos[1:len(items) + 1]
    cubes = [i for i, item in enumerate(items) if item.shape == "cube"]
    half = items[cubes[0]].half_extents[0]
    free = [i for i in cubes if is_clear(places, i, half)]
    cube = int(rng.choice(free))
    error = rng.normal(scale=settings.aim_error, size=3)
    if rng.random() < settings.miss:
        error[:2] += far_off(rng, 0.030, 0.055)
    squeeze = CLOSED
    if rng.random() < settings.weak:
        squeeze = to_command(settings, 2 * half + rng.uniform(-0.003, 0.001))
    return Plan(
        cube=cube, grasp=places[cube] + error + [0, 0, 0.004],
        release=draw_release(settings, places, cube, [i for i in free if i != cube], half, rng),
        turn=aligned(data.xmat[cube + 1].reshape(3, 3), rng), squeeze=squeeze,
        hover=float(rng.uniform(*settings.hover)), drops=bool(rng.random() < settings.drop))


def draw_release(settings: world.WorldSettings, places: np.ndarray, cube: int,
                 targets: Sequence[int], half: float, rng: np.random.Generator) -> np.ndarray:
    """Where to put the cube down, float64 [3]: mostly onto another cube, else on the floor."""
    if targets and rng.random() < 0.85:
        error = rng.normal(scale=settings.aim_error, size=3)
        if rng.random() < settings.sloppy:
            error[:2] += far_off(rng, 0.024, 0.040)
        return places[rng.choice(targets)] + error + [0, 0, 2 * half + 0.01]
    others = np.delete(places, cube, axis=0)
    return np.array([*world.free_place(settings, others, rng, settings.spacing[1]),
                     half + 0.01 - settings.basket_depth])


def is_clear(places: np.ndarray, cube: int, half: float) -> bool:
    """Whether nothing lies on a cube; `places` float64 [N, 3] are the centres of all items."""
    offsets = places - places[cube]
    above = (np.linalg.norm(offsets[:, :2], axis=1) < 1.5 * half) & (offsets[:, 2] > half)
    return not above.any()


def aligned(axes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A quaternion of the gripper that points down, about along the sides of a cube.

    Args:
      axes: float64 [3, 3], the cube's axes as columns.
      rng: draws the error.
    """
    side = axes[:, np.argmin(np.abs(axes[2]))]
    angle = (np.arctan2(side[1], side[0]) + np.pi / 4) % (np.pi / 2) - np.pi / 4
    return turned(turned(world.DOWN, [0.0, 0.0, angle + rng.normal(scale=0.06)]),
                  [*rng.normal(scale=0.06, size=2), 0.0])


def turned(quaternion: np.ndarray, rotation: Sequence[float]) -> np.ndarray:
    """A quaternion after a rotation about world axes: `rotation` [3] is axis times angle."""
    turn, result = np.array([1.0, 0.0, 0.0, 0.0]), np.empty(4)
    mujoco.mju_quatIntegrate(turn, np.asarray(rotation, np.float64), 1.0)
    mujoco.mju_mulQuat(result, turn, quaternion)
    return result


def to_command(settings: world.WorldSettings, opening: float) -> float:
    """The opening command, -1 to 1, for a distance between the fingers in metres."""
    return float(np.clip(2 * opening / settings.max_opening - 1, CLOSED, OPEN))


def far_off(rng: np.random.Generator, least: float, greatest: float) -> np.ndarray:
    """An offset float64 [2] of such a length in any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    return rng.uniform(least, greatest) * np.array([np.cos(angle), np.sin(angle)])
