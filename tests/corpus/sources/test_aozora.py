"""Aozora Bunko's notation, on texts made here; and on the real archive where it is present."""

from __future__ import annotations

import io
import re
import tarfile
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kajiya.core.errors import DataError, NotFoundError
from kajiya.corpus.document import Document
from kajiya.corpus.sources.aozora import AozoraSource, AozoraWork, parse_aozora, read_aozora
from kajiya.corpus.sources.source import Problems, stop

ARCHIVE = Path(__file__).parents[4] / "shared/data/aozora/aozora-public-domain.tar.xz"
LEGEND = """-------------------------------------------------------
【テキスト中に現れる記号について】

《》：ルビ
（例）湖南《こなん》

［＃］：入力者注　主に外字の説明や、傍点の位置の指定
-------------------------------------------------------
"""
COLOPHON = """


底本：「太宰治全集6」ちくま文庫、筑摩書房
　　　1989（平成元）年2月28日第1刷発行
入力：柴田卓治
青空文庫作成ファイル：
"""


def work(body: str, head: str = "竹青\n太宰治", legend: str = LEGEND) -> AozoraWork:
    text = f"{head}\n\n{legend}\n{body}{COLOPHON}"
    return parse_aozora(text.replace("\n", "\r\n").encode("cp932"))


def test_header_legend_and_colophon_are_taken_away() -> None:
    found = work("　むかし湖南の何とやら郡邑に、書生がいた。")
    assert found.title == "竹青"
    assert found.author == "太宰治"
    assert found.source == "「太宰治全集6」ちくま文庫、筑摩書房"
    assert found.body == "むかし湖南の何とやら郡邑に、書生がいた。"


def test_subtitle_and_translator() -> None:
    found = work("本文", head="竹青\n――新曲聊斎志異――\n蒲松齢\n太宰治訳")
    assert (found.subtitle, found.author, found.translator) == (
        "――新曲聊斎志異――",
        "蒲松齢",
        "太宰治訳",
    )


def test_a_work_without_a_legend() -> None:
    assert work("本文です。", legend="").body == "本文です。"


def test_a_legend_between_short_rules_and_a_work_that_begins_with_a_rule() -> None:
    assert work("本文。", legend=LEGEND.replace("-" * 55, "-" * 9)).body == "本文。"
    assert work(f"{'-' * 30}\n一。\n{'-' * 30}\n二。", legend="").body == f"一。\n{'-' * 30}\n二。"


@pytest.mark.parametrize(
    ("notation", "plain"),
    [
        ("湖南《こなん》の馬｜嘶《いななき》て", "湖南の馬嘶て"),
        ("｜甘寧《かんねい》を｜吊《つ》す", "甘寧を吊す"),
        ("おさすり［＃「おさすり」に傍点］町医", "おさすり町医"),
        ("手に［＃「さらひ［＃「さらひ」に傍点］の」は底本では「さらひの」］掛つた", "手に掛つた"),
        ("※［＃「口＋它」、第3水準1-14-88］", "咜"),
        ("※［＃「插」でつくりの縦棒が下に突き抜けている、第4水準2-13-28］", "揷"),
        ("※［＃「けものへん＋非」、U+7305、310-16］", "猅"),
        ("※［＃「火＋發」、U+243CB、363-12］", "\U000243cb"),
        ("※［＃濁点付き片仮名ワ、1-7-82］", "ヷ"),
        ("※［＃始め二重山括弧、1-1-52］文《ふみ》※［＃終わり二重山括弧、1-1-53］", "《文》"),
        ("※［＃「口＋斗」、26-2］", "〓"),  # page and line of the book, not a code
        ("※［＃「草」、7巻-40-下-15］", "〓"),
        ("※［＃「草」、U+D800］", "〓"),
        ("《※［＃「口＋它」、第3水準1-14-88］》あ", "あ"),
        ("いろ／＼、さま／″＼", "いろ〳〵、さま〴〵"),
        (
            "〔Cafe'〕と〔Scho:nherr〕と〔te^te-a`-te^te〕",
            "Caféとschön".replace("schön", "Schönherr") + "とtête-à-tête",
        ),
        ("〔d'oe&il〕", "d'œil"),
        ("〔qu'il C,a e'cole〕", "qu'il Ça école"),
        ("〔一九四六年一月〕", "〔一九四六年一月〕"),
    ],
)
def test_notation(notation: str, plain: str) -> None:
    assert work(notation).body == plain


def test_a_line_of_notes_leaves_no_empty_line() -> None:
    body = "［＃ここから５字下げ］\n自註。\n［＃ここで字下げ終わり］\nつぎ。\n\n\n\n　　　　　　　　共学\n\n　期待。"
    assert work(body).body == "自註。\nつぎ。\n\n共学\n\n期待。"


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends(line_end: str) -> None:
    raw = "題\n作者\n\n一行目。\n二行目。\n\n底本：「本」".replace("\n", line_end).encode("cp932")
    assert parse_aozora(raw).body == "一行目。\n二行目。"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("題\n作者\n\n本文🎌".encode(), "CP932"),
        ("題\n作者\n".encode("cp932"), "no text"),
        ("題\n作者\n\n底本：「本」".encode("cp932"), "no text"),
        (b"", "no text"),
    ],
)
def test_what_is_no_work_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        parse_aozora(raw)


@given(
    st.text(st.sampled_from("あ漢《》｜※［］＃「」、。〔〕e'&／＼″\n　-1U+底本：A"), max_size=60)
)
def test_any_arrangement_of_symbols_is_read_or_refused(body: str) -> None:
    try:
        found = parse_aozora(f"題\n作者\n\n{body}".encode("cp932"))
    except DataError:
        return
    assert found.body == found.body.strip("\n")
    assert "\n\n\n" not in found.body


ONE = "題\n作者\n\n本文《ほんぶん》。".encode("cp932")


def archive_of(works: dict[str, bytes], path: Path) -> Path:
    with tarfile.open(path, "w:xz") as archive:
        for name, raw in works.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


def read(path: Path, problems: Problems = stop) -> list[Document]:
    return list(read_aozora(AozoraSource(path=str(path)), problems))


WORKS = {
    "cards/000879/files/1_ruby_2/1_ruby_2.txt": ONE,
    "cards/000879/files/1_ruby_2/README": b"x",
    "cards/000879/files/1_txt_3/1_txt_3.txt": ONE,
}


def test_an_archive_is_read_work_by_work(tmp_path: Path) -> None:
    found = read(archive_of(WORKS, tmp_path / "a.tar.xz"))
    assert [document.id for document in found] == ["1_ruby_2", "1_txt_3"]
    assert found[0].text == "題\n作者\n\n本文。\n"
    assert found[0].group == found[1].group
    assert found[0].url == "https://www.aozora.gr.jp/cards/000879/card1.html"
    assert (found[0].language, found[0].domain) == ("ja", "literature")


def test_a_folder_gives_the_same_documents(tmp_path: Path) -> None:
    path = archive_of(WORKS, tmp_path / "a.tar.xz")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    assert read(tmp_path / "unpacked") == read(path)


def test_a_damaged_work_is_named_and_passed_over(tmp_path: Path, problems: list[DataError]) -> None:
    path = archive_of({"bad.txt": b"\xff\xff", "good.txt": ONE}, tmp_path / "a.tar.xz")
    assert [document.id for document in read(path, problems.append)] == ["good"]
    assert [problem.where for problem in problems] == [f"{path}: bad.txt"]
    with pytest.raises(DataError, match=r"bad\.txt"):
        read(path)


@pytest.mark.parametrize("kept", [0, 50, 150, -1])
def test_a_damaged_archive_is_named(tmp_path: Path, kept: int) -> None:
    path = archive_of(WORKS, tmp_path / "a.tar.xz")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"a\.tar\.xz"):
        read(path)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read(tmp_path / "no.tar.xz")


def test_real_works() -> None:
    if not ARCHIVE.exists():
        pytest.skip(f"the shared data is not here: {ARCHIVE}")
    for document in islice(read_aozora(AozoraSource(path=str(ARCHIVE))), 100):
        assert document.title
        assert document.author
        assert document.url.startswith("https://www.aozora.gr.jp/cards/")
        assert not re.search(
            r"［＃|《|》|^底本[：:]|-{20}|青空文庫作成", document.text, re.MULTILINE
        )
        assert document.text.count("〓") <= 5
