"""Sweeps over the matrix of a layer for a minibatch: each row of weights is fetched once for all rows of the batch.

As in `estran.learning.sweeps`, units that are zero are skipped, and every sum is made in one fixed order, so that the bits are
the same on all processors. Who calls has listed, for each unit, in which rows it is not zero. Importing it imports numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped
from numba.extending import intrinsic
from numpy.typing import NDArray

from estran.learning.sweeps import PANEL, Code, contiguous

WIDE: Final = 128
"""Outputs that are moved side by side: so many sums that none waits for its last addend."""
cgutils: Any = untyped
Array = NDArray[Any]


def _wide_panels(code: Code, size: Any, emit: Callable[[Any, int], None]) -> None:
    """Generate code for all of ``size`` columns: panels of `WIDE` in a loop, then each half where there is one."""
    with code.each(code.builder.and_(size, size.type(-WIDE)), WIDE) as start:
        emit(start, WIDE)
    width = WIDE
    while width > 1:
        width //= 2
        there = code.builder.icmp_unsigned("!=", code.builder.and_(size, size.type(width)), size.type(0))
        with code.builder.if_then(there):
            emit(code.builder.and_(size, size.type(-2 * width)), width)


def _spread_rows(
    typing: Any, acts: Any, values: Any, who: Any, here: Any, inputs: Any, above: Any, outputs: Any, matrix: Any
) -> Any:
    """``acts[who[here + i, k], above:] += values[here + i, k] · matrix[i, :]`` for every input i, in ascending order.

    Each row's sums are thus to the bit those of `estran.learning.sweeps.weigh`.
    """
    if not contiguous(acts, values, who, matrix) or not (acts.dtype == values.dtype == matrix.dtype):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = Code(context, builder, signature, arguments)
        acted, held, listed, weights = (code.array(number) for number in (0, 1, 2, 7))
        here, inputs, above, outputs = arguments[3:7]
        wide, room, long = (builder.extract_value(array.shape, 1) for array in (acted, held, listed))
        with code.each(inputs) as place:
            row = builder.mul(place, outputs)
            unit = builder.add(here, place)
            rows, first = builder.mul(unit, long), builder.mul(unit, room)
            count = code.scalar(listed, builder.add(rows, builder.sub(long, long.type(1))))

            def emit(start: Any, width: int, row: Any = row, rows: Any = rows, first: Any = first, count: Any = count) -> None:
                weight = code.load(weights, builder.add(row, start), width)
                with code.each(count) as index:
                    value = code.splat(code.scalar(held, builder.add(first, index)), width)
                    source = builder.mul(code.scalar(listed, builder.add(rows, index)), wide)
                    target = builder.add(source, builder.add(above, start))
                    code.store(builder.fadd(code.load(acted, target, width), builder.fmul(value, weight)), acted, target, width)

            with builder.if_then(builder.icmp_signed(">", count, count.type(0))):
                _wide_panels(code, outputs, emit)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(acts, values, who, whole, whole, whole, whole, matrix), generate


def _pass_down_rows(typing: Any, deltas: Any, matrix: Any, who: Any, here: Any, inputs: Any, above: Any, outputs: Any) -> Any:
    """``deltas[r, here + i] = matrix[i, :] · deltas[r, above:]`` for every input i and the rows r that ``who`` lists for it."""
    if not contiguous(deltas, matrix, who) or deltas.dtype != matrix.dtype:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = Code(context, builder, signature, arguments)
        blames, weights, listed = (code.array(number) for number in range(3))
        here, inputs, above, outputs = arguments[3:7]
        wide, long = (builder.extract_value(array.shape, 1) for array in (blames, listed))
        element = context.get_value_type(deltas.dtype)
        lanes_type = ir.VectorType(element, PANEL)
        with code.each(inputs) as place:
            row = builder.mul(place, outputs)
            unit = builder.add(here, place)
            rows = builder.mul(unit, long)
            count = code.scalar(listed, builder.add(rows, builder.sub(long, long.type(1))))
            with code.each(count) as index:
                start_of = builder.mul(code.scalar(listed, builder.add(rows, index)), wide)
                source = builder.add(start_of, above)
                lanes = cgutils.alloca_once_value(builder, ir.Constant(lanes_type, [0.0] * PANEL))
                total = cgutils.alloca_once_value(builder, ir.Constant(element, 0.0))
                builder.store(ir.Constant(lanes_type, [0.0] * PANEL), lanes)
                builder.store(ir.Constant(element, 0.0), total)

                def emit(
                    start: Any, width: int, row: Any = row, source: Any = source, lanes: Any = lanes, total: Any = total
                ) -> None:
                    blame = code.load(blames, builder.add(source, start), width)
                    product = builder.fmul(code.load(weights, builder.add(row, start), width), blame)
                    if width == PANEL:
                        builder.store(builder.fadd(builder.load(lanes), product), lanes)
                    else:
                        builder.store(builder.fadd(builder.load(total), code.total(product, width)), total)

                code.panels(outputs, emit)
                found = builder.fadd(builder.load(total), code.total(builder.load(lanes), PANEL))
                builder.store(found, builder.gep(blames.data, [builder.add(start_of, unit)]))
        return context.get_dummy_value()

    whole = types.intp
    return types.void(deltas, matrix, who, whole, whole, whole, whole), generate


def _move_rows(
    typing: Any,
    scale: Any,
    values: Any,
    who: Any,
    here: Any,
    inputs: Any,
    deltas: Any,
    above: Any,
    outputs: Any,
    matrix: Any,
) -> Any:
    """``matrix[i, :] += scale Σ values[here + i, k] · deltas[who[here + i, k], above:]`` for every input i."""
    if not contiguous(values, who, deltas, matrix) or not (scale == values.dtype == deltas.dtype == matrix.dtype):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = Code(context, builder, signature, arguments)
        scale, here, inputs, above, outputs = (arguments[number] for number in (0, 3, 4, 6, 7))
        acted, listed, blames, weights = (code.array(number) for number in (1, 2, 5, 8))
        held, long, wide = (builder.extract_value(array.shape, 1) for array in (acted, listed, blames))
        with code.each(inputs) as place:
            row = builder.mul(place, outputs)
            unit = builder.add(here, place)
            rows, first = builder.mul(unit, long), builder.mul(unit, held)
            count = code.scalar(listed, builder.add(rows, builder.sub(long, long.type(1))))

            def emit(start: Any, width: int, row: Any = row, rows: Any = rows, first: Any = first, count: Any = count) -> None:
                target = builder.add(row, start)
                total = cgutils.alloca_once_value(builder, code.load(weights, target, width))
                builder.store(code.load(weights, target, width), total)
                with code.each(count) as index:
                    value = builder.fmul(scale, code.scalar(acted, builder.add(first, index)))
                    source = builder.mul(code.scalar(listed, builder.add(rows, index)), wide)
                    blame = code.load(blames, builder.add(source, builder.add(above, start)), width)
                    builder.store(builder.fadd(builder.load(total), builder.fmul(code.splat(value, width), blame)), total)
                code.store(builder.load(total), weights, target, width)

            with builder.if_then(builder.icmp_signed(">", count, count.type(0))):
                _wide_panels(code, outputs, emit)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(scale, values, who, whole, whole, deltas, whole, whole, matrix), generate


spread_rows: Callable[[Array, Array, Array, int, int, int, int, Array], None] = cast(Any, intrinsic(_spread_rows))
pass_down_rows: Callable[[Array, Array, Array, int, int, int, int], None] = cast(Any, intrinsic(_pass_down_rows))
move_rows: Callable[[Any, Array, Array, int, int, Array, int, int, Array], None] = cast(Any, intrinsic(_move_rows))
