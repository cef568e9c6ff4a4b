"""PARTS (Zoran et al., ICCV 2021) in JAX and Flax: splits video into objects and predicts it.

    import parts_jax
    model = parts_jax.load("runs/demo")
    model.segment(video)

What stands in `HOME` is imported when it is first asked for, so that data can be prepared by
processes that need no model.
"""

import importlib

HOME = {"load": "api.pretrained_model", "PretrainedModel": "api.pretrained_model",
        "Segmentation": "api.results", "Prediction": "api.results", "Traversal": "api.results"}
__all__ = sorted(HOME)


def __getattr__(name: str):
    if name not in HOME:
        raise AttributeError(f"module 'parts_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(f"parts_jax.{HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOME})
