"""One clip of CLEVRER: its video, annotation and masks, made into an example."""

import collections
import dataclasses
from typing import Any

import numpy as np

from parts_jax.data import episodes
from parts_jax.data.clevrer import files, masks
from parts_jax.data.formats import limits, reading, video_files

LARGEST = float(np.finfo(np.float32).max)

WITHOUT_PROPOSALS = "clips without proposals"
UNDECODABLE = "clips whose video cannot be decoded"
UNREADABLE = "clips with a file that cannot be read"
WRONG_LENGTH = "clips whose video has not {} frames"
NO_RUN = "clips whose objects are never all in view for long enough"
WITHOUT_ANNOTATION = "clips without their annotation"


@dataclasses.dataclass(frozen=True)
class Clip:
    """The files of a clip; None where there is none, or where it is not to be used."""

    number: int
    video: files.File
    annotation: files.File | None
    masks: files.File | None


@dataclasses.dataclass(frozen=True)
class Settings:
    """How clips are converted.

    Attributes:
      resolution: height and width of the stored frames, in pixels.
      crop: "none" or "center".
      masks: "proposals", "mask_videos" or "none".
      num_frames: that a whole clip has; T.
      shortest_run: frames that the test clips of the 2D-LSTM paper have at least.
      max_bytes, skip_bad: see `episodes.SourceConfig`. Not in the names of chunks: neither changes
        what is made of a clip.
    """

    resolution: int
    crop: str
    masks: str
    num_frames: int
    shortest_run: int
    max_bytes: int = dataclasses.field(default=limits.MAX_BYTES, repr=False)
    skip_bad: bool = dataclasses.field(default=False, repr=False)


@dataclasses.dataclass(frozen=True)
class Annotation:
    """What is annotated of a clip of T frames and N objects, which have the ids 1..N.

    Attributes:
      names: color, material and shape of each object.
      location: float32 [T, N, 3], centres in world units; NaN where none is given.
      inside_camera_view: bool [T, N].
      collisions: int32 [C, 3]: frame and the two ids of each collision, in order of time.
    """

    names: tuple[str, ...]
    location: np.ndarray
    inside_camera_view: np.ndarray
    collisions: np.ndarray


@dataclasses.dataclass(frozen=True)
class Converted:
    """A clip that was converted.

    Attributes:
      number: of the clip.
      example: what the builder yields.
      num_objects: that the clip has; 0: not known.
      run: the first frames in which all objects are in view, from and up to, for long enough.
      notes: what was odd, and how often.
    """

    number: int
    example: dict[str, Any]
    num_objects: int
    run: tuple[int, int] | None
    notes: collections.Counter


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A clip that was left out: for what reason, as counted, and in detail."""

    number: int
    reason: str
    detail: str


def convert(clip: Clip, settings: Settings) -> Converted | Skipped:
    """Makes an example of a clip, or skips it where a file is known to be missing or broken.

    Raises:
      ValueError: if a file is not in CLEVRER's format; with skip_bad, the clip is skipped.
    """
    try:
        return _convert_files(clip, settings)
    except (ValueError, OSError) as error:
        if settings.skip_bad:
            return Skipped(clip.number, UNREADABLE, str(error))
        raise


def _convert_files(clip: Clip, settings: Settings) -> Converted | Skipped:
    if settings.masks != "none" and clip.masks is None:
        return Skipped(clip.number, WITHOUT_PROPOSALS, f"{clip.video} has no proposals.")
    annotation = clip.annotation and read_annotation(clip.annotation, settings.num_frames,
                                                    settings.max_bytes)
    run = annotation and first_run(annotation.inside_camera_view, settings.shortest_run)
    if settings.masks == "mask_videos" and not run:
        return Skipped(clip.number, NO_RUN, f"{clip.video} has masks of no known frames.")
    content = clip.video.read(settings.max_bytes)
    try:
        video = video_files.read_video(str(clip.video), content=content,
                                       max_bytes=settings.max_bytes)
    except ValueError as error:
        return Skipped(clip.number, UNDECODABLE, str(error))
    if len(video) != settings.num_frames:
        return Skipped(clip.number, WRONG_LENGTH.format(settings.num_frames),
                       f"{clip.video} has {len(video)} frames.")
    return _convert(clip, settings, video, annotation, run)


def _convert(clip: Clip, settings: Settings, video: np.ndarray, annotation: Annotation | None,
             run: tuple[int, int] | None) -> Converted:
    """The example of a whole video, or of its run alone where that is all that has masks."""
    if settings.masks == "mask_videos":
        video, annotation, run = video[slice(*run)], cut(annotation, *run), (0, run[1] - run[0])
    names = annotation.names if annotation else None
    notes = collections.Counter() if annotation else collections.Counter({WITHOUT_ANNOTATION: 1})
    segmentation = None
    if settings.masks != "none":
        if settings.masks == "proposals":
            found = masks.read_proposals(clip.masks, names, video.shape[:3],
                                         settings.max_bytes)
        else:
            found = masks.read_mask_video(clip.masks, len(names), video.shape[:3],
                                          settings.max_bytes)
        segmentation, names, notes = found.segmentation, names or found.names, notes + found.notes
    annotated = annotation or no_annotation(len(video))
    example = episodes.encode(
        str(clip.video), video, id=f"video_{clip.number:05d}", resolution=settings.resolution,
        crop=settings.crop, segmentation=segmentation, objects=list(names or ()),
        location=annotated.location, inside_camera_view=annotated.inside_camera_view,
        collisions=annotated.collisions)
    return Converted(clip.number, example, len(annotated.names), run, notes)


def read_annotation(file: files.File, num_frames: int,
                    max_bytes: int = limits.MAX_BYTES) -> Annotation:
    """Reads annotation_00000.json. Ids are the places in `object_property`, counted from 1.

    Frames, and collisions, past the end of the video are left out.

    Raises:
      ValueError: if the file is no JSON, lacks a key, or holds what is no annotation.
    """
    content = file.read_json(max_bytes)
    with reading.naming(str(file), f"The annotation {file} is not as annotations are"):
        try:
            properties = content["object_property"]
            place = _places(properties)
            location, inside = _trajectory(content["motion_trajectory"], place, num_frames)
            return Annotation(tuple(masks.name_of(item) for item in properties), location, inside,
                              _collisions(content["collision"], place, num_frames))
        except KeyError as error:
            raise ValueError(f"The annotation {file} lacks the key {error}.") from error


def _places(properties: list[dict[str, Any]]) -> dict[int, int]:
    """Object id to its place in `object_property`."""
    place = {masks.whole_number(item["object_id"], "object_id"): i
             for i, item in enumerate(properties)}
    if len(place) < len(properties) or len(place) > episodes.MAX_ID:
        raise ValueError(f"object_property must have at most {episodes.MAX_ID} objects, each with "
                         "an object_id of its own")
    return place


def _trajectory(trajectory: list[dict[str, Any]], place: dict[int, int],
                num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """See `Annotation`: location and inside_camera_view."""
    location = np.full((num_frames, len(place), 3), np.nan, np.float32)
    inside = np.zeros((num_frames, len(place)), bool)
    for frame in trajectory:
        number = masks.whole_number(frame["frame_id"], "frame_id")
        if not 0 <= number < num_frames:
            continue
        for item in frame["objects"]:
            where = number, _place_of(item["object_id"], place, number)
            location[where] = _position(item["location"], number)
            if type(item["inside_camera_view"]) is not bool:
                raise ValueError("inside_camera_view must be true or false; got "
                                 f"{item['inside_camera_view']!r:.60} in frame {number}")
            inside[where] = item["inside_camera_view"]
    return location, inside


def _collisions(collisions: list[dict[str, Any]], place: dict[int, int],
                num_frames: int) -> np.ndarray:
    """See `Annotation`."""
    found = []
    for item in collisions:
        number = masks.whole_number(item["frame_id"], "the frame_id of a collision")
        ids = item["object_ids"]
        if not (isinstance(ids, list) and len(ids) == 2):
            raise ValueError(f"a collision must have 2 object_ids; got {ids!r:.60} in frame "
                             f"{number}")
        pair = [_place_of(one, place, number) + 1 for one in ids]
        if 0 <= number < num_frames:
            found.append((number, *pair))
    return np.array(sorted(found), np.int32).reshape(-1, 3)


def _place_of(object_id: Any, place: dict[int, int], frame: int) -> int:
    if type(object_id) is not int or object_id not in place:
        raise ValueError(f"frame {frame} has the object_id {object_id!r:.60}, but object_property "
                         f"declares {', '.join(map(str, place)) or 'none'}")
    return place[object_id]


def _position(numbers: Any, frame: int) -> list[float]:
    """Three numbers that are finite in float32."""
    if not (isinstance(numbers, list) and len(numbers) == 3
            and all(type(x) in (int, float) and abs(x) <= LARGEST for x in numbers)):
        raise ValueError(f"a location must be 3 finite numbers; got {numbers!r:.60} in frame "
                         f"{frame}")
    return numbers


def no_annotation(num_frames: int) -> Annotation:
    """That of a clip of which nothing is known."""
    return Annotation((), np.zeros((num_frames, 0, 3), np.float32),
                      np.zeros((num_frames, 0), bool), np.zeros((0, 3), np.int32))


def first_run(inside_camera_view: np.ndarray, shortest: int) -> tuple[int, int] | None:
    """The first frames in a row, from and up to, in which all objects are inside the view.

    Such are the test clips of Zablotskaia et al. (2021): the first run of 40 frames or more.

    Args:
      inside_camera_view: bool [T, N].
      shortest: how many frames it must have at least.

    Returns:
      The first frame of the run and the one after its last; None if there is no such run.
    """
    if inside_camera_view.shape[1] == 0:
        return None
    inside = np.concatenate([[False], inside_camera_view.all(1), [False]]).astype(np.int8)
    starts, stops = np.flatnonzero(np.diff(inside) == 1), np.flatnonzero(np.diff(inside) == -1)
    long = np.flatnonzero(stops - starts >= shortest)
    return (int(starts[long[0]]), int(stops[long[0]])) if len(long) else None


def cut(annotation: Annotation, start: int, stop: int) -> Annotation:
    """The annotation of some of the frames, whose collisions are counted from the first of them."""
    frame = annotation.collisions[:, 0]
    collisions = annotation.collisions[(frame >= start) & (frame < stop)] - [start, 0, 0]
    return Annotation(annotation.names, annotation.location[start:stop],
                      annotation.inside_camera_view[start:stop], collisions.astype(np.int32))


def cut_example(example: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
    """Some of the frames of an example."""
    annotation = cut(Annotation((), example["location"], example["inside_camera_view"],
                                example["collisions"]), start, stop)
    return example | {
        **{key: example[key][start:stop] for key in ("video", "segmentation") if key in example},
        "location": annotation.location, "inside_camera_view": annotation.inside_camera_view,
        "collisions": annotation.collisions}
