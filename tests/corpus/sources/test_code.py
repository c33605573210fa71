from __future__ import annotations

from pathlib import Path

from kajiya.core.errors import DataError
from kajiya.corpus.sources.code import CodeSource, read_code

MIT = """Permission is hereby granted, free of charge, to any person … without restriction …
The above copyright notice and this permission notice shall be included in all copies"""
BSD = """ * Redistribution and use in source and binary forms, with or without
 * modification … Redistributions in binary form must reproduce …"""


def test_each_file_has_the_nearest_licence(tmp_path: Path) -> None:
    files = {
        "LICENSE": MIT,
        "main.py": "print(1)\r\n",
        "own.c": "/* SPDX-License-Identifier: GPL-2.0-or-later */\nint x;",
        "lib/a.rs": "fn a() {}",
        "lib/COPYING": BSD,
        "lib/deep/b.go": "package b",
        "odd/LICENSE": "Ask my lawyer.",
        "odd/c.js": "let c",
        "two/LICENSE-MIT": MIT,
        "two/LICENSE-BSD": BSD,
        "two/d.ts": "let d",
        "Makefile": "all:",
        "node_modules/x/e.js": "let e",
        ".git/f.py": "f",
        "picture.png": "g",
        "empty.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    (tmp_path / "link.py").symlink_to("/etc/hostname")
    found = list(read_code(CodeSource(path=str(tmp_path), licence="NONE")))
    assert {document.id: document.licence for document in found} == {
        "Makefile": "MIT",
        "lib/a.rs": "BSD-2-Clause",
        "lib/deep/b.go": "BSD-2-Clause",
        "main.py": "MIT",
        "odd/c.js": "MIT",
        "own.c": "GPL-2.0-or-later",
        "two/d.ts": "BSD-2-Clause AND MIT",
    }
    assert next(document for document in found if document.id == "main.py").text == "print(1)\n"
    assert {document.domain for document in found} == {"code"}


def test_a_licence_above_the_folder_is_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text(MIT, "utf-8")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/a.py").write_text("a", "utf-8")
    [found] = read_code(CodeSource(path=str(tmp_path / "inner")))
    assert found.licence == ""
    [found] = read_code(CodeSource(path=str(tmp_path / "inner/a.py")))
    assert found.licence == ""


def test_files_that_are_no_text_are_reported(tmp_path: Path, problems: list[DataError]) -> None:
    (tmp_path / "a.py").write_bytes(b"\x00\x01\x02")
    (tmp_path / "b.js").write_bytes(b"x" * 3_000_000)
    (tmp_path / "c.c").write_bytes("// 文字コード".encode("euc_jp"))
    (tmp_path / "d.py").write_bytes(b"# \x85\x20\x85")
    [found] = read_code(CodeSource(path=str(tmp_path)), problems.append)
    assert found.text == "// 文字コード\n"
    assert [Path(problem.where.split(",")[0]).name for problem in problems] == [
        "a.py",
        "b.js",
        "d.py",
    ]
