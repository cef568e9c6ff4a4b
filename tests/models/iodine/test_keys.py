"""What IODINE's configs may not say together, each in a sentence; and that shipped ones pass."""

import pytest

from configs import iodine_tetrominoes
from parts_jax.models import iodine
from parts_jax.runs import config_rules, configuration

SMALL = {"decoder.kind": "coordinates", "decoder.kernel_size": 1}


def config_with(changes):
    """The paper's config with keys of its model, or of others, set."""
    config = iodine_tetrominoes.get_config("paper")
    every = configuration.flatten(config)
    full = {key if key in every else f"model.{key}": value for key, value in changes.items()}
    with config.unlocked(), config.ignore_type():
        config.update_from_flattened_dict(full)
    return config


def refusal(changes):
    with pytest.raises(ValueError) as caught:
        config_rules.check(config_with(changes), None)
    message = str(caught.value)
    assert message.endswith(".")
    return message


@pytest.mark.parametrize("changes, parts", [
    ({"train.pixels": (2,)},
     ["config.train.pixels is (2,), with config.model.decoder.kind 'broadcast' and kernel_size 5",
      "only a network for each pixel", "else it must be 1 in every stage"]),
    (SMALL | {"decoder.kernel_size": 3, "train.pixels": (2,)},
     ["config.train.pixels is (2,), with config.model.decoder.kind 'coordinates' and kernel_size 3",
      "else it must be 1 in every stage"]),
    (SMALL | {"decoder.kernel_size": 3, "decoder.centred": True},
     ["config.model.decoder.centred is True, with config.model.decoder.kind 'coordinates' and ",
      "coordinates from a slot's centre; else it must be False"]),
    ({"train.encoder_pooling": (5,)},
     ["config.train.encoder_pooling is (5,), but IODINE has no encoder", "must be 1 in every"]),
    (SMALL | {"train.pixels": (2,), "train.encoder_pooling": (5,)},
     ["config.train.encoder_pooling is (5,), but IODINE has no encoder"]),
    ({"refiner.inputs": ("posterior", "posterior_gradient")},
     ["config.model.refiner.inputs is ('posterior', 'posterior_gradient'), without any image",
      "at least one of image, means, mask, "]),
    ({"refiner.inputs": ()}, ["config.model.refiner.inputs is (), without any image"]),
    ({"sequential": True, "num_iterations": 5},
     ["config.model.num_iterations is 5, and config.model.sequential True", "so it must be 1"]),
    ({"num_iterations": 5, "test_iterations": 4},
     ["config.model.test_iterations is 4, below config.model.num_iterations, 5", "or more often"]),
    ({"sigma_scale": (2.0,)},
     ["config.model.sigma_scale is (2.0,); its last entry must be 1.0"]),
    ({"decoder.colour": "affine"},
     ["config.model.decoder.colour is 'affine', and its kind 'broadcast'", "it must be 'full'"])])
def test_what_does_not_go_together_is_refused(changes, parts):
    message = refusal(changes)
    assert all(part in message for part in parts), message


@pytest.mark.parametrize("changes", [
    {}, SMALL | {"train.pixels": (2,)}, {"sequential": True, "num_iterations": 1},
    {"refiner.inputs": ("image",)}, SMALL | {"decoder.colour": "affine"}])
def test_what_goes_together_passes(changes):
    config_rules.check(config_with(changes), None)


@pytest.mark.parametrize("key, value, allowed", [
    ("num_iterations", 0, "a whole number, 1 or more"),
    ("likelihood", "laplace", "one of gaussian, gaussian_per_channel, logistic"),
    ("sigma_x", 0.0, "a finite number above 0"),
    ("posterior", "sigmoid", "one of exp, log_variance, softplus"),
    ("weights", "last", "one of linear, linear_from_first"),
    ("clamp", -1.0, "a finite number, 0 or more"),
    ("decoder.kind", "deconvolution", "one of broadcast, coordinates"),
    ("refiner.inputs", ("image", "depth"), "a tuple of names, each one of image, means, mask, "),
    ("refiner.mask_gradient", "probability", "one of mask, logits"),
    ("refiner.likelihood_form", "odds", "one of probability, log"),
    ("refiner.head", "residual", "one of linear, gated"),
    ("refiner.stride", 0, "a whole number, 1 or more"),
    ("refiner.kernel_size", 4, "an odd whole number, 1 or more"),
    ("refiner.lstm_size", -1, "a whole number, 0 or more"),
    ("sequential", "no", "one of False, True")])
def test_a_value_that_no_model_has_is_named_with_what_is_allowed(key, value, allowed):
    message = refusal({key: value})
    assert message.startswith(f"model.{key} is {value!r}, but must be {allowed}")


def test_there_are_the_keys_that_are_ruled_and_no_others():
    assert set(iodine.KEYS) == set(configuration.flatten(config_with({}).model))


@pytest.mark.parametrize("variant", iodine_tetrominoes.VARIANTS)
def test_shipped_configs_pass(variant):
    config_rules.check(iodine_tetrominoes.get_config(variant), 1)
