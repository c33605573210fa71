"""Dot products of a few rows of a matrix with a few vectors at once: what a step spends its time in.

Written in LLVM's own vector operations, since a compiler left to itself uses half of the machine's width.
Each product sums in the same order in every tile, so a result does not depend on what it was
computed beside: a sequence gets the same numbers alone and in a full batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16  # columns a turn: matrices have a multiple of this many
_I8, _I32, _I64, _F32 = (
    ir.IntType(8),
    ir.IntType(32),
    ir.IntType(64),
    ir.FloatType(),
)
_VECTOR = ir.VectorType(_F32, LANES)


def tile(rows: int, vectors: int) -> Any:
    """`f(w, i, x, b, out)`: `out[r * vectors + s]` = w[i + r] · x[b + s] for r < `rows`, s < `vectors`.

    For `w` `[n, columns]` of float32 or int8, `x` `[batch, columns]` and `out` of float32, all contiguous.
    """

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
            sums = _loop(builder, columns, row, vector, _load_as_float)
            for index, total in enumerate(sums):
                place = builder.gep(result.data, [_I64(index)])
                builder.store(_across(builder, total), place)
            return context.get_dummy_value()

        return signature, generate

    return dots


def _addresses(builder: Any, data: Any, columns: Any, first: Any, count: int) -> list[Any]:
    """Where `count` rows begin, from row `first` on."""
    return [
        builder.gep(data, [builder.mul(builder.add(first, _I64(n)), columns)]) for n in range(count)
    ]


def _loop(
    builder: Any,
    columns: Any,
    rows: list[Any],
    vectors: list[Any],
    load: Callable[[Any, Any], Any],
) -> list[Any]:
    """The sums, one vector of partial sums for each row and vector."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
    before = builder.basic_block
    body = builder.append_basic_block("columns")
    after = builder.append_basic_block("summed")
    builder.branch(body)
    builder.position_at_end(body)
    j = builder.phi(_I64)
    j.add_incoming(_I64(0), before)
    sums = []
    for _ in range(len(rows) * len(vectors)):
        total = builder.phi(_VECTOR)
        total.add_incoming(ir.Constant(_VECTOR, [0.0] * LANES), before)
        sums.append(total)
    loaded = [load(builder, builder.gep(vector, [j])) for vector in vectors]
    grown = []
    ahead = builder.add(j, builder.mul(columns, _I64(len(rows))))  # the same place of the next rows
    for n, row in enumerate(rows):
        _fetch(builder, builder.gep(row, [ahead]))
        weights = load(builder, builder.gep(row, [j]))
        for s, x in enumerate(loaded):
            grown.append(builder.call(fma, [weights, x, sums[n * len(vectors) + s]]))
    following = builder.add(j, _I64(LANES))
    j.add_incoming(following, body)
    for total, new in zip(sums, grown, strict=True):
        total.add_incoming(new, body)
    builder.cbranch(builder.icmp_signed("<", following, columns), body, after)
    builder.position_at_end(after)
    return grown


def _fetch(builder: Any, address: Any) -> None:
    """Have the memory at `address` brought near, which reading one row after the other does not."""
    pointer = builder.bitcast(address, _I8.as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, _I32, _I32, _I32])
    prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(prefetch, [pointer, _I32(0), _I32(2), _I32(1)])


def _load_as_float(builder: Any, address: Any) -> Any:
    """Sixteen elements as float32, whatever they are in memory."""
    element = address.type.pointee
    pointer = builder.bitcast(address, ir.VectorType(element, LANES).as_pointer())
    values = builder.load(pointer, align=1 if element == _I8 else 4)
    if element == _I8:
        wide = builder.sext(values, ir.VectorType(_I32, LANES))
        return builder.sitofp(wide, _VECTOR)
    return values


def _across(builder: Any, vector: Any) -> Any:
    """The sum of the lanes, halves first."""
    width = LANES
    while width > 1:
        width //= 2
        undefined = ir.Constant(vector.type, ir.Undefined)
        low, high = (
            builder.shuffle_vector(
                vector,
                undefined,
                ir.Constant(ir.VectorType(_I32, width), [start + n for n in range(width)]),
            )
            for start in (0, width)
        )
        vector = builder.fadd(low, high)
    return builder.extract_element(vector, _I32(0))
