"""PARTS (Zoran et al., ICCV 2021) in JAX and Flax: splits video into objects and predicts it.

    import parts_jax
    model = parts_jax.load("runs/demo")                   # or a shipped model: load("demo")
    model.segment(video)

What stands in `HOME` is imported when it is first asked for, so that data can be prepared by
processes that need no model.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parts_jax.api.pretrained_model import PretrainedModel as PretrainedModel
    from parts_jax.api.pretrained_model import load as load
    from parts_jax.api.results import Prediction as Prediction
    from parts_jax.api.results import Segmentation as Segmentation
    from parts_jax.api.results import Traversal as Traversal

__version__ = "0.1.0"  # which setup.py reads here

HOME = {"load": "api.pretrained_model", "PretrainedModel": "api.pretrained_model",
        "Segmentation": "api.results", "Prediction": "api.results", "Traversal": "api.results"}
__all__ = ["PretrainedModel", "Prediction", "Segmentation", "Traversal", "load"]


if not TYPE_CHECKING:  # a type checker would take any name, misspelt ones as well, to be there
    def __getattr__(name: str) -> Any:
        if name not in HOME:
            raise AttributeError(f"module 'parts_jax' has no attribute {name!r}")
        return getattr(importlib.import_module(f"parts_jax.{HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOME})
