"""States after prompts that were read before: a prompt that begins alike is read from there.

A recurrent state cannot be cut short, so it has to be kept at the right place: where a prompt ends, where
an answer ends (the next turn of a conversation goes on there), and where two prompts part, as those with
the same instructions do. The last is known when the second prompt comes, and helps from the third on.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence

from kajiya.inference.rwkv.request import Mixture
from kajiya.models.recurrent.state import RecurrentState

_SHORTEST = 16  # tokens; less is read again as fast
_REMEMBERED = 64  # prompts, to see where the next one parts from them
_TOKEN_BYTES = 36  # of an integer in a tuple
_Key = tuple[Mixture, tuple[int, ...]]


class PrefixCache:
    """At most `limit` bytes of states; those not used for longest go first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._states: OrderedDict[_Key, RecurrentState] = OrderedDict()
        self._prompts: deque[_Key] = deque(maxlen=_REMEMBERED)

    def find(self, mixture: Mixture, prompt: Sequence[int]) -> tuple[int, RecurrentState | None]:
        """How many of the first tokens are known, and the state after them; never the whole prompt."""
        whole = tuple(prompt)
        lengths = {len(tokens) for known, tokens in self._states if known == mixture}
        for length in sorted(lengths, reverse=True):
            key = (mixture, whole[:length])
            if length < len(whole) and key in self._states:
                self._states.move_to_end(key)
                return length, self._states[key]
        return 0, None

    def parting(self, mixture: Mixture, prompt: tuple[int, ...]) -> int:
        """Where `prompt` parts from an earlier one that begins alike, 0 if from none; remembers it."""
        common = max(
            (
                _common(tokens, prompt)
                for known, tokens in self._prompts
                if known == mixture and tokens != prompt
            ),
            default=0,
        )
        if (mixture, prompt) not in self._prompts:
            self._prompts.append((mixture, prompt))
        return common if _SHORTEST <= common < len(prompt) else 0

    def keep(self, mixture: Mixture, tokens: Sequence[int], state: RecurrentState) -> None:
        """Remember the state after `tokens`."""
        key = (mixture, tuple(tokens))
        if len(tokens) < _SHORTEST or _size(key, state) > self._limit:
            return
        replaced = self._states.pop(key, None)
        self._bytes -= 0 if replaced is None else _size(key, replaced)
        self._states[key] = state
        self._bytes += _size(key, state)
        while self._bytes > self._limit:
            self._bytes -= _size(*self._states.popitem(last=False))

    def forget(self, adapter: str) -> None:
        """Drop everything that was read with this adapter: another may get its name."""
        for key in [key for key in self._states if adapter in dict(key[0])]:
            self._bytes -= _size(key, self._states.pop(key))
        kept = [key for key in self._prompts if adapter not in dict(key[0])]
        self._prompts = deque(kept, maxlen=_REMEMBERED)


def _size(key: _Key, state: RecurrentState) -> int:
    """Bytes of an entry, its tokens included."""
    return state.byte_count + _TOKEN_BYTES * len(key[1])


def _common(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((at for at, (x, y) in pairs if x != y), min(len(a), len(b)))
