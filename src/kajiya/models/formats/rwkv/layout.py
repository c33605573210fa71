"""Names and shapes of the official RWKV-7 and RWKV-6 weights, and what can be inferred from them.

The tables say each tensor's shape in terms of the configuration's fields, so one matching does three
things: it finds the sizes (low-rank sizes too, which differ between releases), it checks every layer
against them, and it tells a matrix that lies the wrong way round, wherever its two sizes differ.

What shapes cannot tell: the square matrices (receptance, key, value, output; in RWKV-6 also gate and
the channel mix's receptance) and, in a model of width 4096, `r_k`. For the former see `orientation`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kajiya.core.errors import FormatError
from kajiya.core.language import tr

# A size: a number, a field of the configuration ("heads" is none, but follows from two), or a multiple.
Size = int | str | tuple[int, str]
Shape = tuple[Size, ...]
_C, _V = "hidden_size", "vocab_size"
_BLOCK = re.compile(r"blocks\.(0|[1-9]\d{0,3})\.(.+)")
_HEAD_SIZE = 64  # of every released model


@dataclass(frozen=True)
class Layout:
    """One generation: `block` is what every layer has, `top` the rest, `unused` what layer 0 may lack."""

    model_type: str
    top: Mapping[str, Shape]
    block: Mapping[str, Shape]
    heads: str  # the tensor of a layer that shows heads and head size
    square: tuple[str, ...]  # whose orientation no shape shows
    unused: frozenset[str] = frozenset()

    def shapes(self, layers: int) -> Iterator[tuple[str, Shape, bool]]:
        """(official name, shape, whether it is used) of every tensor of a model."""
        for name, shape in self.top.items():
            yield name, shape, True
        for layer in range(layers):
            for name, shape in self.block.items():
                yield f"blocks.{layer}.{name}", shape, layer > 0 or name not in self.unused


def _norms(*names: str) -> dict[str, Shape]:
    return {f"{name}.{part}": (_C,) for name in names for part in ("weight", "bias")}


def _vectors(*names: str) -> dict[str, Shape]:
    return dict.fromkeys(names, (1, 1, _C))


def _squares(*names: str) -> dict[str, Shape]:
    return dict.fromkeys(names, (_C, _C))


def _pair(first: str, second: str, rank: str) -> dict[str, Shape]:
    return {first: (_C, rank), second: (rank, _C)}


_TOP: dict[str, Shape] = {
    "emb.weight": (_V, _C),
    **_norms("blocks.0.ln0", "ln_out"),
    "head.weight": (_V, _C),
}
_INNER: dict[str, Shape] = {
    "ffn.key.weight": ("intermediate_size", _C),
    "ffn.value.weight": (_C, "intermediate_size"),
}
_SQUARE = tuple(f"att.{name}.weight" for name in ("receptance", "key", "value", "output"))
_SQUARE_6 = (*_SQUARE, "att.gate.weight", "ffn.receptance.weight")

RWKV7 = Layout(
    "rwkv7",
    _TOP,
    {
        **_norms("ln1", "ln2"),
        **_vectors(*(f"att.x_{name}" for name in "rwkvag")),
        **_vectors("att.w0", "att.a0", "att.v0", "att.k_k", "att.k_a"),
        "att.r_k": ("heads", "head_size"),
        **_pair("att.w1", "att.w2", "decay_rank"),
        **_pair("att.a1", "att.a2", "rate_rank"),
        **_pair("att.v1", "att.v2", "value_rank"),
        **_pair("att.g1", "att.g2", "gate_rank"),
        **_squares(*_SQUARE),
        **_norms("att.ln_x"),
        **_vectors("ffn.x_k"),
        **_INNER,
    },
    heads="att.r_k",
    square=_SQUARE,
    unused=frozenset({"att.v0", "att.v1", "att.v2"}),
)
RWKV6 = Layout(
    "rwkv6",
    _TOP,
    {
        **_norms("ln1", "ln2"),
        **_vectors(*(f"att.time_maa_{name}" for name in "xwkvrg"), "att.time_decay"),
        "att.time_maa_w1": (_C, (5, "shift_rank")),
        "att.time_maa_w2": (5, "shift_rank", _C),
        **_pair("att.time_decay_w1", "att.time_decay_w2", "decay_rank"),
        "att.time_faaaa": ("heads", "head_size"),
        **_squares(*_SQUARE_6),
        **_norms("att.ln_x"),
        **_vectors("ffn.time_maa_k", "ffn.time_maa_r"),
        **_INNER,
    },
    heads="att.time_faaaa",
    square=_SQUARE_6,
)
LAYOUTS = {layout.model_type: layout for layout in (RWKV7, RWKV6)}


def recognise(names: Iterable[str], where: str) -> Layout:
    """Which generation's official names these are; `FormatError` for none."""
    known = set(names)
    for layout in LAYOUTS.values():
        if f"blocks.0.{layout.heads}" in known and "blocks.0.att.ln_x.weight" in known:
            return layout
    if known and all("time_state" in name for name in known):
        raise FormatError(
            tr("this is an initial state, not a model", "これはモデルではなく初期状態です"),
            where=where,
            fix=tr(
                "import it for its model: kajiya models import FILE --base MODEL",
                "対応するモデルを指定してください: kajiya models import FILE --base MODEL",
            ),
        )
    raise FormatError(
        tr(
            "these are not weights of RWKV-7 or RWKV-6", "RWKV-7 または RWKV-6 の重みではありません"
        ),
        where=where,
        fix=tr(
            "give a model of a generation that is supported; its weights have names such as"
            " blocks.0.att.r_k (RWKV-7) or blocks.0.att.time_faaaa (RWKV-6)",
            "対応する世代のモデルを指定してください (名前の例: RWKV-7 は blocks.0.att.r_k、"
            "RWKV-6 は blocks.0.att.time_faaaa)",
        ),
    )


def infer(layout: Layout, shapes: Mapping[str, tuple[int, ...]], where: str) -> dict[str, int]:
    """The configuration's sizes (with `num_hidden_layers`) of a model with tensors of these `shapes`.

    An RWKV-7 of one layer does not show its `value_rank`, which is then left out. Raises `FormatError`
    naming the first tensor that is missing, does not belong, lies the wrong way round, or has a shape
    that does not go with the others.
    """
    layers = 1 + max(int(match[1]) for name in shapes if (match := _BLOCK.fullmatch(name)))
    if layers > len(shapes):
        raise _error(where, tr(f"{layers} layers", f"{layers} 層"), "blocks")
    wanted = {name: (shape, used) for name, shape, used in layout.shapes(layers)}
    for name, (_, used) in wanted.items():
        if used and name not in shapes:
            raise _error(where, tr("this tensor is missing", "このテンソルがありません"), name)
    for name in shapes:
        if name not in wanted:
            kind = "RWKV-" + layout.model_type[-1]
            raise _error(
                where, tr(f"{kind} has no such tensor", f"{kind} にはないテンソルです"), name
            )
    matching = _Matching(where)
    heads = f"blocks.0.{layout.heads}"
    for name in ("ln_out.weight", heads):  # these show their sizes whatever the others are
        matching.match(name, shapes[name], wanted[name][0])
    _check_heads(matching.sizes, f"{where}: {heads}")
    for name, (shape, used) in wanted.items():
        if used:
            matching.match(name, shapes[name], shape)
    sizes = {size: count for size, count in matching.sizes.items() if size != "heads"}
    return {**sizes, "num_hidden_layers": layers}


def _check_heads(sizes: Mapping[str, int], where: str) -> None:
    heads, size, width = sizes["heads"], sizes["head_size"], sizes[_C]
    turned = size != _HEAD_SIZE == heads
    if heads * size != width or turned:
        raise FormatError(
            tr(
                f"{heads} heads of {size} in a width of {width}"
                + (": it lies the wrong way round (transposed)" if turned else ""),
                f"幅 {width} に対して {size} × {heads} ヘッドです"
                + (" (転置されています)" if turned else ""),
            ),
            where=where,
            fix=_again(),
        )


@dataclass
class _Matching:
    where: str
    sizes: dict[str, int] = field(default_factory=dict)

    def match(self, name: str, found: tuple[int, ...], shape: Shape) -> None:
        """Learn the sizes that `shape` names from `found`, or raise `FormatError`."""
        learnt = self._fit(found, shape)
        # Some writers drop the sizes of 1 of vectors.
        learnt = learnt if learnt is not None else self._fit(found, _squeezed(shape))
        if learnt is not None:
            self.sizes |= learnt
            return
        # Of another number of sizes there can be too many orders to try, and none fits.
        others = itertools.permutations(found) if len(found) == len(shape) else ()
        turned = any(self._fit(other, shape) is not None for other in others)
        expected = [self._say(size) for size in shape]
        raise _error(
            self.where,
            tr(
                f"it is {list(found)}, [{', '.join(expected)}] is expected"
                + (": it lies the wrong way round (transposed)" if turned else ""),
                f"形が {list(found)} です ([{', '.join(expected)}] が必要です)"
                + ("。転置されています" if turned else ""),
            ),
            name,
        )

    def _fit(self, found: tuple[int, ...], shape: Shape) -> dict[str, int] | None:
        if len(found) != len(shape):
            return None
        learnt: dict[str, int] = {}
        for length, size in zip(found, shape, strict=True):
            if isinstance(size, int):
                times, wanted = 1, size
            else:
                times, key = size if isinstance(size, tuple) else (1, size)
                if length % times or length == 0:
                    return None
                wanted = self.sizes.get(key) or learnt.setdefault(key, length // times)
            if length != times * wanted:
                return None
        return learnt

    def _say(self, size: Size) -> str:
        if isinstance(size, tuple):
            times, key = size
            return str(times * self.sizes[key]) if key in self.sizes else f"{times}·{key}"
        return str(size if isinstance(size, int) else self.sizes.get(size, size))


def _squeezed(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def _error(where: str, reason: str, name: str) -> FormatError:
    return FormatError(reason, where=f"{where}: {name}", fix=_again())


def _again() -> str:
    return tr("get the file from its makers again", "配布元から入手し直してください")
