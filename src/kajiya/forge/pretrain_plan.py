"""Everything before the start of a pretraining job: model, text and estimate. Never imports torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from kajiya.core.config import Config, option
from kajiya.core.errors import ConfigError, NotFoundError
from kajiya.core.files import check_name
from kajiya.core.hardware import Hardware, probe
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.corpus import layout
from kajiya.corpus.document import Document
from kajiya.corpus.sources.aozora import AozoraSource, read_aozora
from kajiya.corpus.sources.text import find_text_files, read_text
from kajiya.forge.plan import base_model
from kajiya.jobs.job import Job
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.supervisor import Supervisor
from kajiya.store.artifacts import Artifact, ArtifactStore
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.training.estimate import Estimate, Shape
from kajiya.training.pretrain_config import PretrainConfig
from kajiya.training.pretrain_estimate import estimate_pretraining

_SAMPLE = 1_000_000  # bytes tokenised to learn how many tokens the text has
_ARCHIVE = 4.4  # bytes of text a byte of an .xz archive of Aozora Bunko, measured


class PretrainOptions(Config):
    """What a pretraining job is told; paths are absolute. Kept in the job's `config.yaml`."""

    model: str = option(en="Model", ja="モデル")
    texts: list[str] = option(list, en="Text", ja="文書")
    aozora: str | None = option(None, en="Archive of Aozora Bunko", ja="青空文庫の書庫")
    corpus: str | None = option(None, en="Corpus", ja="コーパス")
    operations: float = option(0.0, en="Estimated work", ja="見積もった計算量", ge=0)
    pretrain: PretrainConfig = option(PretrainConfig, en="Pretraining", ja="事前学習の設定")

    def documents(self) -> Iterator[Document]:
        """All documents of the sources, one after another."""
        texts = read_text([Path(text) for text in self.texts])
        return chain(texts, read_aozora(AozoraSource(path=self.aozora)) if self.aozora else ())


@dataclass(frozen=True)
class PretrainPlan:
    """A pretraining that could start now. `tokens` is how many the text has, about."""

    name: str
    model: Artifact
    options: PretrainOptions
    tokens: int
    estimate: Estimate
    hardware: Hardware


def plan_pretrain(
    model: str,
    workspace: Workspace,
    *,
    texts: Sequence[Path] = (),
    aozora: Path | None = None,
    corpus: str | None = None,
    name: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> PretrainPlan:
    """Look at the text and estimate the training of `model` on it.

    The text is files, an archive of Aozora Bunko, or a `corpus` that was built for the model's
    tokenizer. The result will be the next version of `name`, by default of the model itself. Raises
    `ConfigError` without any text, `NotFoundError` for text that is not there.
    """
    if (corpus is not None) == bool(texts or aozora is not None):
        raise ConfigError(
            tr(
                "give text or a corpus to train on",
                "学習する文書かコーパスのどちらか一方が必要です",
            ),
            fix=tr(
                "give --text and --aozora, or --corpus",
                "--text・--aozora か、--corpus を指定してください",
            ),
        )
    if aozora is not None and not aozora.is_file():
        raise NotFoundError(tr("there is no such archive", "書庫がありません"), where=str(aozora))
    config = PretrainConfig.checked(dict(overrides or {}))
    artifact = base_model(model, workspace)
    chosen = check_name(name or artifact.name)
    built = find_corpus(corpus, artifact, workspace) if corpus else None
    options = PretrainOptions(
        model=artifact.reference,
        corpus=built.reference if built else None,
        texts=[str(path.absolute()) for path in find_text_files(texts)],
        aozora=str(aozora.absolute()) if aozora else None,
        pretrain=config,
    )
    if built:
        tokens = int(built.manifest.details["training_tokens"])
    else:
        tokens = _count_tokens(options, ChatTokenizer.load(artifact.folder))
    hardware = probe(workspace.home)
    shape = Shape.read(artifact.folder)
    cost = estimate_pretraining(shape, tokens, 0, config, hardware, workspace.cache)
    options = options.model_copy(update={"operations": cost.operations})
    return PretrainPlan(chosen, artifact, options, tokens, cost, hardware)


def find_corpus(reference: str, model: Artifact, workspace: Workspace) -> Artifact:
    """The corpus of that name; raises `ConfigError` if its tokens are not those of `model`."""
    corpus = ArtifactStore(workspace).get(reference, layout.KIND)
    if not (corpus.folder / layout.SHARDS).is_dir():
        raise ConfigError(
            tr("the corpus has no tokens", "コーパスがトークン化されていません"),
            where=corpus.reference,
            fix=tr(
                "build it with a tokenizer in the recipe",
                "レシピに tokenizer を書いて作り直してください",
            ),
        )
    if _vocabulary(corpus.folder / layout.TOKENIZER) != _vocabulary(model.folder):
        raise ConfigError(
            tr(
                f"the corpus was made for another tokenizer than that of {model.reference}",
                f"コーパスのトークナイザが {model.reference} のものと違います",
            ),
            where=corpus.reference,
            fix=f"kajiya models create --tokenizer {corpus.folder / layout.TOKENIZER}",
        )
    return corpus


def _vocabulary(folder: Path) -> tuple[Any, Any]:
    """What decides which token a number stands for."""
    definition = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    return definition["model"], definition.get("added_tokens")


def _count_tokens(options: PretrainOptions, tokenizer: ChatTokenizer) -> int:
    """About how many tokens the text has, from its size and a sample."""
    size = sum(Path(text).stat().st_size for text in options.texts)
    if options.aozora:
        size += round(_ARCHIVE * Path(options.aozora).stat().st_size)
    sample = tokens = 0
    for document in options.documents():
        text = document.text[:_SAMPLE]
        tokens += len(tokenizer.encode(text))
        sample += len(text.encode("utf-8"))
        if sample >= _SAMPLE:
            break
    return round(size * tokens / max(1, sample))


def start_pretrain(plan: PretrainPlan, workspace: Workspace) -> Job:
    """Start the job."""
    options = plan.options.model_dump(mode="json")
    return Supervisor(workspace).start(JobSpec(kind="pretrain", name=plan.name, options=options))
