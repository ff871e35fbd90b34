"""Charts as inline SVG for a page. Matplotlib draws them; the page colours them, for light, dark and print."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

# Drawn in stand-in colours, which `_svg` replaces by those of the page; cluster/reporting/templates/base.html.j2
# defines them.
_COLOURS = {f"#00000{n}": f"var(--c{n})" for n in range(1, 9)} | {
    "#000010": "var(--ink)",
    "#000011": "var(--muted)",
    "#000012": "var(--line)",
    "#000013": "var(--band)",
    "#000014": "var(--paper)",
}
MAX_SERIES = 8  # of a chart; more colours cannot be told apart
_SERIES = [f"#00000{n}" for n in range(1, 9)]
_INK, _MUTED, _LINE, _BAND, _PAPER = list(_COLOURS)[8:]
_DASHES = ["-", (0, (4, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5))]  # told apart without colour
_LEGEND_ROW = 0.17  # inches
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8.5,
    "text.color": _INK,
    "axes.labelcolor": _MUTED,
    "axes.edgecolor": _LINE,
    "axes.facecolor": "none",
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "errorbar.capsize": 2,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.parse_math": False,
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
}


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        points: (stage, step of the stage, value).
        intervals: the ends of the interval of each point.
        marked: whether to draw the points, for lines of a few points.
        colour: number of its colour, from 0; None takes that of its place among the series.
    """

    name: str
    points: Sequence[tuple[str, int, float]]
    intervals: Sequence[tuple[float, float]] | None = None
    marked: bool = False
    colour: int | None = None


@dataclass(frozen=True)
class Level:
    """A horizontal line: within one stage, or through the whole chart if `stage` is None."""

    name: str
    value: float
    stage: str | None = None


class StageAxis:
    """The stages of a run side by side, all of the same width, so that a short one is as visible as a long one.

    Args:
        stages: the steps of each stage by its name, in order.
    """

    def __init__(self, stages: Mapping[str, int]) -> None:
        self.stages = {name: max(1, steps) for name, steps in stages.items()}

    def only(self, names: set[str]) -> StageAxis:
        """The axis with some of the stages."""
        return StageAxis({name: steps for name, steps in self.stages.items() if name in names})

    def position(self, stage: str, step: int) -> float:
        """Where a step of a stage is on the axis."""
        return list(self.stages).index(stage) + step / self.stages[stage]

    def draw(self, axes: Any) -> None:
        """Draws a band and a name for each stage. The ticks count the steps within the stage."""
        ticks, labels = [], []
        for index, (name, steps) in enumerate(self.stages.items()):
            if index % 2 == 0:
                axes.axvspan(index, index + 1, color=_BAND, linewidth=0)
            axes.text(
                index + 0.5, 1.01, name, transform=axes.get_xaxis_transform(), ha="center", va="bottom", color=_INK
            )
            ticks += [index + 0.5, index + 1]
            labels += [str(round(steps / 2)) if steps > 1 else "", str(steps)]
        axes.set_xticks([0, *ticks], ["0", *labels])
        axes.set_xlim(-0.03, len(self.stages) + 0.03)
        axes.set_xlabel("step of the stage")


def curves(
    series: Sequence[Series],
    timeline: StageAxis,
    alt: str,
    *,
    levels: Sequence[Level] = (),
    share: bool = False,
    log: bool = False,
) -> Markup:
    """Draws lines over the steps of the stages. Stages without a point are left out.

    Args:
        alt: what the chart shows, in words.
        levels: horizontal lines.
        share: whether the values are in [0, 1], all of which the axis then shows.
        log: whether the axis is logarithmic; values of 0 are then left out.
    """
    timeline = timeline.only({stage for line in series for stage, _, _ in line.points})
    with matplotlib.rc_context(_STYLE):
        named = len(series) + len({level.name for level in levels})
        legend = named > 1 or any(line.colour is not None for line in series)
        figure, axes = _figure(1.65, 0.5, 0.42 + (_LEGEND_ROW * ((named + 1) // 2) if legend else 0), 0.18)
        timeline.draw(axes)
        axes.grid(True, axis="y")
        for index, line in enumerate(series):
            x = [timeline.position(stage, step) for stage, step, _ in line.points]
            y = [value if value or not log else float("nan") for _, _, value in line.points]
            colour = index if line.colour is None else line.colour
            style = {
                "color": _SERIES[colour],
                "linestyle": _DASHES[colour % len(_DASHES)],
                "label": line.name,
                "marker": "os^D"[colour % 4] if line.marked else None,
            }
            if line.intervals:
                ends = [
                    [v - low for v, (low, _) in zip(y, line.intervals, strict=True)],
                    [high - v for v, (_, high) in zip(y, line.intervals, strict=True)],
                ]
                axes.errorbar(x, y, yerr=[[max(0.0, e) for e in side] for side in ends], elinewidth=1, **style)
            else:
                axes.plot(x, y, **style)
        drawn: set[str] = set()
        for level in (level for level in levels if level.stage is None or level.stage in timeline.stages):
            start = 0 if level.stage is None else timeline.position(level.stage, 0)
            stop = len(timeline.stages) if level.stage is None else start + 1
            axes.plot(
                [start, stop],
                [level.value] * 2,
                color=_INK if level.stage else _MUTED,
                linewidth=1,
                linestyle=(0, (1.2, 1.4)) if level.stage is None else (0, (4, 1.6)),
                label=None if level.name in drawn else level.name,
            )
            drawn.add(level.name)
        if share:
            axes.set_ylim(-0.02, 1.02)
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0e}")
            axes.yaxis.set_minor_formatter(LogFormatter())  # matplotlib's default writes formulas
        elif not share:
            values = [value for line in series for _, _, value in line.points]
            if min(values) >= 0:  # a scale that starts at 0 does not turn ripples into waves
                top = 1.12 * max(values) or 1
                axes.set_ylim(-0.02 * top, top)
        if legend:
            handles, labels = axes.get_legend_handles_labels()  # matplotlib lists lines with intervals last
            order = sorted(
                range(named), key=lambda i: labels[i] not in [line.name for line in series if line.intervals]
            )
            _legend(figure, 2, handlelength=2.4, columnspacing=1.2, handles=[handles[i] for i in order])
        return _svg(figure, alt)


def whiskers(rows: Sequence[tuple[str, float, float, float]], alt: str, colours: Sequence[int] = ()) -> Markup:
    """Draws (label, value, low, high) as points with intervals, and a line at 0.

    `colours` are the numbers of their colours.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(0.32 * len(rows), _left_of([label for label, *_ in rows]), 0.25)
        axes.grid(True, axis="x")
        axes.axvline(0, color=_INK, linewidth=0.8)
        for index, (_, value, low, high) in enumerate(rows):
            axes.errorbar(
                [value],
                [index],
                xerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
                fmt="o",
                color=_SERIES[colours[index] if colours else 0],
                elinewidth=1.6,
                capsize=3,
            )
            axes.annotate(f"{value:+.3f}", (max(value, high), index), (5, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(rows)), [label for label, *_ in rows])
        axes.tick_params(axis="y", length=0, labelcolor=_INK)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        low, high = axes.get_xlim()
        axes.set_xlim(low, high + 0.25 * (high - low))  # space for the last number
        return _svg(figure, alt)


def stacks(rows: Mapping[str, Mapping[str, float]], unit: str, alt: str) -> Markup:
    """Draws a horizontal bar for each row, its parts end to end. A part has the same colour in every row."""
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(0.32 * len(rows), _left_of(list(rows)), 0.45 + _LEGEND_ROW * ((len(parts) + 3) // 4))
        axes.grid(True, axis="x")
        longest = max(sum(row.values()) for row in rows.values())
        for number, part in enumerate(parts):
            left = [sum(row.get(before, 0) for before in parts[:number]) for row in rows.values()]
            width = [row.get(part, 0) for row in rows.values()]
            bars = axes.barh(
                range(len(rows)),
                width,
                left=left,
                height=0.62,
                color=_SERIES[number % len(_SERIES)],
                edgecolor=_PAPER,
                linewidth=0.8,
                label=part,
            )
            axes.bar_label(
                bars,
                [part if w > 0.04 * longest * (2 + len(part) / 2) else "" for w in width],
                label_type="center",
                color=_PAPER,
                fontsize=8,
            )
        axes.set_yticks(range(len(rows)), list(rows))
        axes.tick_params(axis="y", length=0, labelcolor=_INK)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(unit)
        _legend(figure, 4, handlelength=1, columnspacing=1)
        return _svg(figure, alt)


def _figure(plot: float, left: float, bottom: float, top: float = 0.05) -> tuple[Figure, Any]:
    """A figure with one plot of height `plot`, with margins, all in inches. (Layout engines take far longer.)"""
    width, height, right = 3.7, plot + bottom + top, 0.1
    figure = Figure(figsize=(width, height))
    figure.patch.set_visible(False)
    box = (left / width, bottom / height, (width - left - right) / width, plot / height)
    return figure, figure.add_axes(box)


def _legend(figure: Figure, columns: int, **style: Any) -> None:
    if any(axes.get_legend_handles_labels()[0] for axes in figure.axes):
        figure.legend(loc="lower center", ncols=columns, borderaxespad=0, borderpad=0.1, labelspacing=0.35, **style)


def _left_of(labels: Sequence[str]) -> float:
    """Inches that the longest line of these labels takes, and a little space."""
    return 0.15 + 0.066 * max(len(line) for label in labels for line in label.split("\n"))


def _svg(figure: Figure, alt: str) -> Markup:
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": alt}):  # ids must differ from those of the page's other charts
        FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", svg)
    svg = re.sub(r' (?:width|height)="[^"]*pt"| xmlns(?::\w+)?="[^"]*"| version="[^"]*"| font-family:[^;"]*;', "", svg)
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", _coloured(tag[0])), svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1))


def _coloured(tag: str) -> str:
    return re.sub(r"#0000\d\d", lambda match: _COLOURS[match[0]], tag)
