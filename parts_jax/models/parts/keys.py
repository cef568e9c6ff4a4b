"""What stands in `config.model` of PARTS: all its keys, and what each may be."""

import ml_collections

from parts_jax.models import rules
from parts_jax.networks import decoders

KEYS = {
    "name": rules.choice("parts"),
    "dtype": rules.choice("float32", "bfloat16", "float64"),
    "num_slots": rules.whole(1),
    "slot_size": rules.whole(1),
    "sigma_x": rules.positive(),
    "beta": rules.not_negative(),
    "beta_pixels": rules.whole(1),
    "beta_scale": rules.per_stage(0.0),
    "beta_warmup_steps": rules.whole(0),
    "beta_warmup_start": rules.share(),
    "num_refinements": rules.whole(1),
    "log_std_offset": rules.number(),
    "prior": rules.choice("fixed", "predictive", "latest"),
    "refiner": rules.choice("slot_attention", "per_slot"),
    "decoder.channels": rules.widths(),
    "decoder.kernel_size": rules.odd(),
    "decoder.colour": rules.choice(*decoders.COLOURS),
    "decoder.num_fields": rules.whole(1),
    "decoder.shade": rules.not_negative(),
    "decoder.examples_at_once": rules.whole(0),
    "decoder.frequencies": rules.whole(0),
    "encoder.channels": rules.widths(),
    "encoder.kernel_size": rules.odd(),
    "encoder.use_likelihood": rules.flag(),
    "encoder.output_size": rules.whole(1),
    "attention.size": rules.whole(1),
    "attention.top_down": rules.flag(),
    "attention.mlp": rules.widths(),
    "attention.update_scale": rules.not_negative(),
    "per_slot.channels": rules.widths(),
    "per_slot.kernel_size": rules.odd(),
    "per_slot.stride": rules.whole(1),
    "per_slot.mlp": rules.widths(),
    "per_slot.lstm_size": rules.whole(1),
    "per_slot.reset": rules.flag(),
    "per_slot.update_scale": rules.not_negative(),
    "transition.kind": rules.choice("transformer", "graph", "none"),
    "transition.effect_size": rules.whole(1),
    "transition.width": rules.whole(1),
    "transition.num_layers": rules.whole(0),
    "transition.num_heads": rules.whole(1),
    "transition.mlp_width": rules.whole(1),
    "transition.lstm_size": rules.whole(1),
    "transition.residual": rules.flag(),
    "transition.decay": rules.share(),
    "transition.normalise": rules.flag(),
    "transition.action_scale": rules.factors(),
}
# Keys that earlier runs did not have, and what they are gone on with.
LATER_KEYS = {
    "decoder.num_fields": 8, "transition.decay": 0.0,
    "transition.normalise": False, "transition.action_scale": (1.0,),
    "prior": "fixed", "refiner": "slot_attention", "per_slot.channels": (64,) * 4,
    "per_slot.kernel_size": 3, "per_slot.stride": 2, "per_slot.mlp": (256,),
    "per_slot.lstm_size": 256, "per_slot.reset": False, "per_slot.update_scale": 0.3,
    "transition.kind": "transformer", "transition.effect_size": 32}
SCORES_PIXELS = True  # the loss can be that of a subset of pixels, train.pixels
SCORES_UNSEEN = True  # frames can be predicted that are not seen, train.rollout


def check(config: ml_collections.ConfigDict) -> None:
    """Raises a ValueError for values that are allowed, but not together.

    Args:
      config: whole, with `KEYS` in `config.model`.
    """
    model, train = config.model, config.train
    scale = model.transition.action_scale
    if len(scale) not in (1, config.data.action_size):
        raise ValueError(
            f"model.transition.action_scale has {len(scale)} numbers, {scale}, but "
            f"data.action_size is {config.data.action_size}: it must have one number for all, or "
            "one for each number of an action.")
    for key in ("pixels", "encoder_pooling"):
        if max(train[key]) > 1 and model.decoder.kernel_size > 1:
            raise ValueError(
                f"train.{key} is {train[key]}, but model.decoder.kernel_size is "
                f"{model.decoder.kernel_size}: only a decoder that makes each pixel by itself, "
                "with kernel_size 1, can be trained on other pixels than the encoder sees; "
                f"train.{key} must be 1 in every stage with another.")
    if model.refiner == "per_slot" and train.pixels != train.encoder_pooling:
        raise ValueError(
            f"train.pixels is {train.pixels} and train.encoder_pooling is {train.encoder_pooling}, "
            "but model.refiner is 'per_slot', which sees the pixels that are explained and no "
            "others: the two must be the same in every stage.")
    if model.encoder.use_likelihood and train.pixels != train.encoder_pooling:
        raise ValueError(
            f"train.pixels is {train.pixels} and train.encoder_pooling is {train.encoder_pooling}, "
            "but model.encoder.use_likelihood shows the encoder the likelihood of the pixels, too: "
            "the two must be the same in every stage.")
    if model.transition.decay and not model.transition.residual:
        raise ValueError(
            f"model.transition.decay is {model.transition.decay}, but model.transition.residual is "
            "False: of a transition that predicts lambda itself nothing of the last lambda is kept "
            "that could decay; model.transition.decay must be 0 then.")
    _check_transition(model)


def _check_transition(model: ml_collections.ConfigDict) -> None:
    """Raises a ValueError for a transition, or a prior of it, that cannot be."""
    if model.transition.kind == "none":
        if not model.transition.residual or model.transition.decay:
            raise ValueError(
                f"model.transition.residual is {model.transition.residual} and "
                f"model.transition.decay is {model.transition.decay}, but model.transition.kind is "
                "'none': lambda of the last frame is that of the next then, and they must be True "
                "and 0.")
        if model.prior == "latest":
            raise ValueError(
                "model.prior is 'latest' and model.transition.kind is 'none', so that what is "
                "expected of a frame is the last posterior, and its KL to that is 0 whatever the "
                "model learns; model.prior must be 'fixed' or 'predictive' then.")
    width, heads = model.transition.width, model.transition.num_heads
    if width % heads:
        raise ValueError(f"model.transition.width is {width} and model.transition.num_heads is "
                         f"{heads}, but the width must be divisible by the number of heads.")
