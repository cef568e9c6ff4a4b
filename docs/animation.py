"""Draws animations such as README's first picture: a trained model at work on clips it never saw.

    python -m docs.animation
    python -m docs.animation --workdir=runs/hd-0 --out=docs/hd.gif
    python -m docs.animation --workdir=laptop --variant=medium_128 --resolution=128 --out=/tmp/a.gif

The clips are those of the test split of a variant of sim_clevrer, the model's own if none is named,
by number. Each row is a clip: frame, masks in colour, reconstruction, each slot. Masks are each
pixel's posterior over the slots once the frame is seen: what `segment` gives.
"""

import argparse
import pathlib

import numpy as np

import parts_jax
from parts_jax.data.sets import sim_clevrer, splits
from parts_jax.pictures import grids
from parts_jax.simulate.clevrer import simulation

SECONDS_BETWEEN_FRAMES = 0.25
HELD = 3  # frames that the last one stands for, before it starts again


def held_out_clip(number: int, variant: str = "demo") -> dict:
    """A clip of a test split of sim_clevrer, as `simulation.simulate_clip` returns it."""
    config, = (c for c in sim_clevrer.SimClevrer.BUILDER_CONFIGS if c.name == variant)
    seed = (config.seed, splits.SPLITS.index("test"), number)
    return simulation.simulate_clip(config.world, seed)


def draw(model: parts_jax.PretrainedModel, variant: str, numbers: list[int],
         tile: int) -> np.ndarray:
    """Segments test clips by number and draws them below each other: uint8 [T, H, W, 3]."""
    result = model.segment(np.stack([held_out_clip(n, variant)["video"] for n in numbers]))
    rows = [result.animation(clip, tile) for clip in range(len(numbers))]
    return np.concatenate(rows, axis=1)


def main() -> None:
    """Writes the animation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", default="pretrained/demo", help="of the run")
    parser.add_argument("--variant", help="of sim_clevrer; none: what the model was trained on")
    parser.add_argument("--resolution", type=int, help="of that variant; none: the model's own")
    parser.add_argument("--clips", default="0,1,2", help="numbers of clips of the test split")
    parser.add_argument("--tile", type=int, default=96, help="height of a picture, in pixels")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs/demo.gif"))
    values = parser.parse_args()
    model = parts_jax.load(values.workdir, resolution=values.resolution)
    variant = values.variant or model.config.data.name.removeprefix("sim_clevrer/")
    frames = draw(model, variant, [int(n) for n in values.clips.split(",")], values.tile)
    frames = np.concatenate([frames, np.repeat(frames[-1:], HELD, axis=0)])
    values.out.write_bytes(grids.animation(frames, 1 / SECONDS_BETWEEN_FRAMES))
    print(values.out)


if __name__ == "__main__":
    main()
