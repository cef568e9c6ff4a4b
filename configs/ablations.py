"""Table 2 of the paper: from S-IODINE by way of OP3 to PARTS, each row a variant, at three sizes.

    python -m parts_jax.main --config=configs/ablations.py:op3_demo --workdir=runs/op3
    python -m benchmarks.paper table2 --size=demo --seeds=4       # all rows, and the table

Variants are ROW_SIZE. A row switches on what the paper's table has a column for, and nothing else:

| row                | slot attention | prior      | actions | prediction                    |
|--------------------|----------------|------------|---------|-------------------------------|
| `s_iodine`         |                | N(0, I)    |         | none: the last posterior      |
| `op3`              |                | predictive | yes     | OP3's graph network           |
| `sa_fixed`         | yes            | N(0, I)    |         | none: the last posterior      |
| `sa_actions`       | yes            | predictive | yes     | OP3's graph network           |
| `sa_actions_trx`   | yes            | predictive | yes     | transformer and slot-wise LSTM |
| `sa_fixed_actions` | yes            | N(0, I)    | yes     | OP3's graph network           |
| `parts`            | yes            | N(0, I)    | yes     | transformer and slot-wise LSTM |

Beside them `no_top_down`, for Figure 8: `parts`, whose queries see the posterior alone; and, for
Figure 6, `s_iodine_rollout`, `op3_rollout`, `parts_rollout`: trained as in section 4.2, four frames
seen and twelve predicted by actions alone; at `demo` they go on from the row's own run.

| size    | data                            | for                             |
|---------|---------------------------------|---------------------------------|
| `paper` | playroom/64, 64x64, T=16        | a pod                           |
| `small` | sim_playroom/small, 64x64, T=16 | one GPU                         |
| `demo`  | sim_playroom/demo, 32x32, T=16  | 2 CPU cores, ten minutes a row |

All rows of a size share data, decoder, widths, steps, and the order of the data; the convolutions
of the refiner are the encoder's, but for their strides. What the paper leaves open (what a row
without transformer predicts with) is `ours`. Hyper-parameters are PARTS' own, of
parts_playroom.py. What trains with prediction in mind there is left out: every frame is seen.
"""

import ml_collections

from configs import parts_playroom

ROWS = ("s_iodine", "op3", "sa_fixed", "sa_actions", "sa_actions_trx", "sa_fixed_actions", "parts")
SIZES = ("paper", "small", "demo")
ROLLED_OUT = tuple(f"{row}_rollout" for row in ("s_iodine", "op3", "parts"))
VARIANTS = tuple(f"{row}_{size}" for row in (*ROWS, "no_top_down", *ROLLED_OUT) for size in SIZES)


def get_config(variant: str = "parts_paper") -> ml_collections.ConfigDict:
    """Returns the config of a row at a size, which starts from parts_playroom's of that size."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/ablations.py has no variant {variant!r}; "
                         f"it has: {', '.join(VARIANTS)}.")
    row, _, size = variant.rpartition("_")
    config = parts_playroom.get_config(size)
    make_equal(config, size)
    switch(config, row.removesuffix("_rollout"))
    if row in ROLLED_OUT:
        roll_out(config, row.removesuffix("_rollout"), size)
    return config


def make_equal(config: ml_collections.ConfigDict, size: str) -> None:
    """What all rows of a size have: the widths of PARTS, of other networks too; frames all seen."""
    model = config.model
    model.per_slot.channels = model.encoder.channels
    model.per_slot.kernel_size = model.encoder.kernel_size
    model.per_slot.mlp = model.attention.mlp
    model.per_slot.lstm_size = model.transition.lstm_size
    model.per_slot.update_scale = model.attention.update_scale
    model.transition.effect_size = model.transition.width // 4  # as OP3's 32 of 128
    model.transition.normalise = True      # without it the LSTM shuts, and no action matters
    config.train.init_from = ""            # the attention of another run would favour its rows
    config.train.rollout = 0
    config.train.burn_in = (4, 4)
    config.train.rollout_share = 1.0
    if size == "demo":
        model.transition.action_scale = (2.0,)
        config.schedule.steps = (3_000, 400)
        config.schedule.learning_rate = (3e-3, 1e-3)
        config.schedule.warmup_steps = (100, 20)
        config.schedule.final_scale = (0.3, 0.1)
        config.data.train_frames = 12
        config.train.batch_size = 4
        config.train.pixels = (2, 1)           # in the end all: without attention, E_phi must have
        config.train.encoder_pooling = (2, 1)  # seen pictures of the size that it is tested on
        config.train.evaluate_every = 1_000
        config.eval.length = 0                 # Figure 7 looks at longer clips


def switch(config: ml_collections.ConfigDict, row: str) -> None:
    """Switches off what a row has not."""
    model, transition = config.model, config.model.transition
    if row in ("s_iodine", "op3"):
        model.refiner = "per_slot"
        model.per_slot.reset = row == "op3"    # as their codes: OP3's LSTM starts anew each frame
    if row in ("s_iodine", "sa_fixed"):
        config.data.action_size = 0
        transition.kind = "none"               # (ours)
        transition.residual = True
        transition.decay = 0.0
    if row in ("op3", "sa_actions", "sa_fixed_actions"):
        transition.kind = "graph"              # (ours)
    if row in ("op3", "sa_actions", "sa_actions_trx"):
        model.prior = "predictive"
    if row == "no_top_down":
        model.attention.top_down = False


def roll_out(config: ml_collections.ConfigDict, row: str, size: str) -> None:
    """Section 4.2: burn-in on 4 frames, 12 predicted; 15 in the evaluation."""
    config.data.train_frames = 0               # all 16
    config.train.rollout = 12
    config.eval.rollout_steps = 15
    if size == "demo":
        config.train.init_from = f"runs/paper/{row}_demo-0"
        config.schedule.steps = (900, 150)
        config.schedule.learning_rate = (2e-3, 1e-3)
        config.model.beta_scale = (2.0, 4.0)
        config.model.beta_warmup_steps = 1
