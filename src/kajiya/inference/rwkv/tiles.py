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
WIDE_LANES = 32  # and for products of integers, or with weights of 4 bits, of this many
# So many weights of 4 bits stand together: their factor, in bfloat16, then in each byte one of the first
# half, in the low bits, and one of the second. 8 is added to each.
GROUP = WIDE_LANES
GROUP_BYTES = 2 + GROUP // 2
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

    def place(self, builder: Any, row: Any, j: Any) -> Any:
        """The address of column `j`."""

    def weights(self, builder: Any, row: Any, j: Any) -> Any:
        """The weights of columns `j`, …, `j + lanes` of the row that begins at `row`."""

    def vector(self, builder: Any, row: Any, j: Any) -> Any:
        """The same of a vector."""

    def add(self, builder: Any, total: Any, w: Any, x: Any) -> Any:
        """`total` and the products of `w` and `x`."""

    def across(self, builder: Any, total: Any) -> Any:
        """The sum of the lanes, in float32."""


def tile(rows: int, vectors: int) -> Any:
    """`f(w, i, x, b, out)`: `out[r * vectors + s]` = w[i + r] · x[b + s] for r < `rows`, s < `vectors`.

    For `x` `[batch, columns]` and `out` of float32, and `w` `[n, columns]` of float32 or int8, or
    `[n, columns / GROUP * GROUP_BYTES]` of uint8, that is of groups of 4 bits; all contiguous.
    """
    return _tile(
        {types.float32: _Floats(), types.int8: _Floats(), types.uint8: _Nibbles()}, rows, vectors
    )


def integer_tile(rows: int, vectors: int) -> Any:
    """The same for `x` of int16, and `w` of int8, whose sums must fit into 32 bits, or of 4 bits."""
    return _tile({types.int8: _Integers(), types.uint8: _IntegerNibbles()}, rows, vectors)


def _tile(kinds: dict[Any, _Kind], rows: int, vectors: int) -> Any:
    @intrinsic
    def dots(context: Any, w: Any, i: Any, x: Any, b: Any, out: Any) -> Any:
        signature = types.void(w, types.intp, x, types.intp, out)
        kind = kinds[w.dtype]

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def opened(index: int) -> Any:
                return context.make_array(signature.args[index])(context, builder, args[index])

            matrix, batch, result = opened(0), opened(2), opened(4)
            stride = builder.extract_value(matrix.shape, 1)
            columns = builder.extract_value(batch.shape, 1)
            row = _addresses(builder, matrix.data, stride, args[1], rows)
            vector = _addresses(builder, batch.data, columns, args[3], vectors)
            ahead = builder.mul(stride, _I64(rows))
            for index, total in enumerate(_loop(builder, kind, columns, ahead, row, vector)):
                place = builder.gep(result.data, [_I64(index)])
                builder.store(kind.across(builder, total), place)
            return context.get_dummy_value()

        return signature, generate

    return dots


def _addresses(builder: Any, data: Any, stride: Any, first: Any, count: int) -> list[Any]:
    """Where `count` rows begin, from row `first` on."""
    return [
        builder.gep(data, [builder.mul(builder.add(first, _I64(n)), stride)]) for n in range(count)
    ]


def _loop(
    builder: Any, kind: _Kind, columns: Any, ahead: Any, rows: list[Any], vectors: list[Any]
) -> list[Any]:
    """The partial sums for each row and vector; the same place of the next rows is `ahead` further on."""
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
    loaded = [kind.vector(builder, vector, j) for vector in vectors]
    grown = []
    for n, row in enumerate(rows):
        _fetch(builder, kind.place(builder, builder.gep(row, [ahead]), j))
        weights = kind.weights(builder, row, j)
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


def _plain(builder: Any, row: Any, j: Any) -> Any:
    """Where column `j` stands if each has a number of its own."""
    return builder.gep(row, [j])


def _grouped(builder: Any, row: Any, j: Any) -> Any:
    """Where the group of 4-bit weights stands that begins with column `j`."""
    return builder.gep(row, [builder.mul(builder.udiv(j, _I64(GROUP)), _I64(GROUP_BYTES))])


def _group(builder: Any, address: Any) -> tuple[Any, Any]:
    """The 4-bit weights of a group as 8-bit integers, and their factor in all lanes."""
    bits = builder.zext(builder.load(builder.bitcast(address, _I16.as_pointer()), align=1), _I32)
    factor = builder.bitcast(builder.shl(bits, _I32(16)), _F32)
    bytes_ = _loaded(builder, builder.gep(address, [_I64(2)]), GROUP // 2, 1)
    kind = bytes_.type
    low = builder.and_(bytes_, ir.Constant(kind, [15] * (GROUP // 2)))
    high = builder.lshr(bytes_, ir.Constant(kind, [4] * (GROUP // 2)))
    order = ir.Constant(ir.VectorType(_I32, GROUP), list(range(GROUP)))
    both = builder.shuffle_vector(low, high, order)
    centred = builder.sub(both, ir.Constant(both.type, [8] * GROUP))
    first = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), factor, _I32(0))
    everywhere = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return centred, builder.shuffle_vector(first, first, everywhere)


def _half(builder: Any, vector: Any, start: int) -> Any:
    """`LANES` lanes from `start` on."""
    order = ir.Constant(ir.VectorType(_I32, LANES), [start + n for n in range(LANES)])
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), order)


def _fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a · b + c."""
    return _call(builder, f"llvm.fma.v{LANES}f32", _FLOATS, [a, b, c])


def _sum(builder: Any, total: Any) -> Any:
    """The sum of the lanes of a vector of float32, in the same order on every machine."""
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


class _Floats:
    """Multiplied and added in float32, whatever is in memory."""

    lanes, sums = LANES, _FLOATS
    place = staticmethod(_plain)

    def weights(self, builder: Any, row: Any, j: Any) -> Any:
        address = _plain(builder, row, j)
        if address.type.pointee == _I8:
            return builder.sitofp(builder.sext(_loaded(builder, address, LANES, 1), _INTS), _FLOATS)
        return _loaded(builder, address, LANES, 4)

    def vector(self, builder: Any, row: Any, j: Any) -> Any:
        return _loaded(builder, _plain(builder, row, j), LANES, 4)

    def add(self, builder: Any, total: Any, w: Any, x: Any) -> Any:
        return _fused(builder, w, x, total)

    def across(self, builder: Any, total: Any) -> Any:
        return _sum(builder, total)


class _Nibbles:
    """Weights of 4 bits, multiplied and added in float32."""

    lanes, sums = GROUP, _FLOATS
    place = staticmethod(_grouped)

    def weights(self, builder: Any, row: Any, j: Any) -> Any:
        values, factor = _group(builder, _grouped(builder, row, j))
        halves = (_half(builder, values, start) for start in (0, LANES))
        return [builder.sitofp(builder.sext(half, _INTS), _FLOATS) for half in halves], factor

    def vector(self, builder: Any, row: Any, j: Any) -> Any:
        address = _plain(builder, row, j)
        return [_loaded(builder, builder.gep(address, [_I64(n)]), LANES, 4) for n in (0, LANES)]

    def add(self, builder: Any, total: Any, w: Any, x: Any) -> Any:
        (low, high), factor = w
        dots = _fused(builder, high, x[1], builder.fmul(low, x[0]))
        return _fused(builder, dots, factor, total)

    def across(self, builder: Any, total: Any) -> Any:
        return _sum(builder, total)


class _Integers:
    """16-bit integers, their products added to 32-bit sums in pairs."""

    lanes, sums = WIDE_LANES, _INTS
    place = staticmethod(_plain)

    def weights(self, builder: Any, row: Any, j: Any) -> Any:
        return _pairs(builder, _loaded(builder, _plain(builder, row, j), WIDE_LANES, 1))

    def vector(self, builder: Any, row: Any, j: Any) -> Any:
        return builder.bitcast(_loaded(builder, _plain(builder, row, j), WIDE_LANES, 1), _INTS)

    def add(self, builder: Any, total: Any, w: Any, x: Any) -> Any:
        return _dot_pairs(builder, total, w, x)

    def across(self, builder: Any, total: Any) -> Any:
        whole = _call(builder, f"llvm.vector.reduce.add.v{LANES}i32", _I32, [total])
        return builder.sitofp(whole, _F32)


class _IntegerNibbles:
    """Weights of 4 bits times 16-bit integers; each group's sums join the others in float32."""

    lanes, sums = GROUP, _FLOATS
    place = staticmethod(_grouped)

    def weights(self, builder: Any, row: Any, j: Any) -> Any:
        values, factor = _group(builder, _grouped(builder, row, j))
        return _pairs(builder, values), factor

    def vector(self, builder: Any, row: Any, j: Any) -> Any:
        return builder.bitcast(_loaded(builder, _plain(builder, row, j), WIDE_LANES, 1), _INTS)

    def add(self, builder: Any, total: Any, w: Any, x: Any) -> Any:
        dots = _dot_pairs(builder, ir.Constant(_INTS, [0] * LANES), w[0], x)
        return _fused(builder, builder.sitofp(dots, _FLOATS), w[1], total)

    def across(self, builder: Any, total: Any) -> Any:
        return _sum(builder, total)


def _pairs(builder: Any, bytes_: Any) -> Any:
    """8-bit integers as 16-bit ones, two in each lane."""
    return builder.bitcast(builder.sext(bytes_, ir.VectorType(_I16, WIDE_LANES)), _INTS)


def _dot_pairs(builder: Any, total: Any, w: Any, x: Any) -> Any:
    """`total` and, in each lane, the sum of two products."""
    return _call(builder, "llvm.x86.avx512.vpdpwssd.512", _INTS, [total, w, x])
