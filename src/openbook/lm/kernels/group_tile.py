# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""A register tile over half bytes: up to three rows times 64 outputs, from packed codes to finished numbers.

y = step_r sum_g s_gn (u . q - 8 sum u) + (low_r offset_n + bias_n), groups in their order: see `int4_matmul`. Codes are
unpacked in registers, for each three rows again: that costs less than a way through memory. A row's numbers are the same in
every tile.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from openbook.lm.kernels.cache_tiles import _constant
from openbook.lm.kernels.product_tile import PANELS, _stored
from openbook.lm.kernels.vector import _F32, _F32X16, _I32, _I32X16, _I64, _dot_bytes, _load, _multiply_add, _spread

_BYTES = ir.VectorType(ir.IntType(8), 64)
_HALVES = ir.VectorType(ir.HalfType(), 16)
_ZERO_POINT = 8.0


def _codes(builder, address):
    """The low and the high halves of 64 bytes, as bytes in 16 lanes each."""
    both = builder.load(builder.inttoptr(address, _BYTES.as_pointer()))
    both.align = 1
    low = builder.and_(both, ir.Constant(_BYTES, [15] * 64))
    high = builder.lshr(both, ir.Constant(_BYTES, [4] * 64))
    return [builder.bitcast(part, _I32X16) for part in (low, high)]


def group_tile(rows: int, adds: bool) -> Any:
    """(codes, steps, groups, group, x, x_stride, totals, totals_stride, row_steps, row_lows, offsets, biases, out, out_stride).

    Addresses, counts, bytes. codes: (groups, group * 32) u8 of these outputs; steps: (groups, 64) halves; x: rows of u8; totals:
    rows of the groups' sums, float32; out: `rows` rows of 64 float32, added to where `adds`.
    """

    @intrinsic
    def tile(
        typing_context, codes, steps, groups, group, x, x_stride, totals, totals_stride, row_steps, row_lows, offsets,
        biases, out, out_stride,
    ):  # fmt: skip
        signature = types.void(*[types.int64] * 14)

        def codegen(context, builder, _signature, arguments):
            codes, steps, groups, group, x, x_stride, totals, totals_stride = arguments[:8]
            row_steps, row_lows, offsets, biases, out, out_stride = arguments[8:]
            zero = ir.Constant(_I32X16, [0] * 16)
            nothing = ir.Constant(_F32X16, [0.0] * 16)
            inner_steps = builder.sdiv(group, _constant(4))
            half = builder.mul(group, _constant(16))
            before = builder.block
            outer, inner = builder.append_basic_block("group"), builder.append_basic_block("step")
            after, end = builder.append_basic_block("after"), builder.append_basic_block("end")
            builder.branch(outer)

            builder.position_at_end(outer)
            g = builder.phi(_I64)
            g.add_incoming(_constant(0), before)
            floats = [[builder.phi(_F32X16) for _ in range(PANELS)] for _ in range(rows)]
            group_at = builder.add(codes, builder.mul(g, builder.mul(group, _constant(32))))
            x_at = builder.add(x, builder.mul(g, group))
            row_at = [builder.add(x_at, builder.mul(x_stride, _constant(m))) for m in range(rows)]
            builder.branch(inner)

            builder.position_at_end(inner)
            step = builder.phi(_I64)
            step.add_incoming(_constant(0), outer)
            sums = [[builder.phi(_I32X16) for _ in range(PANELS)] for _ in range(rows)]
            first_at = builder.add(group_at, builder.mul(step, _constant(64)))
            first, third = _codes(builder, first_at)
            second, fourth = _codes(builder, builder.add(first_at, half))
            following = []
            for at, row in zip(row_at, sums, strict=True):
                lane = _spread(builder, _load(builder, builder.add(at, builder.mul(step, _constant(4))), _I32), _I32X16)
                columns = (first, second, third, fourth)
                following.append([_dot_bytes(builder, total, lane, c) for total, c in zip(row, columns, strict=True)])
            advanced = builder.add(step, _constant(1))
            step.add_incoming(advanced, inner)
            for row, new_row in zip(sums, following, strict=True):
                for total, new in zip(row, new_row, strict=True):
                    total.add_incoming(zero, outer)
                    total.add_incoming(new, inner)
            builder.cbranch(builder.icmp_signed("<", advanced, inner_steps), inner, after)

            builder.position_at_end(after)
            steps_at = builder.add(steps, builder.mul(g, _constant(128)))
            scales = []
            for n in range(PANELS):
                halves = builder.load(builder.inttoptr(builder.add(steps_at, _constant(32 * n)), _HALVES.as_pointer()))
                halves.align = 2
                scales.append(builder.fpext(halves, _F32X16))
            grown = []
            for m in range(rows):
                at = builder.add(
                    builder.add(totals, builder.mul(totals_stride, _constant(m))), builder.mul(g, _constant(4))
                )
                total = _spread(builder, builder.fneg(_load(builder, at, _F32)), _F32X16)
                row = []
                for n in range(PANELS):
                    whole = builder.sitofp(following[m][n], _F32X16)
                    exact = _multiply_add(builder, whole, ir.Constant(_F32X16, [_ZERO_POINT] * 16), total)
                    row.append(_multiply_add(builder, floats[m][n], scales[n], exact))
                grown.append(row)
            next_group = builder.add(g, _constant(1))
            g.add_incoming(next_group, after)
            for row, new_row in zip(floats, grown, strict=True):
                for value, new in zip(row, new_row, strict=True):
                    value.add_incoming(nothing, before)
                    value.add_incoming(new, after)
            builder.cbranch(builder.icmp_signed("<", next_group, groups), outer, end)

            builder.position_at_end(end)
            for m in range(rows):
                own = _constant(4 * m)
                row_step, low = (
                    _spread(builder, _load(builder, builder.add(at, own), _F32), _F32X16)
                    for at in (row_steps, row_lows)
                )
                for n in range(PANELS):
                    place = _constant(64 * n)
                    offset, bias = (_load(builder, builder.add(at, place), _F32X16) for at in (offsets, biases))
                    target = builder.add(builder.add(out, builder.mul(out_stride, _constant(m))), place)
                    least = _multiply_add(builder, bias, low, offset)
                    found = _multiply_add(builder, least, grown[m][n], row_step)
                    if adds:
                        found = builder.fadd(_load(builder, target, _F32X16), found)
                    _stored(builder, target, found)
            return context.get_dummy_value()

        return signature, codegen

    return tile
