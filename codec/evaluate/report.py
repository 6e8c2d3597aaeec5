"""The page that ``eval --report`` writes: plot, tables, and pictures to look at, in one HTML file.

It needs nothing from anywhere: its own policy forbids a browser to load anything. What it shows of
an image is data for report.js, one JSON object each; plot and tables are there without scripts.
"""

import io
import json
import re
from collections.abc import Sequence
from html import escape
from importlib import resources
from string import Template

from . import plot
from .gallery import View, palette
from .table import Report, Table, heading, tables

# Inside of the page, the plot takes the colours of the page, light or dark.
PLOT_COLOURS = {plot.INK: "currentColor", plot.FAINT: "var(--line)", "#ffffff": "var(--paper)"}
STOPS = 9  # colours of the legend of the map of the bits


class Gallery:
    """What the page shows of the images, as far as ``limit`` bytes go."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.names: list[str] = []
        self.sections: list[str] = []
        self.left_out: list[str] = []

    @property
    def full(self) -> bool:
        """Whether an image was too much already: no further ones are shown."""
        return bool(self.left_out)

    def add(self, name: str, view: View) -> None:
        """Show an image, unless that is too much."""
        data = json.dumps(view, separators=(",", ":")).replace("<", "\\u003c")
        if self.size + len(data) > self.limit:
            self.leave_out(name)
            return
        self.size += len(data)
        number = len(self.sections)
        self.names.append(name)
        self.sections.append(
            f'<section class="image" aria-labelledby="image-{number}">\n'
            f'<h2 id="image-{number}">{escape(name)}</h2>\n'
            f'<script type="application/json">{data}</script>\n</section>'
        )

    def leave_out(self, name: str) -> None:
        """Note that an image is measured but not shown."""
        self.left_out.append(name)


def page(report: Report, gallery: Gallery) -> bytes:
    """Return the page. Raises NncodecError if matplotlib is not installed."""
    left_out = ", ".join(gallery.left_out)
    note = f"<p>Measured, but not shown, to keep this page small: {escape(left_out)}.</p>"
    colours = palette()[:: 255 // (STOPS - 1)]
    parts = {
        "heading": escape(heading(report)),
        "plot": drawing(report),
        "tables": "\n".join(map(table, tables(report))),
        "links": "\n".join(
            f'<a href="#image-{number}">{escape(name)}</a>'
            for number, name in enumerate(gallery.names)
        ),
        "images": "\n".join(gallery.sections + ([note] if left_out else [])),
        "colours": ", ".join("#" + bytes(colour.tolist()).hex() for colour in colours),
    }
    style = Template(asset("report.css")).substitute(parts)
    text = Template(asset("report.html")).substitute(parts, style=style, script=asset("report.js"))
    return text.encode("utf-8", "xmlcharrefreplace")  # a file's name need not be Unicode


def drawing(report: Report) -> str:
    """Return the plot as an SVG element; nothing if there is nothing to plot."""
    if not plot.shown(report):
        return ""
    file = io.BytesIO()
    plot.plot(report, file, "svg")
    svg = file.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    for colour, variable in PLOT_COLOURS.items():
        svg = re.sub(colour, variable, svg, flags=re.IGNORECASE)
    return svg.replace("<svg", '<svg role="img" aria-label="Quality over rate"', 1)


def table(content: Table) -> str:
    """Return a table as HTML, which scrolls by itself where it is too wide."""
    head = _row(content.header, content.names, "th")
    body = "\n".join(_row(cells, content.names, "td") for cells in content.rows)
    label = escape(content.header[0])
    return (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0"><table>\n'
        f"<thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(cells: Sequence[str], names: int, tag: str) -> str:
    words = [f'<{tag} class="word">{escape(cell)}</{tag}>' for cell in cells[:names]]
    numbers = [f"<{tag}>{escape(cell)}</{tag}>" for cell in cells[names:]]
    return f"<tr>{''.join(words + numbers)}</tr>"


def asset(name: str) -> str:
    return resources.files("nncodec.evaluate").joinpath(name).read_text(encoding="utf-8")
