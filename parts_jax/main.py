"""The command line: trains or evaluates what a config file describes.

    python -m parts_jax.main --config=configs/parts_clevrer.py:demo
    python -m parts_jax.main --config=configs/parts_clevrer.py:demo --config.seed=1 --workdir=runs/1
    python -m parts_jax.main --mode=evaluate --workdir=runs/1 --config.eval.split=test
    python -m parts_jax.main --list

Training goes on from the newest checkpoint in the workdir, if it has one; a new run starts from the
parameters of another, --config.train.init_from=WORKDIR. Evaluation takes the config that the
workdir's model was trained with, and sets on top only --config.eval.* and --config.data.*;
--config=FILE may be left out there. A trained model that comes with the package may be named,
--workdir=demo, where there is no folder of that name; what is found of it goes to
runs/evaluations/demo.

Compiled programs are kept in ~/.cache/parts_jax (of this machine's user, deletable at any time),
or where the environment variable JAX_COMPILATION_CACHE_DIR says.

On many hosts the same command is started once on each. On a TPU pod or under Slurm the processes
find each other; elsewhere --coordinator_address, --num_processes and --process_id say how. The
workdir is one folder that all of them see.
"""

import contextlib
import os
import pathlib
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from parts_jax.devices import signals

if __name__ == "__main__":
    signals.leave_at_once()  # what is imported below takes seconds

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict

from parts_jax import data, evaluate, models, report, train
from parts_jax.data import pipeline
from parts_jax.devices import distributed
from parts_jax.files import local_path
from parts_jax.runs import (
    checkpoint,
    checkpoint_record,
    command_line,
    config_rules,
    configuration,
    init_from,
    kept_data,
    parameters_only,
    quiet,
    run_lock,
    shipped,
)
from parts_jax.training import optimizer

FLAGS = flags.FLAGS
command_line.define_config()
flags.DEFINE_string("workdir", None, "the run's folder; else runs/<config file>[-variant]")
flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "train (the default) or evaluate")
flags.DEFINE_bool("list", False, "shows all configs, trained models and data sets, and ends")
flags.DEFINE_string("coordinator_address", None,
                    "where processes meet, HOST:PORT of process 0; else as the cluster says")
flags.DEFINE_integer("num_processes", None, "processes of the run; else as the cluster says")
flags.DEFINE_integer("process_id", None, "0 to num_processes - 1; else as the cluster says")
flags.DEFINE_integer("initialization_timeout", distributed.INITIALIZATION_TIMEOUT,
                     "seconds to wait for the other processes at the start")
flags.DEFINE_integer("heartbeat_timeout", distributed.HEARTBEAT_TIMEOUT,
                     "seconds after which a process that gives no sign of life counts as dead")
EXPLAINED = ("config", "mode", "workdir", *distributed.FLAGS, "initialization_timeout",
             "heartbeat_timeout")


def main(arguments: Sequence[str]) -> None:
    """Prepares devices, config, data and workdir; then trains or evaluates."""
    del arguments  # `parse_flags` has put them into FLAGS
    quiet_libraries()
    try:
        prepare_devices()
    except ValueError as error:
        stop(error)
    except RuntimeError as error:
        stop(error, exit_code=distributed.UNAVAILABLE)
    try:
        with contextlib.ExitStack() as held:
            try:
                config, workdir = prepare(held)
            except (ValueError, OSError) as error:
                stop(error)
            train_or_evaluate(config, workdir)
    except KeyboardInterrupt:
        again = "begins the evaluation anew" if FLAGS.mode == "evaluate" else (
            "goes on from the newest checkpoint, if there is one")
        print(f"Stopped by Ctrl-C. The same command {again}.", file=sys.stderr)
        sys.exit(signals.INTERRUPTED)


def train_or_evaluate(config: ConfigDict, workdir: str) -> None:
    """Does what --mode says; what goes wrong becomes one sentence and an exit code."""
    logging.info("%s of %s in %s on %d x %s.", FLAGS.mode, config.data.name, workdir,
                 jax.device_count(), jax.devices()[0].device_kind)
    try:
        if FLAGS.mode == "evaluate":
            metrics = evaluate.evaluate(config, workdir)
            step, split = config.eval.step, config.eval.split
        else:
            metrics = train.train(config, workdir)
            step, split = -1, config.eval.final_split
    except distributed.Preempted as error:
        logging.warning("%s The same command goes on from there.", error)
        sys.exit(error.exit_code)
    except train.NonFiniteError as error:
        stop(error, exit_code=1)
    except (checkpoint.UnreadableError, checkpoint_record.FormatError,
            configuration.DifferentConfigError, OSError) as error:
        stop(error)
    if metrics and config.eval.report:
        if jax.process_count() == 1:
            logging.info("To look at in a browser: %s",
                         report.write_report(workdir, step, split, config=config))
        else:  # it loads the model as one process does, which orbax would have all of them do
            logging.info("For a page to look at in a browser, run on one machine: python -m "
                         "parts_jax.report --workdir=%s", workdir)


def prepare(held: contextlib.ExitStack) -> tuple[ConfigDict, str]:
    """Returns config and workdir after all that can go wrong by the user's hand has been tried.

    Args:
      held: takes the workdir's lock, in training.

    Raises:
      ValueError, OSError: with a message for the user.
    """
    flag = FLAGS["config"]
    workdir = local_path.checked(
        FLAGS.workdir or default_workdir(flag.config_filename), "--workdir")
    if FLAGS.mode == "evaluate":
        workdir = shipped.named_model(workdir)
        check_writable(shipped.results_folder(workdir))
        trained = configuration.load(workdir)
        overrides = flag.override_values if flag.value is not None else {}
        config = configuration.for_evaluation(trained, overrides)
        if hasattr(flag, "config_filename"):
            configuration.check_file_of(trained, flag.value, overrides, workdir)
        config_rules.check(config, num_devices=None)
        use_precision(config)
        check_model(config)
        if config.eval.watch and jax.process_count() > 1:
            raise ValueError("config.eval.watch is True, but processes would not see a checkpoint "
                             "at the same time: it is for one process; this run has "
                             f"{jax.process_count()}.")
        if not config.eval.watch:
            checkpoint.choose_step(workdir, config.eval.step)
        config.data.prepared = prepare_data(config)
        check_data(config, None, config.eval.split)
        return config, workdir
    check_writable(workdir)
    shipped.check_may_train(workdir)
    config = flag.value
    config_rules.check(config, jax.device_count())
    use_precision(config)
    check_model(config)
    kept_data.keep_prepared(workdir, config)
    configuration.check_workdir(workdir, config)
    parameters_only.check_goes_on(workdir)
    init_from.check(config, workdir)
    config.data.prepared = prepare_data(config)
    check_data(config, config.data.train_split, config.eval.split, config.eval.final_split)
    with distributed.first_process_alone():
        if jax.process_index() == 0:
            held.enter_context(run_lock.hold(workdir))
            configuration.claim_workdir(workdir, config)
    return config, workdir


def use_precision(config: ConfigDict) -> None:
    """Switches JAX to float64 if that is the model's type, and else off."""
    jax.config.update("jax_enable_x64", config.model.get("dtype") == "float64")


def check_model(config: ConfigDict) -> None:
    """Raises a ValueError if the family cannot do what the config asks of it."""
    model = models.create(config)
    if config.optimizer.get("groups"):
        jax.eval_shape(optimizer.create(config).init,
                       jax.eval_shape(model.init, jax.random.key(0)))
    if config.eval.rollout_steps and model.predict is None:
        raise ValueError(f"eval.rollout_steps is {config.eval.rollout_steps}, but models of the "
                         f"family {config.model.name!r} predict no frames: it must be 0.")


def prepare_data(config: ConfigDict) -> str:
    """What `data.prepared` becomes; a ValueError if data are asked for where none can be."""
    for key in ("data_dir", "source_dir"):
        local_path.checked(config.data[key], f"data.{key}")
    local_path.checked(os.environ.get("TFDS_DATA_DIR", ""), "The variable TFDS_DATA_DIR")
    return pipeline.prepare(config.data)


def check_data(config: ConfigDict, train_split: str | None, *eval_splits: str) -> None:
    """Raises a ValueError if a split cannot be trained on, evaluated or rolled out as asked."""
    num_steps = config.eval.rollout_steps
    pipeline.check(config.data, train_split, eval_splits, config.data.action_size,
                   config.eval.burn_in if num_steps else 0, num_steps,
                   models.create(config).cues)


def check_writable(workdir: str | os.PathLike) -> None:
    """Raises an OSError if `workdir` cannot be written to, or not be created; writes nothing."""
    path = pathlib.Path(os.path.abspath(workdir))
    try:
        nearest = next(folder for folder in (path, *path.parents) if folder.exists())
    except OSError as error:  # such as of a name that is too long
        raise OSError(f"The workdir {str(workdir)!r} cannot be written to: {error.strerror}."
                      ) from error
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise OSError(f"The workdir {str(workdir)!r} cannot be written to: {str(nearest)!r} is not "
                      "a folder that one may write in.")


def default_workdir(path_and_variant: str) -> str:
    """Returns "runs/parts_clevrer-demo" for "configs/parts_clevrer.py:demo"."""
    path, _, variant = path_and_variant.partition(":")
    return os.path.join("runs", pathlib.Path(path).stem + (f"-{variant}" if variant else ""))


def prepare_devices() -> None:
    """Sets JAX up: where compiled programs are kept; on a cluster, who the other processes are.

    TERM from now on ends a process on its own with the exit code on which launchers start again, as
    nothing is lost before training begins; then `distributed.preemption_notice` takes it.
    """
    signals.leave_in_order()
    distributed.initialize(FLAGS.coordinator_address, FLAGS.num_processes, FLAGS.process_id,
                           FLAGS.initialization_timeout, FLAGS.heartbeat_timeout)
    if not jax.config.jax_compilation_cache_dir:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        jax.config.update("jax_compilation_cache_dir", os.path.join(cache, "parts_jax"))


def quiet_libraries() -> None:
    """Keeps libraries from telling what is no news; with --verbosity=1 they say all."""
    if FLAGS.verbosity <= 0:
        quiet.hush()


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line; a fault in it becomes one clear message and exit code 2."""
    if command_line.asks_for(argv, command_line.HELP):
        end(command_line.help_text(__doc__, EXPLAINED))
    if command_line.asks_for(argv, ("helpfull",)):
        end(FLAGS.get_help())
    if command_line.asks_for(argv, ("list",)):
        end(command_line.list_text(data.KNOWN_NAMES))
    try:
        command_line.parse(argv)
    except (flags.Error, ValueError, OSError) as error:
        stop(error)
    return list(argv[:1])


def end(text: str) -> NoReturn:
    """Prints what was asked for."""
    print(text)
    sys.exit(0)


def stop(error: Exception, exit_code: int = 2) -> NoReturn:
    """Prints what went wrong, with --verbosity=1 where, too, and exits; 2: by the user's hand."""
    if FLAGS.is_parsed() and FLAGS.verbosity >= 1:
        traceback.print_exception(error)
    print(f"Error: {error}", file=sys.stderr)
    sys.exit(exit_code)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
