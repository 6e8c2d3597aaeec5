"""A batch on this machine: several jobs at once, each in a thread, its networks in a process."""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from .errors import INTERRUPTED, complain
from .operands import Job
from .progress import Bar
from .settings import Settings
from .worker import Attempt, Networked, Work, Worker

if TYPE_CHECKING:
    from .apart import Apart

AHEAD = 500  # jobs that may be waiting, or done before one that is still to be told: only results


class LocalEngine:
    """Threads, beside as many processes if there are networks to be run."""

    def __init__(self, jobs: Sequence[Job], work: Work, settings: Settings, bar: Bar) -> None:
        self.jobs = jobs
        self.threads = settings.workers(jobs)
        self.apart: Apart | None = None
        if self.threads > 1 and isinstance(work, Networked):
            from .apart import Apart

            work = self.apart = Apart(work, self.threads, checked=settings.remove)
        self.worker = Worker(work, settings, bar)

    def attempts(self) -> Iterator[Attempt]:
        """Attempt the jobs, several at once, and yield them in their order."""
        if self.threads == 1:
            yield from map(self.worker.attempt, self.jobs)
            return
        waiting: deque[Future[Attempt]] = deque()
        pool = ThreadPoolExecutor(self.threads)
        try:
            for job in self.jobs:
                waiting.append(pool.submit(self.worker.attempt, job))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            self.end_helpers()

    def interrupt(self) -> None:
        """End the process at once if there are threads: they may be waiting for anything."""
        if self.threads == 1:
            return
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.end_helpers()
        self.worker.outputs.take_back()
        complain("interrupted")
        sys.stdout.flush()
        os._exit(INTERRUPTED)

    def end_helpers(self) -> None:
        """End the processes, if there are any."""
        if self.apart is not None:
            self.apart.close()
