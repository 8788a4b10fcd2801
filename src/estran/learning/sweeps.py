"""Sweeps over the matrix of a layer, in vectors that the compiler may not find by itself. Importing it imports numba.

A matrix has shape (inputs, outputs), row by row, in one flat array. Inputs of zero (a dark pixel, a silent ReLU) are skipped
whole: who calls lists the places of the others first, for a list costs no mispredicted branches. Outputs are done side by
side, 32 at a time, what is left over in halves of that. Every sum is made in one fixed order, whatever the processor's vectors,
so that the bits are the same on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped
from numba.extending import intrinsic
from numpy.typing import NDArray

from estran.learning.compiled import compiled

PANEL: Final = 32
"""Outputs whose sums are kept in registers."""
HALVES: Final = (16, 8, 4, 2, 1)
cgutils: Any = untyped
Array = NDArray[Any]


class Code:
    """What generators of code need of the arrays that they are given."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.builder, self.kinds, self.given = builder, signature.args, arguments
        self.context = context

    def array(self, number: int) -> Any:
        return self.context.make_array(self.kinds[number])(self.context, self.builder, self.given[number])

    def scalar(self, array: Any, place: Any) -> Any:
        return self.builder.load(self.builder.gep(array.data, [place]))

    def place(self, array: Any, start: Any, width: int) -> tuple[Any, int]:
        """Pointer to so many elements as one vector, and how they are aligned."""
        pointer = self.builder.gep(array.data, [start])
        element = pointer.type.pointee
        vector = ir.VectorType(element, width)
        return self.builder.bitcast(pointer, vector.as_pointer()), 8 if isinstance(element, ir.DoubleType) else 4

    def load(self, array: Any, start: Any, width: int) -> Any:
        pointer, align = self.place(array, start, width)
        return self.builder.load(pointer, align=align)

    def store(self, value: Any, array: Any, start: Any, width: int) -> None:
        pointer, align = self.place(array, start, width)
        self.builder.store(value, pointer, align=align)

    def splat(self, scalar: Any, width: int) -> Any:
        single = ir.Constant(ir.VectorType(scalar.type, width), ir.Undefined)
        first = self.builder.insert_element(single, scalar, ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
        return self.builder.shuffle_vector(first, single, mask)

    @contextmanager
    def each(self, count: Any, step: int = 1) -> Iterator[Any]:
        with cgutils.for_range_slice(self.builder, count.type(0), count, count.type(step), count.type) as (index, _):
            yield index

    def panels(self, size: Any, emit: Callable[[Any, int], None]) -> None:
        """Generate code for all of ``size`` columns: the widest panels in a loop, then each half where there is one."""
        with self.each(self.builder.and_(size, size.type(-PANEL)), PANEL) as start:
            emit(start, PANEL)
        for width in HALVES:
            there = self.builder.icmp_unsigned("!=", self.builder.and_(size, size.type(width)), size.type(0))
            with self.builder.if_then(there):
                emit(self.builder.and_(size, size.type(-2 * width)), width)

    def total(self, lanes: Any, width: int) -> Any:
        """Sum of a vector's elements, its upper half onto its lower until one is left."""
        while width > 1:
            width //= 2
            halves = (ir.Constant(ir.VectorType(ir.IntType(32), width), [*range(at, at + width)]) for at in (0, width))
            lanes = self.builder.fadd(*(self.builder.shuffle_vector(lanes, lanes, half) for half in halves))
        return self.builder.extract_element(lanes, ir.IntType(32)(0))


def contiguous(*arrays: Any) -> bool:
    """Whether all of them lie row by row without gaps."""
    return all(array.layout == "C" for array in arrays)


def _weigh(typing: Any, acts: Any, lists: Any, count: Any, rows: Any, here: Any, above: Any, outputs: Any, matrix: Any) -> Any:
    """For each row r: add Σ acts[r, here + i] · matrix[i, :] to acts[r, above:].

    The sum is over the i that lists[r, here:] begins with, lists[r, count] of them, in that order. The rows take turns at each
    panel, so that a panel of weights is fetched once for all of them.
    """
    if not contiguous(acts, lists, matrix) or acts.dtype != matrix.dtype:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = Code(context, builder, signature, arguments)
        acted, listed, weights = (code.array(number) for number in (0, 1, 7))
        count, rows, here, above, outputs = arguments[2:7]
        wide, long = (builder.extract_value(array.shape, 1) for array in (acted, listed))

        def emit(start: Any, width: int) -> None:
            with code.each(rows) as row:
                values, places = builder.mul(row, wide), builder.mul(row, long)
                target = builder.add(values, builder.add(above, start))
                total = cgutils.alloca_once_value(builder, code.load(acted, target, width))
                with code.each(code.scalar(listed, builder.add(places, count))) as index:
                    place = code.scalar(listed, builder.add(places, builder.add(here, index)))
                    value = code.splat(code.scalar(acted, builder.add(values, builder.add(here, place))), width)
                    weight = code.load(weights, builder.add(builder.mul(place, outputs), start), width)
                    builder.store(builder.fadd(builder.load(total), builder.fmul(value, weight)), total)
                code.store(builder.load(total), acted, target, width)

        code.panels(outputs, emit)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(acts, lists, whole, whole, whole, whole, whole, matrix), generate


def _pass_down(typing: Any, delta: Any, matrix: Any, places: Any, count: Any, below: Any) -> Any:
    """``below[i] = matrix[i, :] · delta`` for the i that ``places`` lists."""
    if not contiguous(delta, matrix, places, below) or not (delta.dtype == matrix.dtype == below.dtype):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = Code(context, builder, signature, arguments)
        blame, weights, listed, under = (code.array(number) for number in (0, 1, 2, 4))
        outputs = builder.extract_value(blame.shape, 0)
        element = context.get_value_type(delta.dtype)
        wide = ir.VectorType(element, PANEL)
        with code.each(arguments[3]) as index:
            place = code.scalar(listed, index)
            row = builder.mul(place, outputs)
            lanes = cgutils.alloca_once_value(builder, ir.Constant(wide, [0.0] * PANEL))
            total = cgutils.alloca_once_value(builder, ir.Constant(element, 0.0))

            def emit(start: Any, width: int, row: Any = row, lanes: Any = lanes, total: Any = total) -> None:
                product = builder.fmul(code.load(weights, builder.add(row, start), width), code.load(blame, start, width))
                if width == PANEL:
                    builder.store(builder.fadd(builder.load(lanes), product), lanes)
                else:
                    builder.store(builder.fadd(builder.load(total), code.total(product, width)), total)

            code.panels(outputs, emit)
            found = builder.fadd(builder.load(total), code.total(builder.load(lanes), PANEL))
            builder.store(found, builder.gep(under.data, [place]))
        return context.get_dummy_value()

    return types.void(delta, matrix, places, types.intp, below), generate


def _move(typing: Any, scale: Any, values: Any, places: Any, count: Any, delta: Any, matrix: Any) -> Any:
    """``matrix[i, :] += scale * values[i] * delta`` for the i that ``places`` lists."""
    if not contiguous(values, places, delta, matrix) or not (scale == values.dtype == delta.dtype == matrix.dtype):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = Code(context, builder, signature, arguments)
        acted, listed, blame, weights = (code.array(number) for number in (1, 2, 4, 5))
        outputs = builder.extract_value(blame.shape, 0)
        with code.each(arguments[3]) as index:
            place = code.scalar(listed, index)
            row = builder.mul(place, outputs)
            step = builder.fmul(arguments[0], code.scalar(acted, place))

            def emit(start: Any, width: int, row: Any = row, step: Any = step) -> None:
                target = builder.add(row, start)
                moved = builder.fmul(code.splat(step, width), code.load(blame, start, width))
                code.store(builder.fadd(code.load(weights, target, width), moved), weights, target, width)

            code.panels(outputs, emit)
        return context.get_dummy_value()

    return types.void(scale, values, places, types.intp, delta, matrix), generate


Formula = Callable[[Any, Any, list[Any], list[Any]], list[Any]]
"""New values of (weights, memories…) from a code builder, the gradient, the old values, and settings; all of them vectors."""


def _momentum(builder: Any, gradient: Any, old: list[Any], settings: list[Any]) -> list[Any]:
    """``v ← μ v + g; w ← w − η v``, the settings being η and μ."""
    (weights, velocity), (rate, momentum) = old, settings
    velocity = builder.fadd(builder.fmul(momentum, velocity), gradient)
    return [builder.fsub(weights, builder.fmul(rate, velocity)), velocity]


def _adam(builder: Any, gradient: Any, old: list[Any], settings: list[Any]) -> list[Any]:
    """``m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²; w ← w − η m / (√v + ε)``.

    The settings are η, β₁, 1 − β₁, β₂, 1 − β₂ and ε.
    """
    (weights, first, second), (rate, keep1, take1, keep2, take2, guard) = old, settings
    first = builder.fadd(builder.fmul(keep1, first), builder.fmul(take1, gradient))
    second = builder.fadd(builder.fmul(keep2, second), builder.fmul(builder.fmul(take2, gradient), gradient))
    vector = second.type
    name = f"llvm.sqrt.v{vector.count}{vector.element.intrinsic_name}"
    root = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector]), name)
    step = builder.fdiv(builder.fmul(rate, first), builder.fadd(builder.call(root, [second]), guard))
    return [builder.fsub(weights, step), first, second]


def _moving(formula: Formula, settings: int, values: Any, delta: Any, scalars: Any, arrays: tuple[Any, ...]) -> Any:
    """Code that moves weights, and what is remembered of each, by a formula of their gradient, ``values[i] * delta``."""
    given = (values, delta, scalars, *arrays)
    if not contiguous(*given) or len({array.dtype for array in given}) > 1:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = Code(context, builder, signature, arguments)
        acted, blame, chosen, *kept = (code.array(number) for number in range(len(given)))
        outputs = builder.extract_value(blame.shape, 0)
        fixed = [code.scalar(chosen, outputs.type(place)) for place in range(settings)]
        with code.each(builder.extract_value(acted.shape, 0)) as place:
            row, value = builder.mul(place, outputs), code.scalar(acted, place)

            def emit(start: Any, width: int, row: Any = row, value: Any = value) -> None:
                target = builder.add(row, start)
                gradient = builder.fmul(code.splat(value, width), code.load(blame, start, width))
                old = [code.load(array, target, width) for array in kept]
                new = formula(builder, gradient, old, [code.splat(scalar, width) for scalar in fixed])
                for array, vector in zip(kept, new, strict=True):
                    code.store(vector, array, target, width)

            code.panels(outputs, emit)
        return context.get_dummy_value()

    return types.void(*given), generate


def _move_by_momentum(typing: Any, values: Any, delta: Any, settings: Any, matrix: Any, velocity: Any) -> Any:
    """Momentum, for all rows of a matrix; see `_momentum`."""
    return _moving(_momentum, 2, values, delta, settings, (matrix, velocity))


def _move_by_adam(typing: Any, values: Any, delta: Any, settings: Any, matrix: Any, first: Any, second: Any) -> Any:
    """Adam, for all rows of a matrix; see `_adam`."""
    return _moving(_adam, 6, values, delta, settings, (matrix, first, second))


move_by_momentum: Callable[[Array, Array, Array, Array, Array], None] = cast(Any, intrinsic(_move_by_momentum))
move_by_adam: Callable[[Array, Array, Array, Array, Array, Array], None] = cast(Any, intrinsic(_move_by_adam))
weigh: Callable[..., None] = cast(Any, intrinsic(_weigh))
pass_down: Callable[[Array, Array, Array, int, Array], None] = cast(Any, intrinsic(_pass_down))
move: Callable[[Any, Array, Array, int, Array, Array], None] = cast(Any, intrinsic(_move))


def _list_places(values: Array, places: Array) -> int:
    """List where values are not zero, in ascending order; how many there are."""
    count = 0
    for i in range(values.size):
        places[count] = i
        count += 1 if values[i] != 0.0 else 0
    return count


list_places: Callable[[Array, Array], int] = compiled(_list_places, inlined=True)
