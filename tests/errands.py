"""Work for the processes of a batch that takes no time and goes wrong on demand."""

import dataclasses
import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from nncodec.cli.network import Network
from nncodec.cli.operands import Job
from nncodec.cli.reports import Outcome
from nncodec.cli.settings import Settings
from nncodec.formats.errors import OutputError

NOTHING = Outcome(bytes_in=0, width=1, height=1, bpp=0, model="")


def settings_of(jobs: int, **options: Any) -> Settings:
    """The settings of a batch of so many at once."""
    unset = [f.name for f in dataclasses.fields(Settings) if f.default is dataclasses.MISSING]
    return Settings(**{**dict.fromkeys(unset), "jobs": jobs, **options})


def jobs_of(*tasks: str) -> list[Job]:
    """Jobs in the current folder with these tasks."""
    for number, task in enumerate(tasks):
        Path(f"{number}.task").write_text(task)
    return [Job(Path(f"{number}.task"), Path(f"{number}.out")) for number in range(len(tasks))]


@dataclasses.dataclass
class Errand:
    """Work for other processes: what is to be done stands in the input."""

    network: Network

    def __call__(self, job: Job, file: BinaryIO, advance: Callable[[float], None]) -> Outcome:
        assert job.source is not None
        task = job.source.read_text()
        if task == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif task == "fail":
            raise OutputError("as it should")
        elif task == "stumble":
            raise ZeroDivisionError("an odd one")
        elif task == "sleep":
            Path("asleep.new").write_text(str(os.getpid()))
            Path("asleep.new").rename("asleep")
            while not Path("awake").exists():
                time.sleep(0.05)
        elif task == "remark":
            warnings.warn_explicit("odd", UserWarning, "x.py", 1, "PIL.x")
        with self.network.room(10):
            advance(0.25)
        advance(1)
        file.write(task.encode())
        return dataclasses.replace(NOTHING, check=self.check)

    def check(self, file: BinaryIO) -> None:
        if b"not this" in file.read():
            raise OutputError("it is another")
