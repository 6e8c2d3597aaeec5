"""What a command takes, with all the processes that it starts: time and memory. Of Linux."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

NNCODEC = [sys.executable, "-m", "nncodec"]
PAUSE = 0.02  # seconds between looks at the memory


def measured(*args: str | Path) -> tuple[float, float]:
    """Seconds of CPU time, and MiB of memory at most, that nncodec takes with these arguments.

    A small process between has no other child.
    """
    command = [sys.executable, __file__, *NNCODEC, *map(str, args)]
    output = subprocess.check_output(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    status, seconds, mebibytes = json.loads(output)
    assert status == 0
    return seconds, mebibytes


def family(pid: int) -> Iterator[int]:
    """A process and all that it has started, and they."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from family(int(child))


def memory(pid: int | str) -> int:
    """KiB that a process has in memory; what n processes share counts as a part of n of each."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def watched(process: subprocess.Popen[Any]) -> float:
    """MiB of memory that a process and what it starts have at most, until it ends."""
    most = 0
    while process.poll() is None:
        try:
            most = max(most, sum(map(memory, family(process.pid))))
        except OSError:  # one has just ended
            pass
        time.sleep(PAUSE)
    return most / 1024


def main() -> None:
    process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
    most = watched(process)
    usage = getrusage(RUSAGE_CHILDREN)
    print(json.dumps([process.returncode, usage.ru_utime + usage.ru_stime, most]))


if __name__ == "__main__":
    main()
