"""Run the jobs of ``compress``, ``decompress`` and ``truncate``, and tell what became of them.

They are worked on by an engine, several at once and wherever it likes, and told of in their order.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .engine_local import LocalEngine
from .errors import FAILURE, SUCCESS, complain, complain_about
from .operands import Job
from .outputs import remove_leftovers
from .progress import Bar
from .reports import Result, report, summary
from .settings import Settings
from .worker import Work

if TYPE_CHECKING:
    from .engine_ray import RayEngine


def run(jobs: Sequence[Job], work: Work, settings: Settings) -> int:
    """Do all jobs, report on each and on all of them, and return the exit status."""
    start = time.perf_counter()
    results = run_and_report(jobs, work, settings)
    failed = any(result.status in ("failed", "partial") for result in results)
    alone = len(results) == 1 and results[0].status != "done"  # has been told already
    wanted = sys.stderr.isatty() or (failed and len(results) > 1)
    if wanted and results and not (settings.quiet or settings.dry_run or alone):
        complain(summary(results, time.perf_counter() - start))
    return FAILURE if failed else SUCCESS


def run_and_report(jobs: Sequence[Job], work: Work, settings: Settings) -> list[Result]:
    """Do all jobs, report on each in turn, and return what became of them."""
    terminal = settings.as_json and sys.stdout.isatty()  # which the lines of JSON go to, too
    bar = Bar(len(jobs), shown=not (settings.quiet or settings.no_progress or terminal))
    engine = engine_for(jobs, work, settings, bar)
    results = []
    try:
        with bar:
            for job, result, failure in engine.attempts():
                if failure is not None:
                    result.error = complain_about(failure, job.name)
                report(result, settings.as_json, settings.verbose, settings.quiet)
                results.append(result)
    except KeyboardInterrupt:
        engine.interrupt()
        raise
    if settings.skip_existing and not settings.dry_run:
        remove_leftovers({job.target.parent for job in jobs if job.target})
    return results


def engine_for(
    jobs: Sequence[Job], work: Work, settings: Settings, bar: Bar
) -> LocalEngine | RayEngine:
    """Return what works on the jobs; a dry run has nothing to work on."""
    if settings.engine == "ray" and jobs and not settings.dry_run:
        from .engine_ray import RayEngine

        return RayEngine(jobs, work, settings, bar)
    return LocalEngine(jobs, work, settings, bar)
