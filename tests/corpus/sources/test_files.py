"""Documents as files: each format made by somebody else's program, whole and hostile."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import docx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.pdfgen.canvas import Canvas

from kajiya.core.errors import DataError, NotFoundError
from kajiya.corpus.document import Document
from kajiya.corpus.sources import plain
from kajiya.corpus.sources.apart import Apart
from kajiya.corpus.sources.docx import extract_docx
from kajiya.corpus.sources.files import FilesSource, read_files
from kajiya.corpus.sources.html import decode_html
from kajiya.corpus.sources.source import Problems, stop

BODY = "".join(
    f"<p>{name}は市の中心にある建物で、毎週土曜日に開かれる市場には遠くからも人が訪れる。入場は無料である。</p>"
    for name in ("公会堂", "旧駅舎", "図書館")
)
PAGE = f"""<html lang="ja-JP"><head><title> 市の
建物 </title></head><body><nav><ul><li><a href="/">ホーム</a></li><li><a href="/x">お問い合わせ</a></li></ul></nav>
<main><h1>市の建物</h1>{BODY}</main><footer>Copyright 市役所</footer></body></html>"""


def read(path: Path, problems: Problems = stop, **given: object) -> list[Document]:
    return list(read_files(FilesSource.checked({"path": str(path)} | given), problems))


def pdf(*pages: str, font: str = "HeiseiMin-W3", encrypt: object = None) -> bytes:
    registerFont(UnicodeCIDFont(font))
    file = io.BytesIO()
    canvas = Canvas(file, encrypt=encrypt)
    canvas.setTitle("題名")
    canvas.setAuthor("作者")
    for page in pages:
        canvas.setFont(font, 12)
        for number, line in enumerate(page.split("\n")):
            canvas.drawString(72, 700 - 20 * number, line)
        canvas.rect(10, 10, 100, 100, fill=1)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def word(*paragraphs: str) -> bytes:
    document = docx.Document()
    document.core_properties.title = "報告書"
    document.core_properties.author = "作者"
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    table = document.add_table(1, 2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "左", "右"
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def zipped(parts: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in parts.items():
            archive.writestr(name, raw)
    return file.getvalue()


def test_a_folder_of_every_format_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("一つ目。\r\n二行目。".encode("cp932"))
    (tmp_path / "b.pdf").write_bytes(pdf("日本国憲法\n前文", "第二章"))
    (tmp_path / "c").mkdir()
    (tmp_path / "c/d.html").write_bytes(PAGE.encode("shift_jis"))
    (tmp_path / "c/e.docx").write_bytes(word("第一段落。", "第二段落。"))
    (tmp_path / "f.md").write_text("---\ntitle: x\n---\n# 見出し\n\n本文\n", "utf-8")
    (tmp_path / "g.exe").write_bytes(b"MZ")
    (tmp_path / ".hidden.txt").write_text("隠れたファイル", "utf-8")
    (tmp_path / "link.txt").symlink_to("/etc/passwd")
    text, made, page, office, markdown = found = read(tmp_path, licence="CC0-1.0")
    assert [document.id for document in found] == ["a.txt", "b.pdf", "c/d.html", "c/e.docx", "f.md"]
    assert text.text == "一つ目。\n二行目。\n"
    assert made.text == "日本国憲法\n前文\n\n第二章\n"
    assert (made.title, made.author) == ("題名", "作者")
    assert page.text.count("入場は無料である。") == 3
    assert "お問い合わせ" not in page.text
    assert "Copyright" not in page.text
    assert (page.title, page.language) == ("市の 建物", "ja")
    assert office.text == "第一段落。\n第二段落。\n左\t右\n"
    assert (office.title, office.author) == ("報告書", "作者")
    assert (markdown.title, markdown.text) == ("見出し", "# 見出し\n\n本文\n")
    assert {document.licence for document in found} == {"CC0-1.0"}
    assert read(tmp_path, licence="CC0-1.0") == found
    assert [d.id for d in read(tmp_path, formats=["pdf", "docx"])] == ["b.pdf", "c/e.docx"]


@pytest.mark.parametrize("font", ["HeiseiMin-W3", "HeiseiKakuGo-W5"])
def test_japanese_in_a_pdf(tmp_path: Path, font: str) -> None:
    text = "吾輩は猫である。名前はまだ無い。ABC ｶﾅ 髙﨑"
    (tmp_path / "a.pdf").write_bytes(pdf(text, font=font))
    [found] = read(tmp_path)
    assert found.text == text + "\n"


def test_pages_that_are_pictures_are_named(tmp_path: Path, problems: list[DataError]) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf("文字のあるページ", "", "もう一枚", ""))
    (tmp_path / "b.pdf").write_bytes(pdf("", ""))
    [found] = read(tmp_path, problems.append)
    assert found.text == "文字のあるページ\n\nもう一枚\n"
    assert problems[0].where.endswith("a.pdf")
    assert "2, 4" in problems[0].message
    assert problems[1].where.endswith("b.pdf")
    assert "OCR" in problems[1].fix


def test_what_cannot_be_read_is_reported_and_the_rest_is_read(
    tmp_path: Path, problems: list[DataError]
) -> None:
    whole, office = pdf("本文"), word("本文")
    hostile = {
        "1.pdf": whole[:200],
        "2.pdf": b"not a pdf",
        "3.pdf": pdf("秘密", encrypt=StandardEncryption("secret")),
        "4.docx": office[:500],
        "5.docx": zipped({"a.txt": b"x"}),
        "6.docx": zipped({"word/document.xml": b"<w:document><w:p>"}),
        "7.docx": zipped(
            {"word/document.xml": b'<!DOCTYPE x [<!ENTITY a "b">]><w:document>&a;</w:document>'}
        ),
        "8.docx": zipped({"word/document.xml": b" " * 140_000_000}),
        "9.html": b"\x81\xff\xa0\xff" * 50,
        "a.txt": b"\x85\x20\x85",
        "b.txt": b"nul\0byte",
    }
    for name, raw in hostile.items():
        (tmp_path / name).write_bytes(raw)
    (tmp_path / "z.pdf").write_bytes(whole)
    assert [document.text for document in read(tmp_path, problems.append)] == ["本文\n"]
    named = [Path(problem.where.split(":")[0].split(",")[0]).name for problem in problems]
    assert named == sorted(hostile)
    assert "password" in problems[2].message
    assert "134 MB" in problems[7].message
    assert all(problem.fix for problem in problems)


def test_empty_files_are_passed_over(tmp_path: Path) -> None:
    for name in ("a.txt", "b.html", "c.md"):
        (tmp_path / name).write_text(" \n", "utf-8")
    (tmp_path / "d.txt").write_text("本文", "utf-8")
    assert [document.text.strip() for document in read(tmp_path) if document.text.strip()] == [
        "本文"
    ]


def test_a_file_that_is_too_large(tmp_path: Path, problems: list[DataError]) -> None:
    (tmp_path / "a.html").write_bytes(b"<p>" + b"x" * 2_000_000)
    assert not read(tmp_path, problems.append, largest_mb=1)
    assert "1 MB" in problems[0].message


HOSTILE_PAGES = [
    "<div>" * 100_000 + "深い" + "</div>" * 100_000,
    "<p>" + "<b>" * 50_000 + "太い",
    "<table><tr><td>" * 5000 + "表",
    "<!-- " * 10_000,
    "<a href='" + "x" * 1_000_000,
    "&#x110000;&#xD800;&#0;本文",
    '<?xml version="1.0" encoding="x"?><!DOCTYPE html [<!ENTITY a "b">]><p>&a;</p>',
]


def test_deep_and_broken_pages_do_not_end_the_reading(tmp_path: Path) -> None:
    for number, page in enumerate([*HOSTILE_PAGES, PAGE]):
        (tmp_path / f"{number}.html").write_text(page, "utf-8")
    found = read(tmp_path, lambda problem: None)
    assert found[-1].id == f"{len(HOSTILE_PAGES)}.html"
    assert "入場は無料" in found[-1].text


@pytest.mark.parametrize(
    ("raw", "server"),
    [
        ("日本語の頁".encode(), ""),
        ("日本語の頁".encode("utf-16"), ""),
        ("日本語の頁".encode("iso2022_jp"), ""),
        ("日本語の頁です、これは。".encode("euc_jp"), "text/html; charset=EUC-JP"),
        ('<meta charset="x-sjis">日本語の頁①'.encode("cp932"), "text/html"),
        ("日本語の頁".encode("cp932"), "text/html; charset=unknown-9"),
        (
            '<meta http-equiv="a" content="text/html; charset=shift_jis">日本語の頁'.encode(
                "cp932"
            ),
            "",
        ),
        ("日本語の頁".encode(), "text/html; charset=iso-8859-1"),
        ("日本語の頁".encode(), "text/html; charset=zip"),
    ],
)
def test_encodings_of_pages(raw: bytes, server: str) -> None:
    assert "日本語の頁" in decode_html(raw, server)


def test_few_broken_characters_are_replaced_and_many_refused() -> None:
    page = "日本語の頁。".encode() * 500
    assert decode_html(page[:3000] + b"\xff" + page[3000:]).count("\ufffd") == 1
    with pytest.raises(DataError):
        decode_html(b"\x81\xff\xa0\xff" * 500)


@settings(deadline=None)
@given(st.binary(max_size=200), st.text(max_size=30))
def test_any_bytes_of_a_page_are_decoded_or_refused(raw: bytes, server: str) -> None:
    try:
        decode_html(raw, f"text/html; charset={server}").encode()
    except DataError as error:
        assert error.fix


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_word_document_or_refused(raw: bytes) -> None:
    for parts in (raw, zipped({"word/document.xml": raw})):
        with pytest.raises(DataError):
            extract_docx(parts, "a.docx")


def test_a_word_document_with_ruby_and_changes() -> None:
    body = """<w:document><w:body><w:p><w:r><w:ruby><w:rt><w:r><w:t>かん</w:t></w:r></w:rt>
<w:rubyBase><w:r><w:t>漢</w:t></w:r></w:rubyBase></w:ruby><w:t>字</w:t><w:br/><w:t>次</w:t></w:r>
<w:del><w:r><w:delText>古い</w:delText></w:r></w:del><w:ins><w:r><w:t>新しい</w:t></w:r></w:ins>
<w:r><w:instrText>PAGE</w:instrText></w:r></w:p></w:body></w:document>"""
    assert extract_docx(zipped({"word/document.xml": body.encode()}), "a").text == "漢字\n次新しい"


def test_a_long_text_is_cut_at_empty_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "PART", 100)
    paragraphs = [f"段落{n}の文章です。" * 4 for n in range(10)]
    (tmp_path / "a.txt").write_text("\n\n".join(paragraphs), "utf-8")
    found = read(tmp_path)
    assert len(found) > 2
    assert [document.id for document in found][:3] == ["a.txt", "a.txt#2", "a.txt#3"]
    assert {document.group for document in found} == {"a.txt"}
    assert "\n\n".join(document.text.strip() for document in found) == "\n\n".join(paragraphs)


def test_a_line_that_is_too_long_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problems: list[DataError]
) -> None:
    monkeypatch.setattr(plain, "PART", 100)
    (tmp_path / "a.txt").write_text("前\n" + "長" * 1000 + "\n後\n", "utf-8")
    [found] = read(tmp_path, problems.append)
    assert found.text == "前\n後\n"
    assert problems[0].where.endswith("a.txt, line 2")


def test_a_reader_that_takes_too_long_is_ended_and_started_anew() -> None:
    page = "<p>文。</p>" * 1_000_000  # half a minute's work
    with Apart("html", seconds=1) as html:
        with pytest.raises(DataError, match="more than 1 seconds"):
            html(page.encode(), where="slow")
        assert html(b"<p>a</p>", where="quick").text in ("", "a")


def test_what_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "a.pdf"):
        with pytest.raises(NotFoundError):
            read(path)
