"""What comes with the package: config files, and trained models, which are runs.

In a checkout they stand in the root, `configs/` and `pretrained/`; in an installed wheel, inside of
the package.
"""

import difflib
import os
import pathlib
import runpy

from parts_jax.files import local_path

PACKAGE = pathlib.Path(__file__).parents[1]
RESULTS = pathlib.Path("runs", "evaluations")  # of trained models that come with the package


def _folder(name: str, holds: str) -> pathlib.Path | None:
    """The folder of that name which holds a certain file; None if there is none."""
    for parent in (PACKAGE, PACKAGE.parent):
        if (parent / name / holds).exists():
            return parent / name
    return None


def config_files() -> list[pathlib.Path]:
    """The config files that come with the package, sorted."""
    folder = _folder("configs", "base.py")
    return [] if folder is None else sorted(
        path for path in folder.glob("*.py") if path.name not in ("base.py", "__init__.py"))


def variants(path: str | os.PathLike) -> tuple[str, ...]:
    """The variants that a config file has; it has to be importable where this is called."""
    return runpy.run_path(os.fspath(path)).get("VARIANTS", ())


def find_config(path_and_variant: str) -> str:
    """The same config, with ~ expanded, and with the path of one that comes with the package.

    Args:
      path_and_variant: "FILE" or "FILE:variant". Where there is no such file, FILE may be the name
        of one that comes with the package: "parts_clevrer", also as "configs/parts_clevrer.py".

    Raises:
      ValueError: FILE is no path of this machine.
    """
    path, colon, variant = path_and_variant.partition(":")
    if path_and_variant[len(path):].startswith(":/"):
        local_path.checked(path_and_variant, "--config")
    path = local_path.checked(path, "--config")
    if not os.path.isfile(path):
        names = {name for file in config_files()
                 for name in (file.stem, file.name, f"configs/{file.stem}", f"configs/{file.name}")}
        if path in names:
            stem = pathlib.Path(path).stem
            path = next(str(file) for file in config_files() if file.stem == stem)
    return f"{path}{colon}{variant}"


def trained_models() -> list[str]:
    """The names of the trained models that come with the package, sorted."""
    zoo = _zoo()
    return [] if zoo is None else sorted(
        path.name for path in zoo.iterdir() if (path / "config.json").is_file())


def _zoo() -> pathlib.Path | None:
    """The folder of the trained models; None if there is none."""
    return _folder("pretrained", "demo/config.json")


def find_model(path: str | os.PathLike, what: str = "The folder of the model") -> pathlib.Path:
    """A folder, with ~ expanded; or that of a trained model by its name, such as "demo".

    Args:
      path: of a folder, which comes first; or a name, also as "pretrained/demo". Where there is
        neither, it is returned all the same.
      what: names the path in the message.

    Raises:
      ValueError: it is no path of this machine.
    """
    found = pathlib.Path(os.path.abspath(local_path.checked(path, what)))
    if not found.exists():
        folder, name = os.path.split(os.fspath(path).removesuffix("/"))
        if folder in ("", "pretrained") and name in trained_models():
            return _zoo() / name
    return found


def names_hint(path: str | os.PathLike) -> str:
    """What to say behind a path where there is nothing: which names there are, and the nearest."""
    names = [] if os.path.lexists(path) else trained_models()
    near = difflib.get_close_matches(pathlib.PurePath(path).name, names, n=1, cutoff=0.5)
    nearest = f", of which the nearest is {near[0]!r}" if near else ""
    return f"; by name there is: {', '.join(names)}{nearest}" if names else ""


def named_model(workdir: str | os.PathLike) -> str:
    """A workdir as it was given, unless that is only the name of a trained model: its folder then.

    For commands that read a run: a folder of that name comes first. Training takes no names: there
    a workdir is where a run is made, or goes on.
    """
    return os.fspath(workdir) if os.path.lexists(workdir) else str(
        model if (model := find_model(workdir, "--workdir")).exists() else workdir)


def is_shipped(workdir: str | os.PathLike) -> bool:
    """Whether a folder is that of a trained model that comes with the package."""
    zoo = _zoo()
    return zoo is not None and pathlib.Path(workdir).resolve().parent == zoo.resolve()


def results_folder(workdir: str | os.PathLike) -> pathlib.Path:
    """Where evaluations and reports of a run are written: its own folder.

    Those of a trained model that comes with the package, which stays as it is, go to
    runs/evaluations/NAME below the current folder.
    """
    return RESULTS / pathlib.Path(workdir).resolve().name if is_shipped(workdir) else (
        pathlib.Path(workdir))


def check_may_train(workdir: str | os.PathLike) -> None:
    """Raises a ValueError if a workdir lies among the trained models that come with the package."""
    if is_shipped(workdir):
        raise ValueError(f"{os.fspath(workdir)!r} lies among the trained models that come with the "
                         "package, which stay as they are. Give another --workdir; a run starts "
                         "from the parameters of one by its name, such as "
                         "--config.train.init_from=demo.")


def card_line(name: str) -> str:
    """What the first line of a trained model's card says of it, behind its name; "" without one."""
    card = _zoo() / name / "README.md"
    if not card.is_file():
        return ""
    first = card.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
    return first.removeprefix(name).removeprefix(":").strip()
