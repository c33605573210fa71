"""Names of models: what is read is what was meant, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kajiya.server.errors import ApiError
from kajiya.server.names import MAX_ADAPTERS, MAX_WEIGHT, Part, parse_mixture

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
WEIGHTS = st.integers(-4_000_000, 4_000_000).map(lambda number: number / 1_000_000)
PARTS = st.builds(Part, NAMES, st.none() | st.integers(1, 999), WEIGHTS)


@given(NAMES, st.lists(PARTS, min_size=1, max_size=MAX_ADAPTERS))
def test_what_is_written_is_read(base: str, parts: list[Part]) -> None:
    assert parse_mixture("+".join([base, *map(str, parts)])) == (base, tuple(parts))


@pytest.mark.parametrize(
    ("part", "name", "version", "weight"),
    [
        ("legal", "legal", None, 1.0),
        ("legal:0.7", "legal", None, 0.7),
        ("legal:2", "legal", 2, 1.0),
        ("legal:2:0.7", "legal", 2, 0.7),
        ("legal:2.0", "legal", None, 2.0),
        ("legal:-0.5", "legal", None, -0.5),
        ("org/legal:1", "org/legal", 1, 1.0),
    ],
)
def test_a_weight_has_a_point_and_a_version_has_none(
    part: str, name: str, version: int | None, weight: float
) -> None:
    assert parse_mixture(f"base+{part}") == ("base", (Part(name, version, weight),))


@pytest.mark.parametrize(
    "text",
    [
        "+legal",
        "base+",
        "base++legal",
        "base+:0.5",
        "base+legal:",
        "base+legal:0",
        "base+legal:x",
        "base+legal:nan",
        "base+legal:1e9",
        "base+legal:0.5:2",
        "base+legal:1:2",
        "base+legal:.5",
        "base+legal:0.1234567",
        "base+legal:\u0662",  # a digit elsewhere
        f"base+legal:{MAX_WEIGHT + 0.1}",
        "base+legal:-99.0",
        "base" + "+legal" * (MAX_ADAPTERS + 1),
        "base+" + "x" * 100_000,
    ],
)
def test_what_is_no_mixture_is_a_400(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_mixture(text)
    assert (caught.value.status, caught.value.param) == (400, "model")
    assert len(caught.value.message) < 500


@given(st.text(st.sampled_from("ab+:.0129- \n"), max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        base, parts = parse_mixture(text)
    except ApiError as error:
        assert error.status == 400
    else:
        assert base
        assert len(parts) <= MAX_ADAPTERS
        assert all(abs(part.weight) <= MAX_WEIGHT for part in parts)


@given(st.lists(st.tuples(NAMES, st.integers(1, 99)), max_size=6), NAMES)
def test_without_a_version_the_newest_is_meant(known: list[tuple[str, int]], name: str) -> None:
    references = [f"{own}:{version}" for own, version in known]
    versions = [version for own, version in known if own == name]
    newest = f"{name}:{max(versions)}" if versions else None
    assert Part(name).newest(references) == newest
    for version in versions:
        assert Part(name, version).newest(references) == f"{name}:{version}"
    assert Part(name, 1000).newest(references) is None
