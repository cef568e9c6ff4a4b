"""What all experiments have: seed, data, schedule, training and evaluation, as for the paper's.

An experiment is a file beside this one: it starts from here, adds `model`, of which the family
that it names says the keys, and `optimizer`, and sets what differs.
"""

import ml_collections


def get_base() -> ml_collections.ConfigDict:
    """Returns a new config without model and optimizer."""
    config = ml_collections.ConfigDict()
    config.seed = 0

    data = config.data = ml_collections.ConfigDict()
    data.name = "clevrer"                # a TFDS name, with its builder config: "sim_clevrer/demo"
    data.data_dir = ""                   # where prepared sets are; empty: TFDS's own default
    data.source_dir = ""                 # folder with the files of a set that is made from yours
    data.prepared = ""                   # name of a prepared set, so that source_dir is not read
    data.download = True                 # whether a set that can be downloaded may be
    data.max_bytes = 4 * 2 ** 30         # that one of your files may take in memory once it is read
    data.skip_bad = False                # leave out episodes that cannot be read, and count them
    data.camera = ""                     # pictures of rlds and robotics_arm; empty: the variant's
    data.actions = ""                    # features of rlds, commas between them; empty: its own
    data.train_split = "train"
    data.num_frames = 25                 # T
    data.train_frames = 0                # T of training; 0: num_frames; more than a clip has: it is
                                         # played back and forth
    data.stride = 1                      # every stride-th frame of the video
    data.resolution = 64                 # H = W after resizing
    data.flip = False                    # left-right flips of whole clips in training
    data.action_size = 0                 # A; 0: no actions
    data.num_threads = 2                 # reading threads

    # One number per stage: coarse to fine with the same parameters and optimizer state.
    schedule = config.schedule = ml_collections.ConfigDict()
    schedule.steps = (400_000,)
    schedule.resolution = (64,)
    schedule.learning_rate = (2e-4,)
    schedule.warmup_steps = (2_500,)
    schedule.final_scale = (0.1,)        # cosine decay ends at this share of learning_rate
    schedule.train_frames = ()           # T of training ...
    schedule.batch_size = ()             # ... and clips of a batch; (): the same in every stage,
                                         # data.train_frames and train.batch_size, which else are
                                         # the greatest of these

    train = config.train = ml_collections.ConfigDict()
    train.batch_size = 32                # of all devices together
    train.pixels = (1,)                  # per stage: one pixel of each p x p block is explained
    train.encoder_pooling = (1,)         # per stage: of what the encoder sees in training
    # Section 4.2: after a burn-in so many frames are predicted and scored, and not seen; 0: none.
    train.rollout = 0
    train.burn_in = (4, 4)               # frames seen before it, from ... to; drawn
    train.rollout_share = 1.0            # of examples that have one
    train.truncation = 4                 # gradients of the state are cut every so many frames
    train.unroll = 1                     # frames without a loop; truncation: no loop at all
    train.log_every = 100
    train.evaluate_every = 5_000
    train.checkpoint_every = 5_000
    train.keep_checkpoints = 3           # the newest, beside the best
    train.max_bad_steps = 20             # so many not finite in a row stop it, at a log
    train.init_from = ""                 # another run, whose parameters a new one starts from ...
    train.init_from_step = -1            # ... and their step; -1: the newest; -2: the best

    evaluation = config.eval = ml_collections.ConfigDict()
    evaluation.step = -1                 # which checkpoint; -1: the newest; -2: the best
    # The first of these metrics that there is says which checkpoint is the best.
    evaluation.best_by = ("miou_last_assigned", "miou_last", "neg_elbo")
    evaluation.watch = False             # evaluate all, and go on as training writes more
    evaluation.split = "validation"      # during training and of --mode=evaluate
    evaluation.final_split = "test"      # evaluated once, after training
    evaluation.batch_size = 32           # of all devices together, which it is filled up to
    evaluation.num_sequences = 0         # 0: the whole split
    evaluation.num_pictures = 8
    evaluation.mask_boxes = False        # score boxes around masks, too: mask_ap_50, mask_ap, ...
    evaluation.report = True             # write report/index.html after evaluation
    evaluation.burn_in = 4               # frames that are seen before a roll-out (section 4) ...
    evaluation.rollout_steps = 15        # ... and predicted in it; 0: no roll-outs are evaluated
    evaluation.length = 200              # frames of long clips, scored one by one; 0: none are
    evaluation.length_clips = 16         # of so many of the split
    return config
