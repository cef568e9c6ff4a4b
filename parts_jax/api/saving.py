"""Masks and slots as files, written frame by frame: palette PNGs, npz and COCO's JSON.

docs/segment.md says what each of them holds. A file, or folder, is there once all is written.
"""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import pycocotools.mask

from parts_jax.api import places
from parts_jax.api.places import Place
from parts_jax.files import whole
from parts_jax.models import rules
from parts_jax.pictures import overlay

SUFFIXES = (".npz", ".json")
FASTEST = 1  # of zlib; masks are smooth, more effort gains little


class Frame(NamedTuple):
    """What is kept of a frame.

    Attributes:
      number: in its video, from 0.
      place: of the model's square in it.
      masks: [K, H, W], of its size and at its place.
      slots, log_std: the posterior's mean and log standard deviation, [K, D] each; None where the
        family has no slots.
      exact: whether the masks are as the model gave them, not interpolated.
      boxes: y0, x0, y1, x1 in pixels of the frame, and the probability of presence, [K, 5]; None
        where the family has none.
    """

    number: int
    place: Place
    masks: np.ndarray
    slots: np.ndarray | None
    log_std: np.ndarray | None
    exact: bool
    boxes: np.ndarray | None = None


Append = Callable[[Frame], None]


def frame_of(result: Any, index: int, number: int, place: Place) -> Frame:
    """A frame of the Segmentation of one clip.

    Args:
      result: the Segmentation.
      index: of the frame in it.
      number: of the frame in its video.
      place: of the model's square in the video's frame.
    """
    slots = log_std = None
    if result.posterior is not None:
        slots, log_std = result.posterior.mean[index], result.posterior.log_std[index]
    exact = place.is_whole and result.masks.shape[-2:] == place[:2]
    boxes = None if result.boxes is None else places.boxes_back(result.boxes[index], place)
    return Frame(number, place, places.back(result.masks[index], place), slots, log_std, exact,
                 boxes)


def save(result: Any, path: str | os.PathLike, size: tuple[int, int] | None, crop: str,
         clip: int | None) -> None:
    """Does what `Segmentation.save` says."""
    if result.masks.ndim == 5:
        num_clips = len(result.masks)
        if clip is None or not rules.is_whole(clip) or not 0 <= clip < num_clips:
            raise ValueError(f"clip is {clip!r}, but of a batch of {num_clips} it must be a whole "
                             f"number from 0 to {num_clips - 1}.")
        result = jax.tree.map(lambda a: a[clip], result)
    elif clip not in (None, 0):
        raise ValueError(f"clip is {clip!r}, but this result is of one clip alone; leave it out.")
    if size is not None and not (len(size) == 2 and all(
            rules.is_whole(n) and n >= 1 for n in size)):
        raise ValueError(f"size is {size!r}, but must be height and width of the video in pixels.")
    num_frames, num_slots, *own = result.masks.shape
    height, width = size or own
    place = places.find(height, width, crop)
    path = os.path.expanduser(path)
    with open_writer(path, num_slots) as append:
        for t in range(num_frames):
            append(frame_of(result, t, t, place))


def is_file(path: str | os.PathLike) -> bool:
    """Whether a name is that of a file to save to, .npz or .json; else it is one of a folder."""
    text = os.fspath(path)
    return not text.endswith(os.sep) and pathlib.Path(text).suffix.lower() in SUFFIXES


def check(path: str | os.PathLike, num_slots: int) -> None:
    """Raises a ValueError if nothing can be saved there, before anything is computed."""
    path, text = pathlib.Path(path), os.fspath(path)
    if is_file(path):
        if path.is_dir():
            raise ValueError(f"{text} is a folder; masks are saved to a file of that kind, or to a "
                             "folder that does not end so.")
        return
    if path.suffix and not text.endswith(os.sep) and not path.is_dir():
        raise ValueError(f"Masks are saved to a folder, or as {' or '.join(SUFFIXES)}; got {text!r}"
                         ". If it is to be a folder, end its name with a slash.")
    if path.exists() and not path.is_dir():
        raise ValueError(f"Masks are saved to a folder, but {text} is a file.")
    if path.is_dir() and any(path.iterdir()):
        raise ValueError(f"The folder {text} is not empty; masks of another video would be mixed "
                         "with these. Name another folder, or empty this one.")
    overlay.check_num_colours(num_slots)


def open_writer(path: str | os.PathLike,
                num_slots: int) -> contextlib.AbstractContextManager[Append]:
    """Writes frames one by one: to .npz, to .json, or to a folder, which gets both and PNGs.

        with open_writer("masks/", num_slots=7) as append:
            append(frame)

    Raises:
      ValueError: as `check`; or frames differ in size.
      OSError: it cannot be written; nothing is left.
    """
    check(path, num_slots)
    if not is_file(path):
        return _folder_writer(pathlib.Path(os.path.realpath(path)), num_slots)
    path = pathlib.Path(path)
    return _npz_writer(path) if path.suffix.lower() == ".npz" else _coco_writer(path)


@contextlib.contextmanager
def _folder_writer(path: pathlib.Path, num_slots: int) -> Iterator[Append]:
    part = stand_in(path)
    shutil.rmtree(part, ignore_errors=True)  # what a killed process left
    part.mkdir()
    try:
        with (_npz_writer(part / "masks.npz") as to_npz,
              _coco_writer(part / "masks.json") as to_coco):
            def append(frame: Frame) -> None:
                content = overlay.encode_palette_png(places.ids(frame.masks), num_slots)
                (part / _png_name(frame)).write_bytes(content)
                to_npz(frame)
                to_coco(frame)

            yield append
        os.rename(part, path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def stand_in(path: str | os.PathLike) -> pathlib.Path:
    """What lies beside a file or folder while it is written."""
    path = pathlib.Path(path)
    return path.with_name(f".{path.name}.part")


@contextlib.contextmanager
def _npz_writer(path: pathlib.Path) -> Iterator[Append]:
    """Masks lie in a file without a name until their number is known."""
    frames: list[Frame] = []
    with whole.replacing(path) as part, tempfile.TemporaryFile(dir=part.parent) as masks:
        def append(frame: Frame) -> None:
            if frames and frame.place != frames[0].place:
                raise ValueError("Masks of a .npz must be of frames of one size; frame "
                                 f"{frame.number} has {frame.place.height}x{frame.place.width} "
                                 f"pixels, frame {frames[0].number} has "
                                 f"{frames[0].place.height}x{frames[0].place.width}.")
            masks.write(np.ascontiguousarray(frame.masks, _dtype(frame)).tobytes())
            frames.append(frame._replace(masks=frame.masks[:, :0]))  # its pixels are written

        yield append
        shape = (len(frames), len(frames[0].masks), *frames[0].place[:2])
        masks.seek(0)
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=FASTEST) as archive:
            with archive.open("masks.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array_header_1_0(file, {
                    "descr": np.lib.format.dtype_to_descr(_dtype(frames[0])),
                    "fortran_order": False, "shape": shape})
                shutil.copyfileobj(masks, file, 2**20)
            write_arrays(archive, _small_arrays(frames))


def _dtype(frame: Frame) -> np.dtype:
    return np.dtype(np.float32 if frame.exact else np.float16)


def _small_arrays(frames: list[Frame]) -> dict[str, np.ndarray]:
    arrays = {"frames": np.array([frame.number for frame in frames]),
              "size": np.array(frames[0].place[:2]), "place": np.array(frames[0].place[2:])}
    if frames[0].boxes is not None:
        arrays["boxes"] = np.stack([frame.boxes for frame in frames])
    slots = [frame.slots for frame in frames if frame.slots is not None]
    log_stds = [frame.log_std for frame in frames if frame.log_std is not None]
    if not slots and not log_stds:
        return arrays
    if not len(slots) == len(log_stds) == len(frames):
        raise ValueError("Frames of one .npz must all have slots and log_std, or none of them; of "
                         f"{len(frames)} frames {len(slots)} have slots, {len(log_stds)} log_std.")
    return arrays | {"slots": np.stack(slots), "posterior_log_std": np.stack(log_stds)}


def write_arrays(archive: zipfile.ZipFile, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays to an open zip as `np.load` reads them."""
    for name, array in arrays.items():
        with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array(file, array, allow_pickle=False)


@contextlib.contextmanager
def _coco_writer(path: pathlib.Path) -> Iterator[Append]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []

    def append(frame: Frame) -> None:
        images.append({"id": frame.number, "file_name": _png_name(frame),
                       "height": frame.place.height, "width": frame.place.width})
        found = places.ids(frame.masks)
        for slot in np.unique(found[found < len(frame.masks)]).tolist():
            rle = pycocotools.mask.encode(np.asfortranarray(found == slot, np.uint8))
            annotations.append({
                "id": len(annotations) + 1, "image_id": frame.number, "category_id": 1,
                "slot": slot, "iscrowd": 0, "area": int(pycocotools.mask.area(rle)),
                "bbox": pycocotools.mask.toBbox(rle).tolist(),
                "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode()}})

    yield append
    whole.write_whole(path, json.dumps({
        "images": images, "annotations": annotations,
        "categories": [{"id": 1, "name": "slot"}]}))


def _png_name(frame: Frame) -> str:
    return f"{frame.number:05d}.png"
