"""OP3's own numbers of its dynamics and of a schedule of refinements, by the networks of this one.

The schedule is put together here as their code has it, with what no row of Table 2 has: a variance
of 3 sigma^2 with a constant of its own, 1e-12 and 1e-8 under logarithm and fraction, softplus for
standard deviations, coordinates to the edge, and an output that replaces lambda.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parts_jax.equations import gaussian, pixel_mixture
from parts_jax.equations.notation import Gaussian, PixelMixture
from parts_jax.models.parts import per_slot, transition

FOLDER = pathlib.Path(__file__).parent
NETWORKS = {  # of GraphNetwork, by their names of it
    "inertia_encoder": "inertia", "action_encoder": "action",
    "action_effect_network": "action_effect", "action_attention_network": "action_gate",
    "pairwise_encoder_network": "pair", "interaction_effect_network": "effect",
    "interaction_attention_network": "gate", "final_merge_network": "merge",
    "det_output": "deterministic", "lambdas1_output": "mean", "lambdas2_output": "log_std"}
NORMS = ("mask_gradient", "likelihood", "leave_one_out", "mean_gradient")  # in their order


def load(name):
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        data = dict(file)
    params = {key[6:]: data.pop(key) for key in list(data) if key.startswith("param.")}
    return data, params


def dense(params, name):
    return {"kernel": params[f"{name}.weight"].T, "bias": params[f"{name}.bias"]}


def graph_of(params, prefix, det_size):
    """Their dynamics as ours: the module, and its parameters."""
    names = {theirs: ours for theirs, ours in NETWORKS.items()
             if f"{prefix}{theirs}.last_fc.bias" in params}
    shape = lambda name, axis: params[f"{prefix}{name}.weight"].shape[axis]
    module = transition.GraphNetwork(
        width=shape("inertia_encoder.last_fc", 0),
        effect_size=shape("interaction_effect_network.last_fc", 0), state_size=det_size,
        action_size=shape("action_encoder.fcs.0", 1) if "action_encoder" in names else 0,
        output_size=2 * shape("lambdas1_output.last_fc", 0))
    return module, {ours: {"hidden": dense(params, f"{prefix}{theirs}.fcs.0"),
                           "output": dense(params, f"{prefix}{theirs}.last_fc")}
                    for theirs, ours in names.items()}


def refiner_of(params):
    """Their refinement network as ours, with the norms of images that stand outside of theirs."""
    of = lambda leaf, name=None: params[f"refinement_net.{leaf}"]
    count = lambda layer: sum(f"refinement_net.{layer}.{i}.bias" in params for i in range(9))
    convs, mlps = count("conv_layers"), count("fc_layers")
    module = per_slot.PerSlotRefiner(
        channels=[of(f"conv_layers.{i}.bias").shape[0] for i in range(convs)],
        kernel_size=of("conv_layers.0.weight").shape[-1], stride=1,
        mlp=[of(f"fc_layers.{i}.bias").shape[0] for i in range(mlps)],
        lstm_size=of("lstm.weight_hh_l0").shape[1],
        update_size=2 * of("last_fc.bias").shape[0], update_scale=1.0)
    tree = {f"conv_{i}": {"kernel": of(f"conv_layers.{i}.weight").transpose(2, 3, 1, 0),
                          "bias": of(f"conv_layers.{i}.bias")} for i in range(convs)}
    tree |= {f"mlp_{i}": dense(params, f"refinement_net.fc_layers.{i}") for i in range(mlps)}
    tree |= {f"norm_{name}": {"scale": params[f"layer_norms_2d.{i}.gamma"],
                              "offset": params[f"layer_norms_2d.{i}.beta"]}
             for i, name in enumerate(NORMS)}
    split = lambda leaf: jnp.split(of(f"lstm.{leaf}_l0"), 4)
    gates = zip("ifgo", split("weight_ih"), split("weight_hh"), split("bias_ih"),
                split("bias_hh"), strict=True)
    tree["lstm"] = {}
    for gate, seen, kept, bias, other in gates:
        tree["lstm"] |= {f"i{gate}": {"kernel": seen.T},
                         f"h{gate}": {"kernel": kept.T, "bias": bias + other}}
    heads = [dense(params, f"refinement_net.{name}") for name in ("last_fc", "last_fc2")]
    tree["update"] = jax.tree.map(lambda *halves: jnp.concatenate(halves, -1), *heads)
    return module, tree


def test_dynamics_are_those_of_op3():
    data, params = load("op3_dynamics")
    num_slots, det_size = int(data["K"]), int(data["det_size"])
    module, tree = graph_of(params, "", det_size)
    rows = lambda name: jnp.asarray(data[name]).reshape(-1, num_slots, data[name].shape[-1])
    state = rows("state")
    parts = [state[..., det_size:], *([rows("action")] if "action" in data else [])]
    output, hidden = jax.jit(module.apply)(
        {"params": tree}, jnp.concatenate(parts, -1), state[..., :det_size])
    mean, rho = jnp.split(output, 2, axis=-1)
    for found, name in ((mean, "lambda_mean"), (rho, "lambda_softplus"),
                        *([(hidden, "deterministic")] if det_size else [])):
        np.testing.assert_allclose(found, rows(name), rtol=1e-4, atol=1e-5)


class Schedule:
    """Their `run_schedule`, of one set of parameters in their layout."""

    def __init__(self, data, params):
        self.data, self.params = data, params
        self.num_slots, self.det_size = int(data["K"]), int(data["det_size"])
        self.sigma = float(data["sigma"]) * 3 ** 0.5
        self.constant = (2 * np.pi) ** 1.5 * self.sigma**3 / (float(data["sigma"]) ** 3 * 248.05)
        images = jnp.asarray(data["images"]).transpose(0, 1, 3, 4, 2)
        self.frames, self.size = images, images.shape[2]
        axis = np.linspace(-1, 1, self.size, dtype=np.float32)
        self.grid = np.stack(np.meshgrid(axis, axis), axis=-1)  # x, y
        self.graph, self.refiner = graph_of(params, "dynamics_net.", self.det_size), refiner_of(
            params)

    def posterior(self, mean, rho):
        return Gaussian(mean, 0.5 * jnp.log(jax.nn.softplus(jnp.minimum(rho, 80)) + 1e-5))

    def decode(self, det, mean, rho, noise):
        sample = gaussian.sample(self.posterior(mean, rho), noise)
        z = jnp.concatenate([det, sample], axis=-1)
        pixels = (*z.shape[:2], self.size, self.size)
        h = jnp.concatenate([jnp.broadcast_to(z[:, :, None, None], (*pixels, z.shape[-1])),
                             jnp.broadcast_to(self.grid, (*pixels, 2))], axis=-1)
        h = h.reshape(-1, *h.shape[2:])
        layers = sum(f"decode_net.broadcast_net.conv_layers.{i}.bias" in self.params
                     for i in range(9))
        for i in range(layers):
            name = f"decode_net.broadcast_net.conv_layers.{i}"
            h = jax.lax.conv_general_dilated(
                jax.nn.elu(h) if i else h, self.params[f"{name}.weight"], (1, 1), "SAME",
                dimension_numbers=("NHWC", "OIHW", "NHWC"))
            h = h + self.params[f"{name}.bias"].reshape(1, 1, 1, -1)
        h = h.reshape(*z.shape[:2], *h.shape[1:])
        return PixelMixture(h[..., :3], h[..., 3]), sample

    def loss(self, mixture, q, prior, frame):
        """(total, nll, kl), means over the batch."""
        found = self.constant * jnp.exp(pixel_mixture.log_prob(mixture, frame, self.sigma))
        nll = -jnp.sum(jnp.log(found + 1e-12)) / len(frame)
        kl = jnp.sum(gaussian.kl(q, prior)) / len(frame)
        return nll + float(self.data["beta"]) * kl, nll, kl

    def images(self, mixture, frame):
        """Ours, with what they add to logarithm and fraction."""
        images = per_slot.images_of(mixture, frame, self.sigma)
        densities = self.constant * jnp.exp(
            pixel_mixture.component_log_prob(mixture, frame, self.sigma)
            - jax.nn.log_softmax(mixture.mask_logits, axis=1))
        posterior = densities / (jnp.sum(densities, axis=1, keepdims=True) + 1e-8)
        likelihood = self.constant * images.normalised["likelihood"]
        factor = likelihood / (likelihood + 1e-12) / len(frame)
        normalised = dict(
            mask_gradient=images.normalised["mask_gradient"] * factor, likelihood=likelihood,
            leave_one_out=self.constant * images.normalised["leave_one_out"],
            mean_gradient=images.normalised["mean_gradient"] * factor)
        plain = jnp.concatenate([images.plain[..., :8], posterior[..., None]], axis=-1)
        return per_slot.SlotImages(plain, normalised, jnp.broadcast_to(
            self.grid, (*posterior.shape, 2)))

    def refine(self, state, frame, noise):
        """lambda anew, from images of what is decoded, and from its gradient."""
        det, mean, rho, prior, memory = state
        mixture, sample = self.decode(det, mean, rho, noise)

        def loss(mean, rho):
            return self.loss(self.decode(det, mean, rho, noise)[0], self.posterior(mean, rho),
                             prior, frame)[0]

        gradient = jax.lax.stop_gradient(jax.grad(loss, (0, 1))(*jax.lax.stop_gradient(
            (mean, rho))))
        norm = per_slot.ImageNorm(num_axes=1, epsilon=1e-6)
        normalised = [norm.apply({"params": {
            "scale": self.params[f"layer_norms_1d.{i}.scale_param"],
            "offset": self.params[f"layer_norms_1d.{i}.center_param"]}}, g)
            for i, g in enumerate(gradient)]
        vectors = jnp.concatenate([*normalised, mean, rho, sample], axis=-1)
        images = self.images(mixture, frame)
        module, tree = self.refiner
        update, memory = module.apply(
            {"params": tree}, images, vectors, jnp.zeros((*mean.shape[:2], 0)), memory)
        return (det, *jnp.split(update, 2, axis=-1), prior, memory), (images, vectors)

    def dynamics(self, state, action, noise):
        det, mean, rho, _, memory = state
        parts = [gaussian.sample(self.posterior(mean, rho), noise)]
        if action is not None:
            parts.append(jnp.broadcast_to(action[:, None], (*mean.shape[:2], action.shape[-1])))
        module, tree = self.graph
        output, det = module.apply({"params": tree}, jnp.concatenate(parts, -1), det)
        mean, rho = jnp.split(output, 2, axis=-1)
        return (det, mean, rho, self.posterior(mean, rho), jax.tree.map(jnp.zeros_like, memory))

    def run(self):
        """(total, everything that the file has)."""
        data, size = self.data, (len(self.frames), self.num_slots)
        spread = lambda name: jnp.broadcast_to(self.params[name], (*size, len(self.params[name])))
        mean, rho = spread("initial_lambdas1"), spread("initial_lambdas2")
        det = spread("inital_deter_state") if self.det_size else jnp.zeros((*size, 0))
        prior = self.posterior(jnp.zeros_like(mean), jnp.full_like(mean, np.log(np.e - 1)))
        state = (det, mean, rho, prior, self.refiner[0].initial_hidden(*size))
        frame, losses, seen, decoded = 0, [], [], [(mean, rho)]
        losses.append(self.loss(self.decode(det, mean, rho, data["noise0"])[0],
                                self.posterior(mean, rho), prior, self.frames[:, 0]))
        for i, kind in enumerate(data["schedule"]):
            noise = data[f"noise{i}"]
            if kind == 0:
                state, inputs = self.refine(state, self.frames[:, frame], noise)
                seen.append(inputs)
            else:
                action = data["actions"][:, frame] if "actions" in data else None
                state, frame = self.dynamics(state, action, noise), frame + 1
            det, mean, rho, prior, _ = state
            mixture, _ = self.decode(det, mean, rho, data[f"noise{i + 1}"])
            losses.append(self.loss(mixture, self.posterior(mean, rho), prior,
                                    self.frames[:, frame]))
            decoded.append((mean, rho))
        weights = data["loss_schedule"] / data["loss_schedule"].sum()
        total = sum(w * loss[0] for w, loss in zip(weights, losses[1:], strict=True))
        return total, (losses, seen, decoded, mixture)


@pytest.fixture(scope="module")
def schedule():
    data, params = load("op3_schedule")
    take = jax.jit(jax.value_and_grad(lambda p: Schedule(data, p).run(), has_aux=True))
    (total, found), gradients = jax.device_get(take(params))
    return data, total, found, gradients


def close(found, expected, tolerance=1e-3):
    """Within a share of the greatest number of an array."""
    np.testing.assert_allclose(found, expected, rtol=tolerance,
                               atol=tolerance * np.abs(expected).max())


def test_the_refinement_network_sees_what_op3s_saw(schedule):
    data, _, (_, seen, _, _), _ = schedule
    for (images, vectors), channels, expected in zip(
            seen, data["refine_inputs"], data["refine_extra"], strict=True):
        plain = images.plain.reshape(-1, *images.plain.shape[2:]).transpose(0, 3, 1, 2)
        close(plain, channels[:, :9])
        close(vectors.reshape(expected.shape), expected)


def test_losses_and_posteriors_of_the_schedule_are_op3s(schedule):
    data, total, (losses, _, decoded, mixture), _ = schedule
    close(total, data["total_loss"])
    _, nll, kl = map(np.asarray, zip(*losses, strict=True))
    close(nll, data["nll_per_loss"])
    close(kl, data["kl_per_loss"])
    assert kl[list(data["schedule"]).index(1) + 1] == pytest.approx(0, abs=1e-6)  # a prediction's
    for found, expected in zip(decoded, data["posterior_lambda_per_decode"], strict=True):
        close(np.concatenate(found, axis=-1), expected)
    recon = np.asarray(pixel_mixture.mean(mixture)).transpose(0, 3, 1, 2)
    close(recon, data["final_recon"])


def test_gradients_of_the_schedule_are_op3s(schedule):
    data, _, _, gradients = schedule
    names = [name for name in data if name.startswith("grad.")]
    assert len(names) > 40
    for name in names:
        expected, found = data[name], np.asarray(gradients[name[5:]])
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert error < 1e-3, (name, error)
