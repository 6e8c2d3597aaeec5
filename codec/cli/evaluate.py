"""``nncodec eval``: rate, distortion and speed, next to those of other codecs."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from nncodec.formats.errors import NncodecError, OutputError
from nncodec.formats.files import atomic_output, check_output

from .compress import CODINGS, IMAGE_SUFFIXES
from .contents import plural
from .errors import FAILURE, SUCCESS, complain, complain_about
from .operands import Filters, inputs
from .options import (
    ByteCount,
    ModelId,
    device_option,
    no_progress_option,
    verbose_option,
    weights_option,
)
from .progress import Bar

if TYPE_CHECKING:
    from nncodec.fixed import Seams
    from nncodec.formats.bits import Entropy
    from nncodec.seams import Method

PLOT_FORMATS = ("png", "svg", "pdf")

output_file = click.Path(dir_okay=False, path_type=Path)


class Smoothing(click.ParamType[tuple[str, int]]):
    """A smoothing of seams, N or METHOD:N, as a method (empty: the default) and a window."""

    name = "smoothing"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(?:(linear|step):)?(\d+)", str(value))
        if not match:
            self.fail(f"{value!r} is not N, linear:N or step:N", param, ctx)
        if int(match[2]) % 2:
            self.fail(f"{value!r} is odd; a window lies evenly across a seam", param, ctx)
        return match[1] or "", int(match[2])


@click.command("eval")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE|FOLDER...")
@click.option(
    "-m",
    "--model",
    "ids",
    multiple=True,
    type=ModelId(),
    metavar="ID",
    help="Measure this model, again for more. Default: all that are shipped.",
)
@weights_option
@click.option(
    "--peers",
    "peer_names",
    default="all",
    show_default=True,
    metavar="LIST",
    help="all, none, or some of jpeg,webp,jpeg2000,avif,jpegxl (if Pillow has its plugin).",
)
@click.option(
    "-s",
    "--smooth",
    "smooth",
    multiple=True,
    type=Smoothing(),
    metavar="[METHOD:]N",
    help="Smooth the seams over N pixels, 0 = off, by the method linear or step; again for more.",
)
@click.option(
    "--seams",
    multiple=True,
    type=click.Choice(["joint", "alone"]),
    help="Decode patches jointly (the default), each alone, or measure both.",
)
@click.option(
    "--entropy",
    "codings",
    multiple=True,
    type=click.Choice(CODINGS),
    metavar="CODING",
    help="Code the bits raw, zstd, context or auto (the default), the smallest; again for more.",
)
@click.option(
    "-q",
    "--quality",
    "qualities",
    multiple=True,
    type=click.FloatRange(0, 100),
    metavar="Q",
    help="Quality of variable-rate models, again for more; default: 0, 10 ... 90.",
)
@click.option(
    "-e",
    "--effort",
    type=click.IntRange(1, 9),
    metavar="E",
    help="Effort of variable-rate models, as for compress.",
)
@device_option
@click.option(
    "--json", "as_json", is_flag=True, help="Write JSON lines instead of the table: all figures."
)
@click.option(
    "--csv", "csv_file", type=output_file, metavar="FILE", help="Also write every measurement."
)
@click.option(
    "--plot",
    "plot_file",
    type=output_file,
    metavar="FILE",
    help="Also plot rate and distortion, as PNG, SVG or PDF (needs matplotlib).",
)
@click.option(
    "--side-by-side",
    "picture_file",
    type=output_file,
    metavar="FILE",
    help="Also show the first image beside each model's and JPEG or WebP at the nearest size.",
)
@click.option(
    "--report",
    "page_file",
    type=output_file,
    metavar="FILE",
    help="Also write a web page to look at: plot, tables, pictures (needs matplotlib).",
)
@click.option(
    "--report-size",
    type=ByteCount(),
    default="64M",
    show_default=True,
    metavar="SIZE",
    help="Leave out pictures beyond this. They are lossless, one for each model, quality and peer:"
    " up to 4 MB for 100,000 pixels. Of large images 1024 x 1024 pixels are shown.",
)
@click.option("-f", "--force", is_flag=True, help="Overwrite these files.")
@verbose_option
@no_progress_option
@click.pass_context
def evaluate(
    ctx: click.Context,
    /,
    images: tuple[str, ...],
    ids: tuple[str, ...],
    weights: str | None,
    peer_names: str,
    smooth: tuple[tuple[str, int], ...],
    seams: tuple["Seams", ...],
    codings: tuple["Entropy", ...],
    qualities: tuple[float, ...],
    effort: int | None,
    device: str,
    as_json: bool,
    csv_file: Path | None,
    plot_file: Path | None,
    picture_file: Path | None,
    page_file: Path | None,
    report_size: int,
    force: bool,
    verbose: bool,
    no_progress: bool,
) -> None:
    """Measure models on images, and compare them with JPEG, WebP, JPEG 2000 and AVIF.

    Rates are those of real files, in bits per pixel; PSNR is over RGB, MS-SSIM likewise; both are
    averaged over the images. "seams" tells how much the borders of the patches show: 1 where they
    show as little as in the original. Peers run over their own range of quality, and are read
    between their settings at the models' rates and PSNRs, never beyond them. Alpha and metadata
    are left out for all. Images in folders are found at any depth.

    \b
    Example:
      nncodec eval photos                               # all models and peers
      nncodec eval photos --peers none --seams alone -s 0 -s linear:8 -s step:8
      nncodec eval photos --peers none --entropy raw --entropy zstd --entropy context
      nncodec eval photos --plot rd.png --csv rd.csv --side-by-side photo.png
      nncodec eval photos -m bitplane_256 --report photos.html
    """
    for path in filter(None, (csv_file, plot_file, picture_file, page_file)):
        check_output(path, force=force)
        check_folder(path)
    if plot_file and suffix(plot_file) not in PLOT_FORMATS:
        raise click.UsageError(f"a plot is .png, .svg or .pdf, not {plot_file.name}")
    if weights and len(ids) > 1:
        raise click.UsageError("--weights are those of one model; name one with -m")

    # torch, NumPy and Pillow only from here on.
    from nncodec.evaluate import gallery, measurement, peers, picture, plot, report, run, table
    from nncodec.seams import DEFAULT_METHOD

    if plot_file or page_file:
        plot.require_matplotlib()
    chosen = peers.select(peer_names)
    codings = codings or ("auto",)
    models = run.load_models(ids, weights, device, codings)
    smoothings: list[tuple[int | None, Method]] = [
        (window, cast("Method", method or DEFAULT_METHOD)) for method, window in smooth
    ]
    wanted = [
        run.Decoding(decoded, window, method)
        for decoded in seams or ("joint",)
        for window, method in smoothings or [(None, DEFAULT_METHOD)]
    ]

    at = {
        name: (codec, run.settings(codec, wanted, codings, qualities or run.QUALITIES, effort))
        for name, codec in models.items()
    }
    jobs = [job for job, _ in inputs(images, IMAGE_SUFFIXES, True, Filters())]
    steps = sum(len(one.decodings) for _, settings in at.values() for one in settings)
    steps += sum(len(peer.settings) for peer in chosen)
    measured: list[measurement.Measurement] = []
    failed = False
    first = None
    shown = report.Gallery(report_size)
    with Bar(len(jobs), shown=not no_progress) as bar:
        for job in jobs:
            bar.start(job.name)
            try:
                if job.problem or job.source is None:
                    raise NncodecError(job.problem or "eval needs files, not a pipe")
                original = run.load(job.source)
                of_image = []
                for one in run.measure(original, at, chosen):
                    of_image.append(one)
                    bar.advance(len(of_image) / steps)
                measured += of_image
                first = first or original
                if page_file and shown.full:
                    shown.leave_out(original.name)
                elif page_file:
                    shown.add(original.name, gallery.of_image(original, at, chosen))
            except (NncodecError, OSError) as error:
                bar.clear()
                complain_about(error, job.name)
                failed = True
            bar.finish()
    if first is None:
        ctx.exit(FAILURE)

    figures = table.Report(measured, frozenset(models))
    for line in table.json_lines(figures) if as_json else [table.text(figures)]:
        click.echo(line)
    if csv_file:
        with atomic_output(csv_file, force=force) as file:
            file.write(table.csv_text(figures).encode())
    if plot_file:
        with atomic_output(plot_file, force=force) as file:
            plot.plot(figures, file, suffix(plot_file))
    if picture_file:
        sheet = picture.side_by_side(picture.versions(first, at, chosen, wanted[0]))
        with atomic_output(picture_file, force=force) as file:
            sheet.save(file, "PNG")
    if page_file:
        with atomic_output(page_file, force=force) as file:
            file.write(report.page(figures, shown))
        if shown.full:
            count = plural(len(shown.left_out), "image")
            complain(f"{page_file}: has no pictures of {count}; see --report-size")
    ctx.exit(FAILURE if failed else SUCCESS)


def check_folder(path: Path) -> None:
    """Raise OutputError if there is no folder to write ``path`` in: better now than at the end."""
    target = Path(os.path.realpath(path))
    device = target.exists() and not target.is_file()
    if not device and not os.access(target.parent, os.W_OK):
        raise OutputError(f"{path}: cannot be written: {target.parent} is no folder to write in")


def suffix(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")
