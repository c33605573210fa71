"""Compiled loops over text: its comparable form, hashes of strings and of all runs of a few characters
(shingles) of a string.

Hashes have 64 bits and are the same on every machine and in every version, so tables of them can be
kept. They resist accidents, not attackers. Strings come as `utf8.memory` gives them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kajiya.corpus.compiled import compiled
from kajiya.corpus.utf8 import code_of, size_of

_BASE = np.uint64(0x9E3779B97F4A7C15 | 1)
STEP = np.uint64(0xD1342543DE82EF95)
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@compiled
def mix(x: Any) -> Any:
    """A permutation of the 64-bit numbers in which every bit depends on every bit (splitmix64's)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled
def _room(data: Any, start: Any, end: Any, forms: Any, form_starts: Any) -> Any:
    """The bytes of all characters in their forms."""
    room = 0
    at = start
    while at < end:
        size = size_of(data, at)
        form = forms[code_of(data, at, size)]
        room += size if form == 0 else form_starts[form + 1] - form_starts[form]
        at += size
    return room


@compiled
def fold(data: Any, starts: Any, forms: Any, form_starts: Any, form_data: Any, voicing: Any) -> Any:
    """Strings with each character in its form: UTF-8, where each string begins, its characters.

    `forms` `[0x110000]` are numbers of forms, 0 for characters that stay; form n is `form_data` from
    `form_starts[n]` to `form_starts[n + 1]`. `voicing` `[2, 192]` joins a kana and U+3099 or U+309A.
    """
    count = len(starts) - 1
    found = np.empty(_room(data, starts[0], starts[count], forms, form_starts), np.uint8)
    ends = np.zeros(count + 1, np.int64)
    lengths = np.zeros(count, np.int64)
    out = 0
    for string in range(count):
        at = starts[string]
        end = starts[string + 1]
        characters = 0
        kana = -1  # where the kana that was written last begins
        while at < end:
            size = size_of(data, at)
            code = code_of(data, at, size)
            form = forms[code]
            begin = out
            if form == 0 and code != 0x3099 and code != 0x309A:
                for step in range(size):
                    found[out + step] = data[at + step]
                out += size
                characters += 1
                kana = begin if 0x3040 <= code < 0x3100 else -1
                at += size
                continue
            joined = 0
            if kana >= 0:
                place = ((found[kana + 1] & 0x3F) << 6 | (found[kana + 2] & 0x3F)) - 0x40
                if code == 0x3099 or code == 0xFF9E:
                    joined = voicing[0, place]
                elif code == 0x309A or code == 0xFF9F:
                    joined = voicing[1, place]
            if joined:
                found[kana + 1] = 0x80 | ((joined >> 6) & 0x3F)
                found[kana + 2] = 0x80 | (joined & 0x3F)
                kana = -1
            elif form == 0:
                for step in range(size):
                    found[out + step] = data[at + step]
                out += size
                characters += 1
                kana = -1
            else:
                for step in range(form_starts[form], form_starts[form + 1]):
                    found[out] = form_data[step]
                    characters += (form_data[step] & 0xC0) != 0x80
                    out += 1
                one = out == begin + 3 and found[begin] == 0xE3
                kana = begin if one and 0x81 <= found[begin + 1] <= 0x83 else -1
            at += size
        ends[string + 1] = out
        lengths[string] = characters
    return found[:out], ends, lengths


@compiled
def characters(data: Any, start: Any, end: Any) -> Any:
    """The code points of valid UTF-8, `uint64` `[characters]`."""
    found = np.empty(end - start, np.uint64)
    count = 0
    at = start
    while at < end:
        size = size_of(data, at)
        found[count] = np.uint64(code_of(data, at, size))
        count += 1
        at += size
    return found[:count]


@compiled
def shingles(data: Any, start: Any, end: Any, width: Any) -> Any:
    """A hash for each run of `width` characters, in their order; a shorter text is one run, an empty
    one none. `uint64` `[max(1, characters - width + 1)]`."""
    codes = characters(data, start, end)
    count = len(codes)
    if count == 0:
        return codes
    width = min(width, count)
    found = np.empty(count - width + 1, np.uint64)
    highest = np.uint64(1)
    for _ in range(width - 1):
        highest *= _BASE
    rolling = np.uint64(0)
    for at in range(count):
        if at >= width:
            rolling -= codes[at - width] * highest
        rolling = rolling * _BASE + codes[at]
        if at >= width - 1:
            found[at - width + 1] = mix(rolling)
    return found


@compiled
def hashes(data: Any, starts: Any) -> Any:
    """A hash of each string, `uint64` `[strings]`; that of an empty string is 0."""
    found = np.empty(len(starts) - 1, np.uint64)
    for index in range(len(found)):
        value = np.uint64(0)
        for at in range(starts[index], starts[index + 1]):
            value = value * _BASE + np.uint64(data[at]) + np.uint64(1)
        found[index] = mix(value)
    return found


@compiled
def digests(data: Any, starts: Any) -> Any:
    """A second and a third hash of each string, independent of `hashes`, `uint64` `[strings, 2]`."""
    found = np.empty((len(starts) - 1, 2), np.uint64)
    for index in range(len(found)):
        first = STEP
        second = _BASE
        for at in range(starts[index], starts[index + 1]):
            byte = np.uint64(data[at]) + np.uint64(1)
            first = (first ^ byte) * np.uint64(0x00000100000001B3)
            second = mix(second + byte)
        found[index, 0] = mix(first)
        found[index, 1] = second
    return found


@compiled
def find_known(data: Any, starts: Any, width: Any, known: Any, table: Any) -> Any:
    """Where strings hold shingles whose hash is in `known` (ascending): string, character, place in
    `known`, each `int64` `[found]`.

    `table` `[a power of two]` is true where a known hash has these first bits.
    """
    bits = 0
    while (1 << bits) < len(table):
        bits += 1
    shift = np.uint64(64 - bits)
    room = 1024
    found = np.empty((3, room), np.int64)
    count = 0
    for string in range(len(starts) - 1):
        several = shingles(data, starts[string], starts[string + 1], width)
        for at in range(len(several)):
            if not table[several[at] >> shift]:
                continue
            place = np.searchsorted(known, several[at])
            if place == len(known) or known[place] != several[at]:
                continue
            if count == room:
                room *= 2
                larger = np.empty((3, room), np.int64)
                larger[:, :count] = found
                found = larger
            found[0, count] = string
            found[1, count] = at
            found[2, count] = place
            count += 1
    return found[0, :count].copy(), found[1, :count].copy(), found[2, :count].copy()
