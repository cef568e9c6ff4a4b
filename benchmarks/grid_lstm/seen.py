"""What a run of any family makes of clips, frame by frame: what all tables here are made of.

IODINE that was trained on images is used in two ways, as in the paper: on each frame by itself; and
as SEQ-IODINE, one frame an iteration, with gradients and updates clamped to 10 (appendix A.3).
"""

import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from benchmarks.paper import clips
from parts_jax import models
from parts_jax.api import inference
from parts_jax.data import pipeline, preprocess
from parts_jax.evaluation import stages
from parts_jax.metrics import segmentation
from parts_jax.models import contract
from parts_jax.runs import checkpoint, configuration

SCORES = {"ari": "ARI", "fg_ari": "F-ARI", "fg_ari_assigned": "F-ARI, assigned", "mse": "MSE"}
PUBLISHED = ("ari", "fg_ari", "mse")  # those of the paper's tables
DIGITS = {"mse": 5}  # of others: 3
CLAMP = 10.0
# What may differ between the seeds of one row of a table.
OF_A_SEED = ("seed", "data.prepared", *configuration.FREE_KEYS)


class Run(NamedTuple):
    """A trained model, and the way in which it is used.

    Attributes:
      name: of its folder.
      kind: what it is called in tables, such as "SEQ-IODINE".
      config: of the run, as it is used.
      model: by the contract of families.
      params: its parameters.
      step: of training.
    """

    name: str
    kind: str
    config: ml_collections.ConfigDict
    model: contract.Model
    params: Any
    step: int


class Frames(NamedTuple):
    """What a model shows of B clips of T frames by its last stage.

    Attributes:
      mse: [B, T].
      ids: the slot of the greatest mask, [B, T, H, W].
      assigned: the slot that explains a pixel best, the same; None: the family has no such thing.
    """

    mse: np.ndarray
    ids: np.ndarray
    assigned: np.ndarray | None = None


def uses(workdir: str | pathlib.Path, step: int = checkpoint.NEWEST) -> list[Run]:
    """A run in each way in which it can be used: one; two of IODINE that was trained on images.

    Raises:
      ValueError: it cannot be read.
      FileNotFoundError: there is no such run or checkpoint.
    """
    trained, name = clips.load(workdir, step), pathlib.Path(workdir).name
    as_it_is = lambda kind: Run(name, kind, *trained)
    if trained.config.model.name != "iodine":
        return [as_it_is(trained.config.model.name)]
    if trained.config.model.sequential:
        return [as_it_is("IODINE, trained on sequences")]
    config = trained.config.copy_and_resolve_references().unlock()
    config.model.sequential, config.model.num_iterations, config.model.clamp = True, 1, CLAMP
    config.model.restarts, config.model.fewest_slots = 1, 0  # a frame has one iteration, one noise
    sequential = Run(name, "SEQ-IODINE", config, models.create(config), *trained[2:])
    return [as_it_is("IODINE, each frame"), sequential]


def load_all(workdirs: Sequence[str], step: int = checkpoint.NEWEST) -> list[Run]:
    """Loads runs of one set, each in all its uses.

    Raises:
      ValueError: see `uses`; or they are of several sets, or resolutions.
    """
    runs = [run for workdir in workdirs for run in uses(workdir, step)]
    kinds = sorted({f"{run.config.data.name} at {run.config.data.resolution}" for run in runs})
    if len(kinds) > 1:
        raise ValueError(f"The runs are of {', '.join(kinds)}; give those of one set at a time.")
    return runs


def rows_of(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs that differ in their seed alone, by a name of the row that they are.

    The name is the kind; where several configs are of one kind, with the folder of the first run.
    """
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        values = tuple((key, value) for key, value in configuration.flatten(run.config).items()
                       if not key.startswith(OF_A_SEED))
        groups.setdefault((run.kind, repr(values)), []).append(run)
    kinds = [kind for kind, _ in groups]
    return {kind if kinds.count(kind) == 1 else f"{kind} ({members[0].name})": members
            for (kind, _), members in groups.items()}


def on(run: Run, dataset: str, num_frames: int) -> Run:
    """The same model on clips of another set, or of another length."""
    config = run.config.copy_and_resolve_references().unlock()
    config.data.num_frames = num_frames
    if dataset != config.data.name:
        config.data.name, config.data.prepared = dataset, ""
    return run._replace(config=config)


def with_restarts(run: Run, restarts: int) -> Run:
    """The same model, where a clip keeps the best of so many inferences; 0: as many as it had.

    Raises:
      ValueError: its family has no restarts.
    """
    if not restarts:
        return run
    if "restarts" not in run.config.model:
        raise ValueError(f"--restarts is {restarts}, but {run.name} is of a family that infers a "
                         "clip once; without that flag it can be used.")
    config = run.config.copy_and_resolve_references().unlock()
    config.model.restarts = restarts
    return run._replace(config=config, model=models.create(config))


def batches(config: ml_collections.ConfigDict, count: int, size: int,
            cues: tuple[str, ...] = ()) -> Iterator[dict[str, np.ndarray]]:
    """The first clips of the test split, `config.data.num_frames` frames each, with true masks.

    Raises:
      ValueError: clips are too short, or the set has no true masks.
    """
    for batch in pipeline.eval_iterator(
            config.data, "test", batch_size=size, num_sequences=count,
            action_size=config.data.action_size, cues=cues):
        if "segmentation" not in batch:
            raise ValueError(f"The data set {config.data.name!r} has no true masks to score by.")
        yield batch


def clip_of(run: Run, batch: dict[str, np.ndarray], num_slots: int | None) -> contract.Clip:
    """A batch as the model takes it; noise as in evaluation, of K slots if so many are asked for.

    Raises:
      ValueError: the model reads more than video and actions.
    """
    if run.model.cues:
        raise ValueError(f"{run.name} reads {', '.join(run.model.cues)}, which is not read here.")
    keys = contract.example_keys(jax.random.key(run.config.seed), batch["index"])
    size, frames = batch["video"].shape[:2]
    actions = batch.get("actions", np.zeros((size, frames, run.config.data.action_size),
                                            np.float32))
    return contract.Clip(preprocess.to_float(jnp.asarray(batch["video"])),
                         contract.previous_actions(jnp.asarray(actions)),
                         run.model.noise(keys, frames, num_slots))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _see(model: contract.Model, num_slots: int | None, params: Any, clip: contract.Clip) -> Frames:
    step = inference.see(model, params, model.start(len(clip.video), num_slots), clip)
    judged = inference.judge(model, params, step.latents[model.stages[-1]], clip.video,
                             stages.only_mse)
    return Frames(judged["mse"], judged["ids"], judged.get("assigned"))


def see(run: Run, batch: dict[str, np.ndarray], num_slots: int | None = None) -> Frames:
    """Shows a model clips; with K slots, if so many are asked for."""
    return jax.device_get(_see(run.model, num_slots, run.params, clip_of(run, batch, num_slots)))


def scores_of(found: Frames, true: np.ndarray) -> dict[str, np.ndarray]:
    """`SCORES` that there are, frame by frame: true ids uint8 [B, T, H, W] -> float64 [B, T]."""
    flat = lambda ids: ids.reshape(*ids.shape[:2], -1)
    scores = {"ari": segmentation.ari(flat(true), flat(found.ids)),
              "fg_ari": segmentation.fg_ari(flat(true), flat(found.ids)),
              "mse": np.asarray(found.mse, np.float64)}
    if found.assigned is not None:
        scores["fg_ari_assigned"] = segmentation.fg_ari(flat(true), flat(found.assigned))
    return scores


def measure(run: Run, count: int, size: int, num_slots: int | None = None) -> dict[str, np.ndarray]:
    """`SCORES` of the first test clips, [clips, T] each."""
    parts = []
    for batch in batches(run.config, count, size):
        scores = scores_of(see(run, batch, num_slots), batch["segmentation"])
        parts.append({name: values[batch["valid"]] for name, values in scores.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def at_lengths(scores: dict[str, np.ndarray], lengths: Sequence[int]) -> dict[str, list[float]]:
    """Means over clips and over so many of their first frames: [clips, T] -> one a length."""
    return {name: [float(values[:, :length].mean()) for length in lengths]
            for name, values in scores.items()}


def show(name: str, values: Sequence[float]) -> str:
    """A score of one or more seeds as tables have it: mean, and ± the standard deviation."""
    digits = DIGITS.get(name, 3)
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"
