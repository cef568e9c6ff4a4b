"""`clevrer`: the CLEVRER videos (Yi et al., ICLR 2020) as a TFDS builder without TensorFlow.

The files come from `source_dir` or are downloaded. Clips are converted by several processes, into
a folder beside the one that is being prepared, so that an interrupted preparation goes on where it
was; the folder is removed when all is done.
"""

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from absl import logging

from parts_jax.data import episodes
from parts_jax.data.clevrer import chunks, conversion, files

CLIPS = {"train": range(10000), "validation": range(10000, 15000), "test": range(15000, 20000)}
NUM_FRAMES = 128
BROKEN_ANNOTATIONS = (10800,)
# The test sets of the 2D-LSTM paper: clips of the validation split by their number of objects,
# each cut to the first run of frames in which all its objects are in view.
RUNS = {"validation_3_5": (3, 4, 5), "validation_6": (6,)}
SHORTEST_RUN = 40  # frames

WHERE = ("The zips of http://data.csail.mit.edu/clevrer/, or what they hold: videos such as "
         "video_00000-01000/video_00000.mp4, annotations such as "
         "annotation_00000-01000/annotation_00000.json and masks such as "
         "derender_proposals/proposal_00000.json.")
STAND_IN = ("The simulated stand-in 'sim_clevrer' runs without any download: "
            "--config=configs/parts_clevrer.py:small (one GPU) or "
            "--config=configs/parts_clevrer.py:demo (two CPU cores).")
MASK_DESCRIPTION = {
    "proposals": "The masks are Mask R-CNN's proposals, not ground truth: name scores against them "
                 "'vs Mask R-CNN pseudo-masks'.",
    "mask_videos": "The masks are those of Zablotskaia et al. (2021), for the clips that they "
                   "tested on.",
    "none": "There are no masks."}


@dataclasses.dataclass
class ClevrerConfig(episodes.SourceConfig):
    """A variant of `clevrer`.

    Attributes:
      masks: "proposals" (Mask R-CNN's, for all splits), "mask_videos" (those of the 2D-LSTM
        paper, for its two test sets alone) or "none".
      num_workers: processes that convert; 0: one for each core.
    """

    masks: str = "proposals"
    num_workers: int = 0


class Clevrer(tfds.core.GeneratorBasedBuilder):
    """Simple solids that enter, collide and leave under a fixed camera; 480x320, 128 frames.

    An example has
      video: T strings, PNG of uint8 [H, W, 3];
      segmentation: T strings, PNG of uint8 [H, W], 0 for background (not where masks are "none");
      objects: N texts such as "red rubber sphere", in the order of the ids 1..N of the
        segmentation (with "mask_videos" the order is the annotation's, the ids are others);
      location: float32 [T, N, 3], centres in world units, NaN where none is given;
      inside_camera_view: bool [T, N];
      collisions: int32 [C, 3], frame and the two ids;
      id: text, such as "video_00012".
    Without an annotation (all of test, and clip 10800) the last three are empty.
    """

    name = "clevrer"
    VERSION = tfds.core.Version("1.0.0")
    # TFDS finds this path by itself, but with a package that it needs and does not declare.
    code_path = tfds.core.Path(__file__)
    BUILDER_CONFIGS = [
        ClevrerConfig(name="64", description="64x64, the whole frame squeezed."),
        ClevrerConfig(name="64_center", crop="center", description="64x64, the middle 320x320."),
        ClevrerConfig(name="128", resolution=128, description="128x128, the whole frame."),
        ClevrerConfig(name="64_no_masks", masks="none", description="64x64, without masks."),
        ClevrerConfig(name="64_mask_videos", masks="mask_videos",
                      description="64x64; test sets of the 2D-LSTM paper, with its masks."),
        ClevrerConfig(name="64_center_mask_videos", crop="center", masks="mask_videos",
                      description="64x64, the middle; test sets of the 2D-LSTM paper."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        masks = self.builder_config.masks
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"CLEVRER (Yi et al., 2020). {MASK_DESCRIPTION[masks]}",
            homepage="http://clevrer.csail.mit.edu/",
            features=episodes.features(
                has_masks=masks != "none", has_actions=False,
                objects=tfds.features.Sequence(tfds.features.Text()),
                # TFDS reads back empty arrays of unknown shape only where they are compressed.
                location=tfds.features.Tensor(shape=(None, None, 3), dtype=np.float32,
                                              encoding="zlib"),
                inside_camera_view=tfds.features.Tensor(shape=(None, None), dtype=np.bool_,
                                                        encoding="zlib"),
                collisions=tfds.features.Tensor(shape=(None, 3), dtype=np.int32)),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True)

    def download_and_prepare(self, **arguments) -> None:
        """As TFDS's; the folder of converted clips goes when the set is complete."""
        super().download_and_prepare(**arguments)
        shutil.rmtree(self._converted_folder(), ignore_errors=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        config = self.builder_config
        if not config.source_dir:
            files.download(_download_folder(self.data_dir))
        clips = list_clips(_find(config, self.data_dir), config.masks)
        if not clips:
            raise ValueError(f"No mask video in {config.source_dir} belongs to a CLEVRER video "
                             "of the validation split (10000 to 14999) that is there.")
        paths = chunks.convert_clips(clips, self._settings(), self._converted_folder(),
                                     config.num_workers)
        self.info.metadata.update(chunks.report(paths))
        chunks.check_room_for_records(self._converted_folder(), paths)
        splits = {} if config.masks == "mask_videos" else {
            split: chunks.Selection(part) for split, part in paths.items()}
        if config.masks != "none" and "validation" in paths:
            splits |= {split: chunks.Selection(paths["validation"], num_objects)
                       for split, num_objects in RUNS.items()}
        return {split: self._generate_examples(split, selection)
                for split, selection in splits.items() if len(selection)}

    def _generate_examples(self, split: str,
                           selection: chunks.Selection) -> Iterator[tuple[int, dict]]:
        yield from tqdm.tqdm(selection, unit=" clips", mininterval=1.0,
                             desc=f"Preparing {self.name}, {split}")

    def _settings(self) -> conversion.Settings:
        config = self.builder_config
        return conversion.Settings(config.resolution, config.crop, config.masks, NUM_FRAMES,
                                   SHORTEST_RUN, config.max_bytes, config.skip_bad)

    def _converted_folder(self) -> str:
        """Beside the folder of the set; TFDS deletes its own when it is interrupted."""
        return str(pathlib.Path(self.data_dir).parent / f"converted_{self.version}")


def check_available(config: ClevrerConfig, data_dir: str, download: bool) -> None:
    """Looks whether the files are there or can be had, before anything is written.

    Args:
      config: the variant, with its `source_dir`.
      data_dir: the folder that the prepared set will have: DATA_DIR/clevrer/VARIANT/VERSION.
      download: whether files may be downloaded.

    Raises:
      ValueError: if files are missing that may not, or cannot, be downloaded, or a zip is
        damaged.
      OSError: if the server cannot be reached, or the disk has no room for what it has.
    """
    if not config.source_dir and config.masks == "mask_videos":
        raise ValueError(
            f"The data set 'clevrer/{config.name}' needs the mask videos of the 2D-LSTM paper, "
            "which cannot be downloaded by a program. Their link is in the README of the code of "
            "PROVIDE (Zablotskaia et al., 2021). Put sliced_masks_validation_mp4/ and CLEVRER's "
            "videos and annotations of the validation split, zipped or not, into one folder and "
            "name it: --config.data.source_dir=FOLDER.")
    folder = _download_folder(data_dir)
    missing = [] if config.source_dir else files.missing_zips(folder)
    if missing and not download:
        raise ValueError(
            f"The data set 'clevrer' is not on this machine, and data.download is False: in "
            f"{folder} there is no {', no '.join(os.path.basename(name) for name in missing)}. "
            "With --config.data.download=True they are fetched from "
            "http://data.csail.mit.edu/clevrer/ (the videos of train are 12.4 GB, of validation "
            "6.2 GB, the masks 0.4 GB). Or put them, zipped or not, into a folder of your own and "
            f"name it: --config.data.source_dir=FOLDER. {STAND_IN}")
    if missing:
        files.sizes_on_server(folder, missing)
    else:
        _find(config, data_dir)


def list_clips(found: files.Files, masks: str) -> dict[str, list[conversion.Clip]]:
    """The clips of each split whose videos are there, in order; no split without any.

    With `masks` "mask_videos": those of validation that have a mask video.
    """
    kind = {"proposals": "proposals", "mask_videos": "mask_video", "none": None}[masks]
    clips = {}
    for split, numbers in CLIPS.items():
        wanted = sorted(found["video"].keys() & set(numbers))
        if masks == "mask_videos":
            wanted = [number for number in wanted
                      if split == "validation" and number in found["mask_video"]]
        elif len(wanted) < len(numbers):
            logging.warning("CLEVRER: of the %d videos of %s only %d are there.", len(numbers),
                            split, len(wanted))
        if wanted:
            clips[split] = [conversion.Clip(
                number, found["video"][number],
                None if number in BROKEN_ANNOTATIONS else found["annotation"].get(number),
                found[kind].get(number) if kind else None) for number in wanted]
    return clips


def _find(config: ClevrerConfig, data_dir: str) -> files.Files:
    """The files that a variant is made of; ValueError if a kind of them is not there."""
    folder = config.source_dir or _download_folder(data_dir)
    found = files.find(folder)
    needed = {"video": "videos"} | {
        "none": {},
        "proposals": {"proposals": "masks (derender_proposals.zip)"},
        "mask_videos": {"annotation": "annotations", "mask_video": "mask videos (such as "
                        "sliced_masks_validation_mp4/3/video_10000/video.mp4)"}}[config.masks]
    for kind, words in needed.items():
        if not found[kind]:
            raise ValueError(f"The folder {folder} has no CLEVRER {words}. It needs: {WHERE} "
                             f"{STAND_IN}")
    return found


def _download_folder(data_dir: str) -> str:
    """Beside all sets, where TFDS keeps downloads: DATA_DIR/downloads/clevrer."""
    return str(pathlib.Path(data_dir).parents[2] / "downloads" / "clevrer")
