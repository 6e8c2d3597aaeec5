"""``nncodec info`` and ``nncodec verify``: what a .cae file holds, and whether it is whole.

Neither imports torch, unless ``verify --deep`` decodes.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import click

from nncodec.formats.cae import Coding, Header, Reader, Segment
from nncodec.formats.errors import NncodecError

from .errors import FAILURE, SUCCESS, complain_about
from .network import Network
from .operands import Filters, Job, default_operand, inputs
from .options import json_option, network_options, verbose_option
from .sources import open_input

Record = dict[str, Any]


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE.cae|FOLDER|-]...")
@json_option
@verbose_option
@click.pass_context
def info(ctx: click.Context, files: tuple[str, ...], as_json: bool, verbose: bool) -> None:
    """Show what .cae files hold: image, model, sizes and rate.

    The model is not loaded. With -v every segment is listed, too.

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
            for segment in segments if verbose else ():
                click.echo(segment_line(segment_record(reader.header, *segment)))
        if reader.errors:
            raise Found(record, reader.errors[0])
        return record

    ctx.exit(for_each(files, show, as_json))


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE.cae|FOLDER|-]...")
@click.option("--deep", is_flag=True, help="Decode the image, too.")
@network_options
@json_option
@verbose_option
@click.option("--quiet", is_flag=True, help="Write nothing but errors.")
@click.pass_context
def verify(
    ctx: click.Context,
    files: tuple[str, ...],
    deep: bool,
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
    network = Network(device, batch_size, weights)

    def check(job: Job) -> Record:
        with open_input(job) as (file, size):
            reader = Reader(file)
            if deep:
                decode(reader, network)
            else:
                check_payloads(reader)
            record = {"input": job.input, "status": "ok", "bytes": size()}
        if not (as_json or quiet):
            click.echo(f"{job.name}: ok, {plural(reader.header.n_chunks, 'segment')}")
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
    from nncodec.api import model_of

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


def without_payload(segment: Segment) -> tuple[int, int, str, int]:
    """Return index, plane, coding and size of the payload: what ``info`` keeps of a segment."""
    return segment.index, segment.plane, segment.coding.name.lower(), len(segment.payload)


def contents(reader: Reader, segments: Sequence[tuple[int, int, str, int]], size: int) -> Record:
    """Return what ``info --json`` writes of a file of ``size`` bytes."""
    header = reader.header
    metadata = {name: len(data) for name, data in reader.metadata.items()}
    data = sum(length for *_, length in segments)
    alpha = sum(len(strip.payload) for strip in reader.alpha)
    return {
        "bytes": size,
        "bpp": round(size * 8 / (header.width * header.height), 5),
        "width": header.width,
        "height": header.height,
        "colour": header.colour.name.lower().replace("_", "+"),
        "depth": header.depth,
        "model": header.model,
        "weights": header.fingerprint.hex(),
        "weights_shipped": shipped(header),
        "context_shipped": context_shipped(header),
        "latent": [header.channels, header.side, header.side],
        "patch": header.patch,
        "grid": list(header.grid),
        "pad": header.pad._asdict(),
        "pad_mode": header.pad_mode.name.lower(),
        "planes": header.planes,
        "params": list(header.params),
        "data_chunks": header.n_chunks,
        "codings": by_coding(header, segments),
        "data_bytes": data,
        "alpha_bytes": alpha,
        "metadata_bytes": metadata,
        "container_bytes": size - data - alpha - sum(metadata.values()),
    }


def shipped(header: Header) -> bool:
    """Tell whether the file was made with weights that this program has."""
    from nncodec.weights import manifest

    entry = manifest().get(header.model)
    return entry is not None and entry.fingerprint == header.fingerprint


def context_shipped(header: Header) -> bool | None:
    """Tell whether this program has the file's context model, too; None if it needs none."""
    from nncodec.weights import manifest

    if not header.params:
        return None
    return shipped(header) and header.params == (manifest()[header.model].context_id,)


def by_coding(header: Header, segments: Sequence[tuple[int, int, str, int]]) -> Record:
    """Return for each coding how many segments it codes, in how many bytes, and what it saves."""
    codings: Record = {}
    for index, _, coding, size in segments:
        found = codings.setdefault(coding, {"segments": 0, "bytes": 0, "bits_saved": 0})
        found["segments"] += 1
        found["bytes"] += size
        found["bits_saved"] += 8 * (header.segment_bytes(index) - size)
    return codings


def table(record: Record) -> str:
    """Return a record of `contents` for people."""
    channels, side, _ = record["latent"]
    rows, columns = record["grid"]
    pads = ", ".join(f"{side} {pixels}" for side, pixels in record["pad"].items() if pixels)
    codings = [coding_text(*coding) for coding in record["codings"].items()]
    if record["context_shipped"] is False:
        codings.append("with a context model that is not shipped")
    known = "shipped" if record["weights_shipped"] else "not shipped: decompress needs --weights"
    chunks = plural(record["data_chunks"], "segment")
    lines = {
        "image": f"{record['width']} x {record['height']} pixels, {record['colour']},"
        f" from {record['depth']}-bit samples",
        "size": f"{record['bytes']:,} bytes, {record['bpp']:.4f} bits per pixel",
        "model": record["model"],
        "weights": f"{record['weights']} ({known})",
        "patches": f"{rows} rows x {columns} columns of {record['patch']} x {record['patch']}"
        f" pixels; {channels} x {side} x {side} bits each",
        "pad": f"{pads} ({record['pad_mode']})" if pads else "none",
        "data": f"{record['data_bytes']:,} bytes in {chunks}",
        "coding": "; ".join(codings) or "none",
    }
    if record["alpha_bytes"]:
        lines["alpha"] = f"{record['alpha_bytes']:,} bytes"
    for name, size in record["metadata_bytes"].items():
        lines[name] = f"{size:,} bytes"
    lines["container"] = f"{record['container_bytes']:,} bytes"
    return "\n".join([record["input"], *(f"  {name:<10} {text}" for name, text in lines.items())])


def segment_record(header: Header, index: int, plane: int, coding: str, size: int) -> Record:
    """Return what ``info -v`` tells of a segment."""
    place = header.segment_patches(index)._asdict()
    return {"plane": plane, "segment": index, **place, "coding": coding, "bytes": size}


def coding_text(coding: str, record: Record) -> str:
    """Return one coding of `by_coding` for people."""
    text = f"{coding} ({plural(record['segments'], 'segment')})"
    saved = record["bits_saved"] / (8 * record["bytes"] + record["bits_saved"])
    if saved:
        text += f", {100 * abs(saved):.1f} % {'smaller' if saved > 0 else 'larger'} than raw"
    return text


def segment_line(record: Record) -> str:
    """Return a record of `segment_record` for people."""
    return (
        f"    plane {record['plane']}, segment {record['segment']}: {record['rows']} x"
        f" {record['columns']} patches from row {record['row']}, column {record['column']};"
        f" {record['coding']}, {record['bytes']:,} bytes"
    )


def plural(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
