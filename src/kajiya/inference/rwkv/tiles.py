"""Dot products of a few rows of a matrix with a few vectors at once: what a step spends its time in.

Written in LLVM's own vector operations, since a compiler left to itself uses half of the machine's width.
Each product sums in the same order in every tile, so a result does not depend on what it was
computed beside: a sequence gets the same numbers alone and in a full batch.
"""

from __future__ import annotations

from typing import Any, Protocol

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16  # matrices have a multiple of this many columns
WIDE_LANES = 32  # and for products of integers of this many
_I8, _I16, _I32, _I64, _F32 = (*map(ir.IntType, (8, 16, 32, 64)), ir.FloatType())
_FLOATS, _INTS = ir.VectorType(_F32, LANES), ir.VectorType(_I32, LANES)


def multiplies_integers() -> bool:
    """Whether this processor adds up products of 16-bit integers in one instruction (AVX-512 VNNI)."""
    features = binding.get_host_cpu_features()
    return bool(features.get("avx512vnni") and features.get("avx512bw"))


class _Kind(Protocol):
    """How one kind of product is computed, `lanes` columns at a time."""

    lanes: int
    sums: Any  # the type of the partial sums

    def load(self, builder: Any, address: Any) -> Any:
        """What stands at `address`, of a matrix or a vector, ready to be multiplied."""

    def add(self, builder: Any, total: Any, w: Any, x: Any) -> Any:
        """`total` and the products of `w` and `x`."""

    def across(self, builder: Any, total: Any) -> Any:
        """The sum of the lanes."""


def tile(rows: int, vectors: int) -> Any:
    """`f(w, i, x, b, out)`: `out[r * vectors + s]` = w[i + r] · x[b + s] for r < `rows`, s < `vectors`.

    For `w` `[n, columns]` of float32 or int8, `x` `[batch, columns]` and `out` of float32, all contiguous.
    """
    return _tile(_Floats(), rows, vectors)


def integer_tile(rows: int, vectors: int) -> Any:
    """The same for `w` of int8, `x` of int16 and `out` of int32; sums must fit into 32 bits."""
    return _tile(_Integers(), rows, vectors)


def _tile(kind: _Kind, rows: int, vectors: int) -> Any:
    @intrinsic
    def dots(context: Any, w: Any, i: Any, x: Any, b: Any, out: Any) -> Any:
        signature = types.void(w, types.intp, x, types.intp, out)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def opened(index: int) -> Any:
                return context.make_array(signature.args[index])(context, builder, args[index])

            matrix, batch, result = opened(0), opened(2), opened(4)
            columns = builder.extract_value(matrix.shape, 1)
            row = _addresses(builder, matrix.data, columns, args[1], rows)
            vector = _addresses(builder, batch.data, columns, args[3], vectors)
            for index, total in enumerate(_loop(builder, kind, columns, row, vector)):
                place = builder.gep(result.data, [_I64(index)])
                builder.store(kind.across(builder, total), place)
            return context.get_dummy_value()

        return signature, generate

    return dots


def _addresses(builder: Any, data: Any, columns: Any, first: Any, count: int) -> list[Any]:
    """Where `count` rows begin, from row `first` on."""
    return [
        builder.gep(data, [builder.mul(builder.add(first, _I64(n)), columns)]) for n in range(count)
    ]


def _loop(
    builder: Any, kind: _Kind, columns: Any, rows: list[Any], vectors: list[Any]
) -> list[Any]:
    """The partial sums for each row and vector."""
    before = builder.basic_block
    body = builder.append_basic_block("columns")
    after = builder.append_basic_block("summed")
    builder.branch(body)
    builder.position_at_end(body)
    j = builder.phi(_I64)
    j.add_incoming(_I64(0), before)
    sums = []
    for _ in range(len(rows) * len(vectors)):
        total = builder.phi(kind.sums)
        total.add_incoming(ir.Constant(kind.sums, [0] * LANES), before)
        sums.append(total)
    loaded = [kind.load(builder, builder.gep(vector, [j])) for vector in vectors]
    grown = []
    ahead = builder.add(j, builder.mul(columns, _I64(len(rows))))  # the same place of the next rows
    for n, row in enumerate(rows):
        _fetch(builder, builder.gep(row, [ahead]))
        weights = kind.load(builder, builder.gep(row, [j]))
        for s, x in enumerate(loaded):
            grown.append(kind.add(builder, sums[n * len(vectors) + s], weights, x))
    following = builder.add(j, _I64(kind.lanes))
    j.add_incoming(following, body)
    for total, new in zip(sums, grown, strict=True):
        total.add_incoming(new, body)
    builder.cbranch(builder.icmp_signed("<", following, columns), body, after)
    builder.position_at_end(after)
    return grown


def _fetch(builder: Any, address: Any) -> None:
    """Have the memory at `address` brought near, which reading four rows at once does not."""
    pointer = builder.bitcast(address, _I8.as_pointer())
    arguments = [pointer, _I32(0), _I32(2), _I32(1)]
    _call(builder, "llvm.prefetch.p0", ir.VoidType(), arguments)


def _call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """One of LLVM's own functions."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _loaded(builder: Any, address: Any, lanes: int, align: int) -> Any:
    kind = ir.VectorType(address.type.pointee, lanes)
    return builder.load(builder.bitcast(address, kind.as_pointer()), align=align)


class _Floats:
    """Multiplied and added in float32, whatever is in memory."""

    lanes, sums = LANES, _FLOATS

    def load(self, builder: Any, address: Any) -> Any:
        if address.type.pointee == _I8:
            return builder.sitofp(builder.sext(_loaded(builder, address, LANES, 1), _INTS), _FLOATS)
        return _loaded(builder, address, LANES, 4)

    def add(self, builder: Any, total: Any, w: Any, x: Any) -> Any:
        return _call(builder, f"llvm.fma.v{LANES}f32", _FLOATS, [w, x, total])

    def across(self, builder: Any, total: Any) -> Any:
        width = LANES
        while width > 1:
            width //= 2
            nothing = ir.Constant(total.type, ir.Undefined)
            low, high = (
                builder.shuffle_vector(
                    total,
                    nothing,
                    ir.Constant(ir.VectorType(_I32, width), [start + n for n in range(width)]),
                )
                for start in (0, width)
            )
            total = builder.fadd(low, high)
        return builder.extract_element(total, _I32(0))


class _Integers:
    """16-bit integers, their products added to 32-bit sums in pairs."""

    lanes, sums = WIDE_LANES, _INTS

    def load(self, builder: Any, address: Any) -> Any:
        values = _loaded(builder, address, WIDE_LANES, 1)
        if address.type.pointee == _I8:
            values = builder.sext(values, ir.VectorType(_I16, WIDE_LANES))
        return builder.bitcast(values, _INTS)

    def add(self, builder: Any, total: Any, w: Any, x: Any) -> Any:
        return _call(builder, "llvm.x86.avx512.vpdpwssd.512", _INTS, [total, w, x])

    def across(self, builder: Any, total: Any) -> Any:
        return _call(builder, f"llvm.vector.reduce.add.v{LANES}i32", _I32, [total])
