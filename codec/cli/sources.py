"""Where the bytes of an input come from, and how many they are."""

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from .operands import Job


class Counted(io.RawIOBase):
    """A pipe that counts what was read from it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer
        data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        self.size += len(data)
        return len(data)


@contextmanager
def open_input(job: Job) -> Iterator[tuple[BinaryIO, Callable[[], int]]]:
    """Open an input; yield it with a function that tells its size once it has been read."""
    if job.source is None:
        yield measured(sys.stdin.buffer)
    else:
        with open(job.source, "rb") as file:
            yield measured(file)


def measured(file: BinaryIO) -> tuple[BinaryIO, Callable[[], int]]:
    try:
        status = os.fstat(file.fileno())
    except OSError:  # not a file of the operating system
        status = None
    if status and stat.S_ISREG(status.st_mode):
        size = status.st_size
        return file, lambda: size
    counted = Counted(file)
    return io.BufferedReader(counted), lambda: counted.size
