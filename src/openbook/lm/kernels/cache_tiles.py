# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""512-bit products of queries with the keys, and of probabilities with the values, of a block of 16 tokens.

A block holds, of one key head, the keys as [D][16] and the values as [16][D] float32. In bfloat16 two neighbours lie in one
lane: keys as [D / 2][16][2], values as [8][D][2], so that a lane's halves are two channels of a key, two tokens of a value.
Every sum is one chain of fused products from first to last: a row's result is the same to the bit in a tile of any height.
All addresses are plain integers.
"""

from __future__ import annotations

from typing import Any

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


def _lanes(builder, address, wide):
    """The vectors of float32 that 64 bytes stand for: one, or the lower and the upper halves of the lanes."""
    if wide:
        return [_load(builder, address, _F32X16)]
    both = _load(builder, address, _I32X16)
    low, high = builder.shl(both, _SHIFT), builder.and_(both, _HIGH)
    return [builder.bitcast(part, _F32X16) for part in (low, high)]


def _scalars(builder, address, count):
    """As many float32 from `address` on, each in all lanes."""
    return [
        _spread(builder, _load(builder, builder.add(address, _constant(4 * i)), _F32), _F32X16) for i in range(count)
    ]


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


def score_tile(rows: int, wide: bool) -> Any:
    """(queries, query_stride, D, keys, other_keys, ahead, out, out_stride): `rows` queries times the 32 keys of two blocks.

    `ahead`: address of four addresses of blocks, which are asked for meanwhile.
    """
    parts = 1 if wide else 2

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
                blocks = [_lanes(builder, builder.add(at, place), wide) for at in (keys, other)]
                found = []
                for r, at in enumerate(row_at):
                    own = _scalars(builder, builder.add(at, builder.mul(index, _constant(4 * parts))), parts)
                    for b, lanes in enumerate(blocks):
                        total = sums[2 * r + b]
                        for scalar, lane in zip(own, lanes, strict=True):
                            total = _multiply_add(builder, total, scalar, lane)
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


def mix_tile(rows: int, panels: int, wide: bool) -> Any:
    """(weights, weight_stride, table, count, values, block_stride, D, out, out_stride): `rows` rows of weights times the values
    of the `count` >= 1 blocks that the int64 at `table` name, `panels` * 16 channels -> out.
    """
    parts = 1 if wide else 2

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
                weight_at = builder.mul(index, _constant(4 * BLOCK))

                def step(place, sums):
                    at = builder.add(block_at, builder.mul(place, step_bytes))
                    columns = [_lanes(builder, builder.add(at, _constant(64 * c)), wide) for c in range(panels)]
                    found = []
                    for r, row in enumerate(row_at):
                        own_at = builder.add(builder.add(row, weight_at), builder.mul(place, _constant(4 * parts)))
                        own = _scalars(builder, own_at, parts)
                        for c, lanes in enumerate(columns):
                            total = sums[panels * r + c]
                            for scalar, lane in zip(own, lanes, strict=True):
                                total = _multiply_add(builder, total, scalar, lane)
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
