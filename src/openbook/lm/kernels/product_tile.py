# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""Register tiles from stored numbers to finished ones: rows times 64 outputs, completed in the registers that summed them.

Bytes: y = step_r scale_n (u . w) + (low_r offset_n + bias_n), see `int8_linear`. bfloat16: y = x . w + bias_n, two products a
lane and instruction. The weights of the next outputs are asked for while these are multiplied, so that the cores do not wait for
memory. A row's numbers are the same in a tile of any height.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from openbook.lm.kernels.cache_tiles import _constant, dot_pairs, prefetch
from openbook.lm.kernels.vector import (
    _F32,
    _F32X16,
    _I32,
    _I32X16,
    _I64,
    _dot_bytes,
    _load,
    _multiply_add,
    _spread,
)

PANELS = 4


def _sums(builder, rows, lines, dot, kind, weights, panel_stride, x, x_stride, steps, ahead):
    """[row][panel]: the sums of `steps` steps of 4 bytes of each row and 64 bytes of each panel.

    In each step `lines` lines are asked for from `ahead` on, a panel apart.
    """
    panel_at = [builder.add(weights, builder.mul(panel_stride, _constant(n))) for n in range(PANELS)]
    ahead_at = [builder.add(ahead, builder.mul(panel_stride, _constant(n))) for n in range(lines)]
    row_at = [builder.add(x, builder.mul(x_stride, _constant(m))) for m in range(rows)]
    before = builder.block
    loop, end = builder.append_basic_block("loop"), builder.append_basic_block("end")
    builder.branch(loop)
    builder.position_at_end(loop)
    step = builder.phi(_I64)
    step.add_incoming(_constant(0), before)
    sums = [[builder.phi(kind) for _ in range(PANELS)] for _ in range(rows)]
    place = builder.mul(step, _constant(64))
    for at in ahead_at:
        prefetch(builder, builder.add(at, place))
    columns = [_load(builder, builder.add(at, place), _I32X16) for at in panel_at]
    following = []
    for at, row in zip(row_at, sums, strict=True):
        lane = _spread(builder, _load(builder, builder.add(at, builder.mul(step, _constant(4))), _I32), _I32X16)
        following.append([dot(builder, total, lane, column) for total, column in zip(row, columns, strict=True)])
    advanced = builder.add(step, _constant(1))
    step.add_incoming(advanced, loop)
    for row, new_row in zip(sums, following, strict=True):
        for total, new in zip(row, new_row, strict=True):
            total.add_incoming(ir.Constant(kind, [0] * 16), before)
            total.add_incoming(new, loop)
    builder.cbranch(builder.icmp_signed("<", advanced, steps), loop, end)
    builder.position_at_end(end)
    return following


def _stored(builder, address, value):
    builder.store(value, builder.inttoptr(address, _F32X16.as_pointer())).align = 4


def product_tile(rows: int, lines: int, adds: bool) -> Any:
    """(weights, panel_stride, x, x_stride, steps, ahead, row_steps, row_lows, scales, offsets, biases, out, out_stride).

    All are addresses or bytes: x rows of u8, weights s8; out: `rows` rows of 64 float32, added to where `adds`.
    """

    @intrinsic
    def tile(
        typing_context, weights, panel_stride, x, x_stride, steps, ahead, row_steps, row_lows, scales, offsets, biases,
        out, out_stride,
    ):  # fmt: skip
        signature = types.void(*[types.int64] * 13)

        def codegen(context, builder, _signature, arguments):
            row_steps, row_lows, scales, offsets, biases, out, out_stride = arguments[6:]
            sums = _sums(builder, rows, lines, _dot_bytes, _I32X16, *arguments[:6])
            for n in range(PANELS):
                place = _constant(64 * n)
                scale, offset, bias = (
                    _load(builder, builder.add(at, place), _F32X16) for at in (scales, offsets, biases)
                )
                for m, row in enumerate(sums):
                    own = _constant(4 * m)
                    row_step, low = (
                        _spread(builder, _load(builder, builder.add(at, own), _F32), _F32X16)
                        for at in (row_steps, row_lows)
                    )
                    least = _multiply_add(builder, bias, low, offset)
                    whole = builder.sitofp(row[n], _F32X16)
                    target = builder.add(builder.add(out, builder.mul(out_stride, _constant(m))), place)
                    found = _multiply_add(builder, least, whole, builder.fmul(row_step, scale))
                    if adds:
                        found = builder.fadd(_load(builder, target, _F32X16), found)
                    _stored(builder, target, found)
            return context.get_dummy_value()

        return signature, codegen

    return tile


def bfloat16_tile(rows: int, lines: int, adds: bool) -> Any:
    """(weights, panel_stride, x, x_stride, steps, ahead, biases, out, out_stride): the same for bits of bfloat16, two a step."""

    @intrinsic
    def tile(typing_context, weights, panel_stride, x, x_stride, steps, ahead, biases, out, out_stride):
        signature = types.void(*[types.int64] * 9)

        def codegen(context, builder, _signature, arguments):
            biases, out, out_stride = arguments[6:]
            sums = _sums(builder, rows, lines, dot_pairs, _F32X16, *arguments[:6])
            for n in range(PANELS):
                place = _constant(64 * n)
                bias = _load(builder, builder.add(biases, place), _F32X16)
                for m, row in enumerate(sums):
                    target = builder.add(builder.add(out, builder.mul(out_stride, _constant(m))), place)
                    found = builder.fadd(row[n], bias)
                    if adds:
                        found = builder.fadd(_load(builder, target, _F32X16), found)
                    _stored(builder, target, found)
            return context.get_dummy_value()

        return signature, codegen

    return tile
