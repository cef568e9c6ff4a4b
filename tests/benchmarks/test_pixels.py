"""The benchmark of subsets of pixels: ratios are those of steps timed in turn."""

import numpy as np
import pytest

from benchmarks import pixels, step
from configs import parts_clevrer


def test_ratios_are_medians_over_steps_and_the_table_has_them(monkeypatch):
    config = parts_clevrer.get_config("tiny")
    started = []

    class Program:
        def __init__(self, config):
            self.size = config.train.pixels[-1]

        def lower(self, *_):
            return self

        def compile(self):
            return self

    def program(config, stage, mesh):
        return Program(config), (), lambda compiled: started.append(compiled.size)

    monkeypatch.setattr(step, "train_program", program)
    monkeypatch.setattr(step, "time_in_turn", lambda runs, num_steps: {
        size: np.array([4.0, 8.0, 2.0][:num_steps]) / size for size in runs})
    config.train.batch_size = 4
    report = pixels.measure(config, [1, 2, 4], 3)
    assert started == [1, 2, 4]
    assert [part["ratio"] for part in report["pixels"].values()] == [1.0, 0.5, 0.25]
    assert report["pixels"][2]["step_seconds"]["median"] == 2.0
    least = [part["least_flops_ratio"] for part in report["pixels"].values()]
    assert 1 == least[0] > least[1] > least[2] > 0
    assert "| 4 | 16 | 1.000 | 0.250 |" in pixels.table(report)


def test_blocks_that_do_not_divide_the_frame_are_refused():
    config = parts_clevrer.get_config("tiny")
    config.train.batch_size = 4
    with pytest.raises(ValueError, match="encoder_pooling is .3,., but must be .*divisors"):
        pixels.measure(config, [3], 1)
