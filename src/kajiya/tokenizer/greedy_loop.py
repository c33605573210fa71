"""Reads bytes greedily by a vocabulary, compiled: what `greedy`'s tokenizer does, some times faster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import Any

import numpy as np
from numba import njit

_EMPTY = -1


class GreedyReader:
    """Texts to token ids by the longest entry that fits at each byte; all single bytes are entries."""

    def __init__(self, vocabulary: Mapping[int, bytes]) -> None:
        steps: dict[tuple[int, int], int] = {}  # (node, byte) → node; the root is 0
        ends = {0: _EMPTY}  # node → id of the entry that ends there
        for index, entry in vocabulary.items():
            node = 0
            for byte in entry:
                node = steps.setdefault((node, byte), len(steps) + 1)
            ends[node] = index
        self._ends = np.full(len(steps) + 1, _EMPTY, np.int32)
        for node, index in ends.items():
            self._ends[node] = index
        # Open addressing; at most half full, so a look-up ends soon.
        size = 1 << (2 * len(steps)).bit_length()
        self._keys = np.full(size, _EMPTY, np.int64)
        self._nodes = np.zeros(size, np.int32)
        keys = np.array([node << 8 | byte for node, byte in steps], np.int64)
        _fill(keys, np.array(list(steps.values()), np.int32), self._keys, self._nodes)

    def read(self, text: str) -> list[int]:
        """The ids of one text."""
        data = np.frombuffer(text.encode(), np.uint8)
        ids = np.empty(len(data), np.int32)
        count = _read(data, self._keys, self._nodes, self._ends, ids)
        found: list[int] = ids[:count].tolist()
        return found

    def read_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many, on all cores."""
        with ThreadPoolExecutor(cpu_count()) as pool:
            return list(pool.map(self.read, texts))


@njit(nogil=True, cache=True)
def _slot(key: Any, mask: Any) -> Any:
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((mixed >> np.uint64(32)) & np.uint64(mask))


@njit(nogil=True, cache=True)
def _fill(keys: Any, nodes: Any, table: Any, values: Any) -> None:
    mask = len(table) - 1
    for i in range(len(keys)):
        slot = _slot(keys[i], mask)
        while table[slot] != -1:
            slot = (slot + 1) & mask
        table[slot] = keys[i]
        values[slot] = nodes[i]


@njit(nogil=True, cache=True)
def _read(data: Any, table: Any, nodes: Any, ends: Any, ids: Any) -> int:
    """Write the ids of `data` into `ids`; returns how many they are."""
    mask = len(table) - 1
    at, count = 0, 0
    while at < len(data):
        node, best, after, look = np.int64(0), np.int32(-1), at, at
        while look < len(data):
            key = node << 8 | np.int64(data[look])
            slot = _slot(key, mask)
            while table[slot] != key and table[slot] != -1:
                slot = (slot + 1) & mask
            if table[slot] == -1:
                break
            node = np.int64(nodes[slot])
            look += 1
            if ends[node] != -1:
                best, after = ends[node], look
        ids[count] = best
        count += 1
        at = after
    return count
