"""What clusters are made with: union-find, runs of equal keys, rows on the disk."""

from __future__ import annotations

import tempfile
from pathlib import Path

import networkx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.corpus.duplicates import loops
from kajiya.corpus.duplicates.rows import Rows, equal_runs


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=60))
def test_union_find_as_connected_components(edges: list[tuple[int, int]]) -> None:
    parents = np.arange(40)
    one, other = (np.array([edge[side] for edge in edges], np.int64) for side in (0, 1))
    loops.join(parents, one, other)
    found = loops.roots(parents, np.arange(40))
    graph = networkx.Graph()
    graph.add_nodes_from(range(40))
    graph.add_edges_from(edges)
    for component in networkx.connected_components(graph):
        assert {int(found[node]) for node in component} == {min(component)}


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(0, 12), max_size=50), st.integers(1, 60))
def test_equal_runs_are_found_whatever_fits_in_memory(keys: list[int], at_once: int) -> None:
    with tempfile.TemporaryDirectory() as folder, Rows(Path(folder) / "keys", "u8") as rows:
        for start in range(0, len(keys), 7):
            rows.append(np.array(keys[start : start + 7], np.uint64))
        found: dict[int, list[int]] = {}
        for values, numbers in equal_runs(rows, at_once):
            assert not set(values.tolist()) & set(found)
            for value, number in zip(values.tolist(), numbers.tolist(), strict=True):
                found.setdefault(value, []).append(number)
    expected = {key: [i for i, k in enumerate(keys) if k == key] for key in set(keys) - {0}}
    assert found == {key: several for key, several in expected.items() if len(several) > 1}


def test_rows_come_back_by_number(tmp_path: Path) -> None:
    values = np.arange(60, dtype=np.uint32).reshape(20, 3)
    with Rows(tmp_path / "rows", "u4", 3) as rows:
        rows.append(values[:9])
        rows.append(values[9:])
        assert (rows.take(np.array([19, 0, 7])) == values[[19, 0, 7]]).all()
        assert (np.concatenate(list(rows.parts(6))) == values).all()
        rows.append(values[:1])  # after reading, still at the end
        assert (rows.take(np.array([20, 1])) == values[[0, 1]]).all()
    assert not list(tmp_path.iterdir())
