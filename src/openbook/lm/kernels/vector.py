# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""512-bit building blocks for numba: register tiles of integer and float products, and scalars that LLVM vectorises.

A tile is MT rows times NT panels of 16 columns whose MT * NT sums stay in registers through the whole inner loop.
Right operands are packed as [column / 16][k][16] so that one load feeds 16 columns. All addresses are plain integers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_I8, _I32, _I64, _F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
_I32X16, _F32X16 = ir.VectorType(_I32, 16), ir.VectorType(_F32, 16)
_BYTES = 64  # of one vector


def _function(builder, name, result, arguments):
    module = builder.module
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, arguments), name)


def _load(builder, address, kind):
    load = builder.load(builder.inttoptr(address, kind.as_pointer()))
    load.align = 1
    return load


def _spread(builder, scalar, kind):
    """The scalar in all 16 lanes."""
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, first, ir.Constant(_I32X16, [0] * 16))


def _dot_bytes(builder, total, left, right):
    """total + the four products u8 * s8 of each lane, without saturation (vpdpbusd)."""
    function = _function(builder, "llvm.x86.avx512.vpdpbusd.512", _I32X16, [_I32X16] * 3)
    return builder.call(function, [total, left, right])


def _multiply_add(builder, total, left, right):
    function = _function(builder, "llvm.fma.v16f32", _F32X16, [_F32X16] * 3)
    return builder.call(function, [left, right, total])


def _make_tile(rows, panels, scalar, vector, combine):
    """(right, right_stride, left, left_stride, steps, out, out_stride): bytes between panels, between rows.

    A step consumes 4 bytes of each row of `left` (four u8, or one float) and 64 bytes of each panel of `right`.
    `out` receives (rows, panels * 16) sums.
    """

    @intrinsic
    def tile(typing_context, right, right_stride, left, left_stride, steps, out, out_stride):
        signature = types.void(*[types.int64] * 7)

        def codegen(context, builder, _signature, arguments):
            right, right_stride, left, left_stride, steps, out, out_stride = arguments
            constant = lambda value: ir.Constant(_I64, value)  # noqa: E731
            panel_at = [builder.add(right, builder.mul(right_stride, constant(n))) for n in range(panels)]
            row_at = [builder.add(left, builder.mul(left_stride, constant(m))) for m in range(rows)]
            before = builder.block
            loop, end = builder.append_basic_block("loop"), builder.append_basic_block("end")
            builder.branch(loop)
            builder.position_at_end(loop)
            step = builder.phi(_I64)
            step.add_incoming(constant(0), before)
            sums = [[builder.phi(vector) for _ in range(panels)] for _ in range(rows)]
            zero = ir.Constant(vector, [0] * 16)
            columns = [_load(builder, builder.add(at, builder.mul(step, constant(_BYTES))), vector) for at in panel_at]
            following = []
            for at, row in zip(row_at, sums, strict=True):
                lane = _spread(builder, _load(builder, builder.add(at, builder.mul(step, constant(4))), scalar), vector)
                following.append([combine(builder, total, lane, c) for total, c in zip(row, columns, strict=True)])
            advanced = builder.add(step, constant(1))
            step.add_incoming(advanced, loop)
            for row, new_row in zip(sums, following, strict=True):
                for total, new in zip(row, new_row, strict=True):
                    total.add_incoming(zero, before)
                    total.add_incoming(new, loop)
            builder.cbranch(builder.icmp_signed("<", advanced, steps), loop, end)
            builder.position_at_end(end)
            for m, row in enumerate(following):
                row_out = builder.add(out, builder.mul(out_stride, constant(m)))
                for n, total in enumerate(row):
                    place = builder.inttoptr(builder.add(row_out, constant(n * _BYTES)), vector.as_pointer())
                    builder.store(total, place).align = 4
            return context.get_dummy_value()

        return signature, codegen

    return tile


def dot_tile(rows: int, panels: int) -> Any:
    """An integer tile: u8 rows times s8 panels into int32."""
    return _make_tile(rows, panels, _I32, _I32X16, _dot_bytes)


def float_tile(rows: int, panels: int) -> Any:
    """A float32 tile."""
    return _make_tile(rows, panels, _F32, _F32X16, _multiply_add)


def by_height(tiles: list[Any]) -> Any:
    """run(rows, *arguments): calls the tile of so many rows, the first of which is for one; nothing for 0."""

    @njit(nogil=True, error_model="numpy")
    def none(rows, *arguments):
        pass

    def either(height: int, tile: Any, below: Any) -> Any:
        @njit(nogil=True, error_model="numpy")
        def run(rows, *arguments):
            if rows == height:
                tile(*arguments)
            else:
                below(rows, *arguments)

        return run

    found = none
    for height, tile in enumerate(tiles, start=1):
        found = either(height, tile, found)
    return found


@intrinsic
def round_even(typing_context, x):
    """The nearest whole float32; unlike np.rint it vectorises."""

    def codegen(context, builder, _signature, arguments):
        return builder.call(_function(builder, "llvm.rint.f32", _F32, [_F32]), arguments)

    return types.float32(types.float32), codegen


@intrinsic
def float_of_bits(typing_context, bits):
    """The float32 that has these 32 bits."""

    def codegen(context, builder, _signature, arguments):
        return builder.bitcast(arguments[0], _F32)

    return types.float32(types.int32), codegen


def _extreme(name):
    @intrinsic
    def extreme(typing_context, x, y):
        def codegen(context, builder, _signature, arguments):
            return builder.call(_function(builder, name, _F32, [_F32, _F32]), arguments, fastmath=("fast",))

        return types.float32(types.float32, types.float32), codegen

    return extreme


# The larger and the smaller of two float32, neither NaN. Python's max() in a loop does not vectorise (14x slower).
larger = _extreme("llvm.maxnum.f32")
smaller = _extreme("llvm.minnum.f32")
