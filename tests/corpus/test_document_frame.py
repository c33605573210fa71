from __future__ import annotations

from kajiya.corpus.document import SCHEMA, Document, to_frame


def test_a_row_for_each_document_in_order() -> None:
    documents = [
        Document("a", "一つ目", group="a", licence="CC0-1.0"),
        Document("b", "", group="a"),
    ]

    frame = to_frame(documents)

    assert frame.schema == SCHEMA
    assert [Document(**row) for row in frame.to_dicts()] == documents


def test_no_documents_are_an_empty_table_with_all_columns() -> None:
    assert to_frame([]).schema == SCHEMA
