"""What was measured, as text for a terminal, as JSON lines and as CSV."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .compare import AtPoint, at_points, grouped, over_curves
from .measurement import Mean, Measurement, means

ABSENT = "-"


@dataclass(frozen=True)
class Report:
    """All measurements of one call, and which codecs among them are nncodec's models."""

    measurements: Sequence[Measurement]
    models: frozenset[str]

    @property
    def means(self) -> list[Mean]:
        """The means over the images, by codec and setting."""
        return means(self.measurements)

    def split(self) -> tuple[list[Mean], list[Mean]]:
        """Return the means of nncodec's models, and those of the peers."""
        everything = self.means
        ours = [mean for mean in everything if mean.codec in self.models]
        return ours, [mean for mean in everything if mean.codec not in self.models]


class Table(NamedTuple):
    """Cells as they are shown; the first ``names`` columns hold words, the others numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1


def heading(report: Report) -> str:
    """Return how many images and pixels were measured."""
    sizes = {one.image: one.pixels for one in report.measurements}
    images = "1 image" if len(sizes) == 1 else f"{len(sizes)} images, means per image"
    return f"{images}, {sum(sizes.values()) / 1e6:.2f} megapixels"


def tables(report: Report) -> list[Table]:
    """Return the models, their peers at the same rate and PSNR, BD-rates, and the peers' ranges."""
    ours, theirs = report.split()
    found = [_measured(ours)] if ours else []
    if ours and theirs:
        points = at_points(ours, theirs)
        found += [_at_rate(ours, points), _at_psnr(ours, points), _bd_rates(ours, theirs)]
    if theirs:
        found.append(_ranges(theirs) if ours else _measured(theirs))
    return [table for table in found if table.rows]


def text(report: Report) -> str:
    """Return the heading and the tables for a terminal."""
    return "\n\n".join([heading(report), *map(aligned, tables(report))])


def json_lines(report: Report) -> Iterator[str]:
    """Yield one JSON object per image and setting, then per mean, then per comparison.

    ``kind`` tells them apart: image, mean, at_point or bd_rate.
    """
    ours, theirs = report.split()
    for kind, entries in (
        ("image", report.measurements),
        ("mean", report.means),
        ("at_point", at_points(ours, theirs)),
        ("bd_rate", over_curves(ours, theirs)),
    ):
        for entry in entries:
            yield json.dumps({"kind": kind, **entry.record()}, allow_nan=False)


def csv_text(report: Report) -> str:
    """Return one line per image, codec and setting; what is not defined is left empty."""
    records = [measurement.record() for measurement in report.measurements]
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


def aligned(table: Table) -> str:
    """Return a table in columns; words flush left, numbers flush right."""
    widths = [max(map(len, column)) for column in zip(table.header, *table.rows, strict=True)]
    lines = []
    for row in (table.header, *table.rows):
        cells = [
            cell.ljust(width) if number < table.names else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def number(value: float, form: str) -> str:
    """Return a number for a table, or a dash if there is none."""
    return ABSENT if math.isnan(value) else format(value, form)


def speed(mps: float) -> str:
    """Return megapixels per second with three digits that mean something."""
    return f"{mps:.{max(0, 2 - math.floor(math.log10(mps)))}f}"


def _measured(rows: Sequence[Mean]) -> Table:
    header = ("codec", "setting", "bpp", "PSNR dB", "MS-SSIM", "seams", "enc MP/s", "dec MP/s")
    return Table(
        header,
        [
            (
                row.codec,
                row.setting,
                number(row.bpp, ".4f"),
                number(row.psnr, ".2f"),
                number(row.ms_ssim, ".4f"),
                number(row.blockiness, ".2f"),
                speed(row.encode_mps),
                speed(row.decode_mps),
            )
            for row in rows
        ],
        names=2,
    )


def _at_rate(ours: Sequence[Mean], points: Sequence[AtPoint]) -> Table:
    peers = list(dict.fromkeys(point.peer for point in points))
    cells = {
        (point.codec, point.setting, point.peer): number(point.psnr, ".2f")
        + (f" / {point.ms_ssim:.4f}" if not math.isnan(point.ms_ssim) else "")
        for point in points
    }
    # The ways of decoding one file have one rate.
    rows = {
        (row.codec, row.bpp): (
            row.codec,
            number(row.bpp, ".4f"),
            *(cells[row.codec, row.setting, peer] for peer in peers),
        )
        for row in ours
    }
    header = ("PSNR dB / MS-SSIM at the same rate", "bpp", *peers)
    return Table(header, list(rows.values()))


def _at_psnr(ours: Sequence[Mean], points: Sequence[AtPoint]) -> Table:
    peers = list(dict.fromkeys(point.peer for point in points))
    rates = {(point.codec, point.setting, point.peer): point.bpp for point in points}
    rows = [
        (
            row.codec,
            row.setting,
            number(row.psnr, ".2f"),
            *(number(rates[row.codec, row.setting, peer], ".4f") for peer in peers),
        )
        for row in ours
    ]
    return Table(("bpp at the same PSNR", "setting", "PSNR dB", *peers), rows, names=2)


def _bd_rates(ours: Sequence[Mean], theirs: Sequence[Mean]) -> Table:
    rows = [
        (
            one.peer,
            one.curve,
            ABSENT if math.isnan(one.bd_rate) else f"{one.bd_rate:+.1f} %",
            ABSENT if math.isnan(one.bd_rate) else f"{one.psnr_low:.2f} .. {one.psnr_high:.2f} dB",
        )
        for one in over_curves(ours, theirs)
    ]
    header = ("BD-rate against", "of", "rate", "over")
    return Table(header, rows, names=2)


def _ranges(theirs: Sequence[Mean]) -> Table:
    rows = []
    for peer, group in grouped(theirs, lambda mean: mean.codec).items():
        rows.append(
            (
                peer,
                f"{group[0].setting} .. {group[-1].setting}",
                f"{group[0].bpp:.4f} .. {group[-1].bpp:.4f}",
                f"{group[0].psnr:.2f} .. {group[-1].psnr:.2f}",
                *(
                    f"{speed(min(speeds))} .. {speed(max(speeds))}"
                    for speeds in (
                        [mean.encode_mps for mean in group],
                        [mean.decode_mps for mean in group],
                    )
                ),
            )
        )
    header = ("peer", "settings", "bpp", "PSNR dB", "enc MP/s", "dec MP/s")
    return Table(header, rows, names=2)
