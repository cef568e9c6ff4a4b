"""The settings of a world of solids: how it looks, and how its objects move; the variants."""

import dataclasses

from parts_jax.simulate import rays, render

# The colours of CLEVR, RGB in 0..255.
CLEVR_COLOURS = {
    "gray": (87, 87, 87), "red": (173, 35, 35), "blue": (42, 75, 215), "green": (29, 105, 20),
    "brown": (129, 74, 25), "purple": (129, 38, 192), "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
SATURATED_COLOURS = {
    "red": (230, 30, 30), "green": (30, 190, 40), "blue": (35, 60, 235), "yellow": (240, 215, 25),
    "magenta": (215, 35, 205), "cyan": (25, 205, 215),
}


@dataclasses.dataclass(frozen=True)
class Material:
    """What a surface makes of light.

    Attributes:
      name: as in the texts that name the objects.
      specular: strength of the highlight.
      shininess: exponent of the highlight: the greater, the sharper.
      diffuse: share of the colour that scatters light.
      mirror: share of the colour that reflects what stands before it.
    """

    name: str
    specular: float = 0.0
    shininess: float = 1.0
    diffuse: float = 1.0
    mirror: float = 0.0


MATT = Material("rubber")
RUBBER = Material("rubber", specular=0.05, shininess=6.0)
METAL = Material("metal", specular=0.8, shininess=80.0, diffuse=0.3, mirror=0.9)


@dataclasses.dataclass(frozen=True)
class Variety:
    """How camera and light differ from clip to clip; as it is, they do not.

    Attributes:
      camera_turn: the camera stands up to so many degrees to either side, around its target.
      camera_rise: so many degrees higher or lower at most, seen from its target.
      camera_distance: range of the factor of its distance from the target.
      light_turn: the lamps stand up to so many degrees to either side, around the vertical axis.
      diffuse: range of the factor of the lamps' strength.
      ambient: range of the factor of the strength of the light from the sky.
    """

    camera_turn: float = 0.0
    camera_rise: float = 0.0
    camera_distance: tuple[float, float] = (1.0, 1.0)
    light_turn: float = 0.0
    diffuse: tuple[float, float] = (1.0, 1.0)
    ambient: tuple[float, float] = (1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class WorldSettings:
    """Everything that decides how a world looks and moves, but the seed.

    Attributes:
      resolution: height and width of the frames, in pixels; one number for square frames.
      num_frames: frames of a clip.
      min_objects: fewest objects of a clip.
      max_objects: most objects of a clip.
      size: least and greatest half-size, in world units: the radius of a sphere or a cylinder
        (which is twice as high as its half-size); boxes have this times `box_scale`.
      camera: the viewer.
      box_scale: half the edge of a box over the radius of a sphere of the same size.
      colours: names and RGB (0..255) to draw from.
      distinct_colours: whether the objects of a clip all differ in colour; otherwise they differ
        in the triple (shape, colour, material).
      repeated_looks: whether every object draws its look for itself, so that two of a clip may be
        alike; `distinct_colours` is without effect then.
      shared_colour: chance of a clip whose objects all have one colour.
      materials: to draw from.
      start_x: range where objects in view start, to the right, in world units.
      start_y: the same, away from the camera.
      entering: chance of an object to start out of view and move in.
      min_in_view: so many objects start in view in any case.
      entering_distance: range of its distance beyond the edge of the view at the start.
      speed: range of the initial speed of objects that start in view, in world units a second.
      entering_speed: the same of objects that enter.
      aim: standard deviation of the points that the objects head for, around the centre, in
        world units: the smaller, the more collisions.
      lying: chance of a cylinder to lie on its side and roll.
      thrown: chance of a box or an upright cylinder that enters to tumble in, from a little above
        the floor.
      friction: sliding friction of the floor.
      grip: sliding friction between objects, which makes them spin and tumble when they collide;
        0: that of the floor.
      eventful: whether clips are drawn anew until there is a collision in view and an object that
        enters or leaves the view, and until every object is in view at some time.
      staying: whether clips are drawn anew until the centre of every object is in view in every
        frame.
      timestep: of the physics, in seconds.
      steps_per_frame: physics steps from frame to frame.
      light: the light, or several.
      ground: RGB (0..1) of the floor.
      sky: RGB (0..1) of what rays meet that meet no surface.
      gamma: see `render.render`.
      samples: rays a pixel, along each side.
      variety: how camera and light differ from clip to clip.
    """

    resolution: int | tuple[int, int]
    num_frames: int
    min_objects: int
    max_objects: int
    size: tuple[float, float]
    camera: rays.Camera
    box_scale: float = 0.85
    colours: tuple[tuple[str, tuple[int, int, int]], ...] = tuple(CLEVR_COLOURS.items())
    distinct_colours: bool = False
    repeated_looks: bool = False
    shared_colour: float = 0.0
    materials: tuple[Material, ...] = (RUBBER, METAL)
    start_x: tuple[float, float] = (-1.5, 1.5)
    start_y: tuple[float, float] = (-1.0, 1.8)
    entering: float = 0.0
    min_in_view: int = 2
    entering_distance: tuple[float, float] = (0.1, 1.0)
    speed: tuple[float, float] = (1.0, 3.0)
    entering_speed: tuple[float, float] = (2.0, 4.0)
    aim: float = 0.4
    lying: float = 0.0
    thrown: float = 0.0
    friction: float = 0.1
    grip: float = 0.0
    eventful: bool = False
    staying: bool = False
    timestep: float = 0.005
    steps_per_frame: int = 18
    light: render.Light | tuple[render.Light, ...] = render.Light(position=(-3.0, -2.5, 7.0))
    ground: tuple[float, float, float] = (0.5, 0.5, 0.5)
    sky: tuple[float, float, float] = (0.5, 0.5, 0.5)
    gamma: float = 1.0
    samples: int = 2
    variety: Variety | None = None

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the frames, in pixels."""
        if isinstance(self.resolution, int):
            return self.resolution, self.resolution
        return self.resolution


DEMO = WorldSettings(
    resolution=32, num_frames=8, min_objects=2, max_objects=3, size=(0.46, 0.62),
    camera=rays.Camera(position=(0.0, -4.4, 3.6), target=(0.0, 0.0, 0.1), fov=43.0),
    colours=tuple(SATURATED_COLOURS.items()), distinct_colours=True, materials=(MATT,), aim=0.8)

DEMO_64 = dataclasses.replace(DEMO, resolution=64)

MEDIUM = dataclasses.replace(DEMO, resolution=64, min_objects=3, max_objects=5, size=(0.36, 0.48))

MEDIUM_128 = dataclasses.replace(MEDIUM, resolution=128)

# What colour alone cannot solve.
TWINS = dataclasses.replace(DEMO, shared_colour=1.0)

MIXED = dataclasses.replace(
    DEMO, max_objects=4, size=(0.42, 0.66), repeated_looks=True, shared_colour=0.3,
    variety=Variety(camera_turn=20.0, camera_rise=5.0, camera_distance=(0.93, 1.05),
                    light_turn=180.0, diffuse=(0.6, 1.6), ambient=(0.8, 1.1)))

# What a model of demo's or medium's clips never saw. The first frames of the long ones are theirs.
DEMO_LONG = dataclasses.replace(DEMO, num_frames=24)

MEDIUM_LONG = dataclasses.replace(MEDIUM, num_frames=24)

DEMO_CROWDED = dataclasses.replace(
    DEMO, min_objects=4, max_objects=6, size=(0.42, 0.52), start_x=(-1.7, 1.7),
    start_y=(-1.2, 2.2))

DEMO_CAMERA = dataclasses.replace(
    DEMO, camera=rays.Camera(position=(2.8, -4.0, 2.7), target=(0.0, 0.0, 0.1), fov=43.0))

# Two seconds in 200 frames: at 2 steps a frame for demo's 18.
DEMO_SLOW = dataclasses.replace(DEMO, num_frames=200, steps_per_frame=2, speed=(0.4, 1.2),
                                friction=0.02, staying=True)

TINY = dataclasses.replace(DEMO, resolution=16, num_frames=6, max_objects=2, samples=1)

# The camera and the three lamps stand about as in CLEVR, whose scene CLEVRER uses, turned about the
# vertical axis so that y leads away from the camera. The view is that of 480x320 pixels; a square
# picture squeezes it, as resizing CLEVRER's frames does. The floor is as bright as in CLEVRER: 133.
SMALL = WorldSettings(
    resolution=64, num_frames=24, min_objects=3, max_objects=5, size=(0.35, 0.39),
    camera=rays.Camera(position=(0.0, -7.0, 4.2), target=(0.0, 0.0, 0.1), fov=36.0, aspect=1.5),
    box_scale=0.8, start_x=(-2.6, 2.6), start_y=(-1.6, 2.6), entering=0.6, speed=(0.0, 3.5),
    entering_speed=(2.5, 5.5), aim=1.0, lying=0.4, thrown=0.7, friction=0.05, grip=0.6,
    eventful=True,
    light=(render.Light((2.6, -4.4, 6.5), diffuse=0.5, size=1.8, fade=8.0, ambient=0.3,
                        occlusion=1.0),
           render.Light((-4.4, -1.6, 5.5), diffuse=0.18, size=1.8, fade=8.0, ambient=0.0),
           render.Light((0.9, 3.2, 6.5), diffuse=0.22, size=1.8, fade=8.0, ambient=0.0)),
    ground=(0.262, 0.262, 0.262), sky=(0.18, 0.18, 0.18), gamma=2.2)

FULL = dataclasses.replace(SMALL, num_frames=32, max_objects=6)

LARGE = dataclasses.replace(SMALL, resolution=(320, 480), samples=3)
