"""The options that commands share, and the types of their values."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from .errors import VERBOSE

F = TypeVar("F", bound=Callable[..., Any])

ENGINES = ("local", "ray")
METADATA = ("exif", "icc", "xmp")
SUFFIXES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


class ByteCount(click.ParamType[int]):
    """A number of bytes, with a suffix K, M or G for thousands, millions or billions."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKMG]?)B?", str(value))
        count = float(match[1]) * SUFFIXES[match[2].upper()] if match else 0
        if count < 1:
            self.fail(f"{value!r} is no number of bytes like 20000, 20K or 1.5M", param, ctx)
        return int(count)


class Device(click.ParamType[str]):
    """A device to compute on, checked for its form only: no torch here."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", str(value)):
            self.fail(f"{value!r} is not auto, cpu, cuda, cuda:N or mps", param, ctx)
        return str(value)


class MetadataList(click.ParamType[tuple[str, ...]]):
    """``all``, ``none`` or names of metadata, as a tuple of names."""

    name = "list"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        if value in ("all", "none"):
            return METADATA if value == "all" else ()
        names = tuple(name.strip() for name in str(value).split(","))
        for name in names:
            if name not in METADATA:
                known = ", ".join(METADATA)
                self.fail(f"{name!r} is not all, none, or one of {known}", param, ctx)
        return names


class Shard(click.ParamType[tuple[int, int]]):
    """One of several equal parts: I/N, with I from 1 to N."""

    name = "shard"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", str(value))
        index, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= index <= count:
            self.fail(f"{value!r} is not I/N, like 1/4 for the first of four parts", param, ctx)
        return index, count


class ModelId(click.ParamType[str]):
    """The id of a model, completed from those that are shipped."""

    name = "id"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from nncodec.weights import manifest

        return [CompletionItem(id) for id in manifest() if id.startswith(incomplete)]


def together(decorators: Sequence[Callable[[F], F]]) -> Callable[[F], F]:
    """Make one decorator of several; ``--help`` shows the options in the order given."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def remember_verbose(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    ctx.meta[VERBOSE] = value
    return value


recursive_options: Callable[[F], F] = together(
    [
        click.option("-r", "--recursive", is_flag=True, help="Take the files in folders."),
        click.option(
            "--include",
            multiple=True,
            metavar="GLOB",
            help="With -r: take these, whatever their suffix.",
        ),
        click.option("--exclude", multiple=True, metavar="GLOB", help="With -r: leave these out."),
    ]
)

output_options: Callable[[F], F] = together(
    [
        click.option(
            "-o",
            "--output",
            metavar="PATH",
            help="File, - for standard output, or a folder if there are several inputs.",
        ),
        recursive_options,
        click.option(
            "--files-from",
            type=click.Path(exists=True, dir_okay=False, allow_dash=True),
            metavar="FILE",
            help="Take the inputs named in FILE, one a line; -: standard input. Mirrors folders.",
        ),
        click.option("-0", "--null", is_flag=True, help="Names in FILE end in NUL: find -print0."),
        click.option(
            "--shard",
            type=Shard(),
            metavar="I/N",
            help="Do every N-th input, from the I-th on: one of N machines that do all.",
        ),
        click.option("-f", "--force", is_flag=True, help="Overwrite; write to a terminal."),
        click.option(
            "--skip-existing", is_flag=True, help="Leave finished outputs alone: restarts a batch."
        ),
        click.option(
            "-p", "--preserve", is_flag=True, help="Give outputs the mode and times of the inputs."
        ),
        click.option("-n", "--dry-run", is_flag=True, help="Only say what would be written."),
        click.option(
            "-j",
            "--jobs",
            type=click.IntRange(1, 256),
            envvar="NNCODEC_JOBS",
            show_envvar=True,
            metavar="N",
            help="Inputs worked on at once; default: 2, or 1 on a single processor.",
        ),
    ]
)

engine_options: Callable[[F], F] = together(
    [
        click.option(
            "--engine",
            type=click.Choice(ENGINES),
            default="local",
            metavar="ENGINE",
            help="local (the default), or ray: -j actors, by default one for each GPU or CPU.",
        ),
        click.option(
            "--address",
            metavar="ADDRESS",
            help="The Ray cluster to work on; default: RAY_ADDRESS, or Ray on this machine alone.",
        ),
    ]
)

removal_option: Callable[[F], F] = click.option(
    "--rm/--keep",
    " /-k",
    "remove",
    default=False,
    help="Remove an input once its output has been read back and checked; default: keep.",
)

device_option: Callable[[F], F] = click.option(
    "--device",
    type=Device(),
    default="auto",
    envvar="NNCODEC_DEVICE",
    show_envvar=True,
    metavar="DEV",
    help="auto, cpu, cuda, cuda:N or mps.",
)

weights_option: Callable[[F], F] = click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Use the weights in this .safetensors file.",
)

no_progress_option: Callable[[F], F] = click.option(
    "--no-progress", is_flag=True, help="Show no progress bar, even on a terminal."
)

network_options: Callable[[F], F] = together(
    [
        device_option,
        click.option(
            "--batch-size",
            type=click.IntRange(min=1),
            metavar="N",
            help="Patches that go through the network at once; default: what suits it.",
        ),
        weights_option,
    ]
)

max_pixels_option: Callable[[F], F] = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    metavar="N",
    help="Refuse images that are larger than N; default: about 179 million.",
)

pixel_options: Callable[[F], F] = together(
    [
        click.option(
            "--metadata",
            type=MetadataList(),
            metavar="LIST",
            help="Keep all (the default), none, or a list of exif,icc,xmp.",
        ),
        click.option("--strip", is_flag=True, help="The same as --metadata icc."),
        max_pixels_option,
    ]
)

json_option: Callable[[F], F] = click.option(
    "--json", "as_json", is_flag=True, help="Write one JSON object per input to standard output."
)

verbose_option: Callable[[F], F] = click.option(
    "-v", "--verbose", is_flag=True, callback=remember_verbose, help="Say more, also about errors."
)

report_options: Callable[[F], F] = together(
    [
        json_option,
        verbose_option,
        click.option("--quiet", is_flag=True, help="Write nothing but errors."),
        no_progress_option,
    ]
)


def kept_metadata(metadata: tuple[str, ...] | None, strip: bool) -> tuple[str, ...]:
    """Return the names of the metadata to keep."""
    if strip and metadata is not None:
        raise click.UsageError("--strip and --metadata exclude each other")
    return ("icc",) if strip else METADATA if metadata is None else metadata
