"""The start of a search for a mixture; what it does is `mixture_work`'s matter."""

from __future__ import annotations

from kajiya.core.config import Config, option
from kajiya.core.errors import ConfigError
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.corpus.layout import KIND
from kajiya.corpus.mixture_sample import SourcedCorpus
from kajiya.corpus.mixture_search_config import MixtureSearchConfig
from kajiya.jobs.job import Job
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.supervisor import Supervisor
from kajiya.store.artifacts import ArtifactStore


class MixtureSearchOptions(Config):
    """What the search's job is told."""

    corpus: str = option(en="Corpus", ja="コーパス")
    search: MixtureSearchConfig = option(MixtureSearchConfig(), en="Search", ja="探索")


def start_mixture_search(name: str, search: MixtureSearchConfig, workspace: Workspace) -> Job:
    """Start the search for a mixture of the corpus `name`.

    Raises `NotFoundError` for a corpus that is not there, `DataError` for one of a single source or
    without tokens or held-out works, `ConfigError` for fewer runs than can be fitted.
    """
    corpus = ArtifactStore(workspace).get(name, KIND)
    needed = len(SourcedCorpus.open(corpus.folder).sources) + 2
    if search.runs < needed:
        raise ConfigError(
            tr(
                f"{search.runs} runs are too few for this corpus",
                f"このコーパスには {search.runs} 回では足りません",
            ),
            where="runs",
            fix=tr(f"take {needed} or more", f"{needed} 回以上にしてください"),
        )
    options = MixtureSearchOptions(corpus=corpus.reference, search=search)
    spec = JobSpec(kind="mixture", name=corpus.name, options=options.model_dump(mode="json"))
    return Supervisor(workspace).start(spec)
