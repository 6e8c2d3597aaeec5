"""What ``info`` tells of a .cae file: as a record for programs, and as text for people."""

from collections.abc import Sequence
from typing import Any

from nncodec.formats.cae import Header, Reader, Segment
from nncodec.formats.stages import VARIABLE_RATE, Settings
from nncodec.rate import quality_of

Record = dict[str, Any]


def without_payload(segment: Segment) -> tuple[int, int, str, int]:
    """Return index, plane, coding and size of the payload: what ``info`` keeps of a segment."""
    return segment.index, segment.plane, segment.coding.name.lower(), len(segment.payload)


def contents(reader: Reader, segments: Sequence[tuple[int, int, str, int]], size: int) -> Record:
    """Return what ``info --json`` writes of a file of ``size`` bytes."""
    header = reader.header
    metadata = {name: len(data) for name, data in reader.metadata.items()}
    data = sum(length for *_, length in segments)
    alpha = sum(len(strip.payload) for strip in reader.alpha)
    variable = header.model in VARIABLE_RATE
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
        "latent": [header.channels, header.side, header.side],
        "patch": header.patch,
        "grid": list(header.grid),
        "pad": header.pad._asdict(),
        "pad_mode": header.pad_mode.name.lower(),
        "planes": header.planes,
        "params": list(header.params),
        "segments": header.n_segments,
        "data_chunks": header.n_chunks,
        **(by_stage(header, segments) if variable else by_coding(header, segments)),
        "data_bytes": data,
        "alpha_bytes": alpha,
        "metadata_bytes": metadata,
        "container_bytes": size - data - alpha - sum(metadata.values()),
    }


def by_stage(header: Header, segments: Sequence[tuple[int, int, str, int]]) -> Record:
    """Return the step of a variable-rate model's file, and the bytes of its stages."""
    settings = Settings.of(header)
    quality = round(quality_of(settings.step), 1)
    stages = [0] * header.planes
    for _, stage, _, size in segments:
        stages[stage] += size
    return {
        "step": round(settings.step_size, 3),
        "quality": quality if 0 <= quality <= 100 else None,
        "stage_bytes": stages,
        "stages_cut": settings.last,
        "filter_factors": list(settings.factors),
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
    """Return for each coding how many segments it codes, in how many bytes, and what it saves.

    Whether the context model ships comes first; None if the file needs none.
    """
    codings: Record = {}
    for index, _, coding, size in segments:
        found = codings.setdefault(coding, {"segments": 0, "bytes": 0, "bits_saved": 0})
        found["segments"] += 1
        found["bytes"] += size
        found["bits_saved"] += 8 * (header.segment_bytes(index) - size)
    return {"context_shipped": context_shipped(header), "codings": codings}


def table(record: Record) -> str:
    """Return a record of `contents` for people."""
    channels, side, _ = record["latent"]
    rows, columns = record["grid"]
    known = "shipped" if record["weights_shipped"] else "not shipped: decompress needs --weights"
    what = "values" if "step" in record else "bits"
    lines = {
        "image": f"{record['width']} x {record['height']} pixels, {record['colour']},"
        f" from {record['depth']}-bit samples",
        "size": f"{record['bytes']:,} bytes, {record['bpp']:.4f} bits per pixel",
        "model": record["model"],
        "weights": f"{record['weights']} ({known})",
        "patches": f"{rows} rows x {columns} columns of {record['patch']} x {record['patch']}"
        f" pixels; {channels} x {side} x {side} {what} each",
        **(quality_lines(record) if "step" in record else coding_lines(record)),
        "data": f"{record['data_bytes']:,} bytes in {plural(record['segments'], 'segment')}",
    }
    if record["alpha_bytes"]:
        lines["alpha"] = f"{record['alpha_bytes']:,} bytes"
    for name, size in record["metadata_bytes"].items():
        lines[name] = f"{size:,} bytes"
    lines["container"] = f"{record['container_bytes']:,} bytes"
    return "\n".join([record["input"], *(f"  {name:<10} {text}" for name, text in lines.items())])


def quality_lines(record: Record) -> dict[str, str]:
    """Return the lines of `table` that only files of a variable-rate model have."""
    stages = record["stage_bytes"]
    quality = "" if record["quality"] is None else f" (q {record['quality']:g})"
    sizes = " + ".join(f"{size:,}" for size in stages)
    cut = f", {record['stages_cut']} cut off" if record["stages_cut"] else ""
    text = f"step {record['step']:.3g} levels{quality}, stages {len(stages)}: {sizes} bytes{cut}"
    return {"quality": text}


def coding_lines(record: Record) -> dict[str, str]:
    """Return the lines of `table` that only files of a fixed-rate model have."""
    pads = ", ".join(f"{side} {pixels}" for side, pixels in record["pad"].items() if pixels)
    codings = [coding_text(*coding) for coding in record["codings"].items()]
    if record["context_shipped"] is False:
        codings.append("with a context model that is not shipped")
    return {
        "pad": f"{pads} ({record['pad_mode']})" if pads else "none",
        "coding": "; ".join(codings) or "none",
    }


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


def extent(header: Header) -> str:
    """Return how many segments a file has, and stages if they are several."""
    stages = f" in {header.planes} stages" if header.planes > 1 else ""
    return plural(header.n_segments, "segment") + stages


def plural(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
