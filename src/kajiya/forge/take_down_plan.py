"""The start of a take-down as a job; what it does is `take_down_work`'s matter."""

from __future__ import annotations

from kajiya.core.config import Config, option
from kajiya.core.workspace import Workspace
from kajiya.jobs.job import Job
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.supervisor import Supervisor
from kajiya.store.artifacts import Artifact


class TakeDownOptions(Config):
    """What a take-down's job is told."""

    corpus: str = option(en="Corpus", ja="コーパス")
    what: str = option(en="Id, URL or licence", ja="ID・URL・ライセンス", min_length=1)


def start_take_down(corpus: Artifact, what: str, workspace: Workspace) -> Job:
    """Start the job that makes a version of `corpus` without what `what` means."""
    options = TakeDownOptions(corpus=corpus.reference, what=what).model_dump(mode="json")
    spec = JobSpec(kind="take-down", name=corpus.name, options=options)
    return Supervisor(workspace).start(spec)
