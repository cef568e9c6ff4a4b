"""The folders of DAVIS and YouTube-VOS: pictures in `JPEGImages`, masks in `Annotations`.

    JPEGImages/[480p/]bear/00000.jpg, ...      Annotations/[480p/]bear/00000.png, ...
    ImageSets/2017/train.txt, val.txt          (DAVIS: which video belongs to which split)

The masks are PNG files with a palette, or in grey; their numbers are the ids of objects, 0 is
background. YouTube-VOS has such folders in each of train/, valid/ and test/.
"""

import pathlib
from collections.abc import Iterable

from PIL import Image

from parts_jax.data.formats import frame_folders, frames
from parts_jax.data.sets import splits

PICTURES, MASKS, LISTS = "jpegimages", "annotations", "imagesets"


def is_of_masks(path: pathlib.Path, root: pathlib.Path) -> bool:
    """Whether a file or folder below `root` lies in Annotations that belong to JPEGImages.

    DAVIS has several: Annotations, Annotations_unsupervised.
    """
    return any(part.name.casefold().startswith(MASKS) and _beside(part, PICTURES)
               for part in _between(path, root))


def mask_folder(video: pathlib.Path, root: pathlib.Path) -> pathlib.Path | None:
    """The folder of a video's masks, if it has a place for them; whether it is there or not."""
    for part in _between(video, root):
        if part.name.casefold() == PICTURES and (masks := _beside(part, MASKS)):
            return masks / video.relative_to(part)
    return None


def find_masks(video: pathlib.Path, root: pathlib.Path) -> list[pathlib.Path]:
    """The masks of a video, one for each of its frames, in their order.

    Raises:
      ValueError: if it has none, or not for all frames.
    """
    folder = mask_folder(video, root)
    pictures = frame_folders.find_frames(video) if video.is_dir() else []
    masks = [folder / f"{frame.stem}{frame_folders.MASK_SUFFIX}" for frame in pictures] \
        if folder else []
    missing = [mask for mask in masks if not mask.is_file()]
    if missing or not masks:
        found = f"there is no {missing[0]}" if missing else "it has none"
        raise ValueError(f"Either each frame of all videos has a mask or none has; the video "
                         f"{video} has not all of its {len(masks)} masks: {found}. Bring them, or "
                         "use the masks of none: --config.data.name=folder/64_no_masks.")
    return masks


def have_masks(videos: Iterable[pathlib.Path], root: pathlib.Path) -> bool:
    """Whether at least one video has a folder of masks."""
    return any((folder := mask_folder(video, root)) and folder.is_dir() for video in videos)


def smallest(videos: list[pathlib.Path], root: pathlib.Path) -> list[pathlib.Path]:
    """Of videos that are there in several resolutions (JPEGImages/480p, ...), the smallest ones."""
    chosen = {}
    for video in videos:
        place = next((part for part in _between(video, root) if part.name.casefold() == PICTURES),
                     video)
        within = video.relative_to(place).parts
        chosen.setdefault((place, within[1:] if len(within) == 2 else within), []).append(video)
    return sorted(min(same, key=_area) if len(same) > 1 else same[0] for same in chosen.values())


def has_lists(root: pathlib.Path) -> bool:
    """Whether there is a folder of lists, as DAVIS has."""
    return _child(root, LISTS) is not None


def by_lists(videos: list[pathlib.Path], root: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """The videos of each split by the lists in ImageSets, of the latest year; {} if there are none.

    A line is the name of a video, or the path of one of its frames.
    """
    lists = _child(root, LISTS)
    for year in sorted(lists.iterdir(), reverse=True) if lists else []:
        names = {split: set() for split in splits.SPLITS}
        for path in sorted(year.glob("*.txt")) if year.is_dir() else []:
            split = splits.split_of(path.stem.partition("-")[0])  # test-dev
            if split:
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
                names[split] |= {_name(line) for line in lines if line.strip()}
        found = {split: [video for video in videos if video.name in names[split]]
                 for split in splits.SPLITS}
        if any(found.values()):
            return {split: members for split, members in found.items() if members}
    return {}


def _name(line: str) -> str:
    path = pathlib.PurePosixPath(line.split()[0])
    return path.parent.name if len(path.parts) > 1 else path.name


def _area(folder: pathlib.Path) -> tuple[int, str]:
    """Pixels of the first frame; what cannot be read is said when it is read."""
    try:
        with Image.open(frame_folders.find_frames(folder)[0], formats=frames.FORMATS) as picture:
            return picture.width * picture.height, str(folder)
    except Exception:
        return 0, str(folder)


def _between(path: pathlib.Path, root: pathlib.Path) -> list[pathlib.Path]:
    """A path and the folders above it, up to those in `root`."""
    return [part for part in (path, *path.parents) if root in part.parents]


def _beside(path: pathlib.Path, name: str) -> pathlib.Path | None:
    return _child(path.parent, name)


def _child(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """The folder of some name in another, in whatever case of letters."""
    return next((path for path in sorted(folder.iterdir())
                 if path.name.casefold() == name and path.is_dir()), None)
