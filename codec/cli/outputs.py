"""Where the bytes of an output go: files that appear whole or not at all, or a pipe."""

import io
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from nncodec.formats.errors import OutputError
from nncodec.formats.files import atomic_output

from .operands import Job

try:
    import fcntl
except ImportError:  # Windows, where a file that is open can't be removed anyway
    fcntl = None  # type: ignore[assignment]

UNFINISHED = ".nncodec-*.part"  # what atomic_output calls a file before it is whole
YOUNG = 1.0  # seconds in which a file that was just made may not have been locked yet


class Outputs:
    """The outputs of a batch, of which those that are not finished yet can be taken back."""

    def __init__(self) -> None:
        self.opening = Lock()
        self.unfinished: set[str] = set()

    @contextmanager
    def open(
        self, job: Job, force: bool, complete: Callable[[BinaryIO], None] | None = None
    ) -> Iterator[BinaryIO]:
        """Open the output of a job. A pipe or device, too, gets all of it at the end, or nothing.

        When all is written, ``complete`` is given the file before it appears under its name.
        """
        if job.target is None or is_device(job.target):
            buffer = io.BytesIO()
            yield buffer
            if job.target is not None:
                job.target.write_bytes(buffer.getbuffer())
            else:
                sys.stdout.buffer.write(buffer.getbuffer())
                sys.stdout.buffer.flush()
            return
        if job.make_folders:
            job.target.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as told, ExitStack() as stack:
            with self.opening:
                file = stack.enter_context(atomic_output(job.target, force, source=job.source))
                self.unfinished.add(file.name)
                told.callback(self.unfinished.discard, file.name)  # when it is whole, or gone
            with suppress(OSError):  # a file system without locks
                lock(file)
            yield file
            if complete:
                file.flush()
                complete(file)

    def take_back(self) -> None:
        """Remove what is not finished, for the end of the process: no output is opened any more."""
        self.opening.acquire()
        for name in list(self.unfinished):
            with suppress(OSError):  # finished just now
                os.unlink(name)


def is_device(path: Path) -> bool:
    return path.exists() and not path.is_file()


def lock(file: BinaryIO) -> None:
    """Lock an open file for this process. OSError if another one holds it."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def copy_status(source: Path, file: BinaryIO) -> None:
    """Give an open output the permissions and the times of its input."""
    status = source.stat()
    os.chmod(file.name, stat.S_IMODE(status.st_mode) & 0o777)
    os.utime(file.name, ns=(status.st_atime_ns, status.st_mtime_ns))


def check_written(file: BinaryIO, check: Callable[[BinaryIO], None]) -> None:
    """Bring an open output to the disk, and raise OutputError unless it passes ``check``."""
    os.fsync(file.fileno())
    with open(file.name, "rb") as written:
        try:
            check(written)
        except Exception as error:
            raise OutputError(f"not verified, so the input stays: {error}") from error


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove what killed runs have left unfinished in ``folders``.

    A run that is alive holds a lock on what it writes.
    """
    for folder in folders:
        for path in folder.glob(UNFINISHED):
            with suppress(OSError), path.open("rb") as file:
                if time.time() - path.stat().st_mtime > YOUNG:
                    lock(file)
                    path.unlink()
