"""The text of a PDF document, page by page, by PDFium. Meant to be called through `apart`.

Pages that are pictures have no text; they are named, not read.
"""

from __future__ import annotations

import re

from kajiya.core.errors import DataError
from kajiya.core.language import tr
from kajiya.corpus.sources.extract import Extract

_SHOWN = 10  # pages without text


def extract_pdf(raw: bytes) -> Extract:
    """The text of all pages, an empty line between them, with title and author of the document.

    Raises `DataError` for what is no PDF, needs a password or holds no text at all.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(raw)
    except pypdfium2.PdfiumError as error:
        raise _refused(error) from None
    with document:
        pages: list[str] = []
        for page in document:
            text = page.get_textpage()
            pages.append(_clean(text.get_text_range()))
            text.close()
            page.close()
        properties = document.get_metadata_dict()
    empty = [number for number, page in enumerate(pages, 1) if not page]
    if len(empty) == len(pages):
        raise DataError(
            tr(
                f"none of its {len(pages)} pages has text: they are pictures",
                f"全 {len(pages)} ページに文字がありません (画像だけです)",
            ),
            fix=tr("run a text recognition (OCR) on it first", "先に文字認識 (OCR) をしてください"),
        )
    return Extract(
        "\n\n".join(page for page in pages if page),
        title=properties.get("Title", "").strip(),
        author=properties.get("Author", "").strip(),
        problem=_without_text(empty),
    )


def _clean(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.replace("\ufffe", "").replace(
        "\x02", ""
    )  # PDFium's marks of a hyphen at a line's end
    return re.sub(r"[ \t\u3000]+$", "", text, flags=re.MULTILINE).strip()


def _without_text(pages: list[int]) -> str:
    if not pages:
        return ""
    shown = ", ".join(map(str, pages[:_SHOWN])) + (" …" if len(pages) > _SHOWN else "")
    return tr(
        f"pages without text (pictures?): {shown}", f"文字のないページ (画像?) があります: {shown}"
    )


def _refused(error: Exception) -> DataError:
    reason = str(error)
    if "password" in reason.lower():
        return DataError(
            tr("it is protected by a password", "パスワードで保護されています"),
            fix=tr("save it without one", "パスワードを外して保存してください"),
        )
    return DataError(
        tr(f"not a whole PDF document: {reason}", f"PDF として読めません: {reason}"),
        fix=tr("get or copy it again", "取得かコピーをやり直してください"),
    )
