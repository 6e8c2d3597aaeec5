"""The rate-distortion plot of a report. Needs matplotlib (the extra ``report``)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle
from typing import TYPE_CHECKING, BinaryIO

from nncodec.formats.errors import NncodecError

from .compare import families, grouped
from .measurement import Mean
from .metrics import decibels
from .table import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which the colour-blind can tell apart; the warm red is for nncodec.
OURS = "#D55E00"
PEERS = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
INK, FAINT = "#333333", "#DDDDDD"
LINES = ("-", "--", ":", "-.")  # one for each setting of nncodec
TICKS = (0.03125, 0.0625, 0.125, 0.25, 0.5, 1, 2, 4, 8)


@dataclass(frozen=True)
class Panel:
    """One measure of quality over the rate."""

    title: str
    quality: Callable[[Mean], float]


PANELS = (
    Panel("PSNR, dB", lambda mean: mean.psnr),
    Panel("MS-SSIM, dB: −10 log₁₀(1 − x)", lambda mean: decibels(mean.ms_ssim)),
)


def require_matplotlib() -> None:
    """Raise NncodecError if matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise NncodecError(
            "a plot needs matplotlib; install it with: pip install 'nncodec[report]'"
        )


def plot(report: Report, file: BinaryIO, format: str = "png") -> None:
    """Write the plot of a report as PNG, SVG or PDF.

    Raises NncodecError if matplotlib is not installed or there is nothing to show.
    """
    require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    ours, theirs = report.split()
    panels = shown(report)
    if not panels:
        raise NncodecError("nothing to plot: no measurement has a finite quality")
    figure = Figure(figsize=(7 * len(panels), 5.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        peers = grouped(theirs, lambda mean: mean.codec)
        for (name, means), colour in zip(peers.items(), cycle(PEERS)):
            _peer(ax, name, _points(means, panel), colour)
        curves = families(ours)
        for (name, means), line in zip(curves.items(), cycle(LINES)):
            _models(ax, f"nncodec {name}".strip(), _points(means, panel), line)
        for means in list(curves.values())[:1]:  # more labels would lie on each other
            _label(ax, _points(means, panel))
        _decorate(ax, panel.title)
    images = len({one.image for one in report.measurements})
    title = f"Mean of {images} images" if images > 1 else report.measurements[0].image
    figure.suptitle(title, color=INK, fontsize=11, parse_math=False)
    # Without the date and with a salt of our own, the same figures give the same SVG.
    metadata = {"Date": None} if format == "svg" else None
    with rc_context({"svg.hashsalt": "nncodec"}):
        figure.savefig(file, format=format, dpi=150, metadata=metadata)


def shown(report: Report) -> list[Panel]:
    """Return what can be plotted: the panels with any finite quality."""
    return [panel for panel in PANELS if _points(report.means, panel)]


def _points(means: Sequence[Mean], panel: Panel) -> list[tuple[float, float]]:
    points = sorted((mean.bpp, panel.quality(mean)) for mean in means)
    return [point for point in points if math.isfinite(point[1])]


def _peer(ax: "Axes", name: str, points: Sequence[tuple[float, float]], colour: str) -> None:
    if not points:
        return
    rates, qualities = zip(*points, strict=True)
    ax.plot(rates, qualities, color=colour, linewidth=1.4, marker="o", markersize=2.5, label=name)


def _models(ax: "Axes", name: str, points: Sequence[tuple[float, float]], line: str) -> None:
    if not points:
        return
    rates, qualities = zip(*points, strict=True)
    ax.plot(
        rates,
        qualities,
        line,
        color=OURS,
        linewidth=1.2,
        marker="D",
        markersize=7,
        markeredgecolor="white",
        label=name,
        zorder=3,
    )


def _label(ax: "Axes", points: Sequence[tuple[float, float]]) -> None:
    for rate, quality in points:
        ax.annotate(
            f"{quality:.1f}",
            (rate, quality),
            xytext=(5, -12),
            textcoords="offset points",
            color=OURS,
            fontsize=9,
            fontweight="bold",
        )


def _decorate(ax: "Axes", title: str) -> None:
    ax.set_xscale("log")
    ax.set_xlabel("rate, bits per pixel", color=INK)
    ax.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold")
    ticks = [tick for tick in TICKS if ax.get_xlim()[0] <= tick <= ax.get_xlim()[1]]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    ax.grid(color=FAINT, linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left", "bottom"]].set_visible(False)
    ax.tick_params(length=0, labelcolor=INK)
    ax.legend(frameon=False, loc="upper left", labelcolor=INK)
