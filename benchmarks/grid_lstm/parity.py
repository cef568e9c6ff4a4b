"""Gradients of the 2D-LSTM model against those of the authors' code: norms, parameter by parameter.

    python -m benchmarks.grid_lstm.parity

Prints a line a parameter of `tests/parity/provide_full_forward.npz`: the norm of the gradient of
the whole loss there and here, and by what share they differ; ends with an error where that is more
than a thousandth. It is a script, and no test, as it takes a minute of two busy cores.
"""

import jax
import jax.numpy as jnp
import numpy as np
from absl import app

from parts_jax.models.grid_lstm import family
from tests.parity import test_provide as vectors

MOST = 1e-3  # of the norm, which the README of the vectors gives for their own rounding


def norms_here(data: dict[str, np.ndarray]) -> dict[str, float]:
    """Norms of this project's gradients, under the names of the authors' parameters.

    Their three offsets of the 2D-LSTM are one here, with the gradient of each.
    """
    config = vectors.authors_config(data)
    made, clip = family.build(config), vectors.clip_of(data, config)
    params = jax.tree.map(jnp.asarray, vectors.whole(vectors.weights(data),
                                                     config.model.slot_size))
    loss = lambda params: vectors.walk(made, params, clip)[0] / len(clip.video)
    gradient = jax.device_get(jax.grad(loss)(params))
    decoder, refiner, prior = (gradient[name] for name in ("decoder", "refiner", "prior"))
    layers = {f"decoder.conv_layer.{2 * i}": decoder["body"][f"layer_{i}"] for i in range(5)}
    layers |= {f"decoder.pre_mlp.{2 * i}": decoder[f"condition_{i}"] for i in range(2)}
    layers |= {f"refine_net.convnet.model.{2 * i}": refiner[f"conv_{i}"] for i in range(4)}
    layers |= {"refine_net.fc_in.0": refiner["summary"], "refine_net.fc_out": refiner["update"],
               "prior.0": prior["hidden"], "prior_mean": prior["mean"],
               "prior_var.0": prior["log_std"]}
    lstm = refiner["lstm"]
    layers |= {f"refine_net.lstm.W_{theirs}": {"kernel": lstm[ours]["kernel"],
                                               "bias": lstm["x"]["bias"]}
               for theirs, ours in (("x", "x"), ("hor", "time"), ("ver", "refine"))}
    norm = lambda *arrays: float(np.sqrt(sum(np.sum(np.square(a, dtype=np.float64))
                                             for a in arrays)))
    found = {"lmbda0": norm(gradient["start_mean"], gradient["start_log_variance"])}
    for name, layer in layers.items():
        found |= {f"{name}.weight": norm(layer["kernel"]), f"{name}.bias": norm(layer["bias"])}
    return found


def main(arguments) -> None:
    """Prints the table."""
    del arguments
    data = vectors.load("full_forward")
    found, wrong = norms_here(data), []
    for name, theirs in zip(data["param_names"], data["grad_norms"], strict=True):
        if theirs < 0 or str(name).startswith("feature_extractor"):
            continue  # no gradient, or of the network that was replaced by zeros
        ours = found[str(name)]
        share = abs(ours - theirs) / theirs
        print(f"{name:36} {theirs:14.6g} {ours:14.6g} {share:9.1e}")
        if share > MOST:
            wrong.append(str(name))
    if wrong:
        raise SystemExit(f"The gradients of {', '.join(wrong)} are not the authors'.")


if __name__ == "__main__":
    app.run(main)
