"""Draws docs/sim_*.png: frames over masks of the simulated sets; and docs/atari.png: frames.

    python -m docs.contact_sheets
    python -m docs.contact_sheets --sets=sim_playroom/demo,sim_robotics_arm/demo --scale=4
    python -m docs.contact_sheets --sets=sim_objects_room/full --num_clips=2 --num_columns=8
    python -m docs.contact_sheets --beside_demo
    python -m docs.contact_sheets --atari
    python -m docs.contact_sheets --stills
    python -m docs.contact_sheets --balls

--beside_demo draws the sets beside sim_clevrer/demo into one picture, one under the other; --atari
a clip of each of four games; --stills the sets of still pictures, one picture a family; --balls a
clip of each world of sim_balls/demo, one under the other.
"""

import dataclasses
import pathlib
import tempfile

import numpy as np
from absl import app, flags

from parts_jax import data
from parts_jax.data.formats import frames
from parts_jax.data.sets import atari
from parts_jax.pictures import colours, grids

BESIDE_DEMO = tuple(f"sim_clevrer/{name}" for name in (
    "twins", "mixed", "demo_crowded", "demo_camera", "demo_long", "demo_slow", "medium_long",
    "medium_128"))
STAND_INS = ("sim_clevrer/small", "sim_playroom/small", "sim_robotics_arm/small")
BALLS = tuple(f"sim_balls/{name}" for name in (
    "demo", "demo_binary", "demo_678", "demo_678_4"))
SHOWN_FIRST = (*STAND_INS, "sim_objects_room/full")  # their pictures have the name of the family
STILLS = {  # the variants of each family that are shown, one under the other
    "sim_tetrominoes": ("demo",),
    "sim_sprites": ("demo", "coloured_on_grey", "coloured_on_coloured", "binary"),
    "sim_shapes": ("full",),
    "sim_clevr": ("full", "small"),
}


def draw(name: str, num_clips: int, num_columns: int, scale: int = 2) -> np.ndarray:
    """The first clips of a simulated set's training split.

    Args:
      name: such as "sim_playroom/small".
      num_clips: rows, two of pictures each: frames, and masks below them.
      num_columns: frames of a clip, evenly spread over it.
      scale: pixels of the sheet for one of the frame.

    Returns:
      uint8 [height, width, 3].
    """
    family, variant = name.split("/")
    builder_class = data.BUILDERS[family]
    config = {config.name: config for config in builder_class.BUILDER_CONFIGS}[variant]
    config = dataclasses.replace(config, name=f"{variant}_{num_clips}",
                                 num_clips=(num_clips, 1, 1))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        builder = builder_class(config=config, file_format="array_record", data_dir=folder)
        data.build(builder)
        for example in builder.as_data_source("train"):
            shown = np.linspace(0, len(example["video"]) - 1, num_columns).round().astype(int)
            video = frames.decode([example["video"][t] for t in shown])
            masks = frames.decode([example["segmentation"][t] for t in shown])
            rows += [list(video), list(colours.colour_segmentation(masks))]
    cells = [np.concatenate([pad(cell) for cell in row], axis=1) for row in rows]
    return grids.enlarge(np.concatenate(cells), scale)


def draw_beside_demo(size: int = 64, num_columns: int = 6, num_cells: int = 12) -> np.ndarray:
    """Every set of `BESIDE_DEMO`, one under the other.

    Args:
      size: least height of a frame on the sheet, in pixels.
      num_columns: frames of a clip, evenly spread over it.
      num_cells: frames of that height beside each other; where a clip takes fewer, clips stand
        beside each other.

    Returns:
      uint8 [height, width, 3].
    """
    bands = []
    for name in BESIDE_DEMO:
        height = data.BUILDERS["sim_clevrer"].builder_configs[
            name.split("/")[1]].world.frame_size[0]
        scale = max(1, size // height)
        num_clips = num_cells * size // (num_columns * height * scale)
        sheet = draw(name, num_clips, num_columns, scale)
        bands.append(np.concatenate(np.split(sheet, num_clips), axis=1))
    return stack(bands)


def draw_stills(family: str, size: int = 64, num_cells: int = 12) -> np.ndarray:
    """The variants of a family of `STILLS`, one under the other: pictures over masks.

    Args:
      family: one of `STILLS`.
      size: about the height of a picture on the sheet, in pixels; it is enlarged by a whole number.
      num_cells: pictures of that height beside each other.

    Returns:
      uint8 [height, width, 3].
    """
    bands = []
    for variant in STILLS[family]:
        height = data.BUILDERS[family].builder_configs[variant].world.frame_size[0]
        scale = max(1, round(size / height))
        num_clips = num_cells * size // (height * scale)
        sheet = draw(f"{family}/{variant}", num_clips, num_columns=1, scale=scale)
        bands.append(np.concatenate(np.split(sheet, num_clips), axis=1))
    return stack(bands)


def stack(bands: list[np.ndarray]) -> np.ndarray:
    """Sheets one under the other, with white between and to the right of them."""
    width = max(band.shape[1] for band in bands)
    return np.concatenate([np.pad(band, ((0, 6), (0, width - band.shape[1]), (0, 0)),
                                  constant_values=255) for band in bands])


def draw_atari(num_columns: int = 8, scale: int = 2) -> np.ndarray:
    """The first training clip of each of the games that are listed, one under the other.

    Args:
      num_columns: frames of a clip, evenly spread over it.
      scale: pixels of the sheet for one of the frame.

    Returns:
      uint8 [height, width, 3].
    """
    rows = []
    for game in atari.LISTED:
        settings = atari.variant(game).world
        example = atari.make_example(settings, (0, 0, 0), "train-00000")
        shown = np.linspace(0, settings.num_frames - 1, num_columns).round().astype(int)
        rows.append(np.concatenate(
            [pad(frame) for frame in frames.decode([example["video"][t] for t in shown])], axis=1))
    return grids.enlarge(np.concatenate(rows), scale)


def pad(cell: np.ndarray) -> np.ndarray:
    """A white border of one pixel to the right and below."""
    return np.pad(cell, ((0, 1), (0, 1), (0, 0)), constant_values=255)


def main(arguments) -> None:
    """Writes one PNG a set."""
    del arguments
    values = flags.FLAGS
    if values.beside_demo:
        path = pathlib.Path(values.out) / "sim_clevrer_beside_demo.png"
        grids.save_png(path, draw_beside_demo())
        print(path)
        return
    if values.atari:
        path = pathlib.Path(values.out) / "atari.png"
        grids.save_png(path, draw_atari())
        print(path)
        return
    if values.balls:
        path = pathlib.Path(values.out) / "sim_balls.png"
        grids.save_png(path, stack([draw(name, 1, 12, 2) for name in BALLS]))
        print(path)
        return
    if values.stills:
        for family in STILLS:
            path = pathlib.Path(values.out) / f"{family}.png"
            grids.save_png(path, draw_stills(family))
            print(path)
        return
    for name in values.sets:
        sheet = draw(name, values.num_clips, values.num_columns, values.scale)
        stem = name.split("/")[0] if name in SHOWN_FIRST else name.replace("/", "_")
        path = pathlib.Path(values.out) / f"{stem}.png"
        grids.save_png(path, sheet)
        print(path)


if __name__ == "__main__":
    flags.DEFINE_list("sets", list(STAND_INS), "Simulated sets.")
    flags.DEFINE_bool("beside_demo", False, "The sets beside sim_clevrer/demo, in one picture.")
    flags.DEFINE_bool("atari", False, "Four Atari games, in one picture.")
    flags.DEFINE_bool("stills", False, "The sets of still pictures, one picture a family.")
    flags.DEFINE_bool("balls", False, "The worlds of sim_balls/demo, in one picture.")
    flags.DEFINE_integer("num_clips", 4, "Clips of a sheet.")
    flags.DEFINE_integer("num_columns", 9, "Frames of a clip.")
    flags.DEFINE_integer("scale", 2, "Pixels of the sheet for one of a frame.")
    flags.DEFINE_string("out", "docs", "The folder to write to.")
    app.run(main)
