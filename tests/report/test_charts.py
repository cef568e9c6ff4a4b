"""Charts: lines where their numbers say, ticks at round numbers, legends off the curves."""

import re

import pytest

from parts_jax.report import charts


def test_a_chart_draws_its_numbers():
    chart = charts.line_chart("a & b", {
        "one": charts.Line([0, 5, 10], [1.0, None, 3.0]),
        "two": charts.Line([0, 10], [2.0, 2.0], [[1.5, 2.5], [0.0, 2.5]])}, "step")
    assert "<title>a &amp; b</title>" in chart
    left, right, bottom, top = 52, 310, 161, 39

    def height(value):  # from 0 to 3
        return f"{bottom + (top - bottom) * value / 3:.1f}"

    assert f'<polyline points="{left:.1f},{height(1)} {right:.1f},{height(3)}"' in chart
    assert (f'<polygon points="{left:.1f},{height(1.5)} {right:.1f},{height(0)} '
            f'{right:.1f},{height(2.5)} {left:.1f},{height(2.5)}"') in chart
    assert "nothing to draw" in charts.line_chart("", {"": charts.Line([1], [None])}, "")


@pytest.mark.parametrize("ends, logarithmic, expected", [
    ((20, 30), False, [20, 22, 24, 26, 28, 30]),
    ((0, 1), False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ((-3100, 5), False, [-3000, -2000, -1000, 0]),
    ((1, 6800), False, [2000, 4000, 6000]),
    ((3, 3), False, [3]),
    ((1e-3, 0.2), True, [1e-3, 1e-2, 1e-1]),
    ((0.003, 0.05), True, [0.005, 0.01, 0.02, 0.05]),
    ((1e-9, 1e5), True, [1e-9, 1e-6, 1e-3, 1, 1e3])])
def test_ticks_are_round(ends, logarithmic, expected):
    assert charts.ticks(*ends, logarithmic) == pytest.approx(expected)


def test_there_is_no_half_a_step():
    assert charts.ticks(1, 2, whole=True) == [1, 2]
    assert charts.ticks(1, 2) == pytest.approx([1, 1.2, 1.4, 1.6, 1.8, 2])


@pytest.mark.parametrize("scale", [1e-12, 3.7e-4, 1, 8.1, 2.5e9])
@pytest.mark.parametrize("ends", [(1, 1.0001), (1, 2), (1, 9.9), (1, 10), (1, 99), (1, 1e4)])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_there_are_two_ticks_to_ten_inside_and_their_numbers_differ(ends, scale, logarithmic):
    least, greatest = (end * scale for end in ends)
    if logarithmic and greatest < charts.LOG_FROM * least:
        return
    ticks = charts.ticks(least, greatest, logarithmic)
    assert 2 <= len(ticks) <= 10 and ticks == sorted(ticks)
    assert all(least * (1 - 1e-6) <= tick <= greatest * (1 + 1e-6) for tick in ticks)
    assert len(set(charts._numbers(ticks))) == len(ticks)


@pytest.mark.parametrize("values, logarithmic", [
    ([0.002, 0.02], True), ([0.5, 2.4], False), ([0.0, 10.0], False), ([-1.0, 10.0], False)])
def test_an_axis_of_far_values_is_logarithmic_and_the_title_says_so(values, logarithmic):
    chart = charts.line_chart("mse", {"": charts.Line([1, 2], values)}, "step")
    assert ("<title>mse, log scale</title>" in chart) == logarithmic
    middle = charts.line_chart("mse", {"": charts.Line([1, 2, 3], [0.01, 0.1, 1.0])}, "step")
    heights = [float(y) for y in re.findall(r",([\d.]+)", re.search(
        r'<polyline points="(.*?)"', middle)[1])]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2])


def test_a_legend_stands_over_the_axes_whatever_is_drawn():
    """Also where names are long, and need rows of their own; the end of a name tells runs apart."""
    for names in (["FG-ARI", "ARI", "mIoU"], [f"{'long' * 20}-{i}" for i in range(4)]):
        chart = charts.line_chart(
            "t", {name: charts.Line([1, 2], [1.0, 2.0]) for name in names}, "")
        plot = min(float(y) for y in re.findall(r",([\d.]+)", " ".join(
            re.findall(r'<polyline points="(.*?)"', chart))))
        top = float(re.search(r"M52,(\d+)V", chart)[1])
        named = re.findall(r'<text x="(\d+)" y="(\d+)" fill="#\w+">(.*?)</text>', chart)
        assert len(named) == len(names) and plot >= top
        assert all(int(y) <= top - 3 for _, y, _ in named)
        assert all(name.endswith(text.lstrip("…")) for name, (_, _, text) in zip(
            names, named, strict=True))
        assert all(int(x) + charts.CHARACTER * len(text) <= charts.WIDTH for x, _, text in named)
