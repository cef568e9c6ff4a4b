"""What comes with the package: config files, and trained models, which are runs.

In a checkout they stand in the root, `configs/` and `pretrained/`; in an installed wheel, inside of
the package.
"""

import os
import pathlib
import runpy

from parts_jax.files import local_path

PACKAGE = pathlib.Path(__file__).parents[1]


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
    folder = _folder("pretrained", "demo/config.json")
    return [] if folder is None else sorted(
        path.name for path in folder.iterdir() if (path / "config.json").is_file())


def find_model(path: str | os.PathLike) -> pathlib.Path:
    """A folder, with ~ expanded; or that of a trained model by its name, such as "demo".

    Args:
      path: of a folder, which comes first; or a name.

    Raises:
      ValueError: it is no path of this machine.
    """
    found = pathlib.Path(os.path.abspath(local_path.checked(path, "The folder of the model")))
    if not found.exists() and os.fspath(path) in trained_models():
        return _folder("pretrained", "demo/config.json") / os.fspath(path)
    return found
