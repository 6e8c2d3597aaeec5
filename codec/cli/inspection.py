"""``nncodec info`` and ``nncodec verify``: what a .cae file holds, and whether it is whole.

Neither imports torch, unless ``verify --deep`` decodes.
"""

import json
import sys
from collections.abc import Callable, Sequence
from shutil import get_terminal_size

import click

from nncodec.formats.cae import Coding, Reader
from nncodec.formats.errors import NncodecError

from .contents import Record, contents, extent, segment_line, segment_record, table, without_payload
from .errors import FAILURE, SUCCESS, complain_about
from .network import Network
from .operands import Filters, Job, default_operand, inputs
from .options import json_option, max_pixels_option, network_options, verbose_option
from .segment_map import draw
from .sources import open_input


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE.cae|FOLDER|-]...")
@json_option
@verbose_option
@click.pass_context
def info(ctx: click.Context, files: tuple[str, ...], as_json: bool, verbose: bool) -> None:
    """Show what .cae files hold: image, model, sizes and rate.

    The model is not loaded. With -v every segment is listed, too, and a map
    shows how many bits each part of the picture takes.

    \b
    Example:
      nncodec info photo.cae
      nncodec info --json cae | jq .bpp                 # every .cae file in the folder
    """

    def show(job: Job) -> Record:
        with open_input(job) as (file, size):
            reader = Reader(file, partial=True)
            segments = list(map(without_payload, reader.segments()))
            record = contents(reader, segments, size())
        record = {"input": job.input, **record}
        if as_json:
            listed = [segment_record(reader.header, *segment) for segment in segments]
            record |= {"segments": listed} if verbose else {}
        else:
            click.echo(table(record))
            if verbose:
                width, encoding = get_terminal_size().columns, sys.stdout.encoding
                click.echo("\n".join(draw(reader.header, segments, width, encoding)))
            for segment in segments if verbose else ():
                click.echo(segment_line(segment_record(reader.header, *segment)))
        if reader.errors:
            raise Found(record, reader.errors[0])
        return record

    ctx.exit(for_each(files, show, as_json))


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE.cae|FOLDER|-]...")
@click.option("--deep", is_flag=True, help="Decode the image, too.")
@max_pixels_option
@network_options
@json_option
@verbose_option
@click.option("--quiet", is_flag=True, help="Write nothing but errors.")
@click.pass_context
def verify(
    ctx: click.Context,
    files: tuple[str, ...],
    deep: bool,
    max_pixels: int | None,
    device: str,
    batch_size: int | None,
    weights: str | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Check that .cae files are whole.

    All checksums, lengths and counts are checked, without the network. With --deep the image is
    decoded as well, which also shows whether the model and its weights are at hand.

    \b
    Example:
      nncodec verify photo.cae
      nncodec verify --deep --quiet cae && echo all well  # every .cae file in the folder
    """
    from nncodec.formats.images import MAX_PIXELS

    network = Network(device, batch_size, weights)

    def check(job: Job) -> Record:
        with open_input(job) as (file, size):
            reader = Reader(file, max_pixels=max_pixels or MAX_PIXELS)
            if deep:
                decode(reader, network)
            else:
                check_payloads(reader)
            record = {"input": job.input, "status": "ok", "bytes": size()}
        if not (as_json or quiet):
            click.echo(f"{job.name}: ok, {extent(reader.header)}")
        return record

    ctx.exit(for_each(files, check, as_json))


class Found(Exception):
    """Something is wrong with a file of which there is something to tell nevertheless."""

    def __init__(self, record: Record, error: NncodecError) -> None:
        super().__init__(str(error))
        self.record = record
        self.error = error


def for_each(files: Sequence[str], look: Callable[[Job], Record], as_json: bool) -> int:
    """Look at each file, whatever befalls another; return the exit status."""
    status = SUCCESS
    found = inputs(files or (default_operand(),), (".cae",), recursive=True, filters=Filters())
    for job, _ in found:
        record: Record = {"input": job.input}
        error: Exception | None = None
        try:
            if job.problem:
                raise NncodecError(job.problem)
            record = look(job)
        except BrokenPipeError:
            raise  # nobody reads on
        except Found as finding:
            record, error = finding.record, finding.error
        except Exception as failure:
            error = failure
        if error is not None:
            status = FAILURE
            record |= {"status": "failed", "error": complain_about(error, job.name)}
        if as_json:
            click.echo(json.dumps(record))
    return status


def decode(reader: Reader, network: Network) -> None:
    """Decode the image, for nothing but the errors that this may raise."""
    from nncodec.engine import model_of

    network.codec(model_of(reader.header, network.weights)).decompress_from(reader)


def check_payloads(reader: Reader) -> None:
    """Inflate every payload; raise CaeError if one does not hold what it should.

    Of a context-coded one only the model could tell more than its checksum does.
    """
    from nncodec.formats import alpha, bits

    for strip in reader.alpha:
        alpha.decode_strip(strip, reader.header)
    for segment in reader.segments():
        if segment.coding is not Coding.CONTEXT:
            bits.unpack_segment(segment, reader.header)
