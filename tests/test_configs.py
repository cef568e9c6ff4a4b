"""Every shipped config can run: its steps are traced at their real sizes; nothing is computed."""

import functools
import importlib
import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import parts_clevrer
from parts_jax import data, main, models, train
from parts_jax.data import curriculum
from parts_jax.data.sets import atari
from parts_jax.devices import sharding
from parts_jax.evaluation import stages
from parts_jax.runs import config_rules, configuration
from parts_jax.training import optimizer

FILES = sorted(path.stem for path in pathlib.Path(parts_clevrer.__file__).parent.glob("*.py")
               if path.stem != "base")
SHIPPED = [f"{file}:{variant}" for file in FILES
           for variant in importlib.import_module(f"configs.{file}").VARIANTS]


def get_config(name: str):
    """The config of "file:variant"."""
    file, _, variant = name.partition(":")
    return importlib.import_module(f"configs.{file}").get_config(variant)


# Of the ablations, other sizes than demo switch the same networks at parts_playroom's widths, and
# other rows switch one by one what these two do together. To trace one stage of each is enough.
# Of PARTS' relatives, others switch numbers and sizes of the same networks.
ENOUGH = {"ablations:op3_demo": 0, "ablations:s_iodine_demo": 1,
          "iodine_tetrominoes:official": 0, "iodine_sprites:demo": 2, "iodine_clevr:sequence": 0,
          "grid_lstm_balls:demo": 0, "grid_lstm_clevrer:code": 0, "space_rooms:demo": 0}
CASES = [(name, stage) for name in SHIPPED
         for stage in range(len(get_config(name).schedule.steps))
         if name.startswith("parts_") or ENOUGH.get(name) == stage]


# What no shape and no branch of a step depends on.
NUMBERS = ("schedule.steps", "schedule.learning_rate", "schedule.warmup_steps",
           "schedule.final_scale", "model.beta", "model.beta_warmup_steps", "model.sigma_x",
           "model.transition.decay", "model.transition.action_scale", "model.decoder.shade",
           "train.init_from",
           "train.evaluate_every", "train.checkpoint_every", "train.log_every",
           "train.rollout_share", "data.name")


def distinct(cases, ignored: tuple[str, ...]):
    """Of cases that differ in what begins with `ignored` and the size of actions, the first."""
    found = {}
    for name, stage in cases:
        config = get_config(name)
        values = {key: value for key, value in configuration.flatten(config).items()
                  if not key.startswith(ignored)}
        values["data.action_size"] = config.data.action_size > 0
        of_stage = [config.schedule.resolution[stage]]
        if "train." not in ignored:
            of_stage += [values["train.pixels"][stage], values["train.encoder_pooling"][stage]]
            for key in ("train.pixels", "train.encoder_pooling", "schedule.resolution"):
                del values[key]
        found.setdefault(repr((sorted(values.items()), of_stage)), (name, stage))
    return list(found.values())


def shapes_of_batch(config, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """What the pipeline gives."""
    size, frames = config.data.resolution, config.data.num_frames
    of = jax.ShapeDtypeStruct
    action_size = config.data.action_size
    actions = {"actions": of((batch_size, frames, action_size), jnp.float32)} if action_size else {}
    return actions | {
            "video": of((batch_size, frames, size, size, 3), jnp.uint8),
            "segmentation": of((batch_size, frames, size, size), jnp.uint8),
            "valid": of((batch_size,), jnp.bool), "index": of((batch_size,), jnp.int32)}


@functools.cache
def prepared(name: str):
    config = get_config(name)
    config.train.unroll = 1  # unrolled, the same body is traced so many times
    config.lock()
    model, tx = models.create(config), optimizer.create(config)
    return config, model, tx, jax.eval_shape(
        functools.partial(train.create_state, config, model, tx))


@pytest.mark.parametrize("name", SHIPPED)
def test_values_are_allowed(name):
    """On one device and on two; and the set is one that there is."""
    for num_devices in (1, 2):
        config_rules.check(get_config(name), num_devices)
    known = get_config(name).data.name
    family, _, game = known.partition("/")
    assert known in (*data.KNOWN_NAMES, *data.BUILDERS) or (
        family == "atari" and atari.variant(game).name == game)  # of any resolution


@pytest.mark.parametrize("name, stage", distinct(CASES, (*NUMBERS, "eval.")))
def test_train_step_can_be_traced(name, stage):
    """The step of every stage, on two devices; the state that comes out is as what went in."""
    config, model, tx, state = prepared(name)
    step = sharding.data_parallel(
        functools.partial(train.train_step, config=config, model=model, tx=tx, stage=stage),
        sharding.make_mesh(jax.devices()[:2]), (False, True), (False, False), donate=(0,))
    batch = shapes_of_batch(config, curriculum.stages(config)[stage].batch_size)
    after, metrics = jax.eval_shape(step, state, batch)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), after) == jax.tree.map(
        lambda a: (a.shape, a.dtype), state)
    assert all(metric.shape == () for metric in metrics.values())
    assert {"loss", "mse", "gradient_norm", "skipped_steps"} <= set(metrics)


@pytest.mark.parametrize(
    "name, stage", distinct(CASES, (*NUMBERS, "train.", "schedule.", "optimizer.", "data.train_")))
def test_inference_step_can_be_traced(name, stage):
    """Evaluation at the end, and during every stage at the resolution of that stage."""
    config, model, _, state = prepared(name)
    factor = config.data.resolution // config.schedule.resolution[stage]
    evaluator = stages.compile_stages(config, model, sharding.make_mesh(), factor)
    batch_size = config.eval.batch_size
    output = jax.eval_shape(evaluator.infer, state.params, shapes_of_batch(config, batch_size))
    size = config.schedule.resolution[stage]
    frames = (batch_size, config.data.num_frames)
    assert set(output["judged"]) == set(output["latents"]) == set(model.stages)
    for judged in output["judged"].values():
        assert judged["ids"].shape == (*frames, size, size) and judged["mse"].shape == frames
    assert output["segmentation"].shape == (*frames, size, size)
    shown = jax.eval_shape(evaluator.show, state.params, output["latents"][model.stages[0]],
                           output["video"])
    assert shown.masks.shape == (*frames, model.num_slots, size, size)
    assert shown.recon.shape == (*frames, size, size, 3)


@pytest.mark.parametrize("name", SHIPPED)
def test_last_stage_is_at_full_resolution(name):
    """Evaluation after training is, so training must end there."""
    config = get_config(name)
    assert config.schedule.resolution[-1] == config.data.resolution
    for coarse, fine in itertools.pairwise(config.schedule.resolution):
        assert coarse <= fine


def test_default_has_the_numbers_of_the_paper():
    """Section 4 of the paper."""
    config = parts_clevrer.get_config()
    values = configuration.flatten(config)
    expected = {
        "data.name": "clevrer", "data.num_frames": 25, "data.resolution": 64, "model.num_slots": 7,
        "data.action_size": 0, "model.beta": 0.5, "model.beta_pixels": 64 * 64,
        "model.num_refinements": 1, "train.truncation": 4, "model.decoder.colour": "full",
        "model.encoder.use_likelihood": True, "model.attention.top_down": True,
        "optimizer.name": "rmsprop", "optimizer.clip_norm": 5.0, "optimizer.loss_per_pixel": False,
        "schedule.resolution": (64,), "eval.burn_in": 4, "eval.rollout_steps": 15}
    assert {key: values[key] for key in expected} == expected
    assert configuration.flatten(parts_clevrer.get_config("paper")) == values


def test_full_colour_demo_differs_from_the_demo_in_the_decoders_colour():
    """So that the two tell what the paper's decoder does; settings that go with it may differ."""
    differences = configuration.differences(parts_clevrer.get_config("demo"),
                                            parts_clevrer.get_config("demo_full_colour"))
    keys = [key for key, _, _ in differences]
    assert "model.decoder.colour" in keys
    assert {key for key in keys if key.startswith(("data.", "eval."))} <= {
        "data.num_frames", "data.train_frames"}  # the same clips, of which fewer frames are read
    assert parts_clevrer.get_config("demo_full_colour").model.decoder.colour == "full"


@pytest.mark.parametrize("file", FILES)
def test_an_unknown_variant_is_named_with_those_there_are(file):
    variants = ", ".join(importlib.import_module(f"configs.{file}").VARIANTS)
    with pytest.raises(ValueError, match=f"{file}.py has no variant 'big'; it has: {variants}"):
        get_config(f"{file}:big")


def test_configs_with_actions_differ_in_the_data_alone():
    """Lengths, slots and the size of the actions: the rest is parts_clevrer's, said once."""
    of_demos = {"data.train_frames", "schedule.steps", "train.evaluate_every", "train.init_from",
                "model.decoder.colour", "schedule.learning_rate", "model.beta_warmup_steps"}
    for name in ("parts_playroom", "parts_robotics_arm"):
        for variant in ("paper", "small", "laptop", "demo"):
            start = "mixed" if variant == "demo" else variant
            differing = configuration.differences(parts_clevrer.get_config(start),
                                                  get_config(f"{name}:{variant}"))
            keys = {key for key, _, _ in differing}
            assert {"data.name", "data.action_size"} <= keys <= {
                "data.name", "data.num_frames", "data.action_size", "model.num_slots",
                "eval.rollout_steps"} | (set() if variant in ("paper", "small") else of_demos)


@pytest.mark.parametrize("name", ["parts_playroom", "parts_robotics_arm"])
def test_what_goes_on_to_predict_differs_in_what_prediction_needs(name):
    """From the run of `demo` where that is by default; nothing of its transition can be taken."""
    demo, predict = get_config(f"{name}:demo"), get_config(f"{name}:predict")
    assert predict.train.init_from == main.default_workdir(f"configs/{name}.py:demo")
    assert {key for key, _, _ in configuration.differences(demo, predict)} == {
        "model.transition.normalise", "model.transition.decay", "model.transition.width",
        "model.transition.lstm_size", "model.transition.action_scale", "model.sigma_x",
        "schedule.steps", "train.init_from", "train.rollout", "train.burn_in",
        "train.rollout_share"}
    assert predict.model.transition.width != demo.model.transition.width


def test_rows_of_the_ablations_differ_in_their_switches_alone():
    """Data, decoder, steps, widths are of one config a size; the last row is PARTS."""
    switches = {"model.refiner", "model.per_slot.reset", "model.prior", "data.action_size",
                "model.transition.kind", "model.transition.decay", "model.attention.top_down"}
    for size in ("paper", "small", "demo"):
        parts, found = get_config(f"ablations:parts_{size}"), set()
        for row in (*importlib.import_module("configs.ablations").ROWS, "no_top_down"):
            config = get_config(f"ablations:{row}_{size}")
            differing = {key for key, _, _ in configuration.differences(parts, config)}
            assert differing <= switches and bool(differing) == (row != "parts")
            assert config.model.per_slot.channels == parts.model.encoder.channels
            found |= differing
        assert found >= switches - {"model.transition.decay"}
        changed = {key for key, _, _ in configuration.differences(
            parts, get_config(f"parts_playroom:{size}"))}
        shorter = {"data.train_frames"} if size == "demo" else set()
        assert {key for key in changed if key.startswith(("data.", "model.decoder"))} == shorter


def test_runs_that_learn_roll_outs_have_the_model_of_their_row():
    for row in importlib.import_module("configs.ablations").ROLLED_OUT:
        for size in ("paper", "small", "demo"):
            config = get_config(f"ablations:{row}_{size}")
            assert (config.train.burn_in, config.train.rollout) == ((4, 4), 12)
            changed = {key for key, _, _ in configuration.differences(
                config, get_config(f"ablations:{row.removesuffix('_rollout')}_{size}"))}
            assert {key for key in changed if key.startswith("model.")} <= {
                "model.beta_scale", "model.beta_warmup_steps"}


def test_parameters_of_the_paper_are_counted():
    """Wide networks, as in the paper; a count that is far off is a network gone missing."""
    _, _, _, state = prepared("parts_clevrer:paper")
    networks = {name: sum(int(np.prod(p.shape)) for p in jax.tree.leaves(tree))
                for name, tree in state.params.items()}
    assert set(networks) == {"transition", "decoder", "encoder", "attention"}
    assert 9e6 < networks["decoder"] < 12e6  # five 3x3 convolutions of 512
    assert 15e6 < networks["transition"] < 25e6  # two layers of width 1024
