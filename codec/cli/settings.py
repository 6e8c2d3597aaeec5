"""The options that the commands with outputs share."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import click

from .operands import Direction, Filters, Job, listed_names, plan


@dataclass(frozen=True)
class Settings:
    """The options that the commands with outputs share; the names are click's."""

    output: str | None
    recursive: bool
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    files_from: str | None
    null: bool
    shard: tuple[int, int] | None
    force: bool
    skip_existing: bool
    preserve: bool
    dry_run: bool
    jobs: int | None
    as_json: bool
    verbose: bool
    quiet: bool
    no_progress: bool
    remove: bool = False
    engine: str = "local"
    address: str | None = None
    device: str = "auto"  # what the networks compute on, for the engine that places them

    def plan(self, operands: Sequence[str], direction: Direction) -> list[Job]:
        """Find the jobs of these operands. UsageError for what can't be done with all of them."""
        if self.null and not self.files_from:
            raise click.UsageError("-0 is for the names of --files-from")
        if self.remove and self.shard and not self.files_from:
            raise click.UsageError(
                "--rm changes what other shards find; name the inputs with --files-from"
            )
        if self.address and self.engine != "ray":
            raise click.UsageError("--address is for --engine ray")
        if self.engine == "ray" and ":" in self.device:
            raise click.UsageError("Ray deals out the GPUs itself; use --device cuda")
        jobs = plan(
            operands,
            self.output,
            direction,
            recursive=self.recursive,
            filters=Filters(self.include, self.exclude),
            names=listed_names(self.files_from, self.null) if self.files_from else None,
            shard=self.shard,
            force=self.force,
        )
        piped = any(job.target is None or job.source is None for job in jobs)
        if self.as_json and any(job.target is None for job in jobs):
            raise click.UsageError("--json and the output can't both go to standard output")
        if self.remove and piped:
            raise click.UsageError("--rm is for files, not for standard input or output")
        if self.engine == "ray" and piped:
            raise click.UsageError("--engine ray is for files, not for standard input or output")
        return jobs

    def workers(self, jobs: Sequence[Job]) -> int:
        """How many of the jobs are worked on at once beside each other.

        By default few: each takes a process with networks of its own, and memory.
        """
        if self.engine == "ray":
            return 1  # in each of its processes
        return max(1, min(self.jobs or min(2, os.cpu_count() or 1), len(jobs)))
