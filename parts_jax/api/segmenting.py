"""Segments the clips that a user names, and writes what is asked for of each: see segment.py."""

import argparse
import contextlib
import dataclasses
import itertools
import os
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import tqdm

from parts_jax.api import (
    action_files,
    checks,
    clips,
    lengths,
    masks,
    outputs,
    places,
    pretrained_model,
    restarting,
    saving,
    slot_files,
)
from parts_jax.api.clips import Clip
from parts_jax.api.pretrained_model import PretrainedModel
from parts_jax.api.results import Segmentation, first_frames, posterior_of
from parts_jax.data.formats import video_files
from parts_jax.files import local_path
from parts_jax.pictures import overlay

FRAMES_AT_ONCE = 16
FRAMES_PER_SECOND = 8.0  # where the file does not say
RATES = (0.01, 1000.0)
# Of whole numbers: least and greatest.
RANGES = {"stride": (1, 10**6), "tile": (1, 4096), "step": (-2, 2**31 - 1), "seed": checks.SEEDS}
WIDEST = {".mp4": 16384, ".gif": 65535}  # pictures that H.264's encoder, and a gif, can hold
VIDEOS = (".mp4", ".gif")


@dataclasses.dataclass(frozen=True)
class Job:
    """A clip, and what is written of it.

    Attributes:
      clip: the clip.
      out, overlay: videos to write; None: none.
      save: file or folder of masks to write; None: none.
    """

    clip: Clip
    out: str | None
    overlay: str | None
    save: str | None


def run(flags: argparse.Namespace) -> list[str]:
    """Does what the command line says.

    Args:
      flags: those of segment.py.

    Returns:
      A sentence for each thing that was written.

    Raises:
      ValueError, OSError: with a message for the user. Clips before the one at fault are written.
    """
    check_numbers(flags)
    masks.choose(flags.masks, can_assign=True, family="")  # whether the model can: `load`
    for name in ("workdir", "out", "overlay", "save", "slots"):
        local_path.checked(getattr(flags, name) or "", f"--{name}")
    if not (flags.out or flags.save or flags.overlay or flags.slots):
        raise ValueError("Nothing is asked for: give --out, --save, --overlay or --slots.")
    if flags.slots:
        slot_files.check(flags.slots)
        outputs.check_parent(f"--slots={flags.slots}", flags.slots)
    if flags.split:
        return segment_split(flags)
    if not flags.videos:
        raise ValueError("No video is given: give a file, a folder of frames, or several.")
    jobs = plan(flags)
    rates = [rate_of(job.clip, flags) for job in jobs]
    if flags.actions and len(jobs) > 1:
        raise ValueError(f"--actions are of one clip, but there are {len(jobs)}.")
    actions = action_files.read(flags.actions) if flags.actions else None
    model = load(flags)
    size = model.config.data.action_size
    if size and actions is None:
        raise ValueError(f"This model needs actions: --actions=FILE.npy of [frames, {size}].")
    collector, lines, warned = slot_files.SlotCollector(), [], False
    for job, rate in zip(jobs, rates, strict=True):
        count = segment_clip(model, job, rate, actions, flags, collector)
        sentence = model.tested.warning(min(count, flags.restart_every or count))
        if sentence and not warned:
            print(f"Warning: {sentence}", file=sys.stderr)
            warned = True
        lines += [f"{path}: {count} {'frame' if count == 1 else 'frames'}."
                  for path in (job.out, job.overlay, job.save) if path]
    if flags.slots:
        slot_files.save_slots(flags.slots, collector.arrays())
        lines.append(_said(flags.slots, len(jobs)))
    return lines


def check_numbers(flags: argparse.Namespace) -> None:
    """Raises a ValueError if a number is none that can be meant."""
    if flags.num_slots is not None:
        checks.check_num_slots(flags.num_slots)
    checks.check_resolution(flags.resolution)
    if flags.restart_every is not None and flags.restart_every < 1:
        raise ValueError(f"--restart_every is {flags.restart_every}, but must be 1 or more.")
    for name, (least, most) in RANGES.items():
        value = getattr(flags, name)
        if not least <= value <= most:
            allowed = f"{least} or more" if value < least else f"{most} or less"
            raise ValueError(f"--{name} is {value}, but must be {allowed}.")
    if flags.frames_per_second is not None:
        _check_rate(flags.frames_per_second, "")


def _check_rate(rate: float, where: str) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"The frames a second must be above 0; got {rate}{where}. "
                         f"--frames_per_second takes numbers from {RATES[0]} to {RATES[1]:.0f}.")


def rate_of(clip: Clip, flags: argparse.Namespace) -> float:
    """Frames a second of what is written; raises as `Clip.iter_frames`."""
    rate = clip.frame_rate() or FRAMES_PER_SECOND
    if flags.frames_per_second is not None:
        return flags.frames_per_second
    _check_rate(rate / flags.stride, f" from {clip.path} and --stride={flags.stride}")
    return rate / flags.stride


def plan(flags: argparse.Namespace) -> list[Job]:
    """What is read and what is written, looked over: see `outputs.check`."""
    found, many = clips.find(flags.videos)
    written: dict[str, str] = {"--slots=" + flags.slots: flags.slots} if flags.slots else {}
    paths: dict[str, list[str | None]] = {}
    for name in ("out", "overlay", "save"):
        path = getattr(flags, name)
        flag, suffix = f"--{name}={path}", os.sep if name == "save" else ".mp4"
        paths[name] = [None] * len(found)
        if not path:
            continue
        outputs.check_parent(flag, path)
        if many or (name != "save" and (path.endswith(os.sep) or os.path.isdir(path))):
            _check_is_folder(flag, path)
            named = [os.path.join(path, clip.name + suffix) for clip in found]
            paths[name] = [*named]
            written |= {f"{flag} ({one})": one for one in named}
        else:
            if name != "save" and pathlib.Path(path).suffix.lower() not in VIDEOS:
                raise ValueError(f"Videos are written as {' or '.join(VIDEOS)}; got {path!r}.")
            paths[name], written[flag] = [path], path
    files = [file for clip in found for file in clip.files()]
    outputs.check(written, files + ([flags.actions] if flags.actions else []), flags.workdir,
                  [path for path in flags.videos if os.path.isdir(path)])
    for path in filter(None, paths["save"]):
        saving.check(path, flags.num_slots or 1)
    return [Job(*row) for row in zip(found, *(paths[k] for k in ("out", "overlay", "save")),
                                     strict=True)]


def _check_is_folder(flag: str, path: str) -> None:
    is_named_folder = os.path.isdir(path) or path.endswith(os.sep)
    suffix = pathlib.Path(path).suffix.lower()
    if os.path.isfile(path) or (not is_named_folder and suffix in (*VIDEOS, *saving.SUFFIXES)):
        raise ValueError(f"{flag} must be a folder, as there may be several clips.")


def load(flags: argparse.Namespace) -> PretrainedModel:
    """The model; raises as `pretrained_model.load`, or if it has not what is asked for."""
    model = pretrained_model.load(flags.workdir, flags.step, flags.resolution)
    model.check_masks(flags.masks)
    if flags.slots:
        slot_files.check_has_slots(model)
    if flags.save and not saving.is_file(flags.save):
        overlay.check_num_colours(flags.num_slots or model.num_slots)
    return model


def segment_split(flags: argparse.Namespace) -> list[str]:
    """Writes the slots of a split of the set that the model was trained on."""
    if flags.videos or flags.out or flags.save or flags.overlay or not flags.slots or (
            flags.restart_every or flags.masks or flags.resolution):
        raise ValueError("--split is of the set that the model was trained on, and goes with "
                         "--slots=FILE.npz, not with videos, --out, --save, --overlay, --masks, "
                         "--resolution or --restart_every.")
    outputs.check({f"--slots={flags.slots}": flags.slots}, [], flags.workdir)
    arrays = slot_files.slots_of_split(load(flags), flags.split, flags.num_slots, seed=flags.seed)
    slot_files.save_slots(flags.slots, arrays)
    return [_said(flags.slots, len(arrays["names"]))]


def _said(path: str, num_clips: int) -> str:
    return f"{path}: slots of {num_clips} clip{'s' * (num_clips != 1)}."


def segment_clip(model: PretrainedModel, job: Job, rate: float, actions: np.ndarray | None,
                 flags: argparse.Namespace, collector: slot_files.SlotCollector) -> int:
    """Segments a clip, writes what the job says, and returns the number of frames."""
    held: list[np.ndarray] = []  # the frames, as they are, of the part at work

    def fitted() -> Iterator[np.ndarray]:
        frames = itertools.islice(job.clip.iter_frames(), 0, None, flags.stride)
        for frame in tqdm.tqdm(frames, desc=job.clip.name, unit=" frames", disable=None,
                               leave=False):
            held.append(frame)
            yield model.resize(frame[None], flags.crop)[0]

    count = 0
    with contextlib.ExitStack() as stack:
        num_slots = flags.num_slots or model.num_slots
        append = _open_writers(job, rate, num_slots, flags, stack)
        for result, num in segment_parts(model, fitted(), actions, flags.num_slots, flags.seed,
                                         flags.restart_every, flags.masks):
            numbers = (count + np.arange(num)) * flags.stride
            append(result, held[:num], numbers)
            if flags.slots:
                collector.add(job.clip.name, first_frames(posterior_of(result), num), numbers)
            held.clear()
            count += num
        if not count:
            raise ValueError(f"The video {job.clip.path} has no frames.")
    return count


Append = Callable[[Segmentation, Sequence[np.ndarray], np.ndarray], None]


def _open_writers(job: Job, rate: float, num_slots: int, flags: argparse.Namespace,
                  stack: contextlib.ExitStack) -> Append:
    """Opens the files of a job; what it returns takes a result, its frames and their numbers."""
    for path in filter(None, (job.out, job.overlay, job.save)):
        stack.enter_context(outputs.making_folder(os.path.dirname(os.path.abspath(path))))
    to_out: Any = job.out and stack.enter_context(video_files.open_writer(job.out, rate))
    to_overlay: Any = job.overlay and stack.enter_context(
        video_files.open_writer(job.overlay, rate))
    to_save: Any = job.save and stack.enter_context(saving.open_writer(job.save, num_slots))

    sizes: list[tuple[int, ...]] = []

    def append(result: Segmentation, frames: Sequence[np.ndarray], numbers: np.ndarray) -> None:
        if job.out:
            for picture in result.animation(tile=flags.tile)[:len(frames)]:
                _check_width(job.out, picture)
                to_out(picture)
        if not (to_overlay or to_save):
            return
        for t, (frame, number) in enumerate(zip(frames, numbers, strict=True)):
            height, width = frame.shape[:2]
            place = places.find(height, width, flags.crop)
            kept = saving.frame_of(result, t, int(number), place)
            if to_save:
                to_save(kept)
            if to_overlay:
                _check_size(frame, sizes, job)
                to_overlay(overlay.overlay(frame, places.ids(kept.masks), num_slots,
                                           boxes=kept.boxes))

    return append


def _check_size(frame: np.ndarray, sizes: list[tuple[int, ...]], job: Job) -> None:
    """Raises a ValueError if a frame has not the size of the first one, which is put in `sizes`."""
    sizes[:] = sizes or [frame.shape]
    if frame.shape != sizes[0]:
        raise ValueError(f"All frames of an overlay must have the same size, but {job.clip.path} "
                         f"has {sizes[0][0]}x{sizes[0][1]} pixels in its first frame and "
                         f"{frame.shape[0]}x{frame.shape[1]} in another.")


def _check_width(path: str, picture: np.ndarray) -> None:
    most = WIDEST[pathlib.Path(path).suffix.lower()]
    if max(picture.shape[:2]) > most:
        raise ValueError(f"The pictures of {path} would be {picture.shape[1]} pixels wide and "
                         f"{picture.shape[0]} high, but the format holds {most}. Give a smaller "
                         "--tile, fewer --num_slots, or --overlay or --save in place of --out.")


def segment_parts(model: PretrainedModel, frames: Iterable[np.ndarray],
                  actions: np.ndarray | None = None, num_slots: int | None = None,
                  seed: int = 0, restart_every: int | None = None, kind: str | None = None
                  ) -> Iterator[tuple[Segmentation, int]]:
    """Segments a video of any length part by part, in the memory of one part.

    The numbers are those of the whole video at once, unless the state starts anew in it.

    Args:
      model: from `parts_jax.load`.
      frames: uint8 [H, W, 3] of the model's resolution, one after the other.
      actions, num_slots, seed: as for `PretrainedModel.segment`; actions of all frames, [T, A].
      restart_every: as there; where a part is shorter, a state sees as many whole parts as fit in.
      kind: its `masks`.

    Yields:
      The Segmentation of FRAMES_AT_ONCE frames or fewer, and how many of them, from the start, are
      the video's: the end of the last part may repeat the last frame.

    Raises:
      ValueError: as `PretrainedModel.segment`, or there are fewer actions than frames, or there is
        too little memory.
    """
    frames, start, before, seen = iter(frames), 0, None, 0
    size = min(FRAMES_AT_ONCE, restart_every or FRAMES_AT_ONCE)
    matcher = restarting.Matcher()
    last: list[np.ndarray] = []  # the frames that a new state sees once more
    while True:
        anew = restart_every is not None and seen + size > restart_every
        again = last if anew else []
        before, seen = (None, 0) if anew else (before, seen)
        part = list(itertools.islice(frames, size - len(again)))
        if not part:
            return
        missing = size - len(again) - len(part)  # all parts are of one length: compiled once
        video = np.stack(again + part + [part[-1]] * missing)
        taken = None if actions is None else action_files.of_frames(
            actions, start - len(again), start + len(part), missing)
        before = result = _segment_part(model, video, taken, num_slots, seed, before, kind)
        if restart_every is not None:
            result = matcher.matched(result, anew, len(again), len(again) + len(part))
            last = (last + part)[-restarting.seen_again(size):] if size > 1 else []
        yield result, len(part)
        start, seen = start + len(part), seen + size


def _segment_part(model: PretrainedModel, video: np.ndarray, actions: np.ndarray | None,
                  num_slots: int | None, seed: int, before: Segmentation | None,
                  kind: str | None) -> Segmentation:
    """One part; who counts the frames says whether they are too many for the model."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lengths.LengthWarning)
            return model.segment(video, actions, num_slots, seed=seed, masks=kind,
                                 after=None if model.takes_images else before)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            raise ValueError(f"There is too little memory for {len(video)} frames with "
                             f"{num_slots or model.num_slots} slots.") from error
        raise
