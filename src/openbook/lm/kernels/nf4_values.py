# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""The weights that NF4 codes stand for, in one pass: sixteen values in a register, looked up sixteen at a time."""

from __future__ import annotations

from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from openbook.lm.kernels.int8_matmul import _PARALLEL
from openbook.lm.kernels.vector import _F32X16, _I32X16, _I64, _function, _load, _spread

BLOCK = 64
"""Weights that share a scale."""


@intrinsic
def _look_up(typing_context, codes, scale, values, out):
    """Addresses, and a float32. out: 64 float32 = values[codes] * scale of 32 bytes of codes, the high half first."""
    signature = types.void(types.int64, types.float32, types.int64, types.int64)
    bytes8 = ir.VectorType(ir.IntType(8), 8)

    def codegen(context, builder, _signature, arguments):
        codes, scale, values, out = arguments
        table, scales = _load(builder, values, _F32X16), _spread(builder, scale, _F32X16)
        choose = _function(builder, "llvm.x86.avx512.permvar.sf.512", _F32X16, [_F32X16, _I32X16])
        twice = ir.Constant(_I32X16, [lane // 2 for lane in range(16)])
        shifts, mask = ir.Constant(_I32X16, [4, 0] * 8), ir.Constant(_I32X16, [15] * 16)
        for part in range(4):
            both = _load(builder, builder.add(codes, ir.Constant(_I64, 8 * part)), bytes8)
            both = builder.shuffle_vector(both, both, twice)
            indices = builder.and_(builder.lshr(builder.zext(both, _I32X16), shifts), mask)
            found = builder.fmul(builder.call(choose, [table, indices]), scales)
            place = builder.add(out, ir.Constant(_I64, 64 * part))
            builder.store(found, builder.inttoptr(place, _F32X16.as_pointer())).align = 4
        return context.get_dummy_value()

    return signature, codegen


@njit(**_PARALLEL)
def nf4_values(codes, scales, values, out):
    """out: (B * 64,) float32 = values[codes] * scales. codes: (B * 32,) u8; scales: (B,); values: (16,) float32."""
    codes_at, values_at, out_at = codes.ctypes.data, values.ctypes.data, out.ctypes.data
    for block in prange(scales.shape[0]):
        _look_up(codes_at + block * (BLOCK // 2), scales[block], values_at, out_at + block * (4 * BLOCK))
