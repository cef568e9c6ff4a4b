"""How long it takes to simulate a set, and whether the bytes are the same every time.

    python -m benchmarks.simulate                              # all three stand-ins, 2,000 clips
    python -m benchmarks.simulate --sets=sim_playroom/small --num_clips=100
    python -m benchmarks.simulate --num_clips=40 --workers=1,2 # the same bytes by 1 and 2 processes

Prints JSON; `measure` says what stands in it. The sets are built as on first use, with their
progress bars, in a folder that is deleted afterwards.
"""

import dataclasses
import hashlib
import json
import pathlib
import tempfile
import time
from typing import Any

from absl import app, flags

from parts_jax import data
from parts_jax.simulate import parallel

STAND_INS = ("sim_clevrer/small", "sim_playroom/small", "sim_robotics_arm/small")


def measure(name: str, num_clips: int, num_workers: int) -> dict[str, Any]:
    """Builds the training split of a simulated set, and a clip each of the others.

    Args:
      name: such as "sim_playroom/small".
      num_clips: clips of the training split.
      num_workers: processes; 0: one for each core.

    Returns:
      `name`, `num_clips`, `num_frames` of a clip, `num_workers`, `minutes`, `frames_per_second`,
      and `sha256` of all clips of the training split.
    """
    family, variant = name.split("/")
    builder_class = data.BUILDERS[family]
    config = {config.name: config for config in builder_class.BUILDER_CONFIGS}[variant]
    config = dataclasses.replace(config, name=f"{variant}_{num_clips}",
                                 num_clips=(num_clips, 1, 1), num_workers=num_workers)
    with tempfile.TemporaryDirectory() as folder:
        builder = builder_class(config=config, file_format="array_record", data_dir=folder)
        start = time.perf_counter()
        data.build(builder)
        seconds = time.perf_counter() - start
        digest, num_frames = hashlib.sha256(), 0
        for example in builder.as_data_source("train"):
            num_frames += len(example["video"])
            for frame in (*example["video"], *example["segmentation"]):
                digest.update(frame)
            digest.update(example["actions"].tobytes() if "actions" in example else b"")
    return {"name": name, "num_clips": num_clips, "num_frames": num_frames // num_clips,
            "num_workers": num_workers or parallel.available_cores(), "minutes": seconds / 60,
            "frames_per_second": num_frames / seconds, "sha256": digest.hexdigest()}


def main(arguments) -> None:
    """Prints the JSON, and writes it to --out; with several --workers, compares their bytes."""
    del arguments
    values, reports = flags.FLAGS, []
    for name in values.sets:
        of_set = [measure(name, values.num_clips, int(workers)) for workers in values.workers]
        if len({report["sha256"] for report in of_set}) > 1:
            raise RuntimeError(f"{name} is not the same by {values.workers} processes.")
        reports += of_set
    text = json.dumps(reports, indent=2)
    print(text)
    if values.out:
        pathlib.Path(values.out).write_text(text + "\n")


if __name__ == "__main__":
    flags.DEFINE_list("sets", list(STAND_INS), "Simulated sets.")
    flags.DEFINE_integer("num_clips", 2000, "Clips of the training split.")
    flags.DEFINE_list("workers", ["0"], "Numbers of processes to try; 0: one for each core.")
    flags.DEFINE_string("out", "", "Where the JSON is written, too.")
    app.run(main)
