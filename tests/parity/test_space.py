"""SPACE's own numbers: its parts, and a whole step of training with the gradients.

Batch statistics stand in for batch norm's training mode. Weights are made by the formula that the
authors' code was given them by, see `weights_of`.
"""

import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from configs import space_rooms
from parts_jax.models.space import (
    annealing,
    background,
    composition,
    family,
    latents,
    model,
    spatial_transformer,
)

FOLDER = pathlib.Path(__file__).parent


def load(name):
    with np.load(FOLDER / f"space_{name}.npz", allow_pickle=False) as file:
        return dict(file)


def close(found, expected, tolerance=1e-4):
    """Within a share of the greatest number of an array."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def last(array):
    """Channels last."""
    return np.moveaxis(array, -3, -1)


# ---- Parts -----------------------------------------------------------------------------------


def test_glimpses_are_cut_out_and_put_back_as_theirs():
    data = load("spatial_transform")
    cut = spatial_transformer.extract(last(data["image"]), data["z_where"][:, None], 8)[:, 0]
    close(cut, last(data["extract"]))
    put = lambda where: spatial_transformer.place(last(data["glimpse"])[:, None], where[:, None],
                                                  (16, 16))[:, 0]
    close(put(data["z_where"]), last(data["place"]))
    weight = np.sin(0.3 * np.arange(data["place"].size)).reshape(data["place"].shape)
    gradient = jax.grad(lambda where: jnp.sum(put(where) * last(weight)))(data["z_where"])
    close(gradient, data["place_grad_z_where"])


def test_boundary_kernel():
    data = load("boundary_kernel")
    close(composition.boundary_kernel(int(data["kernel_size"]), int(data["boundary_width"]),
                                      "code"), data["kernel"])


def test_presence():
    data = load("pres")
    close(latents.presence_kl(data["logits"], data["prior_prob"]), data["kl"])
    logistic = np.log(data["uniform"]) - np.log1p(-data["uniform"])
    # Theirs goes by way of probabilities, whose distance from 1 float32 rounds.
    chance = 1 / (1 + np.exp(-data["logits"]))
    logits = np.log(chance) - np.log1p(-chance)
    np.testing.assert_allclose(logits, data["logits"], rtol=0.01)
    close(latents.relaxed_bernoulli(logits, logistic, data["tau"]), data["z_pres"])


def test_stick_breaking():
    data = load("stick_breaking")
    close(background.stick_breaking(data["masks_in"][:, :, 0]), data["masks_out"][:, :, 0])


def test_annealing():
    data = load("annealing")
    first, end, start, stop = data["start_end_from_to"]
    schedule = annealing.linear((start, stop, int(first), int(end)))
    close([schedule(step) for step in data["steps"]], data["values"])


def test_boxes():
    data = load("average_precision")
    boxes = spatial_transformer.boxes(data["z_where"])
    found = [(image, y0, y1, x0, x1, p) for image, (of_image, chance) in enumerate(
        zip(np.asarray(boxes), data["z_pres_prob"], strict=True))
        for (y0, x0, y1, x1), p in zip(of_image, chance, strict=True) if p > 0.5]
    close(np.array(found), data["boxes"])


# ---- A whole step ----------------------------------------------------------------------------


def weights_of(data):
    """Their parameters, by name, of the formula in their README."""
    params = {}
    for j, (name, shape) in enumerate(zip(data["param_names"], data["param_shapes"], strict=True)):
        shape = tuple(int(size) for size in str(shape).strip("()").split(",") if size.strip())
        stream = (1000 * int(data["weight_seed"]) + j + 1) * 2246822519
        x = (np.arange(np.prod(shape), dtype=np.uint64) * 2654435761 + stream) % 2**32
        x ^= x >> 15
        x = x * 2246822519 % 2**32
        x ^= x >> 13
        x = x * 3266489917 % 2**32
        x ^= x >> 16
        u = x.astype(np.float64) / 2**31 - 1
        leaf = str(name).rpartition(".")[2]
        if len(shape) >= 2:
            w = u * np.sqrt(3 / np.prod(shape[1:]))
        elif leaf.startswith("bias"):
            w = 0.1 * u
        elif leaf == "weight":
            w = 1 + 0.2 * u
        else:
            w = 0.5 * u
        params[str(name)] = w.reshape(shape).astype(np.float32)
    return params


def dense(params, name):
    return {"kernel": params[f"{name}.weight"].T, "bias": params[f"{name}.bias"]}


def flattened(params, name, size):
    """A linear layer after theirs flattened [C, size, size], as one after ours: [size, size, C]."""
    kernel = params[f"{name}.weight"]
    kernel = kernel.reshape(kernel.shape[0], -1, size, size).transpose(2, 3, 1, 0)
    return {"kernel": kernel.reshape(-1, kernel.shape[-1]), "bias": params[f"{name}.bias"]}


def convolution(params, name):
    return {"kernel": params[f"{name}.weight"].transpose(2, 3, 1, 0),
            "bias": params[f"{name}.bias"]}


def block(params, name, conv, norm):
    return {"conv": convolution(params, f"{name}.{conv}"),
            "norm": {"scale": params[f"{name}.{norm}.weight"],
                     "bias": params[f"{name}.{norm}.bias"]}}


def lstm(params, name):
    split = lambda leaf: jnp.split(params[f"{name}.{leaf}"], 4)
    tree = {}
    for gate, seen, kept, bias, other in zip(
            "ifgo", split("weight_ih"), split("weight_hh"), split("bias_ih"), split("bias_hh"),
            strict=True):
        tree |= {f"i{gate}": {"kernel": seen.T},
                 f"h{gate}": {"kernel": kept.T, "bias": bias + other}}
    return tree


def sub_pixel(params, name, stages, more=0):
    """Three layers a block, four where pixels are shuffled."""
    tree, at = {"first": block(params, name, 0, 2)}, 3
    for i in range(stages):
        tree |= {f"up_{i}": block(params, name, at, at + 3),
                 f"conv_{i}": block(params, name, at + 4, at + 6)}
        at += 7
    for i in range(more):
        tree[f"last_{i}"] = block(params, name, at, at + 2)
        at += 3
    return tree


def foreground_of(params):
    encoder, glimpses = "fg_module.img_encoder", "fg_module.z_what_net.enc_cnn"
    tree = {f"image_encoder_{i}": block(params, f"{encoder}.enc", 3 * i, 3 * i + 2)
            for i in range(5)}
    tree |= {"image_features": block(params, f"{encoder}.enc", 15, 17),
             "joined": block(params, f"{encoder}.enc_cat", 0, 2)}
    tree |= {f"lateral_{i}": block(params, f"{encoder}.enc_lat", 3 * i, 3 * i + 2)
             for i in range(2)}
    tree |= {ours: convolution(params, f"{encoder}.z_{theirs}_net") for ours, theirs in
             {"presence": "pres", "depth": "depth", "scale": "scale", "shift": "shift"}.items()}
    tree |= {f"glimpse_encoder_{i}": block(params, glimpses, 3 * i, 3 * i + 2) for i in range(6)}
    tree["what"] = dense(params, "fg_module.z_what_net.enc_what")
    tree["glimpse_decoder"] = sub_pixel(params, "fg_module.glimpse_dec.dec", 5)
    tree |= {"colours": convolution(params, "fg_module.glimpse_dec.dec_o"),
             "alpha": convolution(params, "fg_module.glimpse_dec.dec_alpha")}
    return tree


def background_of(params):
    encoder = lambda name, size: {
        **{f"conv_{i}": block(params, f"bg_module.{name}.enc", 3 * i, 3 * i + 1)
           for i in range(4)}, "output": flattened(params, f"bg_module.{name}.enc.13", size)}
    tree = {"image_encoder": encoder("image_enc", 8), "component_encoder": encoder(
        "comp_encoder", 8), "mask_decoder": sub_pixel(params, "bg_module.mask_decoder.dec", 4, 1),
        "mask_output": convolution(params, "bg_module.mask_decoder.dec.34"),
        "component_output": convolution(params, "bg_module.comp_decoder.decoder.12"),
        "mask_lstm": lstm(params, "bg_module.rnn_mask"),
        "mask_prior_lstm": lstm(params, "bg_module.rnn_mask_prior"),
        "mask_posterior": dense(params, "bg_module.predict_mask.fc"),
        "mask_prior": dense(params, "bg_module.predict_mask_prior.fc")}
    tree |= {f"component_decoder_{i}": block(
        params, "bg_module.comp_decoder.decoder", 3 * i, 3 * i + 1) for i in range(4)}
    tree |= {f"component_prior_{i}": dense(params, f"bg_module.predict_comp_prior.mlp.{2 * i}")
             for i in range(3)}
    starts = {"first_mask": "z_mask_0", "start_hidden": "rnn_mask_h", "start_cell": "rnn_mask_c",
              "prior_start_hidden": "rnn_mask_h_prior", "prior_start_cell": "rnn_mask_c_prior"}
    return tree | {ours: params[f"bg_module.{theirs}"] for ours, theirs in starts.items()}


def noise_of(data):
    images, cells, components = len(data["image_u8"]), int(data["G"]) ** 2, int(data["K"])
    after = components + 1  # a draw a mask, and one of all components together
    draw = lambda i: data[f"noise{after + i}_normal"]
    uniform = data[f"noise{after}_uniform"][..., 0]
    return {"mask": np.stack([data[f"noise{k}_normal"] for k in range(components)], axis=1),
            "component": data[f"noise{components}_normal"].reshape(images, components, -1),
            "presence": np.log(uniform) - np.log1p(-uniform),
            "depth": draw(1), "scale": draw(2), "shift": draw(3),
            "what": draw(4).reshape(images, cells, -1)}


@pytest.fixture(scope="module")
def stepped():
    """(their file, our loss, what is seen of it, gradients by their parameters)."""
    data = load("full_forward")
    config = ml_collections.ConfigDict(space_rooms.get_config("code").to_dict())
    config.model.foreground.grid = int(data["G"])
    config.model.background.num_components = int(data["K"])
    config.model.background.norm = "batch"
    config.model.foreground.presence_prior = (0.1, 0.01, 4000, 10000)
    space, values = family.build(config), annealing.values_at(config)(int(data["global_step"]))
    x = last(data["image_u8"]).astype(np.float32) / 255

    def loss(theirs):
        variables = {"params": {"foreground": foreground_of(theirs),
                                "background": background_of(theirs)}}
        losses, scene, metrics = space.apply(variables, x, noise_of(data), values)
        glimpses = space.apply(variables, scene, method="glimpses")
        decoded, cells = space.apply(variables, scene, x.shape[1:3], method="decode")
        return jnp.mean(losses), (scene, metrics, glimpses, decoded, cells)

    params = weights_of(data)
    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, seen), gradients = step(params)
    return data, *jax.device_get((value, seen, gradients))


def test_loss_and_its_parts_are_theirs(stepped):
    data, loss, (_, metrics, *_), _ = stepped
    close(loss, data["loss"], 1e-3)
    pixels = data["image_u8"][0].size
    for ours, theirs in {"kl_what": "kl_z_what", "kl_presence": "kl_z_pres",
                         "kl_scale": "kl_z_scale", "kl_shift": "kl_z_shift",
                         "kl_depth": "kl_z_depth", "kl_background": "kl_bg",
                         "boundary": "boundary_loss"}.items():
        close(metrics[ours], data[theirs], 1e-3)
    close(-metrics["nll"], data["log_like"], 1e-3)
    close(metrics["mse"] * pixels, data["mse"], 1e-3)


def test_latents_are_theirs(stepped):
    data, _, (scene, *_), _ = stepped
    close(scene.where, data["z_where"], 1e-3)
    close(scene.presence, data["z_pres"][..., 0], 1e-3)
    close(scene.depth, data["z_depth"][..., 0], 1e-3)
    close(scene.probability, data["z_pres_prob"][..., 0], 1e-3)


def test_pictures_are_theirs(stepped):
    data, _, (_, _, glimpses, decoded, cells), _ = stepped
    shown = decoded.foreground
    seen = lambda name: last(data[name])
    close(shown.mean[:, ::8, ::8], seen("fg"), 5e-3)
    close(shown.alpha[:, ::8, ::8], data["alpha_map"][:, 0], 5e-3)
    close(decoded.background[:, ::8, ::8], seen("bg"), 1e-3)
    close(model.picture(decoded, shown.alpha)[:, ::8, ::8], seen("y"), 5e-3)
    close(1000 * shown.boundary[:, ::8, ::8], data["boundary_map"][:, 0], 1e-3)
    close(decoded.masks[:, :, ::8, ::8], data["masks"][:, :, 0], 1e-3)
    close(decoded.components[:, :, ::8, ::8], seen("comps"), 1e-3)
    # Theirs are of all B N glimpses in one row, of which the file has the first eight.
    colours = glimpses.colours.reshape(-1, *glimpses.colours.shape[2:])
    close(colours[:8, ::4, ::4], seen("o_att"), 1e-3)
    alpha = (glimpses.alpha / glimpses.presence[..., None, None]).reshape(-1, 32, 32)
    close(alpha[:8, ::4, ::4], data["alpha_att"][:, 0], 1e-3)
    np.testing.assert_allclose(cells.sum(axis=1), shown.alpha, atol=1e-5)


def test_gradients_have_the_norms_of_theirs(stepped):
    data, _, _, gradients = stepped
    names = [str(name) for name in data["param_names"]]
    assert len(names) == 238
    # A bias before a norm over the batch has no gradient: theirs is what rounding left.
    unread = [name for name in names if name.startswith("bg_module") and name.endswith(".bias")
              and dict(zip(names, data["grad_norms"], strict=True))[name] < 0.1]
    assert len(unread) == 12
    for name, expected in zip(names, data["grad_norms"], strict=True):
        found = np.linalg.norm(gradients[name])
        if expected < 0:
            assert found == 0, name
        elif name in unread:
            assert found < 1, name
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-3, err_msg=name)
