"""Presets: rules with thresholds under a name or in the user's own YAML, applied to batches of documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kajiya.core.config import field_title
from kajiya.core.errors import ConfigError, NotFoundError
from kajiya.core.language import tr
from kajiya.core.text import OffsetMap
from kajiya.corpus.rules.cleaning import (
    before_footer,
    in_lines_with_kana,
    normalise,
    outside_ascii_runs,
)
from kajiya.corpus.rules.measures import NG, NG_LISTS, Batch, Helpers, measure
from kajiya.corpus.rules.quality import QualityModel
from kajiya.corpus.rules.settings import PresetSettings, Range, Rules
from kajiya.corpus.rules.wordlists import WordSearch, read_words
from kajiya.corpus.texts import Texts

REASON = "reason"
STATISTIC = "stat."
_PRESETS = Path(__file__).parent / "presets"
_WORDS = Path(__file__).parent / "words"


def preset_names() -> list[str]:
    """The presets that come with the program."""
    return sorted(path.stem for path in _PRESETS.glob("*.yaml"))


def load_preset(name: str | Path) -> Preset:
    """A preset by its name, or from a YAML file.

    Raises `NotFoundError` for a name or file that is not there, `ConfigError` naming file and field for a
    setting that is not known or not allowed, `DataError` or `FormatError` for a word list or quality score that
    cannot be read.
    """
    path = _PRESETS / f"{name}.yaml" if str(name) in preset_names() else Path(name)
    if not path.is_file():
        names = ", ".join(preset_names())
        raise NotFoundError(
            tr("there is no such preset or file", "そのようなプリセットやファイルはありません"),
            where=str(name),
            fix=tr(f"presets: {names}", f"使えるプリセット: {names}"),
        )
    return Preset(path.stem, PresetSettings.load(path), path)


class Preset:
    """Rules that are ready to be applied; may be sent to other processes."""

    def __init__(self, name: str, settings: PresetSettings, path: Path) -> None:
        self.name = name
        self.settings = settings
        self._path = path
        self._rules = settings.rules.chosen()
        words = {
            kind: self._listed(kind) for kind in (*NG_LISTS, "adverts", "stop_words", "blocked")
        }
        listed = {kind: words[kind] for kind in (*NG_LISTS, "adverts")}
        listed[NG] = [word for kind in NG_LISTS for word in words[kind]]
        self._footer = WordSearch({"footer": self._listed("footer")})
        self._helpers = Helpers(
            words=WordSearch(listed),
            stop_words=tuple(dict.fromkeys(words["stop_words"])),
            quality=self._quality(),
            blocked=frozenset(host.lower().rstrip(".") for host in words["blocked"]),
        )

    @property
    def rules(self) -> dict[str, Range]:
        """The rules by name, in the order in which the first that fails is the reason."""
        return dict(self._rules)

    def apply(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same documents: `text` cleaned, a column `stat.RULE` for each rule, and `reason`.

        The reason is null where a document is kept, else the name of the first rule that failed.
        A document whose statistic is null (no quality score for its language) passes that rule.
        """
        texts = Texts.read(frame["text"])
        cleaned, _ = self._cleaned(texts)
        frame = frame.with_columns(cleaned.column("text"))
        columns = measure(Batch(frame, cleaned, self._helpers), self._rules)
        frame = frame.with_columns(
            column.alias(STATISTIC + name) for name, column in columns.items()
        )
        failed = [
            pl.when(_outside(pl.col(STATISTIC + name), limits)).then(pl.lit(name))
            for name, limits in self._rules.items()
        ]
        reason = pl.coalesce(failed) if failed else pl.lit(None, pl.String)
        return frame.with_columns(reason.alias(REASON))

    def clean(self, text: str) -> tuple[str, OffsetMap]:
        """One text as `apply` cleans it, and where its characters were."""
        texts = Texts.read(pl.Series([text], dtype=pl.String))
        cleaned, offsets = self._cleaned(texts, OffsetMap.unchanged(len(texts.points)))
        assert offsets is not None
        return cleaned.column("text")[0], offsets

    def _cleaned(
        self, texts: Texts, offsets: OffsetMap | None = None
    ) -> tuple[Texts, OffsetMap | None]:
        chosen = self.settings.cleaning
        texts, offsets = normalise(
            texts,
            punctuation=chosen.punctuation,
            width=chosen.width,
            control=chosen.control,
            offsets=offsets,
        )
        steps: list[Callable[[Texts], NDArray[np.bool_]]] = []
        if chosen.ascii_run:
            steps.append(lambda texts: outside_ascii_runs(texts, chosen.ascii_run))
        if chosen.lines_without_kana:
            steps.append(in_lines_with_kana)
        if chosen.footer_lines:
            steps.append(
                lambda texts: before_footer(
                    texts, self._footer, chosen.footer_lines, chosen.footer_share
                )
            )
        for step in steps:
            kept = step(texts)
            if kept.all():
                continue
            texts = texts.keep(kept)
            offsets = offsets.keep(kept) if offsets is not None else None
        return texts, offsets

    def _listed(self, kind: str) -> list[str]:
        own = getattr(self.settings.words, kind)
        return read_words(self._path.parent / own if own else _WORDS / f"{kind}.txt")

    def _quality(self) -> dict[str, QualityModel]:
        files = {
            language: self._path.parent / file for language, file in self.settings.quality if file
        }
        if "quality" in self._rules and not files:
            raise ConfigError(
                tr(
                    "the rule needs a trained quality score",
                    "この規則には学習済みの品質スコアが必要です",
                ),
                where=f"{self._path}: rules.quality",
                fix=tr(
                    "name its file under quality: japanese or english",
                    "quality: の japanese か english にファイルを指定してください",
                ),
            )
        return {language: QualityModel.open(file) for language, file in files.items()}


def rule_title(name: str) -> str:
    """A rule's title in the current language, for reports; `name` itself if there is no such rule."""
    field = Rules.model_fields.get(name)
    return field_title(field) if field is not None else name


def _outside(column: pl.Expr, limits: Range) -> pl.Expr:
    """Whether a number is not allowed."""
    wrong = pl.lit(False)
    if limits.min is not None:
        wrong = wrong | (column < limits.min)
    if limits.max is not None:
        wrong = wrong | (column > limits.max)
    if limits.below is not None:
        wrong = wrong | (column >= limits.below)
    return wrong
