"""Of a key that is set twice the last one counts, of tuples, too."""

import ml_collections
import pytest
from absl import flags
from ml_collections import config_flags

from configs import parts_clevrer
from parts_jax.runs import command_line, configuration, repeated_flags

CONFIG = parts_clevrer.get_config("demo")
TUPLES = [key for key, value in configuration.flatten(CONFIG).items() if isinstance(value, tuple)]


def parsed(*arguments: str) -> ml_collections.ConfigDict:
    """The config of a command line, by ml_collections' own flags."""
    config, values = CONFIG.copy_and_resolve_references(), flags.FlagValues()
    argv = repeated_flags.last_of_tuples(["main", *arguments], config)
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
    values(argv)
    return values.config


@pytest.mark.parametrize("key", TUPLES)
def test_the_last_tuple_counts(key):
    value = parsed(f"--config.{key}=(1, 2)", "--config.seed=3", f"-config.{key}", "[3]",
                   "--config.seed=4", f"--config.{key}=(5,)")
    assert configuration.flatten(value)[key] == (5,) and value.seed == 4
    assert configuration.flatten(parsed(f"--config.{key}=(1, 2)"))[key] == (1, 2)


def test_the_command_line_goes_through_it(monkeypatch):
    argv = ["main", "--config=configs/parts_clevrer.py:demo", "--config.eval.best_by=('mse',)",
            "--config.eval.best_by=('nll',)"]
    seen = []
    monkeypatch.setattr(command_line, "_parsed", lambda argv: seen.append(argv) or argv[:1])
    command_line.parse(argv)
    assert seen == [[*argv[:2], argv[3]]]


def test_values_that_might_be_joined_are_refused():
    with pytest.raises(ValueError, match=r"--config.model.encoder.channels is given 2 times, with "
                                         r"8 and \(16,\)\. It is a tuple, which is given at once"):
        parsed("--config.model.encoder.channels=8", "--config.model.encoder.channels=(16,)")


def test_what_follows_the_end_of_flags_is_left_as_it_is():
    argv = ["main", "--config.eval.best_by=()", "--", "--config.eval.best_by=()", "--config.seed"]
    assert repeated_flags.last_of_tuples(argv, CONFIG) == argv
    assert repeated_flags.last_of_tuples(["main", "--config.eval.best_by"], CONFIG) == [
        "main", "--config.eval.best_by"]
