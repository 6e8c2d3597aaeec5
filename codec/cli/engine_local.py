"""A batch on this machine: several jobs at once, each in a thread of this process."""

import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from .errors import INTERRUPTED, complain
from .operands import Job
from .progress import Bar
from .settings import Settings
from .worker import Attempt, Work, Worker

AHEAD = 500  # jobs that may be waiting, or done before one that is still to be told: only results


class LocalEngine:
    """Threads that share one network."""

    def __init__(self, jobs: Sequence[Job], work: Work, settings: Settings, bar: Bar) -> None:
        self.jobs = jobs
        self.worker = Worker(work, settings, bar)
        self.threads = settings.workers(jobs)

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

    def interrupt(self) -> None:
        """End the process at once if there are threads: they may be waiting for anything."""
        if self.threads == 1:
            return
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.worker.outputs.take_back()
        complain("interrupted")
        sys.stdout.flush()
        os._exit(INTERRUPTED)
