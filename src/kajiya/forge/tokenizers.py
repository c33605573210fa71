"""Tokenizers as artifacts: trained on texts or extended by them, with what they were made from.

Finds what references mean, draws the sample, keeps some of it to measure on, and registers the result.
The training itself is `kajiya.tokenizer`'s.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from kajiya.core.errors import ConfigError, DataError, NotFoundError
from kajiya.core.files import sha256_file, write_text
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.corpus.document import Document
from kajiya.corpus.sources.aozora import AozoraSource, read_aozora
from kajiya.corpus.sources.text import find_text_files, read_text
from kajiya.forge.plan import base_model
from kajiya.models.child import run_module
from kajiya.models.resolve import resolve_folder
from kajiya.store.artifacts import Artifact, ArtifactStore, Licence, Parent
from kajiya.store.draft import Draft
from kajiya.tokenizer.extend import extend_bpe, read_byte_level
from kajiya.tokenizer.lab import Measures, Text, measure
from kajiya.tokenizer.sample import Sample
from kajiya.tokenizer.settings import TokenizerConfig
from kajiya.tokenizer.training import Tell, draw, train_on
from kajiya.tokenizer.vocabularies import Vocabulary, open_vocabulary

KIND = "tokenizer"
_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_HELD_OUT = 100  # of so many sentences one is kept to measure on
_MEASURED = 1_000_000  # characters of those, at most


@dataclass
class Texts:
    """The texts of a command line, read once; `licences` are known when all have been read.

    A corpus's own are inherited, as it is a parent of what is made.
    """

    paths: Sequence[Path] = ()
    aozora: Path | None = None
    corpora: Sequence[Artifact] = ()
    documents: int = 0
    licences: dict[tuple[str, str], None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.paths and self.aozora is None and not self.corpora:
            raise ConfigError(
                tr("there is no text to learn from", "学習する文書が指定されていません"),
                fix=tr(
                    "give --text, --aozora or --corpus",
                    "--text か --aozora か --corpus を指定してください",
                ),
            )
        if self.aozora is not None and not self.aozora.is_file():
            raise NotFoundError(
                tr("there is no such archive", "書庫がありません"), where=str(self.aozora)
            )
        find_text_files(self.paths)

    def __iter__(self) -> Iterator[str]:
        for document in self._read():
            self.documents += 1
            if document.licence:
                self.licences[document.licence, document.source or document.title] = None
            yield document.text
        for corpus in self.corpora:
            for part in sorted((corpus.folder / "documents").glob("*.parquet")):
                texts = pl.read_parquet(part, columns=["text"])["text"]
                self.documents += len(texts)
                yield from texts

    @property
    def parents(self) -> list[Parent]:
        """The corpora, for the lineage of what is made from them."""
        return [corpus.as_parent("corpus") for corpus in self.corpora]

    def _read(self) -> Iterator[Document]:
        yield from read_text(self.paths)
        if self.aozora is not None:
            yield from read_aozora(AozoraSource(path=str(self.aozora)))

    def described(self) -> list[dict[str, Any]]:
        """What was read: a name, a size and a digest for each source, without this machine's paths."""
        sources = [*self.paths, *([self.aozora] if self.aozora else [])]
        return [_described(path) for path in sources]


def _described(path: Path) -> dict[str, Any]:
    files = find_text_files([path])
    digests = [sha256_file(file) for file in files]
    joined = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return {
        "name": path.name,
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files),
        "sha256": digests[0] if len(digests) == 1 else joined,
    }


def find_tokenizer(reference: str, workspace: Workspace) -> tuple[Path, Artifact | None]:
    """Where the tokenizer of a reference lies, and the artifact that holds it if one does.

    A reference is a tokenizer's, a model's or an adapter's name, a starter, or a path.
    """
    path = Path(reference).expanduser()
    store = ArtifactStore(workspace)
    if "/" not in reference and path.suffix not in (".json", ".model"):
        for kind in (KIND, "model"):
            with contextlib.suppress(NotFoundError, ConfigError):
                found = store.get(reference, kind)
                return found.folder, found
    if path.exists():
        return path, None
    folder = resolve_folder(reference, workspace)
    return folder, next((a for a in store.list("model") if a.folder == folder), None)


def train(
    texts: Texts,
    config: TokenizerConfig,
    name: str,
    workspace: Workspace,
    *,
    terms: Sequence[str] = (),
    licence: str = "",
    tell: Tell = lambda stage, done, total: None,
) -> Artifact:
    """Train a tokenizer and register it as the next version of tokenizer `name`.

    Raises what reading the texts and training raise; nothing is registered then.
    """
    with ArtifactStore(workspace).draft(KIND, name, parents=texts.parents) as draft:
        sample, held_out = _draw(texts, config.sample_characters, config.seed, tell)
        train_on(sample, config, draft.folder, terms=terms, tell=tell)
        vocabulary = open_vocabulary(str(draft.folder))
        _check_terms_are_tokens(vocabulary, terms)
        found = measure(vocabulary, held_out)
        draft.config = config.model_dump(mode="json")
        draft.metrics = _figures(found)
        draft.description = tr(
            f"{config.algorithm}, {vocabulary.size:,} tokens,"
            f" {found.characters_per_token:.2f} characters a token",
            f"{config.algorithm}、{vocabulary.size:,} トークン、"
            f"1 トークン {found.characters_per_token:.2f} 文字",
        )
        _finish(draft, texts, sample, vocabulary, licence)
        if terms:
            write_text(draft.folder / "terms.txt", "\n".join(terms) + "\n")
    return draft.artifact


def extend(
    reference: str,
    texts: Texts,
    count: int,
    name: str,
    workspace: Workspace,
    *,
    characters: int,
    seed: int = 0,
    licence: str = "",
    tell: Tell = lambda stage, done, total: None,
) -> Artifact:
    """Extend the tokenizer of `reference` by at most `count` tokens; the next version of `name`.

    Raises `FormatError` for a tokenizer that cannot be extended, before any text is read.
    """
    folder, base = find_tokenizer(reference, workspace)
    old = read_byte_level(folder)
    parents = [base.as_parent("base")] if base is not None else []
    parents += texts.parents
    with ArtifactStore(workspace).draft(KIND, name, parents=parents) as draft:
        sample, held_out = _draw(texts, characters, seed, tell)
        before = measure(open_vocabulary(str(folder)), held_out)
        tell("train", 0, 0)
        extension = extend_bpe(old, sample.sentences, count)
        write_text(draft.folder / "tokenizer.json", extension.tokenizer.to_str() + "\n")
        for file in _FILES[1:]:
            if (folder / file).is_file():
                shutil.copyfile(folder / file, draft.folder / file)
        vocabulary = open_vocabulary(str(draft.folder))
        after = measure(vocabulary, held_out)
        draft.config = {"algorithm": "continued-bpe", "added": count, "seed": seed}
        draft.config["sample_characters"] = characters
        draft.metrics = {"base": _figures(before), "tuned": _figures(after)}
        draft.description = tr(
            f"{extension.added:,} tokens more; characters a token"
            f" {before.characters_per_token:.2f} → {after.characters_per_token:.2f}",
            f"{extension.added:,} トークン追加、1 トークンの文字数"
            f" {before.characters_per_token:.2f} → {after.characters_per_token:.2f}",
        )
        _finish(draft, texts, sample, vocabulary, licence)
        draft.details |= {"added": extension.added, "dropped": extension.dropped}
    return draft.artifact


def extend_model(model: str, tokenizer: Artifact, name: str, workspace: Workspace) -> Artifact:
    """The model `model` with rows for the new tokens of `tokenizer`, as the next version of `name`."""
    base = base_model(model, workspace)
    made = run_module(
        "kajiya.models.extending", base.reference, tokenizer.reference, name, workspace=workspace
    )
    return ArtifactStore(workspace).get(made, "model")


def _draw(texts: Texts, characters: int, seed: int, tell: Tell) -> tuple[Sample, list[Text]]:
    """A sample to learn from, and sentences beside it to measure on."""
    whole = draw(texts, characters, seed, tell)
    learnt: list[str] = []
    held_out: list[Text] = []
    room = _MEASURED
    for number, sentence in enumerate(whole.sentences):
        if number % _HELD_OUT == _HELD_OUT - 1 and room > 0:
            held_out.append(Text("", sentence))
            room -= len(sentence)
        else:
            learnt.append(sentence)
    if not learnt:
        raise DataError(tr("there is no text to learn from", "学習できる文書がありません"))
    size = sum(map(len, learnt))
    return Sample(learnt, size, whole.seen), held_out or [Text("", s) for s in learnt[:100]]


def _check_terms_are_tokens(vocabulary: Vocabulary, terms: Sequence[str]) -> None:
    lost = [t for t, ids in zip(terms, vocabulary.encode(terms), strict=True) if len(ids) != 1]
    if lost:
        raise ConfigError(
            tr(
                f"these terms did not become one token: {', '.join(lost[:10])}",
                f"1 トークンにならなかった用語があります: {', '.join(lost[:10])}",
            ),
            where="--terms",
        )


def _finish(
    draft: Draft, texts: Texts, sample: Sample, vocabulary: Vocabulary, licence: str
) -> None:
    draft.details = {
        "vocab_size": vocabulary.size,
        "documents": texts.documents,
        "characters": sample.seen,
        "sampled_characters": sample.characters,
        "texts": texts.described(),
    }
    terms = [Licence(name=name, source=source) for name, source in texts.licences]
    if licence:
        terms.append(Licence(name=licence, source=", ".join(p.name for p in texts.paths)))
    draft.licence = [*draft.licence, *terms]


def _figures(found: Measures) -> dict[str, float]:
    return {
        "characters_per_token": round(found.characters_per_token, 4),
        "bytes_per_token": round(found.bytes_per_token, 4),
        "coverage": round(found.coverage, 6),
        "byte_fallback": round(found.fallback, 6),
    }
