"""Compiled loops over signatures and clusters: sketches of documents, stars, union-find."""

from __future__ import annotations

from typing import Any

import numpy as np

from kajiya.corpus.compiled import compiled
from kajiya.corpus.hashing import ALL, STEP, mix, shingles

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


@compiled
def sketch(data: Any, starts: Any, width: Any, bands: Any, rows: Any) -> Any:
    """MinHash signatures `uint32` `[documents, bands * rows]` and a key `uint64` a band.

    In each round every shingle falls into one place of the signature; a place keeps the least hash of
    the first round that reached it. So each place holds the least of all shingles in an order of its
    own, as in plain MinHash, at one hash a shingle for long texts instead of one for each place
    (Dahlgaard, Knudsen and Thorup, "Fast Similarity Sketching", FOCS 2017).

    A document without characters has the keys 0, which no other document has.
    """
    places = bands * rows
    count = len(starts) - 1
    signatures = np.zeros((count, places), np.uint32)
    keys = np.zeros((count, bands), np.uint64)
    least = np.empty(places, np.uint64)
    for document in range(count):
        found = shingles(data, starts[document], starts[document + 1], width)
        if len(found) == 0:
            continue
        least[:] = ALL
        filled = 0  # places that are reached without one left out among them
        for turn in range(places):
            offset = np.uint64(turn) * STEP
            order = np.uint64(turn) << _HALF
            for shingle in found:
                value = mix(shingle + offset)
                place = ((value >> _HALF) * np.uint64(places)) >> _HALF
                least[place] = min(least[place], order | (value & _LOW))
            while filled < places and least[filled] != ALL:
                filled += 1
            if filled == places:
                break
        for place in range(filled, places):
            if least[place] == ALL:  # few shingles only, and chance left the place out
                offset = np.uint64(places + place) * STEP
                for shingle in found:
                    least[place] = min(least[place], mix(shingle + offset) & _LOW)
        for place in range(places):
            signatures[document, place] = np.uint32(least[place] & _LOW)
        for band in range(bands):
            key = np.uint64(band)
            for place in range(band * rows, (band + 1) * rows):
                key = mix(key + STEP + (least[place] & _LOW))
            keys[document, band] = max(key, np.uint64(1))
    return signatures, keys


@compiled
def stars(signatures: Any, groups: Any, enough: Any, most: Any) -> Any:
    """For each row, the first centre of its group that it resembles, and in how many places.

    Rows of a group are neighbours. A row that resembles no centre (fewer than `enough` places are
    equal) is its own, and becomes a centre for later rows unless the group has `most` already.
    """
    count, places = signatures.shape
    centre_of = np.empty(count, np.int64)
    equal = np.empty(count, np.int64)
    centres = np.empty(count, np.int64)
    held = 0
    for row in range(count):
        if row == 0 or groups[row] != groups[row - 1]:
            held = 0
        centre_of[row] = row
        equal[row] = places
        for index in range(held):
            centre = centres[index]
            same = 0
            for place in range(places):
                same += signatures[row, place] == signatures[centre, place]
            if same >= enough:
                centre_of[row] = centre
                equal[row] = same
                break
        if centre_of[row] == row and held < most:
            centres[held] = row
            held += 1
    return centre_of, equal


@compiled
def find(parents: Any, row: Any) -> Any:
    """The root of a row's cluster; shortens the way there."""
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@compiled
def roots(parents: Any, rows: Any) -> Any:
    """The roots of some rows' clusters."""
    found = np.empty(len(rows), np.int64)
    for index in range(len(rows)):
        found[index] = find(parents, rows[index])
    return found


@compiled
def join(parents: Any, some: Any, others: Any) -> Any:
    """Make one cluster of those of each pair of rows. The root is a cluster's first row."""
    for index in range(len(some)):
        one = find(parents, some[index])
        other = find(parents, others[index])
        parents[max(one, other)] = min(one, other)
