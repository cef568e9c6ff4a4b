"""Memory and size of the compiled train step: flat in the number of frames of a clip."""

import jax

from benchmarks import growth, step
from configs import grid_lstm_balls
from parts_jax.devices import sharding

TRUNCATION = 5


def test_memory_and_size_of_a_step_are_flat_in_the_number_of_frames():
    """Gradients are cut every few frames; a clip itself, and its noise, are left out."""
    config = grid_lstm_balls.get_config("tiny")
    config.train.truncation, config.train.pixels = TRUNCATION, (1,)
    config.train.batch_size, config.model.num_slots = 2, 2
    mesh, sizes, memory = sharding.make_mesh(jax.devices()[:1]), {}, {}
    for frames in (10, 40):
        program, arguments, _ = step.train_program(
            growth.resized(config, "frames", frames), -1, mesh)
        lowered = program.lower(*arguments)
        sizes[frames] = len(lowered.as_text())
        noise = 4 * 2 * frames * config.model.num_refinements * 2 * config.model.slot_size
        video = arguments[1]["video"].size
        memory[frames] = lowered.compile().memory_analysis().temp_size_in_bytes - noise - video
    assert sizes[40] < 1.2 * sizes[10]
    assert memory[40] < 1.2 * memory[10]
