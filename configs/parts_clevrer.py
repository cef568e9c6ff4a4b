"""PARTS on CLEVRER and on its simulated stand-in.

    python -m parts_jax.main --config=configs/parts_clevrer.py        # the paper's setting
    ./launch/local.sh --config=configs/parts_clevrer.py:demo --workdir=runs/demo

Variants (`--config=configs/parts_clevrer.py:VARIANT`):

| variant            | data                          | for                      |
|--------------------|-------------------------------|--------------------------|
| `paper` (default)  | clevrer, 64x64, T=25, K=7     | a pod                    |
| `small`            | sim_clevrer/small, 64x64, T=8 | one GPU, under an hour   |
| `hd`               | sim_clevrer/medium_128, 128x128, T=8 | 2 CPU cores             |
| `laptop`           | sim_clevrer/medium, 64x64, T=8 | 2 CPU cores              |
| `demo`             | sim_clevrer/demo, 32x32, T=8  | 2 CPU cores, some minutes |
| `mixed`            | sim_clevrer/mixed, 32x32, T=8 | 2 CPU cores: colours that repeat |
| `predict`          | sim_clevrer/demo_long, 32x32, T=20 | 2 CPU cores: the future, section 4.2 |
| `demo_full_colour` | demo's, the paper's decoder   | 2 CPU cores, ten minutes |
| `tiny`             | sim_clevrer/tiny, 16x16, T=4  | a smoke run of seconds: learns nothing |

Measured results stand in README.md. What the paper does not give is marked `ours`.
"""

import ml_collections

from configs import base

VARIANTS = ("paper", "small", "hd", "laptop", "demo", "mixed", "predict", "demo_full_colour",
            "tiny")


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Returns the config of a variant; a sibling starts from another and lists only differences."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/parts_clevrer.py has no variant {variant!r}; "
                         f"it has: {', '.join(VARIANTS)}.")
    config = paper()
    if variant == "small":
        make_small(config)
    if variant == "laptop":
        make_laptop(config)
    if variant == "hd":
        make_hd(config)
    if variant == "demo":
        make_demo(config)
    if variant == "mixed":
        make_mixed(config)
    if variant == "predict":
        make_predict(config)
    if variant == "demo_full_colour":
        make_demo_full_colour(config)
    if variant == "tiny":
        make_tiny(config)
    return config


def paper() -> ml_collections.ConfigDict:
    """The paper's setting: K=7, T=25, beta=0.5, N=1, RMSProp, clip 5.0, truncation 4."""
    config = base.get_base()
    model = config.model = ml_collections.ConfigDict()
    model.name = "parts"
    model.dtype = "float32"              # float32 | bfloat16: of convolutions, matrix products;
                                         # float64: of everything, to check the mathematics
    model.num_slots = 7                  # K
    model.slot_size = 64                 # D (ours)
    model.sigma_x = 0.3                  # standard deviation of the pixel likelihood (ours)
    model.beta = 0.5                     # weight of the KL in (7) ...
    model.beta_pixels = 64 * 64          # ... for so many pixels; it scales with H*W
    model.beta_scale = (1.0,)            # factor of beta, one per stage of schedule
    model.beta_warmup_steps = 5_000
    model.beta_warmup_start = 0.02
    model.num_refinements = 1            # N
    model.log_std_offset = -2.0          # posterior log sigma = parameter + offset (ours)
    model.prior = "fixed"                # fixed | predictive | latest: models/parts/model.py
    model.refiner = "slot_attention"     # slot_attention | per_slot, as IODINE and OP3 have it

    model.decoder = ml_collections.ConfigDict()
    model.decoder.channels = (512,) * 5  # (ours)
    model.decoder.kernel_size = 3
    model.decoder.colour = "full"        # full | constant | affine | quadratic | shaded | fields:
                                         # networks/decoders.py
    model.decoder.num_fields = 8         # of the colour "fields"
    model.decoder.shade = 0.5            # of a shaded colour: how far it goes from 1, up and down
    model.decoder.examples_at_once = 0   # decoded at a time, to fit a cache or a memory; 0: all
    model.decoder.frequencies = 0        # of sines and cosines added to the coordinates

    model.encoder = ml_collections.ConfigDict()
    model.encoder.channels = (64, 128, 128, 256, 256)
    model.encoder.kernel_size = 5
    model.encoder.use_likelihood = True  # the log-likelihood image is an input, as in the paper
    model.encoder.output_size = 128      # channels of O

    model.attention = ml_collections.ConfigDict()
    model.attention.size = 128           # D_q, of queries, keys and values
    model.attention.top_down = True      # gradient and action shape the queries
    model.attention.mlp = (256, 256)     # update MLP after attention
    model.attention.update_scale = 0.3   # initial scale of its last layer

    model.per_slot = ml_collections.ConfigDict()  # of the refiner of that name
    model.per_slot.channels = (64,) * 4
    model.per_slot.kernel_size = 3
    model.per_slot.stride = 2
    model.per_slot.mlp = (256,)
    model.per_slot.lstm_size = 256
    model.per_slot.reset = False         # its LSTM starts anew in every frame, as OP3's
    model.per_slot.update_scale = 0.3

    model.transition = ml_collections.ConfigDict()
    model.transition.kind = "transformer"  # transformer | graph, as OP3 has it | none
    model.transition.effect_size = 32    # of a graph's actions, and effects of slots on slots
    model.transition.width = 1024
    model.transition.num_layers = 2
    model.transition.num_heads = 8
    model.transition.mlp_width = 2048
    model.transition.lstm_size = 256
    model.transition.residual = True     # predict lambda + change, or lambda itself
    model.transition.decay = 0.0         # of lambda in it: (1 - decay) lambda + change (ours)
    model.transition.normalise = False   # what the LSTM is given, and log sigma in its range (ours)
    model.transition.action_scale = (1.0,)  # of its actions: for all numbers, or for each (ours)

    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.name = "rmsprop"    # rmsprop | adam
    config.optimizer.decay = 0.9         # rmsprop's decay, adam's b2
    config.optimizer.momentum = 0.0      # rmsprop's momentum, adam's b1
    config.optimizer.clip_norm = 5.0
    config.optimizer.loss_per_pixel = False  # optimize the loss in nats per pixel, not per frame
    config.optimizer.groups = ml_collections.ConfigDict()  # parameters with rules of their own:
                                         # NAME: prefix, name, decay, momentum, learning_rate_scale
    return config


def make_small(config: ml_collections.ConfigDict) -> None:
    """One GPU, under an hour: sim_clevrer at 64x64, 3-5 objects."""
    make_demo(config)
    config.data.name = "sim_clevrer/small"
    config.data.num_frames = 8
    config.data.train_frames = 0
    config.train.pixels = (1, 1)
    config.train.encoder_pooling = (1, 1)
    config.train.rollout = 0
    config.train.burn_in = (4, 4)
    config.train.rollout_share = 1.0
    config.model.transition.decay = 0.0
    config.data.resolution = 64
    config.model.num_slots = 6
    config.model.slot_size = 32
    config.model.decoder.channels = (128,) * 4
    config.model.decoder.examples_at_once = 0
    config.model.encoder.channels = (32,) * 4
    config.model.encoder.kernel_size = 5
    config.model.encoder.output_size = 64
    config.model.attention.size = 64
    config.model.transition.width = 128
    config.model.transition.mlp_width = 256
    config.model.transition.lstm_size = 128
    config.schedule.steps = (10_000, 20_000)
    config.schedule.resolution = (32, 64)
    config.schedule.learning_rate = (1e-3, 5e-4)
    config.schedule.warmup_steps = (500, 200)
    config.schedule.final_scale = (0.3, 0.1)
    config.model.beta_scale = (1.0, 0.3)
    config.model.beta_warmup_steps = 2_000
    config.train.batch_size = 32
    config.train.evaluate_every = 2_000
    config.train.checkpoint_every = 2_000
    config.eval.rollout_steps = 15


def make_laptop(config: ml_collections.ConfigDict) -> None:
    """Two CPU cores: sim_clevrer at 64x64, 3-5 objects, the demo's model."""
    make_demo(config)
    config.data.name = "sim_clevrer/medium"
    config.data.resolution = 64
    config.data.train_frames = 14
    config.model.num_slots = 6
    config.model.decoder.examples_at_once = 1
    config.model.transition.decay = 0.2
    config.train.rollout = 11            # as demo: a quarter sees 3 frames at the least
    config.train.burn_in = (3, 13)
    config.train.batch_size = 6
    config.train.pixels = (4,)           # 256 of a frame's 4,096 pixels
    config.train.encoder_pooling = (4,)
    config.schedule.steps = (3_500,)
    config.schedule.resolution = (64,)
    config.schedule.learning_rate = (3e-3,)
    config.schedule.warmup_steps = (100,)
    config.schedule.final_scale = (0.05,)
    config.model.beta_scale = (1.0,)
    config.eval.num_sequences = 128
    config.eval.length_clips = 8


def make_hd(config: ml_collections.ConfigDict) -> None:
    """Two CPU cores: the same at 128x128, from the parameters of pretrained/laptop."""
    make_laptop(config)
    config.data.name = "sim_clevrer/medium_128"
    config.data.resolution = 128
    config.train.init_from = "laptop"    # from scratch, "", it needs some 6,000 steps, and is worse
    config.train.pixels = (8, 4)         # 256, then 1,024 of a frame's 16,384 pixels
    config.train.encoder_pooling = (8, 4)
    config.train.evaluate_every = 5_000  # an evaluation costs as much as a thousand steps
    config.train.checkpoint_every = 600
    config.eval.length_clips = 2         # 16 times the pixels of demo
    config.schedule.steps = (1_200, 600)
    config.schedule.resolution = (128, 128)
    config.schedule.learning_rate = (2e-3, 1e-3)
    config.schedule.warmup_steps = (100, 50)
    config.schedule.final_scale = (0.3, 0.1)
    config.model.beta_scale = (1.0, 2.0)
    config.model.beta_warmup_steps = 1


def make_demo(config: ml_collections.ConfigDict) -> None:
    """Two CPU cores, some minutes: sim_clevrer at 32x32, 2-3 large objects."""
    config.data.name = "sim_clevrer/demo"
    config.data.num_frames = 8
    config.data.train_frames = 16        # clips have 8: what is never seen in training may diverge
    config.data.resolution = 32
    config.data.flip = False             # the light comes from the left: mirrored clips are others
    config.model.num_slots = 4
    config.model.slot_size = 24
    config.model.sigma_x = 0.12
    config.model.decoder.channels = (64,) * 3
    config.model.decoder.kernel_size = 1
    config.model.decoder.colour = "affine"
    config.model.decoder.frequencies = 3
    config.model.decoder.examples_at_once = 2
    config.model.encoder.channels = (16,) * 3
    config.model.encoder.kernel_size = 3
    config.model.encoder.use_likelihood = False
    config.model.encoder.output_size = 32
    config.model.attention.size = 32
    config.model.attention.mlp = (64,)
    config.model.transition.width = 64
    config.model.transition.num_layers = 1
    config.model.transition.num_heads = 4
    config.model.transition.mlp_width = 128
    config.model.transition.lstm_size = 64
    config.model.transition.decay = 0.1
    config.schedule.steps = (3_300, 1_200)
    config.schedule.resolution = (32, 32)
    config.schedule.learning_rate = (3e-3, 1.5e-3)
    config.schedule.warmup_steps = (100, 50)
    config.schedule.final_scale = (0.3, 0.1)
    config.model.beta_scale = (1.0, 4.0)  # in the end, so that fewer spare slots cut an object
    config.model.beta_warmup_steps = 500
    config.optimizer.name = "adam"
    config.optimizer.decay = 0.99
    config.optimizer.momentum = 0.9
    config.optimizer.clip_norm = 1.0
    config.optimizer.loss_per_pixel = True
    config.train.batch_size = 4
    config.train.pixels = (4, 2)         # 64, then 256 of a frame's 1,024 pixels
    config.train.encoder_pooling = (2, 2)
    config.train.rollout = 13            # a quarter of the examples sees 3 to 15 frames only
    config.train.burn_in = (3, 15)
    config.train.rollout_share = 0.25
    config.train.evaluate_every = 1_000
    config.train.checkpoint_every = 1_000
    config.eval.rollout_steps = 4        # clips have 8 frames


def make_mixed(config: ml_collections.ConfigDict) -> None:
    """Two CPU cores: demo's model, of scenes that colour cannot take apart, from its parameters."""
    make_demo(config)
    config.data.name = "sim_clevrer/mixed"
    config.train.init_from = "demo"
    config.data.train_frames = 14
    config.model.num_slots = 5
    config.model.decoder.colour = "shaded"  # affine times a shade: a shadow is part of the floor
    config.model.transition.decay = 0.2
    config.train.rollout = 11            # as demo: a quarter sees 3 frames at the least
    config.train.burn_in = (3, 13)
    config.train.batch_size = 6
    config.schedule.steps = (4_000, 1_500)
    config.schedule.learning_rate = (3e-3, 1e-3)
    config.model.beta_scale = (1.0, 2.0)
    config.model.beta_warmup_steps = 1


def go_on_with_actions(config: ml_collections.ConfigDict, variant: str) -> None:
    """What the demos of arm and playroom share: from the parameters of pretrained/mixed."""
    config.train.init_from = "mixed"
    config.model.decoder.colour = "shaded"
    config.data.train_frames = 14
    config.model.beta_warmup_steps = 500
    config.schedule.steps = (6_000,)
    if variant in ("demo", "predict"):
        config.schedule.steps = (3_000, 1_500)
        config.schedule.learning_rate = (3e-3, 1.5e-3)
    config.train.evaluate_every = 1_500
    config.eval.rollout_steps = 15


def go_on_to_predict(config: ml_collections.ConfigDict, seen: int) -> None:
    """A second run, for the future: half of its examples see `seen` frames or more, then none."""
    config.model.transition.normalise = True
    config.model.transition.decay = 0.02
    config.train.rollout = config.data.train_frames - seen
    config.train.burn_in = (seen, config.data.train_frames - 1)
    config.train.rollout_share = 0.5
    config.eval.rollout_steps = 15


def go_on_to_act(config: ml_collections.ConfigDict, run: str) -> None:
    """The same with actions, from a run without: its transition never heeded them, is left new."""
    config.train.init_from = run
    go_on_to_predict(config, seen=2)
    config.model.transition.width = 96       # in the run it is 64: nothing of it fits
    config.model.transition.lstm_size = 96
    config.model.beta_warmup_steps = 500
    config.model.sigma_x = 0.08
    config.schedule.steps = (2_500, 1_000)


def make_predict(config: ml_collections.ConfigDict) -> None:
    """Two CPU cores: demo's world in clips of 24 frames, from the parameters of pretrained/demo."""
    make_demo(config)
    config.data.name = "sim_clevrer/demo_long"
    config.data.num_frames = 24
    config.data.train_frames = 20
    config.train.init_from = "demo"
    go_on_to_predict(config, seen=3)
    config.model.decoder.colour = "shaded"
    config.model.sigma_x = 0.07
    config.model.beta_warmup_steps = 1
    config.schedule.steps = (2_500, 1_500)
    config.schedule.learning_rate = (3e-3, 1e-3)
    config.train.evaluate_every = 2_500
    config.eval.num_sequences = 128


def make_demo_full_colour(config: ml_collections.ConfigDict) -> None:
    """Two CPU cores, ten minutes: the paper's decoder on the demo's set, on pooled frames first."""
    make_demo(config)
    config.data.num_frames = 6
    config.data.train_frames = 0
    config.model.slot_size = 16
    config.model.sigma_x = 0.2
    config.model.decoder.colour = "full"
    config.model.decoder.frequencies = 2
    config.model.transition.decay = 0.0
    config.train.batch_size = 8
    config.train.pixels = (1, 1)
    config.train.encoder_pooling = (1, 1)
    config.train.rollout = 0
    config.train.burn_in = (4, 4)
    config.train.rollout_share = 1.0
    config.schedule.steps = (4_000, 2_800)
    config.model.beta_scale = (1.0, 1.0)
    config.schedule.resolution = (16, 32)
    config.schedule.learning_rate = (3e-3, 2e-3)


def make_tiny(config: ml_collections.ConfigDict) -> None:
    """A smoke run: everything that a run does, in seconds on one core; it learns nothing."""
    make_demo(config)
    config.data.name = "sim_clevrer/tiny"
    config.data.num_frames = 4
    config.data.resolution = 16
    config.model.num_slots = 3
    config.model.slot_size = 4
    config.model.decoder.channels = (8, 8)
    config.model.encoder.channels = (4,)
    config.model.encoder.output_size = 8
    config.model.attention.size = 8
    config.model.attention.mlp = (8,)
    config.model.transition.width = 8
    config.model.transition.num_heads = 2
    config.model.transition.mlp_width = 8
    config.model.transition.lstm_size = 8
    config.data.train_frames = 6
    config.train.rollout = 3
    config.train.burn_in = (3, 5)
    config.train.pixels = (2,)
    config.train.encoder_pooling = (1,)
    config.schedule.steps = (20,)
    config.schedule.resolution = (16,)
    config.schedule.learning_rate = (3e-3,)
    config.schedule.warmup_steps = (2,)
    config.schedule.final_scale = (0.1,)
    config.model.beta_scale = (1.0,)
    config.model.beta_warmup_steps = 10
    config.train.log_every = 5
    config.train.evaluate_every = 10
    config.train.checkpoint_every = 10
    config.eval.batch_size = 8
    config.eval.num_pictures = 4
    config.eval.rollout_steps = 2
    config.eval.length = 20
    config.eval.length_clips = 4
