"""Which language a text is in: paragraphs written for this test, and pages of several languages."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from kajiya.corpus.rules.languages import fill_language
from kajiya.corpus.rules.preset import Preset
from kajiya.corpus.rules.settings import PresetSettings

PRESET = Preset(
    "own",
    PresetSettings.checked(
        {"rules": {"language_japanese": {"min": 0.5}, "language_english": {"min": 0.5}}}
    ),
    Path("own.yaml"),
)
SAMPLES = {
    "ja": [
        "昨日の会議では、来年度の予算について長い時間をかけて話し合った。",
        "コーヒーを飲みながら、窓の外を歩く人々を眺めていた。",
        "本規程は、従業員の出張旅費に関する事項を定めることを目的とする。",
        "Pythonでデータを読み込み、グラフを描く方法を説明します。",
        "吾輩は猫である。名前はまだ無い。",
    ],
    "en": [
        "The committee met yesterday to discuss the budget that was proposed for next year.",
        "She sat by the window with a cup of coffee and watched the people walking past.",
        "If you have any questions about this product, please write to our support team.",
        "It was not clear to them which of the two roads would lead back to the village.",
    ],
    "other": [
        "Der Ausschuss hat gestern lange über den Haushalt des kommenden Jahres beraten.",
        "Elle était assise près de la fenêtre et regardait les gens qui passaient dans la rue.",
        "El comité se reunió ayer para hablar del presupuesto del próximo año en la ciudad.",
        "Il comitato si è riunito ieri per discutere il bilancio del prossimo anno.",
        "O comitê reuniu-se ontem para discutir o orçamento do próximo ano na cidade.",
        "De commissie heeft gisteren lang over de begroting van het komende jaar gesproken.",
        "Komite bertemu kemarin untuk membahas anggaran yang diusulkan tahun depan.",
        "Ủy ban đã họp hôm qua để thảo luận về ngân sách được đề xuất cho năm tới.",
        "Utskottet sammanträdde i går för att diskutera budgeten för nästa år.",
        "Komitet zebrał się wczoraj, aby omówić budżet na przyszły rok.",
        "委员会昨天开会讨论了明年的预算,会议持续了很长时间。",
        "委員會昨天開會討論了明年的預算,會議持續了很長時間。",
        "위원회는 어제 모여 내년 예산에 대해 오랫동안 논의했습니다.",
        "Комитет вчера собрался, чтобы обсудить бюджет на следующий год.",
        "اجتمعت اللجنة أمس لمناقشة ميزانية العام المقبل.",
        "คณะกรรมการประชุมเมื่อวานนี้เพื่อหารือเกี่ยวกับงบประมาณปีหน้า",
        "12345 67890 !!! ★★★ 😀",
        "",
    ],
}


@pytest.mark.parametrize("language", SAMPLES)
def test_a_sentence_is_enough(language: str) -> None:
    found = PRESET.apply(pl.DataFrame({"text": SAMPLES[language]}))
    japanese = found["stat.language_japanese"].to_list()
    english = found["stat.language_english"].to_list()
    for text, ja, en in zip(SAMPLES[language], japanese, english, strict=True):
        assert (ja >= 0.5) == (language == "ja"), (text, ja)
        assert (en >= 0.5) == (language == "en"), (text, en)
        assert 0 <= ja <= 1
        assert 0 <= en <= 1


def test_a_page_of_two_languages_has_a_part_of_each() -> None:
    text = SAMPLES["ja"][0] + "\n" + SAMPLES["en"][0]
    row = PRESET.apply(pl.DataFrame({"text": [text]})).row(0, named=True)
    assert 0.3 < row["stat.language_japanese"] < 0.7
    assert 0.3 < row["stat.language_english"] < 0.7


def test_the_language_is_filled_in_where_it_is_empty() -> None:
    texts = [SAMPLES["ja"][0], SAMPLES["en"][0], SAMPLES["other"][0], SAMPLES["ja"][1], ""]
    given = ["", "", "", "xx", ""]
    found = fill_language(pl.DataFrame({"text": texts, "language": given}))
    assert found["language"].to_list() == ["ja", "en", "", "xx", ""]
    assert fill_language(found[:0]).height == 0
