from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from kajiya.corpus.sources.licences import licence_of_header, licence_of_text, licence_of_url

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("header", "licence"),
    [
        ("# SPDX-License-Identifier: MIT\nx = 1", "MIT"),
        ("/* SPDX-License-Identifier: apache-2.0 */", "Apache-2.0"),
        ("<!-- SPDX-License-Identifier: CC0-1.0 -->", "CC0-1.0"),
        (
            "// SPDX-License-Identifier: (MIT OR GPL-2.0-or-later)\n",
            "(MIT OR GPL-2.0-or-later)",
        ),
        ("// SPDX-License-Identifier: whatever I like", ""),
        ("// Licensed under MIT", ""),
        ("SPDX-License-Identifier:" + " " * 1000, ""),
    ],
)
def test_headers(header: str, licence: str) -> None:
    assert licence_of_header(header) == licence


@pytest.mark.parametrize(
    ("package", "licence"),
    [
        ("pytest", "MIT"),
        ("click", "BSD-3-Clause"),
        ("hypothesis", "MPL-2.0"),
        ("pypdfium2", "Apache-2.0"),
    ],
)
def test_licence_files_of_installed_packages(package: str, licence: str) -> None:
    files = importlib.metadata.files(package) or []
    texts = [
        Path(str(file.locate())).read_text("utf-8", "replace")
        for file in files
        if ".dist-info" in str(file) and "licen" in str(file).lower()
    ]
    assert licence in {licence_of_text(text) for text in texts}


def test_our_own() -> None:
    assert licence_of_text((ROOT / "LICENSE").read_text("utf-8")) == "Apache-2.0"


def test_an_unknown_text_is_not_guessed() -> None:
    assert licence_of_text("All rights reserved. You may read this on Tuesdays.") == ""
    assert licence_of_text("") == ""


@pytest.mark.parametrize(
    ("url", "licence"),
    [
        ("https://creativecommons.org/licenses/by-sa/4.0/deed.ja", "CC-BY-SA-4.0"),
        ("http://creativecommons.org/licenses/by-nc-nd/2.0/jp/", "CC-BY-NC-ND-2.0"),
        ("http://creativecommons.org/licenses/by/9.9/", ""),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "CC-PDM-1.0"),
        ("https://x.example/licence", ""),
    ],
)
def test_links(url: str, licence: str) -> None:
    assert licence_of_url(url) == licence
