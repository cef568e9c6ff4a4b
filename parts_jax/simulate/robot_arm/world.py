"""The world of the robot arm: a sunken basket, what lies in it, and a seven-joint arm over it.

Lengths are metres. The table is the plane z = 0, the basket's floor lies below it around x = y = 0.
x runs to the right and y away from the viewer; the arm stands behind the basket. The arm has the
proportions of a Sawyer; its shapes are our own.
"""

import dataclasses
from collections.abc import Sequence

import mujoco
import numpy as np

from parts_jax.simulate import rays, render

PLANE, BOX, SPHERE, CAPSULE, CYLINDER, ELLIPSOID = (
    getattr(mujoco.mjtGeom, f"mjGEOM_{name}")
    for name in ("PLANE", "BOX", "SPHERE", "CAPSULE", "CYLINDER", "ELLIPSOID"))

CUBE_COLOURS = {"red": (205, 32, 32), "green": (32, 150, 52), "blue": (28, 66, 200)}
DISTRACTOR_COLOURS = {"yellow": (232, 196, 32), "orange": (228, 116, 24), "purple": (122, 52, 160),
                      "pink": (226, 110, 160), "white": (225, 225, 215)}
# Kind, half-sizes as MuJoCo counts them, and the height of the centre of one that lies.
DISTRACTORS = {
    "ball": (SPHERE, (0.024, 0.0, 0.0), 0.024), "can": (CYLINDER, (0.022, 0.028, 0.0), 0.028),
    "brick": (BOX, (0.042, 0.021, 0.016), 0.016), "rod": (CAPSULE, (0.015, 0.035, 0.0), 0.015),
    "pebble": (ELLIPSOID, (0.034, 0.025, 0.019), 0.019)}
# RGB in [0, 1], strength of the highlight and its exponent over 128.
PAINTS = {
    "table": ((0.20, 0.19, 0.18), 0.0, 0.1), "rim": ((0.74, 0.75, 0.76), 0.1, 0.1),
    "wall": ((0.70, 0.71, 0.72), 0.0, 0.1), "floor": ((0.36, 0.37, 0.38), 0.0, 0.1),
    "graphite": ((0.16, 0.16, 0.17), 0.25, 0.2), "shell": ((0.62, 0.63, 0.65), 0.3, 0.2),
    "steel": ((0.42, 0.43, 0.45), 0.5, 0.3), "pad": ((0.07, 0.07, 0.07), 0.1, 0.1)}

ARM_BASE = (0.0, 0.66, 0.0)
# The gripper points down, and its fingers close along x.
DOWN = np.array([0.0, 0.5 ** 0.5, 0.5 ** 0.5, 0.0])
MAX_PLACEMENT_TRIES = 1000


@dataclasses.dataclass(frozen=True)
class Link:
    """A link of the arm, in a pose where the arm is stretched out along its own x axis.

    Attributes:
      offset: the joint's place, from the joint before it.
      axis: the joint's axis.
      home: the angle that a weak spring draws the joint to.
      shapes: paint, kind of geom, its two ends from the joint, and its radius.
    """

    offset: tuple[float, float, float]
    axis: tuple[float, float, float]
    home: float
    shapes: tuple[tuple[str, int, tuple[float, ...], float], ...]


X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
LINKS = (
    Link((0.0, 0.0, 0.08), Z, 0.0, (
        ("graphite", CYLINDER, (0.0, 0.0, 0.0, 0.0, 0.0, 0.18), 0.08),
        ("graphite", CAPSULE, (0.0, 0.0, 0.18, 0.08, 0.0, 0.237), 0.07))),
    Link((0.08, 0.05, 0.237), Y, -1.01, (
        ("shell", CYLINDER, (0.0, -0.06, 0.0, 0.0, 0.09, 0.0), 0.07),
        ("graphite", CAPSULE, (0.0, 0.09, 0.0, 0.14, 0.09, 0.0), 0.06))),
    Link((0.14, 0.09, 0.0), X, 0.0, (
        ("graphite", CAPSULE, (0.0, 0.0, 0.0, 0.26, 0.0, 0.0), 0.055),)),
    Link((0.26, -0.04, 0.0), Y, 1.62, (
        ("shell", CYLINDER, (0.0, 0.05, 0.0, 0.0, -0.09, 0.0), 0.058),
        ("graphite", CAPSULE, (0.0, -0.08, 0.0, 0.125, -0.08, 0.0), 0.05))),
    Link((0.125, -0.08, 0.0), X, 0.0, (
        ("graphite", CAPSULE, (0.0, 0.0, 0.0, 0.2, 0.0, 0.0), 0.048),
        ("shell", CYLINDER, (0.16, 0.0, 0.0, 0.20, 0.0, 0.0), 0.051))),
    Link((0.275, 0.03, 0.0), Y, 0.96, (
        ("shell", CYLINDER, (0.0, -0.06, 0.0, 0.0, 0.06, 0.0), 0.046),
        ("graphite", CAPSULE, (0.0, 0.0, 0.0, 0.08, 0.0, 0.0), 0.044))),
    Link((0.11, 0.0, 0.0), X, 0.0, (
        ("shell", CYLINDER, (-0.01, 0.0, 0.0, 0.03, 0.0, 0.0), 0.043),)))
# From the last joint to the point between the fingertips.
HAND_LENGTH = 0.19


@dataclasses.dataclass(frozen=True)
class WorldSettings:
    """Everything that decides how clips of the arm look and move, but the seed.

    Attributes:
      resolution: height and width of the frames, in pixels.
      num_frames: frames of a clip.
      max_start: a clip starts at a frame of its episode drawn from 0 to this.
      camera: the viewer.
      light: the light.
      samples: rays a pixel, along each side.
      edge: range of the edge of the cubes.
      basket: half the width (x) and half the depth (y) of the basket's floor.
      basket_depth: how far it lies below the table.
      basket_slope: how far its walls lean outward, in radians.
      bare: whether the floor goes on instead of a table, beyond walls that no ray meets.
      paints: names of `PAINTS`, and the RGB in [0, 1] that they have instead.
      has_distractor: whether something lies there beside the cubes.
      spacing: least distance between the middles of things, in metres: at the start, and of one
        that is put down on the floor from the others.
      finger: width and thickness of the fingers, as multiples of those of `small`.
      hover: range of the height of the fingertips on their way, in metres.
      timestep: of the physics, in seconds.
      steps_per_frame: physics steps from frame to frame.
      max_speed: speed of the gripper for an action of 1, along each axis, in metres a second.
      max_spin: its angular speed for an action of 1, about each axis, in radians a second.
      max_opening: greatest distance between the fingers.
      aim_error: standard deviation of where a cube is grasped, along x and y, in metres.
      miss: chance that a grasp is far off.
      weak: chance that a grasp is too weak for the cube.
      drop: chance that a grasped cube is let go on the way.
      sloppy: chance that a cube is put down far off the middle of the other one.
      tremble: standard deviation of the noise of an action.
    """

    resolution: int = 64
    num_frames: int = 25
    max_start: int = 120
    camera: rays.Camera = rays.Camera(
        position=(-0.30, -0.45, 0.52), target=(0.015, 0.01, -0.04), fov=35.0)
    light: render.Light = render.Light(position=(-0.5, -0.4, 1.6), diffuse=0.5, ambient=0.6,
                                       sideways=0.6, size=0.3)
    samples: int = 2
    edge: tuple[float, float] = (0.050, 0.056)
    basket: tuple[float, float] = (0.17, 0.15)
    basket_depth: float = 0.11
    basket_slope: float = 0.3
    bare: bool = False
    paints: tuple[tuple[str, tuple[float, float, float]], ...] = ()
    has_distractor: bool = True
    spacing: tuple[float, float] = (0.085, 0.075)
    finger: float = 1.0
    hover: tuple[float, float] = (0.04, 0.09)
    timestep: float = 0.005
    steps_per_frame: int = 20
    max_speed: float = 0.35
    max_spin: float = 2.0
    max_opening: float = 0.09
    aim_error: float = 0.004
    miss: float = 0.2
    weak: float = 0.12
    drop: float = 0.1
    sloppy: float = 0.3
    tremble: float = 0.06


@dataclasses.dataclass(frozen=True)
class Item:
    """A thing in the basket at its start; `angle` is about the vertical, in radians."""

    colour: str
    shape: str
    kind: int
    half_extents: tuple[float, float, float]
    position: tuple[float, float, float]
    angle: float

    @property
    def rgb(self) -> np.ndarray:
        """Its colour, float [3] in [0, 1]."""
        return np.array((CUBE_COLOURS | DISTRACTOR_COLOURS)[self.colour]) / 255


def draw_items(settings: WorldSettings, rng: np.random.Generator) -> tuple[Item, ...]:
    """Draws a red, a green and a blue cube and a distractor, if any, which lie apart.

    Raises:
      ValueError: if the basket has no room for them.
    """
    half = rng.uniform(*settings.edge) / 2
    looks = [(colour, "cube", BOX, (half, half, half), half) for colour in CUBE_COLOURS]
    if settings.has_distractor:
        shape = str(rng.choice(list(DISTRACTORS)))
        looks.append((str(rng.choice(list(DISTRACTOR_COLOURS))), shape, *DISTRACTORS[shape]))
    items = []
    for colour, shape, kind, half_extents, height in looks:
        place = free_place(settings, [item.position for item in items], rng, settings.spacing[0])
        items.append(Item(colour, shape, kind, half_extents,
                          (*place.tolist(), height - settings.basket_depth),
                          float(rng.uniform(0, 2 * np.pi))))
    return tuple(items)


def free_place(settings: WorldSettings, others: Sequence[Sequence[float]],
               rng: np.random.Generator, distance: float) -> np.ndarray:
    """A place on the basket's floor, float64 [2], with its neighbours at a distance.

    Raises:
      ValueError: if none is found.
    """
    reach = np.array(settings.basket) - 0.04
    for _ in range(MAX_PLACEMENT_TRIES):
        place = rng.uniform(-reach, reach)
        if all(np.linalg.norm(place - np.array(other[:2])) > distance for other in others):
            return place
    raise ValueError(f"No free place was found in a basket of half-size {settings.basket} beside "
                     f"{len(others)} things in {MAX_PLACEMENT_TRIES} tries: make it larger.")


def build_model(settings: WorldSettings, items: Sequence[Item]) -> mujoco.MjModel:
    """The MuJoCo model.

    Its first 7 N coordinates are the poses of the items, whose bodies are 1..N; then come seven
    joints of the arm and two fingers. The hand is drawn to mocap body 0, the commanded pose, by a
    soft weld constraint, and weak springs at the joints settle what the pose leaves open. Fingers
    hold by friction alone.
    """
    spec = mujoco.MjSpec()
    spec.option.timestep = settings.timestep
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10
    # Stiff contacts, so that a hand that presses on a cube does not sink it into the floor.
    spec.default.geom.solref[0] = 0.01
    spec.default.geom.solimp[:2] = [0.95, 0.99]
    for paint, (rgb, specular, shininess) in PAINTS.items():
        # No ray meets what is transparent.
        rgba = [*dict(settings.paints).get(paint, rgb), 1.0 - (settings.bare and paint == "wall")]
        spec.add_material(name=paint, rgba=rgba, specular=specular, shininess=shininess)
    add_basket(spec, settings)
    for item in items:
        add_item(spec, item)
    add_arm(spec, settings)
    return spec.compile()


def add_basket(spec: mujoco.MjSpec, settings: WorldSettings) -> None:
    """The table, the basket sunk into it, and the arm's pedestal.

    All of it are planes, which rays meet within their size and from their front alone. Things meet
    the planes of the basket everywhere, so that nothing gets out; those of the table, nowhere.
    """
    depth, slope, rim, far = settings.basket_depth, settings.basket_slope, 0.016, 1.5
    floor = np.array(settings.basket)
    opening = floor + depth * np.tan(slope)
    outer = opening + rim
    seen = [far, far] if settings.bare else opening
    spec.worldbody.add_geom(type=PLANE, size=[*seen, 1], pos=[0, 0, -depth], material="floor",
                            friction=[0.5, 0.005, 0.0001])
    for side in range(4):
        across, along = (0, 1) if side % 2 == 0 else (1, 0)
        add_plane(spec, "wall", side, [(floor + opening)[across] / 2, 0, -depth / 2],
                  [depth / 2 / np.cos(slope), opening[along]], lean=np.pi / 2 - slope)
        if settings.bare:
            continue
        add_plane(spec, "rim", side, [opening[across] + rim / 2, 0, 0],
                  [rim / 2, outer[along]])
        add_plane(spec, "table", side, [(outer[across] + far) / 2, 0, 0],
                  [(far - outer[across]) / 2, far if across else outer[along]])
    if not settings.bare:
        spec.worldbody.add_geom(type=CYLINDER, size=[0.1, 0.04, 0], pos=[*ARM_BASE[:2], 0.04],
                                contype=0, conaffinity=0, material="steel")


def add_plane(spec: mujoco.MjSpec, paint: str, side: int, middle: Sequence[float],
              size: Sequence[float], lean: float = 0.0) -> None:
    """A level plane, or one that leans inward, which can be touched.

    Args:
      spec: the model to add it to.
      paint: its paint.
      side: so many quarter turns about z, after all else.
      middle: its middle.
      size: half its extent along x and y.
      lean: the angle by which its front turns from z to -x.
    """
    turn = np.array([np.cos(side * np.pi / 4), 0.0, 0.0, np.sin(side * np.pi / 4)])
    pos, quat = np.empty(3), np.empty(4)
    mujoco.mju_rotVecQuat(pos, np.array(middle, float), turn)
    mujoco.mju_mulQuat(quat, turn, np.array([np.cos(lean / 2), 0.0, -np.sin(lean / 2), 0.0]))
    touchable = int(lean > 0)
    spec.worldbody.add_geom(type=PLANE, size=[*size, 1], pos=pos, quat=quat, material=paint,
                            contype=touchable, conaffinity=touchable,
                            friction=[0.5, 0.005, 0.0001])


def add_item(spec: mujoco.MjSpec, item: Item) -> None:
    """A free body of one geom."""
    spec.add_material(name=item.shape + item.colour, rgba=[*item.rgb, 1.0], specular=0.12,
                      shininess=0.1)
    body = spec.worldbody.add_body(
        pos=item.position, quat=[np.cos(item.angle / 2), 0, 0, np.sin(item.angle / 2)])
    body.add_freejoint()
    # MuJoCo's capsules stand; rods lie.
    quat = [0.5 ** 0.5, 0.5 ** 0.5, 0, 0] if item.kind == CAPSULE else [1, 0, 0, 0]
    # Rolling friction, so that balls come to rest.
    body.add_geom(type=item.kind, size=item.half_extents, quat=quat, density=900.0, condim=6,
                  friction=[0.7, 0.01, 0.0005 if item.shape == "cube" else 0.002],
                  material=item.shape + item.colour)


def add_arm(spec: mujoco.MjSpec, settings: WorldSettings) -> None:
    """The links, the gripper, the commanded pose that draws them, and the fingers' motors."""
    body = spec.worldbody.add_body(name="arm", pos=ARM_BASE, gravcomp=1,
                                   quat=[0.5 ** 0.5, 0, 0, -0.5 ** 0.5])
    for link in LINKS:
        body = body.add_body(pos=link.offset, gravcomp=1)
        body.add_joint(type=mujoco.mjtJoint.mjJNT_HINGE, axis=link.axis, stiffness=1.0,
                       springref=link.home, damping=0.5, armature=0.02)
        for paint, kind, ends, radius in link.shapes:
            body.add_geom(type=kind, fromto=ends, size=[radius, 0, 0], density=60.0,
                          contype=0, conaffinity=0, material=paint)
    hand = body.add_body(name="hand", pos=[HAND_LENGTH, 0, 0], gravcomp=1,
                         quat=[0.5 ** 0.5, 0, 0.5 ** 0.5, 0])
    hand.add_geom(type=CYLINDER, fromto=[0, 0, -0.165, 0, 0, -0.125], size=[0.036, 0, 0],
                  density=100.0, material="graphite")
    hand.add_geom(type=BOX, size=[0.026, 0.064, 0.018], pos=[0, 0, -0.108], density=100.0,
                  material="steel")
    for side, name in ((1, "left"), (-1, "right")):
        add_finger(spec, hand, settings, side, name)
    spec.add_equality(type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT,
                      name1="left", name2="right", data=[0, 1] + [0] * 10)
    spec.worldbody.add_body(name="command", mocap=True, pos=[0, 0, 0.1], quat=DOWN)
    spec.add_equality(type=mujoco.mjtEq.mjEQ_WELD, objtype=mujoco.mjtObj.mjOBJ_BODY,
                      name1="command", name2="hand", solref=[0.03, 1.0],
                      data=[0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0])


def add_finger(spec: mujoco.MjSpec, hand: mujoco.MjsBody, settings: WorldSettings, side: int,
               name: str) -> None:
    """A finger that slides along the hand's y axis; coordinate 0 is where the fingers meet."""
    finger = hand.add_body(gravcomp=1)
    finger.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, side, 0], damping=2.0,
                     armature=0.05, limited=1, range=[0, settings.max_opening / 2])
    scale = settings.finger
    finger.add_geom(type=BOX, size=[scale * 0.011, 0.004, 0.022], pos=[0, side * 0.004, -0.008],
                    density=100.0, condim=4, friction=[1.2, 0.02, 0.0001], material="pad")
    finger.add_geom(type=BOX, size=[scale * 0.012, scale * 0.007, 0.050],
                    pos=[0, side * (0.008 + scale * 0.007), -0.041],
                    density=100.0, material="shell")
    motor = spec.add_actuator(name=name, trntype=mujoco.mjtTrn.mjTRN_JOINT, target=name,
                              forcelimited=1, forcerange=[-12, 12])
    motor.set_to_position(kp=400.0, dampratio=1.0)


def look(model: mujoco.MjModel, items: Sequence[Item]) -> render.Surfaces:
    """The look of all geoms; ids 1..N are the items, N+1 the whole arm, 0 everything else.

    The arm's pedestal never moves and belongs to the background.
    """
    material = model.geom_matid
    root = model.body_rootid[model.geom_bodyid]
    ids = np.minimum(root, len(items) + 1)
    return render.Surfaces(
        albedo=model.mat_rgba[material, :3].astype(np.float64),
        specular=model.mat_specular[material].astype(np.float64),
        shininess=128 * model.mat_shininess[material].astype(np.float64),
        instance=ids.astype(np.uint8))
