"""Jobs by what somebody looks for, newest first, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kajiya.jobs.job import Job

PAGE = 50


@dataclass(frozen=True)
class JobsPage:
    """`number` counts from 1; `total` is of all pages."""

    jobs: tuple[Job, ...]
    number: int
    pages: int
    total: int


def find_jobs(
    jobs: Sequence[Job], *, state: str = "", kind: str = "", text: str = "", page: int = 1
) -> JobsPage:
    """Of `jobs`, oldest first, those in this state, of this kind, with this text in name or id."""
    wanted = text.casefold().strip()
    found = [
        job
        for job in reversed(jobs)
        if (not state or job.state.value == state)
        and (not kind or (job.spec is not None and job.spec.kind == kind))
        and (not wanted or wanted in job.id or wanted in _name(job))
    ]
    pages = max(1, -(-len(found) // PAGE))
    number = max(1, min(page, pages))
    return JobsPage(tuple(found[(number - 1) * PAGE : number * PAGE]), number, pages, len(found))


def _name(job: Job) -> str:
    return job.spec.name.casefold() if job.spec else ""
