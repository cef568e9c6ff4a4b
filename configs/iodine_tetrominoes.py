"""IODINE on Tetrominoes and on their simulated stand-in.

    python -m parts_jax.main --config=configs/iodine_tetrominoes.py        # the paper's setting
    ./launch/local.sh --config=configs/iodine_tetrominoes.py:demo --workdir=runs/tetrominoes

Variants (`--config=configs/iodine_tetrominoes.py:VARIANT`):

| variant           | data                                 | for                                   |
|-------------------|--------------------------------------|---------------------------------------|
| `paper` (default) | multi_object/tetrominoes, 35x35, K=4 | GPUs: the paper's appendix B          |
| `official`        | the same                             | the authors' code's choices           |
| `demo`            | sim_tetrominoes/demo, 35x35, K=4     | 2 CPU cores, half an hour             |
| `short`           | demo's, its first stage, 600 steps   | 2 CPU cores: to compare many runs     |
| `tiny`            | sim_tetrominoes/tiny, 35x35          | a smoke run: learns nothing           |

Measured results stand in docs/iodine.md. What the paper does not give is marked `ours`.
"""

import ml_collections

from configs import base

VARIANTS = ("paper", "official", "demo", "short", "tiny")
INPUTS = ("image", "means", "mask", "mask_logits", "means_gradient", "mask_gradient",
          "mask_posterior", "likelihood", "leave_one_out", "coordinates", "posterior",
          "posterior_gradient")


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Returns the config of a variant; a sibling starts from another and lists only differences."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/iodine_tetrominoes.py has no variant {variant!r}; "
                         f"it has: {', '.join(VARIANTS)}.")
    config = paper()
    if variant == "official":
        make_official(config)
    if variant == "demo":
        make_demo(config)
    if variant == "short":
        make_demo(config)
        keep_one_stage(config, steps=600)
    if variant == "tiny":
        make_tiny(config)
    return config


def paper() -> ml_collections.ConfigDict:
    """Appendix B.3: K=4, N=5, Adam 3e-4, clip 5, batch 32, a million steps."""
    config = base.get_base()
    config.data.name = "multi_object/tetrominoes"
    config.data.num_frames = 1           # T: images
    config.data.resolution = 35
    config.schedule.steps = (1_000_000,)
    config.schedule.resolution = (35,)
    config.schedule.learning_rate = (3e-4,)
    config.schedule.warmup_steps = (1,)
    config.schedule.final_scale = (1.0,)  # the paper's is constant
    config.train.unroll = 5              # iterations without a loop
    config.eval.num_sequences = 320      # images, as in the paper's evaluations
    config.eval.rollout_steps = 0        # images have no future
    config.eval.length = 0
    config.eval.best_by = ("miou_last_assigned", "neg_elbo")

    model = config.model = ml_collections.ConfigDict()
    model.name = "iodine"
    model.dtype = "float32"              # float32 | bfloat16: of convolutions, matrix products;
                                         # float64: of everything, to check the mathematics
    model.num_slots = 4                  # K
    model.slot_size = 32                 # D
    model.num_iterations = 5             # N of training ...
    model.test_iterations = 5            # ... and outside of it; not read of sequences
    model.restarts = 1                   # outside of training an image keeps the best of these ...
    model.fewest_slots = 0               # ... with K slots, K - 1, ..., this; 0: with K all
    model.sequential = False             # one frame of a video an iteration (appendix B.4)
    model.likelihood = "gaussian"        # gaussian | gaussian_per_channel | logistic
    model.sigma_x = 0.1                  # its scale (ours: the paper does not give it)
    model.sigma_scale = (1.0,)           # factor of sigma_x, one per stage of schedule
    model.posterior = "exp"              # exp | log_variance | softplus: models/iodine/objective.py
    model.log_std_offset = 0.0           # of exp: log sigma = parameter + offset
    model.beta = 1.0                     # weight of the KL ...
    model.beta_pixels = 35 * 35          # ... for so many pixels; it scales with H*W
    model.beta_scale = (1.0,)            # factor of beta, one per stage of schedule
    model.beta_warmup_steps = 0
    model.beta_warmup_start = 1.0
    model.weights = "linear"             # of L^(t): t / N | linear_from_first: (t + 1) / (N + 1)
    model.clamp = 0.0                    # of a sequence's gradients and updates in use; 0: none

    model.decoder = ml_collections.ConfigDict()
    model.decoder.kind = "broadcast"     # broadcast, the paper's | coordinates, that of PARTS
    model.decoder.channels = (32,) * 4
    model.decoder.kernel_size = 5
    model.decoder.colour = "full"        # of kind coordinates: networks/decoders.py
    model.decoder.frequencies = 0        # of kind coordinates ...
    model.decoder.centred = False        # ... coordinates from a centre that each slot has
    model.decoder.examples_at_once = 0   # decoded at a time, to fit a cache or a memory; 0: all

    model.refiner = ml_collections.ConfigDict()
    model.refiner.inputs = INPUTS        # the table of appendix B: models/iodine/inputs.py
    model.refiner.mask_gradient = "mask"             # mask | logits
    model.refiner.likelihood_form = "probability"    # probability | log
    model.refiner.through_decoder = False  # gradients through means and masks: a second decoding
    model.refiner.channels = (32,) * 3
    model.refiner.kernel_size = 5
    model.refiner.stride = 2
    model.refiner.cells = 1              # means over space, of so many parts a side
    model.refiner.glimpse = 0            # looks at M x M points around each slot's pixels; 0: no
    model.refiner.glimpse_spacing = 0.15  # of them, in a picture's halves
    model.refiner.mlp = (128,)
    model.refiner.lstm_size = 0          # 0: none
    model.refiner.head = "linear"        # linear | gated, of the authors' code for sequences
    model.refiner.update_scale = 1.0

    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.name = "adam"       # rmsprop | adam
    config.optimizer.decay = 0.999       # rmsprop's decay, adam's b2
    config.optimizer.momentum = 0.9      # rmsprop's momentum, adam's b1
    config.optimizer.clip_norm = 5.0
    config.optimizer.loss_per_pixel = False  # optimize the loss in nats per pixel, not per image
    config.optimizer.groups = ml_collections.ConfigDict()
    return config


def make_official(config: ml_collections.ConfigDict) -> None:
    """What the authors' code does and the paper does not say; batch 256."""
    config.model.likelihood = "logistic"
    config.model.sigma_x = 0.03
    config.model.posterior = "softplus"
    config.model.refiner.mask_gradient = "logits"
    config.model.refiner.likelihood_form = "log"
    config.optimizer.momentum = 0.95
    config.train.batch_size = 256
    config.schedule.final_scale = (0.1,)  # theirs falls to it by powers, here by a cosine


def make_demo(config: ml_collections.ConfigDict) -> None:
    """Two CPU cores, half an hour: the recipe by which PARTS learns there."""
    config.data.name = "sim_tetrominoes/demo"
    config.model.slot_size = 8           # with more, one slot holds two pieces of one colour
    config.model.test_iterations = 12
    config.model.restarts = 8            # one refinement in five leaves a piece without a slot
    config.model.fewest_slots = 4        # three pieces and the background
    config.model.sigma_x = 0.4           # with less, colours outweigh masks, and two pieces of one
    config.model.sigma_scale = (1.0, 1.0)  # colour share a slot
    config.model.log_std_offset = -1.0
    config.model.beta = 0.5
    config.model.beta_pixels = 64 * 64
    config.model.beta_warmup_steps = 500
    config.model.beta_warmup_start = 0.02
    config.model.decoder.kind = "coordinates"
    config.model.decoder.channels = (64,) * 3
    config.model.decoder.kernel_size = 1
    config.model.decoder.colour = "constant"
    config.model.decoder.frequencies = 4
    config.model.decoder.centred = True
    config.model.decoder.examples_at_once = 2
    config.model.refiner.mask_gradient = "logits"      # bounded, where that by masks is not
    config.model.refiner.likelihood_form = "log"
    config.model.refiner.channels = (16, 32)
    config.model.refiner.kernel_size = 3
    config.model.refiner.cells = 4
    config.model.refiner.glimpse = 8
    config.model.refiner.glimpse_spacing = 0.14  # so that it covers the longest piece
    config.model.refiner.mlp = (128,)
    config.model.refiner.lstm_size = 128
    config.model.refiner.update_scale = 0.3
    config.schedule.steps = (12_000, 1_000)
    config.schedule.resolution = (35, 35)
    config.schedule.learning_rate = (3e-3, 1e-3)
    config.schedule.warmup_steps = (100, 20)
    config.schedule.final_scale = (0.1, 0.1)
    config.model.beta_scale = (1.0, 1.0)
    config.train.pixels = (2, 1)         # 289, then all of an image's 1,225 pixels
    config.train.encoder_pooling = (1, 1)
    config.optimizer.decay = 0.99
    config.optimizer.clip_norm = 5.0
    config.optimizer.loss_per_pixel = True
    config.train.batch_size = 8
    config.train.evaluate_every = 4_000
    config.train.checkpoint_every = 1_000


def keep_one_stage(config: ml_collections.ConfigDict, steps: int) -> None:
    """The first stage alone, of so many steps."""
    stages = [(config.schedule, key) for key in config.schedule]
    stages += [(config.model, "beta_scale"), (config.train, "pixels"),
               (config.train, "encoder_pooling")]
    for part, key in stages:
        part[key] = part[key][:1]
    config.schedule.steps = (steps,)
    config.model.sigma_x *= config.model.sigma_scale[0]
    config.model.sigma_scale = (1.0,)


def make_tiny(config: ml_collections.ConfigDict) -> None:
    """A smoke run: everything that a run does, in seconds on one core; it learns nothing."""
    make_demo(config)
    keep_one_stage(config, steps=20)
    config.data.name = "sim_tetrominoes/tiny"
    config.model.slot_size = 4
    config.model.num_iterations = 2
    config.model.decoder.channels = (8,)
    config.model.refiner.channels = (4,)
    config.model.refiner.cells = 2
    config.model.refiner.glimpse = 3
    config.model.refiner.mlp = (8,)
    config.model.refiner.lstm_size = 8
    config.schedule.warmup_steps = (2,)
    config.model.test_iterations = 3
    config.model.restarts, config.model.fewest_slots = 1, 0
    config.model.beta_warmup_steps = 10
    config.train.unroll = 1
    config.train.log_every = 5
    config.train.evaluate_every = 10
    config.train.checkpoint_every = 10
    config.eval.batch_size = 8
    config.eval.num_sequences = 8
    config.eval.num_pictures = 4
