"""Cutting rows into chunks so that every document begins a chunk.

A chunk is filled up behind a document's last token with zeros, which in a kernel of the form
`S · exp(log decay) + v kᵀ` leave the state as it was. So a kernel needs no masks inside a chunk.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Where each token of `[batch, time]` goes among `chunks` chunks of `chunk` places a row.

    `places` `[batch · time]` counts places through all rows; None where tokens keep their order
    without gaps. `fresh` `[chunks, batch]` marks the chunks that begin a document; None if no chunk
    but the first does.
    """

    batch: int
    time: int
    chunk: int
    chunks: int
    places: Tensor | None = None
    fresh: Tensor | None = None

    @staticmethod
    def of(batch: int, time: int, chunk: int, starts: Tensor | None = None) -> Layout:
        """`starts` `[batch, time]`, boolean, marks the first token of each document."""
        if starts is None or not time:
            return Layout(batch, time, chunk, -(-time // chunk))
        bounds = starts.clone()
        bounds[:, 0] = True  # a row may go on with a document
        row, column = bounds.nonzero(as_tuple=True)
        # The gap behind each document but a row's last, counted at the document that follows it.
        same = row[1:] == row[:-1]
        gap = (column[:-1] - column[1:])[same] % chunk
        gaps = torch.zeros(batch, time, dtype=torch.long, device=starts.device)
        gaps[row[1:][same], column[1:][same]] = gap
        place = gaps.cumsum(1) + torch.arange(time, device=starts.device)  # within its row
        chunks = int(place[:, -1].max()) // chunk + 1
        fresh = torch.zeros(chunks, batch, dtype=torch.bool, device=starts.device)
        fresh[place[row, column] // chunk, row] = starts[row, column]
        first = torch.arange(batch, device=starts.device)[:, None] * (chunks * chunk)
        return Layout(batch, time, chunk, chunks, (place + first).view(-1), fresh)

    def to_chunks(self, x: Tensor) -> Tensor:
        """`[batch, time, heads, size]` to `[chunks, batch · heads, chunk, size]`, contiguous."""
        heads, size = x.shape[2:]
        length = self.chunks * self.chunk
        if self.places is not None:
            flat = x.new_zeros(self.batch * length, heads, size)
            x = flat.index_copy(0, self.places, x.reshape(-1, heads, size))
        elif length != self.time:
            x = F.pad(x, (0, 0, 0, 0, 0, length - self.time))
        x = x.reshape(self.batch, self.chunks, self.chunk, heads, size).permute(1, 0, 3, 2, 4)
        return x.reshape(self.chunks, self.batch * heads, self.chunk, size).contiguous()

    def from_chunks(self, y: Tensor) -> Tensor:
        """`[chunks, batch · heads, chunk, size]` back to `[batch, time, heads, size]`."""
        heads, size = y.shape[1] // self.batch, y.shape[3]
        y = y.view(self.chunks, self.batch, heads, self.chunk, size).permute(1, 0, 3, 2, 4)
        if self.places is None:
            return y.reshape(self.batch, -1, heads, size)[:, : self.time]
        y = y.reshape(-1, heads, size).index_select(0, self.places)
        return y.view(self.batch, self.time, heads, size)
