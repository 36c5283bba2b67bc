# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""y = x W^T + b with bytes for x and half bytes for W, for any number of rows, on all cores.

x ~ low_r + step_r u and W ~ s_gn (q - z_gn), g the group of k: y = step_r sum_g s_gn (u . q - z_gn sum u) + low_r offset_n + b_n,
with offset_n = sum_g s_gn sum_k (q - z_gn). The sums of a group are whole numbers below 2^24, groups are added in one order:
a row's result is the same to the bit whatever rows stand beside it.

A tile is 64 outputs of one group: `group` * 32 bytes, whose low halves are the first two panels [16][4] of `int8_linear`'s
order and whose high halves are the other two, less 8 (see `group_tile`). It is unpacked once for all rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from openbook.lm.kernels.int8_linear import COLUMNS, ROWS
from openbook.lm.kernels.int8_matmul import _PARALLEL
from openbook.lm.kernels.rows import sum_groups
from openbook.lm.kernels.vector import _F32X16, _I32X16, _I64, _load, _multiply_add, _spread, dot_tile

_many = dot_tile(ROWS, COLUMNS // 16)
_one = dot_tile(1, COLUMNS // 16)
_BYTES = ir.VectorType(ir.IntType(8), 64)
_EXACT: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}


@intrinsic
def _float_of_half(typing_context, bits):
    """The float32 of the 16 bits of a half."""

    def codegen(context, builder, _signature, arguments):
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), codegen


@intrinsic
def _unpack(typing_context, packed, count, out):
    """Addresses. out: (2 count,) bytes: the codes in the low halves of `count` bytes, a multiple of 64, then in the high ones."""
    signature = types.void(types.int64, types.int64, types.int64)

    def codegen(context, builder, _signature, arguments):
        packed, count, out = arguments
        before = builder.block
        loop, end = builder.append_basic_block("unpack"), builder.append_basic_block("unpacked")
        builder.branch(loop)
        builder.position_at_end(loop)
        at = builder.phi(_I64)
        at.add_incoming(ir.Constant(_I64, 0), before)
        both = builder.load(builder.inttoptr(builder.add(packed, at), _BYTES.as_pointer()))
        both.align = 1
        low = builder.and_(both, ir.Constant(_BYTES, [15] * 64))
        high = builder.xor(builder.lshr(both, ir.Constant(_BYTES, [4] * 64)), ir.Constant(_BYTES, [8] * 64))
        for part, place in ((low, at), (high, builder.add(at, count))):
            builder.store(part, builder.inttoptr(builder.add(out, place), _BYTES.as_pointer())).align = 1
        following = builder.add(at, ir.Constant(_I64, 64))
        at.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _add_group(typing_context, sums, steps, zeros, total, out):
    """Addresses, and a float32. out += steps * (sums - zeros * total) of 64 outputs: one group of one row."""
    signature = types.void(types.int64, types.int64, types.int64, types.float32, types.int64)

    def codegen(context, builder, _signature, arguments):
        sums, steps, zeros, total, out = arguments
        totals = _spread(builder, builder.fneg(total), _F32X16)
        for at in range(0, 4 * COLUMNS, 64):
            place = ir.Constant(_I64, at)
            whole = builder.sitofp(_load(builder, builder.add(sums, place), _I32X16), _F32X16)
            zero, step = (_load(builder, builder.add(one, place), _F32X16) for one in (zeros, steps))
            exact = _multiply_add(builder, whole, zero, totals)
            target = builder.add(out, place)
            found = _multiply_add(builder, _load(builder, target, _F32X16), step, exact)
            builder.store(found, builder.inttoptr(target, _F32X16.as_pointer())).align = 4
        return context.get_dummy_value()

    return signature, codegen


@njit(**_PARALLEL)
def group_totals(x, group, out):
    """out: (M, G) float32, the sum of each group of x: (M, G * group) u8."""
    for row in prange(x.shape[0]):
        sum_groups(x[row], group, out[row])


@njit(**_PARALLEL)
def int4_matmul(x, low_steps, lows, totals, weight, steps, zeros, offset, bias, out):
    """out = x W^T + b. x: (M, G * group) u8, `low_steps` and `lows`: (M,), totals: (M, G).

    weight: (n / 64, G, group * 32) u8; steps: (n / 64, G, 64) halves as uint16; zeros: the same shape u8, or (1, 1, 64) for
    all; offset, bias: (n,); out: (M, n) float32, n a multiple of 64.
    """
    M = x.shape[0]
    blocks, groups, size = weight.shape
    group = size // 32
    whole = M // ROWS * ROWS
    out_at, out_stride = out.ctypes.data, out.strides[0]
    weight_at, x_at, stride = weight.ctypes.data, x.ctypes.data, x.strides[0]
    has_zeros = zeros.shape[0] == blocks and zeros.shape[1] == groups
    for block in prange(blocks):
        column = block * COLUMNS
        codes = np.empty(2 * size, np.int8)
        sums = np.empty((ROWS, COLUMNS), np.int32)
        step, zero = np.empty(COLUMNS, np.float32), np.empty(COLUMNS, np.float32)
        codes_at, sums_at = codes.ctypes.data, sums.ctypes.data
        step_at, zero_at, block_at = step.ctypes.data, zero.ctypes.data, out_at + 4 * column
        for row in range(M):
            for j in range(COLUMNS):
                out[row, column + j] = np.float32(0)
        for g in range(groups):
            _unpack(weight_at + (block * groups + g) * size, size, codes_at)
            for j in range(COLUMNS):
                step[j] = _float_of_half(steps[block, g, j])
            own = zeros[block, g] if has_zeros else zeros[0, 0]
            for j in range(COLUMNS):
                zero[j] = np.float32(own[j])
            at = x_at + g * group
            for row in range(0, whole, ROWS):
                _many(codes_at, 16 * group, at + row * stride, stride, group // 4, sums_at, 4 * COLUMNS)
                for r in range(ROWS):
                    sum_at = sums_at + r * 4 * COLUMNS
                    _add_group(sum_at, step_at, zero_at, totals[row + r, g], block_at + (row + r) * out_stride)
            for row in range(whole, M):
                _one(codes_at, 16 * group, at + row * stride, stride, group // 4, sums_at, 4 * COLUMNS)
                _add_group(sums_at, step_at, zero_at, totals[row, g], block_at + row * out_stride)
        for row in range(M):
            low_step, low = low_steps[row], lows[row]
            own, offsets, biases = out[row, column:], offset[column:], bias[column:]
            for j in range(COLUMNS):
                own[j] = own[j] * low_step + (low * offsets[j] + biases[j])
