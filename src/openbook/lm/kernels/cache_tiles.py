# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""512-bit products of queries with the keys, and of probabilities with the values, of a block of 16 tokens.

A block holds, of one key head, the keys as [D][16] and the values as [16][D] float32. In bfloat16 two neighbours lie in one
lane: keys as [D / 2][16][2], values as [8][D][2], so that a lane's halves are two channels of a key, two tokens of a value; they
are multiplied as pairs where the processor can, else widened.
Every sum is one chain of fused products from first to last: a row's result is the same to the bit in a tile of any height.
All addresses are plain integers.
"""

from __future__ import annotations

from typing import Any, Literal

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from openbook.lm.kernels.vector import _F32, _F32X16, _I32, _I32X16, _I64, _function, _load, _multiply_add, _spread

BLOCK = 16
_HIGH = ir.Constant(_I32X16, [0xFFFF0000 - (1 << 32)] * 16)
_SHIFT = ir.Constant(_I32X16, [16] * 16)
_ZERO = ir.Constant(_F32X16, [0.0] * 16)


_BYTE_POINTER = ir.IntType(8).as_pointer()
_INTO_L2 = 2


def prefetch(builder, address):
    kinds = [_BYTE_POINTER, _I32, _I32, _I32]
    function = _function(builder, "llvm.prefetch.p0i8", ir.VoidType(), kinds)
    flags = [ir.Constant(_I32, flag) for flag in (0, _INTO_L2, 1)]
    builder.call(function, [builder.inttoptr(address, _BYTE_POINTER), *flags])


def _constant(value):
    return ir.Constant(_I64, value)


Way = Literal["float32", "widened", "pairs"]
"""How a block is read: as it is, as bfloat16 that is made float32, as pairs of bfloat16 that are multiplied as they are."""


def _parts(way):
    """Numbers of a row that a step consumes."""
    return 1 if way == "float32" else 2


def _width(way):
    """Bytes of a number of a row."""
    return 2 if way == "pairs" else 4


def _lanes(builder, address, way):
    """The vectors that 64 bytes stand for: one of float32 or of pairs, or the lower and the upper halves of the lanes."""
    if way == "float32":
        return [_load(builder, address, _F32X16)]
    both = _load(builder, address, _I32X16)
    if way == "pairs":
        return [both]
    low, high = builder.shl(both, _SHIFT), builder.and_(both, _HIGH)
    return [builder.bitcast(part, _F32X16) for part in (low, high)]


def _scalars(builder, address, way):
    """What a step needs from `address` on, each in all lanes: one float32, two, or one pair of bfloat16."""
    scalar, vector = (_I32, _I32X16) if way == "pairs" else (_F32, _F32X16)
    count = 2 if way == "widened" else 1
    return [
        _spread(builder, _load(builder, builder.add(address, _constant(4 * i)), scalar), vector) for i in range(count)
    ]


def _combined(builder, total, scalar, lane, way):
    if way == "pairs":
        return dot_pairs(builder, total, scalar, lane)
    return _multiply_add(builder, total, scalar, lane)


def dot_pairs(builder, total, left, right):
    """total + the two products of bfloat16 of each lane (vdpbf16ps)."""
    function = _function(builder, "llvm.x86.avx512bf16.dpbf16ps.512", _F32X16, [_F32X16, _I32X16, _I32X16])
    return builder.call(function, [total, left, right])


def _loop(builder, count, state, body):
    """`count` >= 1 rounds of `body(index, state) -> state`, the state in registers; what it is in the end."""
    before = builder.block
    loop, end = builder.append_basic_block("loop"), builder.append_basic_block("end")
    builder.branch(loop)
    builder.position_at_end(loop)
    index = builder.phi(_I64)
    index.add_incoming(_constant(0), before)
    held = [builder.phi(_F32X16) for _ in state]
    for phi, value in zip(held, state, strict=True):
        phi.add_incoming(value, before)
    found = body(index, held)
    last = builder.block
    following = builder.add(index, _constant(1))
    index.add_incoming(following, last)
    for phi, value in zip(held, found, strict=True):
        phi.add_incoming(value, last)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, end)
    builder.position_at_end(end)
    return found


def score_tile(rows: int, way: Way) -> Any:
    """(queries, query_stride, D, keys, other_keys, ahead, out, out_stride): `rows` queries times the 32 keys of two blocks.

    `ahead`: address of four addresses of blocks, which are asked for meanwhile.
    """
    parts = _parts(way)
    step_width = parts * _width(way)

    @intrinsic
    def tile(typing_context, queries, query_stride, D, keys, other, ahead, out, out_stride):
        signature = types.void(*[types.int64] * 8)

        def codegen(context, builder, _signature, arguments):
            queries, query_stride, D, keys, other, ahead, out, out_stride = arguments
            wanted = [_load(builder, builder.add(ahead, _constant(8 * n)), _I64) for n in range(4)]
            row_at = [builder.add(queries, builder.mul(query_stride, _constant(r))) for r in range(rows)]

            def step(index, sums):
                place = builder.mul(index, _constant(64))
                for at in wanted:
                    prefetch(builder, builder.add(at, place))
                blocks = [_lanes(builder, builder.add(at, place), way) for at in (keys, other)]
                found = []
                for r, at in enumerate(row_at):
                    own = _scalars(builder, builder.add(at, builder.mul(index, _constant(step_width))), way)
                    for b, lanes in enumerate(blocks):
                        total = sums[2 * r + b]
                        for scalar, lane in zip(own, lanes, strict=True):
                            total = _combined(builder, total, scalar, lane, way)
                        found.append(total)
                return found

            steps = builder.sdiv(D, _constant(parts))
            sums = _loop(builder, steps, [_ZERO] * (2 * rows), step)
            for r in range(rows):
                for b in range(2):
                    place = builder.add(out, builder.add(builder.mul(out_stride, _constant(r)), _constant(64 * b)))
                    builder.store(sums[2 * r + b], builder.inttoptr(place, _F32X16.as_pointer())).align = 4
            return context.get_dummy_value()

        return signature, codegen

    return tile


def mix_tile(rows: int, panels: int, way: Way) -> Any:
    """(weights, weight_stride, table, count, values, block_stride, D, out, out_stride): `rows` rows of weights times the values
    of the `count` >= 1 blocks that the int64 at `table` name, `panels` * 16 channels -> out.
    """
    parts = _parts(way)
    step_width = parts * _width(way)

    @intrinsic
    def tile(typing_context, weights, weight_stride, table, count, values, block_stride, D, out, out_stride):
        signature = types.void(*[types.int64] * 9)

        def codegen(context, builder, _signature, arguments):
            weights, weight_stride, table, count, values, block_stride, D, out, out_stride = arguments
            row_at = [builder.add(weights, builder.mul(weight_stride, _constant(r))) for r in range(rows)]
            step_bytes = builder.mul(D, _constant(4))

            def block(index, sums):
                number = _load(builder, builder.add(table, builder.mul(index, _constant(8))), _I64)
                block_at = builder.add(values, builder.mul(number, block_stride))
                weight_at = builder.mul(index, _constant(_width(way) * BLOCK))

                def step(place, sums):
                    at = builder.add(block_at, builder.mul(place, step_bytes))
                    columns = [_lanes(builder, builder.add(at, _constant(64 * c)), way) for c in range(panels)]
                    found = []
                    for r, row in enumerate(row_at):
                        own_at = builder.add(builder.add(row, weight_at), builder.mul(place, _constant(step_width)))
                        own = _scalars(builder, own_at, way)
                        for c, lanes in enumerate(columns):
                            total = sums[panels * r + c]
                            for scalar, lane in zip(own, lanes, strict=True):
                                total = _combined(builder, total, scalar, lane, way)
                            found.append(total)
                    return found

                return _loop(builder, _constant(BLOCK // parts), sums, step)

            sums = _loop(builder, count, [_ZERO] * (rows * panels), block)
            for r in range(rows):
                for c in range(panels):
                    place = builder.add(out, builder.add(builder.mul(out_stride, _constant(r)), _constant(64 * c)))
                    builder.store(sums[panels * r + c], builder.inttoptr(place, _F32X16.as_pointer())).align = 4
            return context.get_dummy_value()

        return signature, codegen

    return tile
