"""Reads the flags of parts_jax.main: absl's and the config's, files of them, and what is misspelt.

absl and ml_collections parse; here is what they leave out: a flag that there is not is named before
anything else is missed, a config is read from where it stands, and a fault in it is a sentence.
"""

import contextlib
import difflib
import os
from collections.abc import Iterable, Sequence

import ml_collections
from absl import flags
from ml_collections import config_flags

from parts_jax.files import local_path
from parts_jax.runs import configuration, repeated_flags, shipped

FLAGS = flags.FLAGS
HELP = ("help", "helpshort", "h")


def define_config(argv: Sequence[str] | None = None) -> None:
    """Defines --config, a config file's path, or defines it anew for other arguments.

    Args:
      argv: in which --config.KEY=VALUE is looked for; None: in sys.argv.
    """
    if "config" in FLAGS:
        delattr(FLAGS, "config")
    config_flags.DEFINE_config_file("config", help_string="config file, FILE or FILE:variant",
                                    sys_argv=None if argv is None else list(argv))


def asks_for(argv: Sequence[str], names: Iterable[str]) -> bool:
    """Whether one of these flags stands among arguments, before they are parsed."""
    return any(argument.startswith("-") and argument.lstrip("-") in names for argument in argv[1:])


def parse(argv: Sequence[str]) -> None:
    """Parses a command line into FLAGS.

    Args:
      argv: with the program's name first.

    Raises:
      flags.Error, ValueError, OSError: with a message for the user.
    """
    argv = [argv[0], *_with_files_of_flags(argv[1:])]
    check_names(argv)
    file, mode, workdir = (value_of(argv, name) for name in ("config", "mode", "workdir"))
    if file is not None:
        file = shipped.find_config(file)
        argv = [argv[0], f"--config={file}", *without(argv[1:], "config")]
        known = configuration.read(file)
    elif mode == "evaluate" and workdir is not None:
        workdir = shipped.named_model(local_path.checked(workdir, "--workdir"))
        if not os.path.lexists(workdir):
            raise FileNotFoundError(f"{workdir!r} holds no run: there is no such folder"
                                    f"{shipped.names_hint(workdir)}.")
        known = configuration.load(workdir)
    else:
        raise ValueError("--config=FILE[:variant] is missing; --list shows what there is.")
    for argument in argv:
        if argument.startswith(("--config.", "-config.", "--noconfig.", "-noconfig.")):
            _check_override(known, argument)
    argv = repeated_flags.last_of_tuples(argv, known)
    if file is not None:
        define_config(argv)
    else:  # the workdir's config takes the place of a config file's
        if "config" in FLAGS:
            delattr(FLAGS, "config")
        config_flags.DEFINE_config_dict("config", known, sys_argv=argv)
    with configuration.importable_siblings(file) if file else contextlib.nullcontext():
        rest = _parsed(argv)
    if len(rest) > 1:
        raise ValueError(f"{rest[1]!r} is no flag; flags are given as --name=value.")


def _with_files_of_flags(arguments: Sequence[str]) -> list[str]:
    """Arguments with the lines of the files that --flagfile names in its place."""
    try:
        return FLAGS.read_flags_from_files(list(arguments))
    except UnicodeDecodeError as error:
        raise ValueError(f"--flagfile={value_of(arguments, 'flagfile')} is no text in UTF-8: "
                         f"{error}.") from error


def _check_override(known: ml_collections.ConfigDict, argument: str) -> None:
    """Raises a ValueError if a flag --config.KEY=VALUE is of no key, or of many."""
    key = argument.lstrip("-").partition("=")[0].partition(".")[2]
    configuration.check_key(known, key)
    if key not in configuration.flatten(known):
        raise ValueError(f"{argument[:80]!r} sets a whole part of the config: set the keys in it "
                         f"one by one, --config.{key}.KEY=VALUE.")


def _parsed(argv: list[str]) -> list[str]:
    """What FLAGS(argv) returns; errors of Python, which it reads values by, as a ValueError."""
    try:
        return FLAGS(argv)
    except (flags.Error, ValueError, OSError):
        raise
    except Exception as error:
        values = [argument for argument in argv if argument.startswith("--config.")]
        raise ValueError("A value cannot be read as what its key holds: "
                         f"{type(error).__name__}: {error}. Given are: {' '.join(values)[:500]}."
                         ) from error


def check_names(argv: Sequence[str]) -> None:
    """Raises a ValueError that names a flag that there is not, and the nearest that there is."""
    arguments = iter(argv[1:])
    for argument in arguments:
        name, equals, _ = argument.lstrip("-").partition("=")
        if argument == "--":
            return
        if not argument.startswith("-"):
            continue
        if name.partition(".")[0] in ("config", "noconfig"):
            if name == "config" and not equals:
                next(arguments, None)
        elif name in FLAGS:
            if not equals and not FLAGS[name].boolean:
                next(arguments, None)  # its value, which may begin with a dash
        elif not (name.startswith("no") and name[2:] in FLAGS and FLAGS[name[2:]].boolean):
            near = difflib.get_close_matches(name, list(FLAGS), n=1, cutoff=0.5)
            hint = f"the nearest is --{near[0]}" if near else "--help shows which there are"
            raise ValueError(f"Unknown command line flag {name!r}; {hint}.")


def value_of(argv: Sequence[str], flag: str) -> str | None:
    """Returns the last value of --flag=value or --flag value in `argv`, before it is parsed."""
    found = None
    for argument, following in zip(argv, [*argv[1:], None], strict=True):
        name, equals, value = argument.partition("=")
        if name in (f"--{flag}", f"-{flag}"):
            found = value if equals else following
    return found


def without(arguments: Sequence[str], flag: str) -> list[str]:
    """Arguments without a flag that has a value, wherever it stands."""
    left, given = [], iter(arguments)
    for argument in given:
        name, equals, _ = argument.partition("=")
        if name not in (f"--{flag}", f"-{flag}"):
            left.append(argument)
        elif not equals:
            next(given, None)
    return left


def help_text(head: str, own: Sequence[str]) -> str:
    """What --help prints.

    Args:
      head: what the command does.
      own: names of flags to explain.
    """
    rows = [f"  --{name:24}{FLAGS[name].help}" for name in own]
    return "\n".join([
        head.rstrip(), "", "Flags:", *rows,
        f"  --{'config.KEY=VALUE':24}any value of the config; configs/base.py says what they are",
        f"  --{'flagfile=FILE':24}more flags, one a line",
        f"  --{'verbosity=1':24}all that libraries say, and where an error came from",
        f"  --{'list':24}all configs with their variants, trained models and data sets",
        f"  --{'helpfull':24}the flags of all libraries, too"])


def list_text(data_sets: Iterable[str]) -> str:
    """What --list prints: what can be named on the command line.

    Args:
      data_sets: names, such as "sim_clevrer/demo".
    """
    families: dict[str, list[str]] = {}
    for name in data_sets:
        family, _, variant = name.partition("/")
        families.setdefault(family, []).append(variant)
    lines = ["Configs, --config=FILE[:variant]; the first is what FILE alone means:"]
    for path in shipped.config_files():
        with configuration.importable_siblings(str(path)):
            lines.append(f"  configs/{path.name:26}{', '.join(shipped.variants(path))}")
    lines += ["", "Trained models, for parts_jax.load(NAME), --config.train.init_from=NAME, and "
              "--workdir=NAME of what reads a run:",
              *(f"  {name:20}{shipped.card_line(name)}" for name in shipped.trained_models()), "",
              "Data sets, --config.data.name=SET[/variant]:"]
    lines += [f"  {family:20}{', '.join(variants)}" for family, variants in families.items()]
    return "\n".join(lines)
