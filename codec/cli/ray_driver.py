"""The process in which a batch is a dataset of Ray Data, mapped by actors with a network each.

Ray starts the actors, brings them the jobs, and starts them again if they die. What they do with a
job is what a thread of the local engine does. Nothing else imports Ray.
"""

from __future__ import annotations

import math
import os
import pickle
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from typing import Any

from nncodec import __version__
from nncodec.formats.errors import NncodecError

from .errors import Failure, one_line
from .operands import Job
from .progress import Bar
from .settings import Settings
from .worker import Attempt, Work, Worker

NODE = f"the Ray node {socket.gethostname()}"
ANSWER = 10  # seconds that a cluster has to answer in
STORE = 80_000_000  # bytes for Ray's objects on this machine: they are names and numbers


@dataclass(frozen=True)
class Shares:
    """How many actors there are, and what each takes of a cluster."""

    actors: int
    cpus: int  # which are its threads, too, unless OMP_NUM_THREADS says otherwise
    gpus: float


def shares(nodes: Sequence[dict[str, float]], actors: int | None, device: str, jobs: int) -> Shares:
    """Divide the resources of the nodes among so many actors; None: one for each GPU, or CPU.

    There are never more actors than jobs. NncodecError if there is no GPU but the device is one.
    """
    gpus = sum(node.get("GPU", 0) for node in nodes) if device in ("auto", "cuda") else 0
    if device == "cuda" and not gpus:
        raise NncodecError("--device cuda: this Ray cluster has no GPU")
    if gpus:
        actors = min(actors or int(gpus), jobs)
        on_each = math.ceil(actors / gpus)
        able = [node for node in nodes if node.get("GPU")]
        cpus = min(node.get("CPU", 0) / (node["GPU"] * on_each) for node in able)
        return Shares(actors, max(1, int(cpus)), 1 / on_each)
    processors = [int(node.get("CPU", 0)) for node in nodes]
    actors = min(actors or max(1, sum(processors)), jobs)
    fit = (n for n in range(max(processors), 1, -1) if sum(p // n for p in processors) >= actors)
    return Shares(actors, next(fit, 1), 0)


class Actor:
    """A worker in a process that Ray has started, on whichever machine."""

    def __init__(self, work: bytes, settings: Settings, folder: str, version: str) -> None:
        self.misfit = self.astray = ""
        if version != __version__:  # which may not write the same bytes
            self.misfit = f"{NODE} has nncodec {__version__}, not {version}"
        try:
            os.chdir(folder)
        except OSError:
            self.astray = f"{NODE} has no folder {folder} for relative names to start from"
        self.worker = Worker(pickle.loads(work), settings, Bar(1, shown=False))

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[bytes]]:
        return {"attempt": [pickle.dumps(self.attempt(pickle.loads(row))) for row in rows["job"]]}

    def attempt(self, job: Job) -> Attempt:
        problem = job.problem or self.misfit
        if not all(path and path.is_absolute() for path in (job.source, job.target)):
            problem = problem or self.astray
        return self.worker.attempt(replace(job, problem=problem))


def drive(sender: Connection, jobs: Sequence[Job], work: Work, settings: Settings) -> None:
    """Send the attempts in the order of the jobs, then a None; instead of it what went wrong."""
    be_quiet()
    threading.Thread(target=leave_with_parent, daemon=True).start()
    end: Failure | None = None
    try:
        for attempt in attempts(jobs, work, settings):
            sender.send(attempt)
    except Exception as error:
        end = Failure.of(error if isinstance(error, NncodecError) else explained(error))
    sender.send(end)


def be_quiet() -> None:
    """Let nothing that Ray says reach the terminal, and no Ctrl-C there reach Ray."""
    if os.name == "posix":
        os.setsid()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # which would go over the internet


def leave_with_parent() -> None:
    """End this process, and so its actors, if the one that started it is killed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def explained(error: Exception) -> NncodecError:
    """Name an error of Ray by the end of its message: before it stands a traceback."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return NncodecError(f"Ray: {lines[-1]}")


def attempts(jobs: Sequence[Job], work: Work, settings: Settings) -> Iterator[Attempt]:
    """Yield what the actors send."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext, from_items

    connect(settings)
    try:
        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        context.execution_no_progress_timeout_s = -1  # one picture may take long
        context.max_errored_blocks = -1  # an actor that dies loses its job, not the batch
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        share = shares(nodes, settings.jobs, settings.device, len(jobs))
        rows = [{"job": pickle.dumps(job)} for job in jobs]
        dataset = from_items(rows, override_num_blocks=len(rows)).map_batches(
            Actor,
            fn_constructor_args=(pickle.dumps(work), settings, os.getcwd(), __version__),
            compute=ActorPoolStrategy(size=share.actors, max_tasks_in_flight_per_actor=1),
            batch_size=1,
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            max_task_retries=1,
        )
        for row in dataset.iter_rows():
            yield pickle.loads(row["attempt"])
    finally:
        ray.shutdown()


def connect(settings: Settings) -> None:
    """Join a cluster, or start Ray on this machine."""
    import ray

    address = settings.address or os.environ.get("RAY_ADDRESS", "local")
    own: dict[str, Any] = {}
    if address == "local":
        processors = max(settings.jobs or 0, os.cpu_count() or 1)
        own = {"num_cpus": processors, "object_store_memory": STORE, "include_dashboard": False}
    host, _, port = address.rpartition(":")
    try:
        if port.isdigit() and "/" not in host:  # Ray itself would ask for minutes
            socket.create_connection((host, int(port)), ANSWER).close()
        ray.init(address, log_to_driver=False, **own)
    except Exception as error:
        reason = one_line(error.__cause__ or error).partition(". ")[0]
        raise NncodecError(f"{address}: no Ray to be had there: {reason}") from error
