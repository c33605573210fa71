"""Presets by name and from a file: what they decide, what they refuse, and that batches do not matter."""

from __future__ import annotations

import pickle
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.core import language
from kajiya.core.errors import ConfigError, DataError, NotFoundError
from kajiya.corpus.document import SCHEMA, Document, to_frame
from kajiya.corpus.rules.preset import load_preset, preset_names, rule_title
from kajiya.corpus.rules.settings import Rules

ALL = {name: load_preset(name) for name in preset_names()}
PROSE = (
    "朝早く家を出て、駅までの道をゆっくり歩いた。空はまだ薄暗く、店の明かりだけが見えた。"
    "電車の中では本を読む人もいれば、眠っている人もいる。\n"
    "駅前の店で買ったパンは、まだ少し温かかった。昼になれば会議があり、夕方までに報告書を書かなければならない。"
    "それでも窓から差し込む光を眺めていると、急ぐ気持ちは薄れていった。\n"
)


def frame_of(*texts: str, url: str = "") -> pl.DataFrame:
    return to_frame(Document(str(i), text, "", url=url) for i, text in enumerate(texts))


def own(folder: Path, text: str) -> Path:
    path = folder / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_presets_that_are_promised() -> None:
    promised = {"swallow-v1", "llm-jp-v1", "llm-jp-v1-strict", "fineweb-2-ja", "code", "kajiya-ja"}
    assert promised <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_what_a_preset_returns(name: str) -> None:
    frame = frame_of(PROSE * 3, "", "abc").with_columns(own=pl.lit(1))
    found = ALL[name].apply(frame)
    rules = [f"stat.{rule}" for rule in ALL[name].rules]
    assert found.columns == [*SCHEMA, "own", *rules, "reason"]
    assert found["id"].to_list() == ["0", "1", "2"]
    assert found.schema["reason"] == pl.String
    assert all(found.schema[rule].is_numeric() for rule in rules)


@pytest.mark.parametrize("name", ALL)
def test_no_documents_and_odd_documents(name: str) -> None:
    empty = ALL[name].apply(frame_of())
    assert empty.height == 0
    assert empty.schema == ALL[name].apply(frame_of("x")).schema
    odd = ALL[name].apply(frame_of("", "\n", "。", "x", "あ" * 200_000, "\U0010ffff", "\x00"))
    assert odd.height == 7
    assert odd["reason"].null_count() < 7


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=50) | st.just(PROSE), min_size=1, max_size=8), st.data())
def test_batches_do_not_matter(texts: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(ALL)))
    cut = data.draw(st.integers(0, len(texts)))
    frame = frame_of(*texts)
    whole = ALL[name].apply(frame)
    parts = pl.concat([ALL[name].apply(frame[:cut]), ALL[name].apply(frame[cut:])])
    assert parts.equals(whole)


def test_a_preset_goes_to_another_process() -> None:
    preset = pickle.loads(pickle.dumps(ALL["swallow-v1"]))
    frame = frame_of(PROSE * 9)
    assert preset.apply(frame).equals(ALL["swallow-v1"].apply(frame))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("llm-jp-v1", "漢字" * 30 + "かな。", "first_kana"),
        ("llm-jp-v1", "あいうえお漢字" * 50, "characters_per_stop"),
        ("llm-jp-v1", "同じ文です。" * 100, "zlib_ratio"),
        ("llm-jp-v1", PROSE + "送料無料で激安、半額、格安。" * 3, "adverts"),
        ("llm-jp-v1", PROSE + "死ね。くたばれ。氏ね。死ね。", "violence"),
        ("llm-jp-v1-strict", PROSE + "死ね。くたばれ。氏ね。", "violence"),
        ("llm-jp-v1", PROSE + "死ね。くたばれ。氏ね。", None),
        ("llm-jp-v1", PROSE, None),
        ("fineweb-2-ja", "The cat sat on the mat and looked at the moon.", "language_japanese"),
        ("fineweb-2-ja", "新着。\nお知らせです。\n一覧へ。\n戻る。\n", "newlines_per_word"),
        ("fineweb-2-ja", PROSE, None),
        ("kajiya-ja", PROSE, None),
        ("kajiya-ja", "ホーム\n" * 20 + PROSE, "repeated_lines"),
        (
            "kajiya-ja",
            "明日は雨が降るそうです。傘を忘れずに。" * 30,
            "repeated_sentence_characters",
        ),
        (
            "kajiya-ja",
            "激安！送料無料、在庫あり。今すぐ購入はこちら、ポイント還元で半額です。",
            "advert_share",
        ),
        (
            "kajiya-ja",
            "委员会昨天开会讨论了明年的预算，会议持续了很长时间，大家都很累。",
            "language_japanese",
        ),
        ("kajiya-ja", "★☆★☆★☆★☆" * 5 + "お知らせがあります。", "alphanumeric"),
        (
            "kajiya-ja",
            "ワレラハ黒キツチニ俯シ、マコトノクサノタネヲマケリ。ハレワタル空ノ下、土ヲ耕ス。",
            "hiragana",
        ),
        ("code", "x = 1\n" * 10, None),
        ("code", "x" * 1001, "mean_line"),
        ("code", "{" * 60 + "a", "alphanumeric"),
        ("code", "y = 2\n" * 50 + "x" * 1001, "longest_line"),
    ],
)
def test_decisions(name: str, text: str, reason: str | None) -> None:
    assert ALL[name].apply(frame_of(text))["reason"].to_list() == [reason]


def test_own_word_lists_beside_the_preset(tmp_path: Path) -> None:
    (tmp_path / "adverts.txt").write_text("大売出し\n", encoding="utf-8")
    (tmp_path / "hosts.txt").write_text("example.com\n", encoding="utf-8")
    preset = load_preset(
        own(
            tmp_path,
            "words: {adverts: adverts.txt, blocked: hosts.txt}\n"
            "rules: {blocked: {max: 0}, adverts: {max: 1}}\n",
        )
    )
    found = preset.apply(frame_of("大売出し。送料無料、半額。", "大売出し、大売出し。"))
    assert found["stat.adverts"].to_list() == [1, 2]
    assert found["reason"].to_list() == [None, "adverts"]
    for url, blocked in (
        ("https://www.Example.com:8080/a?b", True),
        ("http://example.com./", True),
        ("http://notexample.com/example.com", False),
        ("http://[::1", False),
        ("", False),
    ):
        assert preset.apply(frame_of("x", url=url))["reason"].to_list() == (
            ["blocked"] if blocked else [None]
        )


def test_the_edges_of_a_range(tmp_path: Path) -> None:
    preset = load_preset(own(tmp_path, "rules: {length: {min: 2, below: 4}}"))
    reasons = preset.apply(frame_of("a", "ab", "abc", "abcd"))["reason"].to_list()
    assert reasons == ["length", None, None, "length"]


def test_a_preset_without_rules_keeps_everything(tmp_path: Path) -> None:
    found = load_preset(own(tmp_path, "cleaning: {width: true}")).apply(frame_of("ＡＢＣ"))
    assert found["text"].to_list() == ["ABC"]
    assert found["reason"].to_list() == [None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: {lenght: {min: 1}}", r"own\.yaml: rules\.lenght: there is no such option"),
        ("rules: {length: {minimum: 1}}", r"own\.yaml: rules\.length\.minimum: there is no such"),
        ("rules: {length: {}}", r"own\.yaml: rules\.length: .*give min, max or below"),
        ("rules: {length: {min: 5, max: 4}}", r"rules\.length: .*min is above max"),
        ("rules: {length: {min: many}}", r"own\.yaml: rules\.length\.min: .*number"),
        ("rules: {length: {min: .nan}}", r"own\.yaml: rules\.length\.min: "),
        ("cleaning: {footer_share: 2}", r"own\.yaml: cleaning\.footer_share: .*less than 1"),
        ("thresholds: {}", r"own\.yaml: thresholds: there is no such option"),
        ("- rules", r"own\.yaml: a mapping of options is expected"),
        ("rules: {", r"own\.yaml: not valid YAML"),
    ],
)
def test_a_wrong_preset_is_refused_by_file_and_field(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_preset(own(tmp_path, text))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"(?s)swallow-v9: there is no such.*swallow-v1"):
        load_preset("swallow-v9")
    with pytest.raises(DataError, match=r"none\.txt: the word list cannot be read"):
        load_preset(own(tmp_path, "words: {adult: none.txt}"))


def test_titles_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rule_title("length") == "Characters"
    monkeypatch.setenv(language.ENVIRONMENT, "ja")
    titles = [rule_title(name) for name in Rules.model_fields]
    assert titles[1] == "文字数"
    assert len(set(titles)) == len(titles)
    assert rule_title("personal") == "personal"
