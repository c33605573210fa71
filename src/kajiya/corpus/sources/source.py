"""What all sources have in common: their settings, the documents they make, and whom they tell of problems."""

from __future__ import annotations

from collections.abc import Callable

from kajiya.core.config import Config, option
from kajiya.core.errors import DataError
from kajiya.corpus.document import Document

Problems = Callable[[DataError], None]
"""Is told of an item that cannot be read: what is wrong, where, and what to do. The source goes on with
the next item, unless this raises."""


def stop(problem: DataError) -> None:
    """The `Problems` of those who want no item to be missing: the first one ends the reading."""
    raise problem


class Source(Config):
    """Settings of every source. What an item itself says goes before what is said here."""

    kind: str
    name: str = option(
        "",
        en="Name",
        ja="名前",
        help=(
            "kept with every document and used in mixtures; by default the kind",
            "各文書に記録され、配合の指定にも使う名前 (既定は種類の名前)",
        ),
    )
    licence: str = option(
        "",
        en="Licence",
        ja="ライセンス",
        help=("an SPDX identifier, such as CC-BY-SA-4.0", "SPDX 識別子 (例 CC-BY-SA-4.0)"),
    )
    collected_at: str = option(
        "",
        en="Collected at",
        ja="収集日",
        help=("YYYY-MM-DD", "YYYY-MM-DD 形式"),
        pattern=r"^(\d{4}-\d{2}-\d{2})?$",
    )
    language: str = option(
        "", en="Language", ja="言語", help=("ISO 639-1, such as ja", "ISO 639-1 (例 ja)")
    )
    domain: str = option(
        "",
        en="Kind of text",
        ja="文書の種別",
        help=("such as literature, news, code", "例 literature・news・code"),
    )

    def document(
        self,
        id: str,
        text: str,
        *,
        group: str = "",
        title: str = "",
        author: str = "",
        url: str = "",
        licence: str = "",
        collected_at: str = "",
        language: str = "",
        domain: str = "",
    ) -> Document:
        """A document of this source; what is left empty is as the settings say."""
        return Document(
            id=id,
            text=text.strip() + "\n",
            group=group or id,
            title=title,
            author=author,
            url=url,
            source=self.name or self.kind,
            licence=licence or self.licence,
            collected_at=collected_at or self.collected_at,
            language=language or self.language,
            domain=domain or self.domain,
        )


class PathSource(Source):
    """Settings of a source that reads files."""

    path: str = option(
        en="Path", ja="場所", help=("a file or a folder", "ファイルまたはフォルダ"), min_length=1
    )
