"""The agent of the playroom: what its actions do, and a policy that goes and looks at things.

A pose is float64 [4]: x and y in metres, yaw (heading, from x towards y) and pitch (up is positive)
in radians. An action is float32 [4] in [-1, 1]; see `ACTIONS`.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

# After the Unity rooms of dm_fast_mapping: positive is right, forward, right and up.
ACTIONS = ("STRAFE_LEFT_RIGHT", "MOVE_BACK_FORWARD", "LOOK_LEFT_RIGHT", "LOOK_DOWN_UP")

START_TRIES = 60
# Ways round an obstacle, in degrees from where the agent would go, the nearest first.
DETOURS = (0, 30, -30, 60, -60, 90, -90, 130, -130)


@dataclasses.dataclass(frozen=True)
class Agent:
    """The body of the agent, and its habits.

    Attributes:
      eye_height: of the camera, in metres.
      radius: of its upright cylinder, in metres.
      clearance: how near to walls and furniture its middle may come, in metres.
      fov: field of view, of the width and the height of the picture, in degrees.
      max_step: metres that a walking action of 1 moves it from frame to frame.
      max_turn: degrees that a look action of 1 turns it, left or right.
      max_tilt: degrees that a look action of 1 tilts it, down or up.
      pitch: lowest and highest pitch, in degrees.
      reach: range of the distances at which it stops before what it looks at, in metres.
      bumping: chance to walk right into what it looks at, where that lies on the floor.
      patience: range of frames that it stays with what it has reached.
      enough: it soon looks elsewhere where fewer objects are in view.
      sight: how far off things count when it chooses where to look, in metres.
      inertia: share of the last action in the next.
      noise: standard deviation of what is added to actions.
    """

    eye_height: float = 0.85
    radius: float = 0.18
    clearance: float = 0.35
    fov: float = 70.0
    max_step: float = 0.14
    max_turn: float = 12.0
    max_tilt: float = 5.0
    pitch: tuple[float, float] = (-30.0, -4.0)
    reach: tuple[float, float] = (1.0, 1.5)
    bumping: float = 0.25
    patience: tuple[int, int] = (2, 6)
    enough: int = 4
    sight: float = 3.2
    inertia: float = 0.55
    noise: float = 0.08


@dataclasses.dataclass
class Goal:
    """What the agent heads for: a place [3], and the manner of going there."""

    place: np.ndarray
    reach: float
    strafe: float
    patience: int


def move(agent: Agent, pose: np.ndarray, action: np.ndarray) -> np.ndarray:
    """The pose after an action: it walks as it stands, then turns.

    Args:
      agent: the body.
      pose: float64 [4].
      action: float [4].

    Returns:
      float64 [4]. Nothing is in its way here: the policy takes no action that would go through
      a wall or furniture.
    """
    x, y, yaw, pitch = pose
    strafe, forward, right, up = np.asarray(action, np.float64)
    lowest, highest = np.radians(agent.pitch)
    return np.array([
        x + agent.max_step * (forward * np.cos(yaw) + strafe * np.sin(yaw)),
        y + agent.max_step * (forward * np.sin(yaw) - strafe * np.cos(yaw)),
        yaw - np.radians(agent.max_turn) * right,
        np.clip(pitch + np.radians(agent.max_tilt) * up, lowest, highest)])


def walk(agent: Agent, places: np.ndarray, is_free: Callable[[np.ndarray], bool],
         start: np.ndarray, num_frames: int,
         rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A walk from one thing worth looking at to the next.

    Args:
      agent: who walks.
      places: float [N, 3], the middles of the objects.
      is_free: whether the agent may stand at (x, y).
      start: float64 [4], the first pose.
      num_frames: T.
      rng: the noise.

    Returns:
      poses float64 [T, 4] and actions float32 [T, 4]; `move` leads from each pose to the next.
    """
    poses, actions = [start], []
    goal, action, stayed = choose_goal(agent, places, start, rng), np.zeros(4, np.float32), 0
    for _ in range(num_frames):
        pose = poses[-1]
        wish = towards(agent, pose, goal)
        mixed = agent.inertia * action + (1 - agent.inertia) * wish
        wanted = np.clip(mixed + rng.normal(scale=agent.noise, size=4), -1, 1)
        action = round_obstacles(agent, pose, wanted, is_free)
        actions.append(action)
        poses.append(move(agent, pose, action))
        blocked = np.abs(action[:2]).sum() < 0.1
        arrived = np.linalg.norm(goal.place[:2] - pose[:2]) < goal.reach + 0.1
        seen = num_seen(agent, pose[:2], pose[2], places)
        stayed += (blocked or arrived) + 2 * (seen < agent.enough and abs(wish[2]) < 0.5)
        if stayed > goal.patience:
            goal, stayed = choose_goal(agent, places, poses[-1], rng), 0
    return np.stack(poses[:-1]), np.stack(actions)


def towards(agent: Agent, pose: np.ndarray, goal: Goal) -> np.ndarray:
    """The action, float64 [4], that leads to a goal: look at it, go there, walk round it."""
    offset = goal.place - [*pose[:2], agent.eye_height]
    distance = np.linalg.norm(offset[:2])
    error = wrap(np.arctan2(offset[1], offset[0]) - pose[2])
    tilt = np.arctan2(offset[2], distance) - pose[3]
    forward = np.clip((distance - goal.reach) / agent.max_step, -0.5, 1) * (np.cos(error) > 0.7)
    strafe = goal.strafe * (np.abs(error) < 0.5)
    return np.array([strafe, forward, np.clip(-error / np.radians(agent.max_turn), -1, 1),
                     np.clip(tilt / np.radians(agent.max_tilt), -1, 1)])


def round_obstacles(agent: Agent, pose: np.ndarray, action: np.ndarray,
                    is_free: Callable[[np.ndarray], bool]) -> np.ndarray:
    """The action, float32 [4], its direction changed as little as is needed to stay free."""
    for degrees in DETOURS:
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        strafe, forward = action[0] * cos - action[1] * sin, action[0] * sin + action[1] * cos
        scale = max(1.0, abs(strafe), abs(forward))
        turned = np.array([strafe / scale, forward / scale, *action[2:]], np.float32)
        if is_free(move(agent, pose, turned)[:2]):
            return turned
    return np.array([0, 0, *action[2:]], np.float32)


def choose_goal(agent: Agent, places: np.ndarray, pose: np.ndarray,
                rng: np.random.Generator) -> Goal:
    """Chooses the next thing to go to: one with much to see on the way and once there."""
    offsets = places[:, :2] - pose[:2]
    headings = np.arctan2(offsets[:, 1], offsets[:, 0])
    on_floor = places[:, 2] < 0.25
    bumps = on_floor & (rng.random(len(places)) < agent.bumping)
    reaches = np.where(bumps, 0.1, rng.uniform(*agent.reach, size=len(places)))
    scores = rng.gumbel(scale=0.7, size=len(places))
    for i, heading in enumerate(headings):
        distance = np.linalg.norm(offsets[i])
        walked = max(distance - reaches[i], 0) * np.array([np.cos(heading), np.sin(heading)])
        seen = [num_seen(agent, pose[:2] + share * walked, heading, places) for share in (0, 1)]
        scores[i] += (min(seen) + 0.3 * max(seen) - abs(wrap(heading - pose[2]))
                      - 4 * (min(seen) < agent.enough) - 2 * (distance < agent.reach[1]))
    best = int(np.argmax(scores))
    return Goal(places[best], reaches[best], rng.uniform(-0.6, 0.6),
                int(rng.integers(*agent.patience)))


def draw_start(agent: Agent, places: np.ndarray, is_free: Callable[[np.ndarray], bool],
               half: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A free pose in a room of half edges `half` (x, y) from where much is to be seen.

    Raises:
      ValueError: if there is no free place.
    """
    poses, scores = [], []
    for _ in range(START_TRIES):
        position = rng.uniform(-half, half)
        target = places[rng.integers(len(places))]
        heading = np.arctan2(*(target[:2] - position)[::-1]) + rng.normal(scale=0.2)
        if is_free(position):
            pitch = np.radians(rng.uniform(-20, -10))
            poses.append(np.array([*position, heading, pitch]))
            scores.append(num_seen(agent, position, heading, places) + rng.gumbel(scale=0.7))
    if not poses:
        raise ValueError(f"The agent found no free place in {START_TRIES} tries: make the room "
                         "larger or furnish it with less.")
    return poses[int(np.argmax(scores))]


def num_seen(agent: Agent, position: np.ndarray, heading: float, places: np.ndarray) -> int:
    """How many middles of objects are in the field of view, neither too near nor too far."""
    offsets = places[:, :2] - position
    distances = np.linalg.norm(offsets, axis=-1)
    errors = wrap(np.arctan2(offsets[:, 1], offsets[:, 0]) - heading)
    in_view = np.abs(errors) < np.radians(agent.fov / 2)
    return int(np.sum(in_view & (distances > 0.6) & (distances < agent.sight)))


def wrap(angle: np.ndarray) -> np.ndarray:
    """Angles brought into -pi..pi."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
