"""The pictures of a report as HTML: clips, iterations, attention, roll-outs and traversals.

Pictures of one size stand side by side in one PNG, a "sheet": a row a frame, a column a kind. The
page draws from it into canvases, so a slider or a clock moves them without any other file. Images
do not move: they have no slider.
"""

import base64
import html
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from parts_jax.api.pretrained_model import PretrainedModel
from parts_jax.api.results import Prediction, Segmentation
from parts_jax.pictures import boxes, colours, grids
from parts_jax.report.clips import Clips

# How large sections may be, which keeps a page below 8 MB.
CLIP_BYTES = 2_200_000  # with attention
WORST_BYTES = 1_400_000
ITERATION_BYTES = 1_400_000
ROLLOUT_BYTES = 2_000_000
TRAVERSAL_BYTES = 2_000_000
MOST_DIMS = 8
VALUES = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
EFFECT = (-2.0, 2.0)  # the change between these tells which dims are worth a look
DIMMEST = 0.12        # of a frame where a slot does not attend
# What masks are called: those that a user gets, by `Segmentation.masks_are`, and the paper's.
CALLED = {"assigned": "assigned (uses the frame)", "decoder": "masks"}
PREDICTED = "masks of the prediction (the paper's score)"


Sections = dict[str, tuple[str, dict]]


def fit_frames(build: Callable[[list[int]], Sections], num_frames: int, most: int) -> Sections:
    """Shows all frames, or evenly chosen ones where all would be too large; the last one always.

    Args:
      build: makes sections, by their names, that show the frames that it is given.
      num_frames: of which it may show any.
      most: characters of the sections' HTML. One frame is shown even if it is larger.
    """
    count = num_frames
    while True:
        sections = build(sorted({round(t) for t in np.linspace(num_frames - 1, 0, count)}))
        size = sum(len(text) for text, _ in sections.values())
        if size <= most or count == 1:
            return sections
        count = max(1, min(count - 1, int(count * most / size)))


def clip_section(seen: Segmentation, clips: Clips, shown: list[int], name: str = "clips",
                 titles: Sequence[str] | None = None) -> tuple[str, dict]:
    """Frame, truth, masks, those of the prediction, reconstruction and slots of each clip, moving.

    Args:
      seen: the model's view of `clips`, a batch.
      clips: of T frames.
      shown: which of them.
      name: of the section, unlike any other's of the page.
      titles: of the clips; None: what they are called everywhere.

    Returns:
      HTML, and the captions of the frames as the page's JSON takes them.
    """
    num_clips, num_slots = len(seen.masks), seen.masks.shape[2]
    parts = []
    for i in range(num_clips):
        columns = {"frame": clips.video[i]}
        if clips.segmentation is not None:
            columns["truth"] = colours.colour_segmentation(clips.segmentation[i])
        if seen.boxes is not None:
            columns["boxes"] = boxes.over(clips.video[i], seen.boxes[i])
        columns[CALLED[seen.masks_are]] = _masks(seen.masks[i])
        if seen.predicted_masks is not None:
            columns[PREDICTED] = _masks(seen.predicted_masks[i])
        columns["reconstruction"] = _picture(seen.recon[i])
        if seen.slot_pictures is not None:
            slots = _transparent(seen.slot_pictures[i], seen.masks[i])
            columns |= {_slot(k): slots[:, k] for k in range(num_slots)}
        title = titles[i] if titles else clips.title(i)
        parts.append(_row(f"{name.removesuffix('s')}-{i}", title, columns, shown))
    return _player(name, parts, clips), {"captions": [f"frame {t + 1}" for t in shown]}


def iteration_section(seen: Segmentation, clips: Clips, shown: list[int]) -> tuple[str, dict]:
    """A filmstrip a clip: its frame and what each iteration made of it; as `clip_section`.

    Below the frame stands the truth, if there is any, and below each picture its masks. As many
    clips are shown as fit into ITERATION_BYTES, one at least.

    Args:
      seen: of a family with iterations.
      clips, shown: as for `clip_section`.
    """
    parts, size = [], clips.video.shape[2:4]
    count = seen.iterations.recon.shape[2]
    words = ["first guess", *(f"iteration {n}" for n in range(1, count))]
    for i in range(len(clips.video)):
        recon, masks = (np.swapaxes(array[i], 0, 1) for array in (
            _picture(seen.iterations.recon), _masks(seen.iterations.masks)))
        columns, below = {"frame": clips.video[i], **dict(zip(words, recon, strict=True))}, {}
        if clips.segmentation is not None:
            below["truth"] = colours.colour_segmentation(clips.segmentation[i])
        below |= {f"masks, {word}": one for word, one in zip(words, masks, strict=True)}
        name = f"iteration-{i}"
        tiles = [_tile(text, name, column, size) for column, text in enumerate((*columns, *below))]
        if clips.segmentation is None:
            tiles.insert(count + 1, "<span></span>")
        parts.append(_sheet(name, [*columns.values(), *below.values()], shown)
                     + _titled(clips.title(i), tiles, num_columns=count + 1))
        if len(parts) > 1 and sum(map(len, parts)) > ITERATION_BYTES:
            parts.pop()
            break
    return _player("iterations", parts, clips), {"captions": [f"frame {t + 1}" for t in shown]}


def map_section(name: str, seen: Segmentation, clips: Clips,
                shown: list[int]) -> tuple[str, dict]:
    """Each frame, bright where a map of a slot is 1 and dark where it is 0; as `clip_section`.

    `name` is that of one of the maps, such as attention. Draws on the sheets of `clip_section`,
    which must stand in the same page and show the same frames.
    """
    num_clips, num_slots = len(seen.masks), seen.masks.shape[2]
    parts = []
    for i in range(num_clips):
        light = colours.to_uint8(DIMMEST + (1 - DIMMEST) * np.nan_to_num(seen.maps[name][i]))
        sheet, size = f"{name}-{i}", light.shape[-2:]
        columns = [light[:, k, ..., None] for k in range(num_slots)]
        tiles = [_tile("frame", f"clip-{i}", 0, size)]
        tiles += [_tile(_slot(k), f"clip-{i}", 0, size, over=(sheet, k)) for k in range(num_slots)]
        parts.append(_sheet(sheet, columns, shown) + _titled(clips.title(i), tiles))
    return _player(name, parts, clips), {"captions": [f"frame {t + 1}" for t in shown]}


def side_by_side(seen: dict[str, Segmentation], clips: Clips,
                 shown: list[int]) -> tuple[str, dict]:
    """Masks and reconstructions of several models, moving; as `clip_section`.

    Args:
      seen: by the name of each model, its view of `clips`.
      clips, shown: as for `clip_section`.
    """
    parts = []
    for i in range(len(clips.video)):
        columns = {"frame": clips.video[i]}
        if clips.segmentation is not None:
            columns["truth"] = colours.colour_segmentation(clips.segmentation[i])
        columns |= {f"{name}: {CALLED[one.masks_are]}": _masks(one.masks[i])
                    for name, one in seen.items()}
        columns |= {f"{name}: reconstruction": _picture(one.recon[i]) for name, one in seen.items()}
        parts.append(_row(f"clip-{i}", clips.title(i), columns, shown))
    return _player("clips", parts, clips), {"captions": [f"frame {t + 1}" for t in shown]}


def rollout_section(future: Prediction, clips: Clips, shown: list[int]) -> tuple[str, dict]:
    """Truth beside what the model predicts after its burn-in, moving; as `clip_section`.

    Args:
      future: of a batch: B frames seen, S predicted.
      clips: the same clips, of B + S frames.
      shown: which of them.
    """
    burn_in, parts = future.seen.masks.shape[1], []
    for i in range(len(future.masks)):
        recon = np.concatenate([future.seen.recon[i], future.recon[i]])
        masks = np.concatenate([future.seen.masks[i], future.masks[i]])
        columns = {"true frame": clips.video[i], "model": _picture(recon)}
        if clips.segmentation is not None:
            columns["true masks"] = colours.colour_segmentation(clips.segmentation[i])
        columns["model's masks"] = _masks(masks)
        parts.append(_row(f"rollout-{i}", clips.title(i), columns, shown))
    captions = [f"frame {t + 1}, seen" if t < burn_in else
                f"frame {t + 1}, predicted {t + 1 - burn_in} ahead" for t in shown]
    ahead = next((row for row, t in enumerate(shown) if t >= burn_in), len(shown))
    return _player("rollouts", parts, clips), {"captions": captions, "ahead": ahead,
                                               "burn_in": burn_in}


def traversal_section(model: PretrainedModel, seen: Segmentation,
                      clips: Clips) -> tuple[str, dict]:
    """The first clip's last frame, with one number of one slot, or of all, moved by sliders.

    Args:
      model: decodes.
      seen, clips: as for `clip_section`; the first clip is taken.

    Returns:
      HTML, and as the page's JSON takes them: the values, and of each dim that is shown its
      number, its effect, and what was inferred for each slot.
    """
    mean = np.nan_to_num(seen.posterior.mean[0, -1])
    num_slots, size = len(mean), seen.masks.shape[-2:]
    effects = dim_effects(model, mean)
    choices = (None, *range(num_slots))
    dims, sheets = np.argsort(-effects, kind="stable")[:MOST_DIMS], []
    for position, dim in enumerate(dims):
        changed = np.stack([_changed(mean, slot, dim, VALUES) for slot in choices])
        pictures = model.decode(changed)  # [choices, values, ...]
        masks = pictures.masks.reshape(-1, *pictures.masks.shape[2:])
        recon = pictures.recon.reshape(-1, *pictures.recon.shape[2:])
        sheet = _sheet(f"traversal-{position}", [_picture(recon), _masks(masks)],
                       range(len(recon)))
        if sheets and sum(map(len, sheets)) + len(sheet) > TRAVERSAL_BYTES:
            break
        sheets.append(sheet)
    dims = dims[:len(sheets)]
    still = _sheet("traversed", [clips.video[0, -1:], _picture(seen.recon[0, -1:])], [0])
    tiles = [_tile("frame", "traversed", 0, size), _tile("as inferred", "traversed", 1, size),
             _tile("changed", "traversal-0", 0, size), _tile("masks", "traversal-0", 1, size)]
    numbers = [{"dim": int(dim), "effect": float(effects[dim]),
                "inferred": [float(value) for value in mean[:, dim]]} for dim in dims]
    return (f"{''.join(sheets)}{still}{_traversal_controls(num_slots, len(dims))}"
            f'<div class="tiles large">{"".join(tiles)}</div>',
            {"values": VALUES, "size": len(effects), "dims": numbers})


def dim_effects(model: PretrainedModel, mean: np.ndarray) -> np.ndarray:
    """How much each number of a slot changes the picture between -2 and 2.

    Args:
      model: decodes.
      mean: slots of a frame, [K, D].

    Returns:
      [D], the root mean square change of colours (0 to 1), mean over slots, one changed at a time.
    """
    num_slots, size = mean.shape
    changed = np.stack([np.concatenate([_changed(mean, slot, dim, EFFECT) for dim in range(size)])
                        for slot in range(num_slots)])
    recon = np.nan_to_num(model.decode(changed).recon).reshape(
        num_slots, size, 2, -1).astype(np.float64)
    return np.sqrt(np.square(recon[:, :, 1] - recon[:, :, 0]).mean(-1)).mean(0)


def _changed(mean: np.ndarray, slot: int | None, dim: int, values: Sequence[float]) -> np.ndarray:
    """[V, K, D]: slots with one number of one of them, or of all, set to each value."""
    z = np.repeat(mean[None], len(values), axis=0)
    z[:, slice(None) if slot is None else slot, dim] = (
        np.reshape(values, (-1, 1)) if slot is None else values)
    return z


def _traversal_controls(num_slots: int, num_dims: int) -> str:
    names = ["all slots", *(_slot(k) for k in range(num_slots))]
    slots = "".join(
        f'<label><input type="radio" name="slot" value="{i}"{" checked" * (i == 1)}>'
        f'{_swatch(name)}{name}</label>' for i, name in enumerate(names))
    middle = VALUES.index(0.0)
    return ('<form class="sliders" autocomplete="off"><fieldset><legend>Which slot</legend>'
            f'{slots}</fieldset><label><span>Which number</span><input type="range" id="dim" '
            f'min="0" max="{num_dims - 1}" value="0"><output id="dim-text"></output></label>'
            '<label><span>Its value</span><input type="range" id="value" min="0" '
            f'max="{len(VALUES) - 1}" value="{middle}"><output id="value-text"></output></label>'
            '</form>')


def _row(name: str, title: str, columns: dict[str, np.ndarray], shown: Iterable[int]) -> str:
    """A sheet, and a titled row of tiles that show its columns, [T, H, W, C] each."""
    size = next(iter(columns.values())).shape[1:3]
    tiles = [_tile(text, name, column, size) for column, text in enumerate(columns)]
    return _sheet(name, list(columns.values()), shown) + _titled(title, tiles)


def _titled(title: str, tiles: Sequence[str], num_columns: int | None = None) -> str:
    """A titled row of tiles; with `num_columns` rows of so many, on narrow screens as well."""
    kind = "tiles" if num_columns is None else "tiles strip"
    return (f'<article><h3>{html.escape(title)}</h3><div class="{kind}" '
            f'style="--tiles:{num_columns or len(tiles)}">{"".join(tiles)}</div></article>')


def _tile(text: str, sheet: str, column: int, size: tuple[int, int],
          over: tuple[str, int] | None = None) -> str:
    """A canvas that shows a column of a sheet, darkened by that of another, `over`."""
    more = f' data-over="{over[0]}" data-over-column="{over[1]}"' if over else ""
    return (f'<figure><canvas width="{size[1]}" height="{size[0]}" data-sheet="{sheet}" '
            f'data-column="{column}"{more} role="img" aria-label="{html.escape(text)}"></canvas>'
            f"<figcaption>{_swatch(text)}{html.escape(text)}</figcaption></figure>")


def _player(name: str, parts: Sequence[str], clips: Clips) -> str:
    """Parts with one button and one slider that move them all; without, where they are images."""
    controls = "" if clips.video.shape[1] == 1 else (
        '<div class="controls"><button type="button">Play</button><input type="range" min="0" '
        'value="0" aria-label="frame"><output></output></div>')
    return (f'<div class="player" id="{name}-player">{controls}<div class="rows">{"".join(parts)}'
            '</div></div>')


def _sheet(name: str, columns: Sequence[np.ndarray], shown: Iterable[int]) -> str:
    """An image that is not shown itself: columns of [T, H, W, C] side by side, a row a frame."""
    with_alpha = any(column.shape[-1] == 4 for column in columns)
    if with_alpha:
        columns = [column if column.shape[-1] == 4 else np.concatenate(
            [column, np.full_like(column[..., :1], 255)], axis=-1) for column in columns]
    rows = [np.concatenate([column[t] for column in columns], axis=1) for t in shown]
    data = base64.b64encode(grids.encode_png(np.concatenate(rows))).decode()
    return f'<img hidden alt="" id="sheet-{name}" src="data:image/png;base64,{data}">'


def _picture(image: np.ndarray) -> np.ndarray:
    return colours.to_uint8(np.nan_to_num(image))


def _masks(masks: np.ndarray) -> np.ndarray:
    return colours.colour_masks(np.nan_to_num(masks))


def _transparent(slots: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Each slot's picture where its mask is, nothing elsewhere: uint8 [T, K, H, W, 4]."""
    alpha = colours.to_uint8(np.nan_to_num(masks))[..., None]
    return np.concatenate([np.where(alpha > 1, _picture(slots), 0), alpha], axis=-1)


def _slot(k: int) -> str:
    return f"slot {k}"


def _swatch(text: str) -> str:
    """A dot in the colour that a slot has in masks, before its name."""
    if not text.startswith("slot "):
        return ""
    k = int(text.removeprefix("slot "))
    red, green, blue = colours.palette(k + 1)[k]
    return f'<i style="background:#{red:02x}{green:02x}{blue:02x}"></i>'
