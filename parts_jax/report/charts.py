"""Line charts as SVG text that stands in a page by itself and takes the page's own colours."""

import html
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from parts_jax.models.rules import is_number

WIDTH, HEIGHT = 320, 170
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 24, 24
COLOURS = ("#4477aa", "#ee7733", "#228833", "#aa3377")


class Line(NamedTuple):
    """A line of a chart: numbers at x and, if known, the interval of each."""

    x: Sequence[float]
    y: Sequence[float | None]
    interval: Sequence[Sequence[float]] | None = None


def line_chart(title: str, lines: Mapping[str, Line], x_label: str) -> str:
    """Draws lines by name; what is None or not finite is left out.

    Args:
      title: over the chart.
      lines: up to four; with more than one, their names stand in a legend.
      x_label: under the chart.

    Returns:
      An <svg> element; it says nothing but its title where there is nothing to draw.
    """
    points = {name: [(x, y) for x, y in zip(line.x, line.y, strict=True) if is_number(y)]
              for name, line in lines.items()}
    values = [y for line in points.values() for _, y in line]
    values += [v for line in lines.values() for pair in line.interval or () for v in pair]
    values = [v for v in values if is_number(v)]
    if not values:
        return _svg(title, '<text x="160" y="90" text-anchor="middle">nothing to draw</text>')
    xs = [x for line in points.values() for x, _ in line]
    across = _scale(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    up = _scale(min(values), max(values), HEIGHT - BOTTOM, TOP)
    parts = [_axes(xs, values, across, up, x_label)]
    for colour, (name, line) in zip(COLOURS, lines.items(), strict=False):
        if line.interval:
            edge = [(x, low) for x, (low, _) in zip(line.x, line.interval, strict=True)]
            edge += [(x, high) for x, (_, high) in zip(line.x, line.interval, strict=True)][::-1]
            parts.append(f'<polygon points="{_points(edge, across, up)}" fill="{colour}" '
                         'fill-opacity="0.2"/>')
        parts.append(f'<polyline points="{_points(points[name], across, up)}" fill="none" '
                     f'stroke="{colour}" stroke-width="1.5"/>')
        if len(points[name]) == 1:
            x, y = points[name][0]
            parts.append(f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{colour}"/>')
    if len(lines) > 1:
        parts += [f'<text x="{WIDTH - RIGHT}" y="{TOP + 10 + 12 * i}" text-anchor="end" '
                  f'fill="{colour}">{html.escape(name)}</text>'
                  for i, (colour, name) in enumerate(zip(COLOURS, lines, strict=False))]
    return _svg(title, "".join(parts))


def _scale(least: float, greatest: float, start: float, end: float):
    """Maps [least, greatest] to [start, end]; a range of nothing to its middle."""
    if greatest == least:
        return lambda value: (start + end) / 2
    return lambda value: start + (value - least) / (greatest - least) * (end - start)


def _points(line: Sequence[tuple[float, float]], across, up) -> str:
    return " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in line)


def _axes(xs, values, across, up, x_label: str) -> str:
    bottom = HEIGHT - BOTTOM
    texts = [f'<text x="{LEFT - 4}" y="{up(v) + 4:.1f}" text-anchor="end">{_number(v)}</text>'
             for v in sorted({min(values), max(values)})]
    texts += [f'<text x="{across(x):.1f}" y="{HEIGHT - 10}" text-anchor="{anchor}">'
              f'{_number(x)}</text>' for x, anchor in ((min(xs), "start"), (max(xs), "end"))]
    texts.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 10}" text-anchor="middle">'
                 f'{html.escape(x_label)}</text>')
    lines = f'<path d="M{LEFT},{TOP}V{bottom}H{WIDTH - RIGHT}" fill="none" stroke="currentColor" ' \
        'stroke-opacity="0.5"/>'
    return lines + "".join(texts)


def _number(value: float) -> str:
    """Short enough to stand beside an axis."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def _svg(title: str, content: str) -> str:
    return ('<svg xmlns="http://www.w3.org/2000/svg" role="img" font-size="10" fill="currentColor" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}"><title>{html.escape(title)}</title>'
            f'<text x="{LEFT}" y="14" font-size="12">{html.escape(title)}</text>{content}</svg>')
