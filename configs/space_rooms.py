"""SPACE on 3D rooms, and on their simulated stand-in.

    python -m parts_jax.main --config=configs/space_rooms.py           # the paper's setting
    ./launch/local.sh --config=configs/space_rooms.py:demo --workdir=runs/rooms

Variants (`--config=configs/space_rooms.py:VARIANT`):

| variant           | data                                  | for                               |
|-------------------|---------------------------------------|-----------------------------------|
| `paper` (default) | sim_rooms/large, 128x128, 16x16 cells | GPUs: the paper's appendix D.2    |
| `small`           | sim_rooms/small, 128x128, 8x8 cells   | GPUs: the other half of Table 1   |
| `code`            | as `paper`                            | the authors' code's choices       |
| `spair`           | as `small`                            | SPAIR's sequential cells, K = 1   |
| `genesis`         | as `small`                            | the background alone, K = 12      |
| `demo`            | sim_rooms/demo, 64x64, 8x8 cells      | 2 CPU cores, half an hour         |
| `demo_spair`      | as `demo`                             | the same beside it                |
| `demo_genesis`    | as `demo`, K = 10                     | the same beside it                |
| `tiny`            | sim_rooms/tiny, 16x16, 2x2 cells      | a smoke run: learns nothing       |

What the paper does not give is marked `ours`; where paper and code differ, see docs/space.md.
"""

import ml_collections

from configs import base

VARIANTS = ("paper", "small", "code", "spair", "genesis", "demo", "demo_spair", "demo_genesis",
            "tiny")


def get_config(variant: str = "paper") -> ml_collections.ConfigDict:
    """Returns the config of a variant; a sibling starts from another and lists only differences."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/space_rooms.py has no variant {variant!r}; "
                         f"it has: {', '.join(VARIANTS)}.")
    config = paper()
    if variant in ("small", "spair", "genesis"):
        config.data.name = "sim_rooms/small"
        config.model.foreground.grid = 8
    if variant == "code":
        make_code(config)
    if variant.startswith("demo"):
        make_demo(config)
    if variant.endswith("spair"):
        make_spair(config)
    if variant.endswith("genesis"):
        make_genesis(config, num_components=10 if variant.startswith("demo") else 12)
    if variant == "tiny":
        make_tiny(config)
    return config


def paper() -> ml_collections.ConfigDict:
    """The table 3D Room Large of appendix D.2, and the paper's equations."""
    config = base.get_base()
    config.data.name = "sim_rooms/large"
    config.data.num_frames = 1           # T: images
    config.data.resolution = 128
    config.schedule.steps = (160_000,)   # of the authors' code
    config.schedule.resolution = (128,)
    config.schedule.learning_rate = (1e-5,)
    config.schedule.warmup_steps = (1,)
    config.schedule.final_scale = (1.0,)  # the paper's is constant
    config.train.batch_size = 12
    config.eval.batch_size = 12
    config.eval.num_sequences = 500      # images, as the authors' code validates
    config.eval.rollout_steps = 0        # images have no future
    config.eval.length = 0
    config.eval.best_by = ("ap_50", "miou_last", "neg_elbo")  # the paper's is average precision

    model = config.model = ml_collections.ConfigDict()
    model.name = "space"
    model.dtype = "float32"              # float32 | bfloat16: of convolutions, matrix products;
                                         # float64: of everything, to check the mathematics
    model.image_size = 128               # of what networks see: 16 | 32 | 64 | 128 | 256
    model.width = 1.0                    # of all networks, as a share of the paper's
    model.beta_pixels = 0                # KLs are of so many pixels, else in proportion; 0: of any
    model.beta_scale = (1.0,)            # factor of the KLs, one per stage of schedule (ours)
    model.beta_warmup_steps = 0
    model.beta_warmup_start = 1.0
    model.sigma_scale = (1.0,)           # factors of sigma_x, one per stage (ours)
    model.spread_offset = 0.0            # before the softplus of posteriors' deviations (ours)
    model.likelihood = "per_channel"     # per_channel | joint: of a pixel's mixtures

    # (m, n, p, q) is the paper's (m -> n) : (p -> q): m up to step p, n from step q on.
    model.foreground = ml_collections.ConfigDict()
    model.foreground.cells = "parallel"  # parallel | sequential, as in SPAIR | none: no foreground
    model.foreground.grid = 16           # G
    model.foreground.glimpse_size = 32   # g: 8 | 16 | 32
    model.foreground.what_size = 32
    model.foreground.sigma_x = 0.15
    model.foreground.temperature = (2.0, 2.0, 0, 0)              # tau
    model.foreground.presence_prior = (0.1, 0.01, 4000, 10000)   # rho
    model.foreground.scale_mean = (-1.0, -2.0, 10000, 20000)     # before the sigmoid
    model.foreground.scale_std = 0.1
    model.foreground.kl_gate = "presence"    # presence | none: models/space/latents.py
    model.foreground.depth_order = "code"    # code | paper: models/space/composition.py

    model.background = ml_collections.ConfigDict()
    model.background.num_components = 5  # K
    model.background.mask_size = 32
    model.background.component_size = 32
    model.background.sigma_x = 0.15
    model.background.decoder = "broadcast"   # broadcast | strong, which the code has for K = 1
    model.background.norm = "group"          # group | batch: models/space/blocks.py

    model.alpha = ml_collections.ConfigDict()
    model.alpha.fixed_steps = 0          # so long likelihood and picture have a constant alpha
    model.alpha.fixed_value = 0.1

    model.boundary = ml_collections.ConfigDict()
    model.boundary.form = "code"         # code | paper | none: models/space/composition.py
    model.boundary.gap = 6               # b
    model.boundary.weight = 1.0
    model.boundary.steps = 100_000       # so long it is in the loss (of the authors' code)

    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.name = "rmsprop"    # of the foreground
    config.optimizer.decay = 0.99
    config.optimizer.momentum = 0.0
    config.optimizer.clip_norm = 1.0
    config.optimizer.loss_per_pixel = False  # optimize the loss in nats per pixel, not per image
    config.optimizer.groups = ml_collections.ConfigDict(dict(background=dict(
        prefix="background", name="adam", decay=0.999, momentum=0.9,
        learning_rate_scale=100.0)))     # 1e-3
    return config


def make_code(config: ml_collections.ConfigDict) -> None:
    """What the authors' code has otherwise; its norms are `background.norm = "batch"`."""
    config.model.foreground.temperature = (2.5, 0.5, 0, 20000)
    config.model.foreground.kl_gate = "none"


def make_spair(config: ml_collections.ConfigDict) -> None:
    """Cells one after the other, and one background; docs/space.md says what differs."""
    config.model.foreground.cells = "sequential"
    config.model.background.num_components = 1
    config.model.background.decoder = "strong"
    config.model.boundary.form = "none"


def make_genesis(config: ml_collections.ConfigDict, num_components: int) -> None:
    """No cells: components explain all, objects too; docs/space.md says what differs."""
    config.model.foreground.cells = "none"
    config.model.background.num_components = num_components  # ours: the most objects, and 4
    config.eval.best_by = ("miou_last", "neg_elbo")


def make_demo(config: ml_collections.ConfigDict) -> None:
    """Two CPU cores, half an hour; nothing of it is tuned yet (docs/space.md)."""
    config.data.name = "sim_rooms/demo"
    config.data.resolution = 64
    config.schedule.resolution = (64,)
    config.schedule.steps = (6_000,)
    config.schedule.learning_rate = (1e-4,)
    config.train.log_every = 50
    config.train.evaluate_every = 1_000
    config.train.checkpoint_every = 1_000
    config.eval.num_sequences = 100
    config.model.image_size = 64
    config.model.width = 0.5
    config.model.foreground.grid = 8
    config.model.foreground.glimpse_size = 16
    config.model.foreground.temperature = (2.5, 0.5, 0, 4000)
    config.model.foreground.presence_prior = (0.1, 0.01, 800, 2000)
    config.model.foreground.scale_mean = (-1.0, -1.5, 2000, 4000)
    config.model.foreground.kl_gate = "none"
    config.model.boundary.gap = 3
    config.optimizer.groups.background.learning_rate_scale = 10.0


def make_tiny(config: ml_collections.ConfigDict) -> None:
    """A smoke run of seconds."""
    make_demo(config)
    config.data.name = "sim_rooms/tiny"
    config.data.resolution = 16
    config.schedule.resolution = (16,)
    config.schedule.steps = (12,)
    config.train.batch_size = 4
    config.train.log_every = 4
    config.train.evaluate_every = 6
    config.train.checkpoint_every = 6
    config.eval.batch_size = 4
    config.eval.num_sequences = 4
    config.eval.num_pictures = 2
    config.model.image_size = 16
    config.model.width = 0.1
    config.model.foreground.grid = 2
    config.model.foreground.glimpse_size = 8
    config.model.foreground.what_size = 8
    config.model.background.num_components = 2
    config.model.boundary.gap = 1
