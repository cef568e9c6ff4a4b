"""Line charts as SVG text that stands in a page by itself and takes the page's own colours."""

import html
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from parts_jax.models.rules import is_number

WIDTH, PLOT = 320, 122  # of a chart, and the height of what is inside its axes
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 24, 36
LEGEND = 15             # height of a row of it, between title and axes
CHARACTER = 5.6         # width, about, of text of size 10
LONGEST_NAME = 40       # of a line, in characters
COLOURS = ("#4477aa", "#ee7733", "#228833", "#aa3377", "#33aacc", "#998800", "#cc3311", "#777777")
LOG_FROM = 5            # greatest over least value from which an axis is logarithmic
MOST_STEPS = 5          # between ticks of an axis that is not logarithmic


class Line(NamedTuple):
    """A line of a chart: numbers at x and, if known, the interval of each."""

    x: Sequence[float]
    y: Sequence[float | None]
    interval: Sequence[Sequence[float]] | None = None


def line_chart(title: str, lines: Mapping[str, Line], x_label: str) -> str:
    """Draws lines by name; what is None or not finite is left out.

    The upright axis is logarithmic where all values are above 0 and the greatest is five times the
    least, or more; the title says so.

    Args:
      title: over the chart.
      lines: up to eight; with more than one, their names stand in a legend, over the axes.
      x_label: under the chart.

    Returns:
      An <svg> element; it says nothing but its title where there is nothing to draw.
    """
    points = {name: [(x, y) for x, y in zip(line.x, line.y, strict=True) if is_number(y)]
              for name, line in lines.items()}
    values = [y for line in points.values() for _, y in line]
    values += [v for line in lines.values() for pair in line.interval or () for v in pair]
    values = [v for v in values if is_number(v)]
    legend, rows = _legend(list(lines)) if len(lines) > 1 else ("", 1)
    top = TOP + LEGEND * rows
    if not values:
        return _svg(title, '<text x="160" y="90" text-anchor="middle">nothing to draw</text>',
                    top + PLOT + BOTTOM)
    logarithmic = min(values) > 0 and max(values) >= LOG_FROM * min(values)
    xs = [x for line in points.values() for x, _ in line]
    across = _scale(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    up = _scale(min(values), max(values), top + PLOT, top, logarithmic)
    parts = [_axes(xs, values, across, up, logarithmic, top, x_label), legend]
    for colour, (name, line) in zip(COLOURS, lines.items(), strict=False):
        parts.append(_drawn(line, points[name], colour, across, up))
    return _svg(title + ", log scale" * logarithmic, "".join(parts), top + PLOT + BOTTOM)


def _drawn(line: Line, points: Sequence[tuple[float, float]], colour: str, across, up) -> str:
    """A line, its interval shaded; a point alone is a dot."""
    parts = []
    if line.interval:
        edge = [(x, low) for x, (low, _) in zip(line.x, line.interval, strict=True)]
        edge += [(x, high) for x, (_, high) in zip(line.x, line.interval, strict=True)][::-1]
        parts.append(f'<polygon points="{_points(edge, across, up)}" fill="{colour}" '
                     'fill-opacity="0.2"/>')
    parts.append(f'<polyline points="{_points(points, across, up)}" fill="none" '
                 f'stroke="{colour}" stroke-width="1.5"/>')
    if len(points) == 1:
        x, y = points[0]
        parts.append(f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{colour}"/>')
    return "".join(parts)


def _legend(names: Sequence[str]) -> tuple[str, int]:
    """A dash and a name a line, in as many rows as they need; and how many these are."""
    parts, x, row = [], 4.0, 0
    for colour, name in zip(COLOURS, names, strict=False):
        shown = name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME:]}"
        width = 30 + CHARACTER * len(shown)
        if x + width > WIDTH and x > 4:
            x, row = 4.0, row + 1
        y = TOP + LEGEND * row + 6
        parts.append(f'<path d="M{x:.0f},{y - 3}h12" stroke="{colour}" stroke-width="3"/>'
                     f'<text x="{x + 16:.0f}" y="{y}" fill="{colour}">{html.escape(shown)}</text>')
        x += width
    return "".join(parts), row + 1


def ticks(least: float, greatest: float, logarithmic: bool = False,
          whole: bool = False) -> list[float]:
    """Round numbers from least to greatest: two to six, if the two are not equal.

    Args:
      least, greatest: ends of an axis.
      logarithmic: whether powers of ten are asked for, or where there are fewer than three of them,
        1, 2 and 5 times these.
      whole: whether only whole numbers are.
    """
    if greatest == least:
        return [least]
    if logarithmic:
        powers = range(math.floor(math.log10(least)), math.ceil(math.log10(greatest)) + 1)
        every = -(-len(powers) // 6)
        tens = [10.0 ** power for power in powers if power % every == 0]
        inside = [tick for tick in tens if least <= tick <= greatest]
        return inside if len(inside) > 2 else [
            tick for power in powers for tick in (10.0 ** power, 2 * 10.0 ** power,
                                                  5 * 10.0 ** power) if least <= tick <= greatest]
    step = (greatest - least) / MOST_STEPS
    power = 10.0 ** math.floor(math.log10(step))
    step = next(size * power for size in (1, 2, 5, 10, 20) if size * power >= step * (1 - 1e-9))
    step = max(step, 1) if whole else step
    first, last = math.ceil(least / step - 1e-9), math.floor(greatest / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _scale(least: float, greatest: float, start: float, end: float,
           logarithmic: bool = False) -> Callable[[float], float]:
    """Maps [least, greatest] to [start, end]; a range of nothing to its middle."""
    if greatest == least:
        return lambda value: (start + end) / 2
    if logarithmic:
        span = math.log(greatest / least)
        return lambda value: start + math.log(value / least) / span * (end - start)
    return lambda value: start + (value - least) / (greatest - least) * (end - start)


def _points(line: Sequence[tuple[float, float]], across, up) -> str:
    return " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in line)


def _axes(xs, values, across, up, logarithmic: bool, top: float, x_label: str) -> str:
    """Axes with ticks, a faint line across at each tick of the upright one, and their numbers."""
    bottom = top + PLOT
    upright = ticks(min(values), max(values), logarithmic)
    level = ticks(min(xs), max(xs), whole=all(float(x).is_integer() for x in xs))
    faint = "".join(f"M{LEFT},{up(v):.1f}H{WIDTH - RIGHT}" for v in upright)
    marks = "".join(f"M{LEFT - 3},{up(v):.1f}h3" for v in upright)
    marks += "".join(f"M{across(x):.1f},{bottom}v3" for x in level)
    texts = [f'<text x="{LEFT - 6}" y="{up(v) + 3.5:.1f}" text-anchor="end">{text}</text>'
             for v, text in zip(upright, _numbers(upright), strict=True)]
    for x, text in zip(level, _numbers(level), strict=True):
        half = CHARACTER * len(text) / 2
        texts.append(f'<text x="{min(across(x), WIDTH - half):.1f}" y="{bottom + 14}" '
                     f'text-anchor="middle">{text}</text>')
    texts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{bottom + 30}" text-anchor="middle">'
                 f'{html.escape(x_label)}</text>')
    return (f'<path d="{faint}" fill="none" stroke="currentColor" stroke-opacity="0.12"/>'
            f'<path d="M{LEFT},{top}V{bottom}H{WIDTH - RIGHT}{marks}" fill="none" '
            'stroke="currentColor" stroke-opacity="0.5"/>' + "".join(texts))


def _numbers(ticks: Sequence[float]) -> list[str]:
    """Ticks as texts: as many digits as tell them apart."""
    greatest = max(map(abs, ticks))
    if len(ticks) < 2 or greatest >= 1e6 or 0 < greatest < 1e-3:
        texts = ([f"{tick:.{digits}g}" for tick in ticks] for digits in range(3, 17))
        return next(found for found in texts if len(set(found)) == len(ticks))
    if ticks[0] > 0 and ticks[-1] / ticks[0] >= LOG_FROM:  # each has digits of its own
        return [f"{tick:.0f}" if tick >= 1000 else f"{tick:.3g}" for tick in ticks]
    gap = min(after - before for before, after in zip(ticks, ticks[1:], strict=False))
    digits = max(0, -math.floor(math.log10(gap) + 1e-9))
    return [f"{tick:.{digits}f}" for tick in ticks]


def _svg(title: str, content: str, height: float) -> str:
    return ('<svg xmlns="http://www.w3.org/2000/svg" role="img" font-size="10" fill="currentColor" '
            f'viewBox="0 0 {WIDTH} {height}"><title>{html.escape(title)}</title>'
            f'<text x="4" y="14" font-size="12">{html.escape(title)}</text>{content}</svg>')
