# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""A register tile over half bytes: up to three rows times 64 outputs, from packed codes to finished numbers.

y = step_r sum_g s_gn (u . q - 8 sum u) + (low_r offset_n + bias_n), groups in their order: see `int4_matmul`. Nothing is
unpacked but by one `and`: a byte b = 16 h + l holds h = q - 8 of one output, signed, and l = q of another. u . (16 h) comes
from the high halves where they stand, u . l is what it lacks of u . b; all are whole numbers, so both are exact. A row's numbers
are the same in every tile.
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
_UNROLLED = 8  # steps of 4 bytes of a row: 32, the smallest group


def _codes(builder, address):
    """64 bytes, as they are and with their high halves alone."""
    both = builder.load(builder.inttoptr(address, _BYTES.as_pointer()))
    both.align = 1
    high = builder.and_(both, ir.Constant(_BYTES, [0xF0] * 64))
    return [builder.bitcast(part, _I32X16) for part in (both, high)]


def _exact(builder, sums, less_total):
    """u . (q - 8) of each panel, from u . b and u . (16 h) of each pair; `less_total`: - sum u."""
    found = []
    for n in (0, 2):
        both, high = sums[n], sums[n + 1]
        low = builder.sitofp(builder.sub(both, high), _F32X16)
        found.append(_multiply_add(builder, low, ir.Constant(_F32X16, [_ZERO_POINT] * 16), less_total))
        found.append(builder.sitofp(builder.ashr(high, ir.Constant(_I32X16, [4] * 16)), _F32X16))
    return [found[0], found[2], found[1], found[3]]  # the low halves are the first two panels


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
            chunks = builder.sdiv(group, _constant(4 * _UNROLLED))
            half = builder.mul(group, _constant(16))
            before = builder.block
            outer, inner = builder.append_basic_block("group"), builder.append_basic_block("chunk")
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
            chunk = builder.phi(_I64)
            chunk.add_incoming(_constant(0), outer)
            sums = [[builder.phi(_I32X16) for _ in range(PANELS)] for _ in range(rows)]
            first_at = builder.add(group_at, builder.mul(chunk, _constant(64 * _UNROLLED)))
            lane_at = builder.mul(chunk, _constant(4 * _UNROLLED))
            following = [list(row) for row in sums]
            for step in range(_UNROLLED):
                at = builder.add(first_at, _constant(64 * step))
                columns = [*_codes(builder, at), *_codes(builder, builder.add(at, half))]
                for m, start in enumerate(row_at):
                    four = _load(builder, builder.add(builder.add(start, lane_at), _constant(4 * step)), _I32)
                    lane = _spread(builder, four, _I32X16)
                    pairs = zip(following[m], columns, strict=True)
                    following[m] = [_dot_bytes(builder, total, lane, column) for total, column in pairs]
            advanced = builder.add(chunk, _constant(1))
            chunk.add_incoming(advanced, inner)
            for row, new_row in zip(sums, following, strict=True):
                for total, new in zip(row, new_row, strict=True):
                    total.add_incoming(zero, outer)
                    total.add_incoming(new, inner)
            builder.cbranch(builder.icmp_signed("<", advanced, chunks), inner, after)

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
                for n, exact in enumerate(_exact(builder, following[m], total)):
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
