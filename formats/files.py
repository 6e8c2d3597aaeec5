"""Output files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Literal, TypeAlias

from .errors import OutputError

StrPath: TypeAlias = str | os.PathLike[str]


@contextmanager
def atomic_output(
    path: StrPath, force: bool = False, *, source: StrPath | None = None
) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends, and leaves nothing if it raises.

    OutputError if `path` exists and `force` is not given, if it is the same file as `source`, or
    if it cannot be written. A device or a pipe is written directly.
    """
    check_output(path, force, source=source)
    target = os.path.realpath(path)  # a link stays a link
    if os.path.exists(target) and not os.path.isfile(target):
        with _create(target, "wb", path) as device:
            yield device
        return
    temporary = os.path.join(os.path.dirname(target), f".nncodec-{secrets.token_hex(8)}.part")
    try:
        with _create(temporary, "xb", path) as file:
            yield file
        check_output(path, force, source=source)  # what has come into being meanwhile is kept
        with _blamed(path):
            os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):  # it was never made, or its folder has gone
            os.unlink(temporary)
        raise


def _create(path: str, mode: Literal["wb", "xb"], shown: StrPath) -> BinaryIO:
    with _blamed(shown):
        return open(path, mode)


@contextmanager
def _blamed(path: StrPath) -> Iterator[None]:
    """Turn the system's error, which may name a temporary file, into one that names `path`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{os.fspath(path)}: cannot be written: {error.strerror}") from None


def check_output(path: StrPath, force: bool = False, *, source: StrPath | None = None) -> None:
    """OutputError if `atomic_output` would refuse to write `path`."""
    name = os.fspath(path)
    if os.path.isdir(path):
        raise OutputError(f"{name}: is a folder")
    if os.path.islink(os.path.realpath(path)):
        raise OutputError(f"{name}: is a link that leads to itself")
    if source is not None and os.path.exists(path) and os.path.samefile(path, source):
        raise OutputError(f"{name}: is the input; choose another output")
    if os.path.isfile(path) and not force:
        raise OutputError(f"{name}: exists; use -f to overwrite")
