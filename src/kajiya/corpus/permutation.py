"""A shuffled order of any length that takes no memory: each place is worked out when asked for.

A Feistel network permutes the numbers of an even count of bits; numbers that fall outside are sent
through again until they fall inside (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).
"""

from __future__ import annotations

import hashlib

_ROUNDS = 4
_MASK = (1 << 64) - 1


class Permutation:
    """A permutation of 0 … `size` - 1 that `seed` and `turn` decide."""

    def __init__(self, size: int, seed: int, turn: int = 0) -> None:
        self.size = size
        self._half = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
        self._low = (1 << self._half) - 1
        raw = hashlib.sha256(f"{seed}/{turn}".encode()).digest()
        self._keys = [int.from_bytes(raw[8 * i : 8 * i + 8], "little") for i in range(_ROUNDS)]

    def __getitem__(self, place: int) -> int:
        """What stands at `place`."""
        if not 0 <= place < self.size:
            raise IndexError(place)
        while True:
            place = self._once(place)
            if place < self.size:
                return place

    def _once(self, number: int) -> int:
        left, right = number >> self._half, number & self._low
        for key in self._keys:
            left, right = right, left ^ (_mix(right ^ key) & self._low)
        return left << self._half | right


def _mix(number: int) -> int:
    """The finisher of SplitMix64: every bit of the result depends on every bit of the number."""
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & _MASK
    return number ^ (number >> 31)
