"""What a preset says: how texts are cleaned, which rules hold and with what thresholds."""

from __future__ import annotations

from typing import Any, Self

from pydantic import model_validator

from kajiya.core.config import Config, option
from kajiya.core.language import tr


class Range(Config):
    """What a number may be. Unset sides have no limit."""

    min: float | None = option(None, en="At least", ja="以上", allow_inf_nan=False)
    max: float | None = option(None, en="At most", ja="以下", allow_inf_nan=False)
    below: float | None = option(None, en="Less than", ja="未満", allow_inf_nan=False)

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        limits = [limit for limit in (self.max, self.below) if limit is not None]
        if self.min is None and not limits:
            raise ValueError(tr("give min, max or below", "min・max・below のどれかが必要です"))
        if self.min is not None and any(limit < self.min for limit in limits):
            raise ValueError(tr("min is above max", "min が max を超えています"))
        return self


class Cleaning(Config):
    """What is done to a text before it is judged, in this order."""

    control: bool = option(
        True,
        en="Remove control characters",
        ja="制御文字を除く",
        help=(
            "and characters nobody sees; line ends become newlines",
            "見えない文字も除き、改行を統一します",
        ),
    )
    width: bool = option(
        False,
        en="Unify width",
        ja="全角・半角を統一",
        help=(
            "letters and digits become ASCII, katakana full width, blanks a space",
            "英数字は半角、片仮名は全角、空白は半角にします",
        ),
    )
    punctuation: bool = option(
        False,
        en="Unify punctuation",
        ja="句読点を統一",
        help=("， ． become 、 。 except between digits", "， ． を 、 。 に (数字の間を除く)"),
    )
    ascii_run: int = option(
        0,
        en="Remove runs of ASCII",
        ja="半角英数の連続を除く",
        help=(
            "of at least so many characters; 0 keeps them",
            "この文字数以上の連続。0 なら除かない",
        ),
        ge=0,
    )
    lines_without_kana: bool = option(
        False, en="Remove lines without kana", ja="仮名のない行を除く"
    )
    footer_lines: int = option(
        0,
        en="Lines that may be a footer",
        ja="フッターとみなす行数",
        help=("counted from the end; 0 keeps footers", "末尾からの行数。0 なら除かない"),
        ge=0,
        le=1000,
    )
    footer_share: float = option(
        0.3,
        en="Share of footer words",
        ja="フッター語の割合",
        help=(
            "a line with more of its characters in such words goes",
            "行の文字のうちこの割合を超えたら除きます",
        ),
        ge=0,
        lt=1,
    )


class WordFiles(Config):
    """Files of words, one a line, in place of ours. A path is relative to the preset's file."""

    adult: str = option("", en="Adult words", ja="アダルト語")
    discrimination: str = option("", en="Words that discriminate", ja="差別語")
    violence: str = option("", en="Words of violence", ja="暴力語")
    adverts: str = option("", en="Words of adverts", ja="広告語")
    footer: str = option("", en="Words of footers", ja="フッター語")
    stop_words: str = option("", en="Stop words", ja="ストップワード")
    blocked: str = option(
        "",
        en="Blocked hosts",
        ja="除外するホスト",
        help=("hosts; their subdomains too", "ホスト名。サブドメインも対象です"),
    )


class QualityFiles(Config):
    """Trained quality scores for texts of a language. A path is relative to the preset's file."""

    japanese: str = option("", en="Japanese", ja="日本語")
    english: str = option("", en="English", ja="英語")


def _rule(en: str, ja: str) -> Any:
    return option(None, en=en, ja=ja)


class Rules(Config):
    """The rules by name, in the order in which the first that fails is the reason."""

    blocked: Range | None = _rule("On the block list", "除外リストに一致")
    length: Range | None = _rule("Characters", "文字数")
    language_japanese: Range | None = _rule("Share of text in Japanese", "日本語である割合")
    language_english: Range | None = _rule("Share of text in English", "英語である割合")
    japanese_characters: Range | None = _rule("Japanese characters", "日本語の文字数")
    japanese: Range | None = _rule(
        "Share of Japanese among all characters", "全文字に対する日本語の割合"
    )
    hiragana: Range | None = _rule(
        "Share of hiragana among Japanese characters", "日本語の文字に対する平仮名の割合"
    )
    katakana: Range | None = _rule(
        "Share of katakana among Japanese characters", "日本語の文字に対する片仮名の割合"
    )
    first_kana: Range | None = _rule(
        "Characters before the first kana (-1: none)", "最初の仮名までの文字数 (-1: なし)"
    )
    alphanumeric: Range | None = _rule("Share of letters and digits", "文字と数字の割合")
    quality: Range | None = _rule("Quality score", "品質スコア")
    mean_sentence: Range | None = _rule("Mean length of a sentence", "文の平均の長さ")
    longest_sentence: Range | None = _rule("Longest sentence", "最長の文の長さ")
    ellipsis: Range | None = _rule(
        "Share of sentences that end in an ellipsis", "三点リーダーで終わる文の割合"
    )
    characters_per_stop: Range | None = _rule("Characters per 。", "句点あたりの文字数")
    mean_line: Range | None = _rule("Mean length of a line", "行の平均の長さ")
    longest_line: Range | None = _rule("Longest line", "最長の行の長さ")
    punctuated_lines: Range | None = _rule(
        "Share of lines that end in punctuation", "句読点で終わる行の割合"
    )
    newlines_per_word: Range | None = _rule("Line ends per word", "単語あたりの改行数")
    mean_word: Range | None = _rule("Mean length of a word", "単語の平均の長さ")
    wordless: Range | None = _rule("Share of words without a letter", "文字を含まない単語の割合")
    stop_words: Range | None = _rule("Different stop words", "含まれるストップワードの種類")
    repeated_lines: Range | None = _rule("Share of repeated lines", "重複行の割合")
    repeated_line_characters: Range | None = _rule(
        "Share of characters in repeated lines", "重複行の文字の割合"
    )
    repeated_sentences: Range | None = _rule("Share of repeated sentences", "重複文の割合")
    repeated_sentence_characters: Range | None = _rule(
        "Share of characters in repeated sentences", "重複文の文字の割合"
    )
    top_2gram: Range | None = _rule("Most frequent 2-gram", "最頻 2-gram の割合")
    top_3gram: Range | None = _rule("Most frequent 3-gram", "最頻 3-gram の割合")
    top_4gram: Range | None = _rule("Most frequent 4-gram", "最頻 4-gram の割合")
    repeated_5gram: Range | None = _rule("Repeated 5-grams", "重複 5-gram の割合")
    repeated_6gram: Range | None = _rule("Repeated 6-grams", "重複 6-gram の割合")
    repeated_7gram: Range | None = _rule("Repeated 7-grams", "重複 7-gram の割合")
    repeated_8gram: Range | None = _rule("Repeated 8-grams", "重複 8-gram の割合")
    repeated_9gram: Range | None = _rule("Repeated 9-grams", "重複 9-gram の割合")
    repeated_10gram: Range | None = _rule("Repeated 10-grams", "重複 10-gram の割合")
    top_2words: Range | None = _rule("Most frequent 2 words", "最頻 2 単語の文字の割合")
    top_3words: Range | None = _rule("Most frequent 3 words", "最頻 3 単語の文字の割合")
    top_4words: Range | None = _rule("Most frequent 4 words", "最頻 4 単語の文字の割合")
    repeated_5words: Range | None = _rule("Repeated 5 words", "重複 5 単語の文字の割合")
    repeated_6words: Range | None = _rule("Repeated 6 words", "重複 6 単語の文字の割合")
    repeated_7words: Range | None = _rule("Repeated 7 words", "重複 7 単語の文字の割合")
    repeated_8words: Range | None = _rule("Repeated 8 words", "重複 8 単語の文字の割合")
    repeated_9words: Range | None = _rule("Repeated 9 words", "重複 9 単語の文字の割合")
    repeated_10words: Range | None = _rule("Repeated 10 words", "重複 10 単語の文字の割合")
    zlib_ratio: Range | None = _rule("Size compressed by size", "圧縮率 (圧縮後 ÷ 圧縮前)")
    ng_share: Range | None = _rule("Share of characters in NG words", "NG 語の文字の割合")
    advert_share: Range | None = _rule("Share of characters in advert words", "広告語の文字の割合")
    adverts: Range | None = _rule("Advert words", "広告語の数")
    adult: Range | None = _rule("Adult words", "アダルト語の数")
    discrimination: Range | None = _rule("Words that discriminate", "差別語の数")
    violence: Range | None = _rule("Words of violence", "暴力語の数")

    def chosen(self) -> dict[str, Range]:
        """The rules that hold, in order."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: limits for name, limits in found.items() if limits is not None}


class PresetSettings(Config):
    """A preset."""

    cleaning: Cleaning = option(Cleaning, en="Cleaning", ja="整形")
    words: WordFiles = option(WordFiles, en="Word lists", ja="語のリスト")
    quality: QualityFiles = option(QualityFiles, en="Quality scores", ja="品質スコア")
    rules: Rules = option(Rules, en="Rules", ja="規則")
