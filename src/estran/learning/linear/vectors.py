"""Loops over rows of float64, eight numbers at a time. Importing it imports numba, so only learning does so.

LLVM would find vectors in plain loops, too, but not in all, and not where an index might be negative or arrays might overlap. These
say themselves what goes into a vector. What is left over (fewer than eight) follows one by one, by the same formula. Each number is
computed as it is written, in that order, so the bits do not depend on how wide a processor's vectors are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final, Self, cast

from llvmlite import ir
from numba.core import cgutils as untyped
from numba.core import types
from numba.extending import intrinsic

LANES: Final = 8
cgutils: Any = untyped
_DOUBLE: Final = ir.DoubleType()
_VECTOR: Final = ir.VectorType(_DOUBLE, LANES)


class Wide:
    """Eight numbers, or one, that formulas compute with."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _made(self, value: Any) -> Self:
        return type(self)(self.builder, value)

    def constant(self, number: float) -> Self:
        """A number in each place."""
        kind = self.value.type
        return self._made(ir.Constant(kind, [number] * LANES if kind == _VECTOR else number))

    def __add__(self, other: Self) -> Self:
        return self._made(self.builder.fadd(self.value, other.value))

    def __sub__(self, other: Self) -> Self:
        return self._made(self.builder.fsub(self.value, other.value))

    def __mul__(self, other: Self) -> Self:
        return self._made(self.builder.fmul(self.value, other.value))

    def __truediv__(self, other: Self) -> Self:
        return self._made(self.builder.fdiv(self.value, other.value))

    def _asked(self, name: str, *others: Self) -> Self:
        kind = self.value.type
        suffix = f"v{LANES}f64" if kind == _VECTOR else "f64"
        taken = ir.FunctionType(kind, [kind] * (1 + len(others)))
        function = cgutils.get_or_insert_function(self.builder.module, taken, f"{name}.{suffix}")
        return self._made(self.builder.call(function, [self.value, *(other.value for other in others)]))

    def root(self) -> Self:
        """The square root."""
        return self._asked("llvm.sqrt")

    def size(self) -> Self:
        """Without the sign."""
        return self._asked("llvm.fabs")

    def signed(self, other: Self) -> Self:
        """With another's sign."""
        return self._asked("llvm.copysign", other)

    def at_least(self, least: Self) -> Self:
        """What is greater, itself or ``least``; ``least`` where it is NaN."""
        greater = self.builder.fcmp_ordered(">", self.value, least.value)
        return self._made(self.builder.select(greater, self.value, least.value))


Formula = Callable[..., Sequence[Wide]]


def _fits(arguments: Sequence[Any]) -> bool:
    """Whether all are numbers or contiguous rows of float64; numba refuses to compile for others."""
    arrays = [kind for kind in arguments if isinstance(kind, types.Array)]
    return all((kind.layout, kind.ndim, kind.dtype) == ("C", 1, types.float64) for kind in arrays)


def _fetch(builder: Any, data: Any, place: Any, lanes: int) -> Wide:
    address = builder.gep(data, [place])
    if lanes > 1:
        address = builder.bitcast(address, _VECTOR.as_pointer())
    return Wide(builder, builder.load(address, align=8))


def _keep(builder: Any, data: Any, place: Any, wide: Wide) -> None:
    address = builder.gep(data, [place])
    if wide.value.type == _VECTOR:
        address = builder.bitcast(address, _VECTOR.as_pointer())
    builder.store(wide.value, address, align=8)


def _spread_out(builder: Any, number: Any, lanes: int) -> Wide:
    """One number in each place."""
    if lanes == 1:
        return Wide(builder, number)
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return Wide(builder, builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), zeros))


def _each(builder: Any, size: Any, body: Callable[[Any, int], None]) -> None:
    """Write the loop: ``body(place, lanes)`` for every whole eight, then for every one that is left over."""
    whole = builder.and_(size, ir.Constant(size.type, -LANES))
    with cgutils.for_range_slice(builder, size.type(0), whole, size.type(LANES), size.type) as (place, _):
        body(place, LANES)
    with cgutils.for_range_slice(builder, whole, size, size.type(1), size.type) as (place, _):
        body(place, 1)


def _opened(context: Any, builder: Any, kinds: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """Numbers as they are, arrays as pairs of address and length."""
    found: list[Any] = []
    for kind, value in zip(kinds, values, strict=True):
        if isinstance(kind, types.Array):
            array = context.make_array(kind)(context, builder, value)
            found.append((array.data, cgutils.unpack_tuple(builder, array.shape)[0]))
        else:
            found.append(context.cast(builder, value, kind, types.float64))
    return found


def swept(changed: int, formula: Formula) -> Callable[..., None]:
    """A function of numbers and then rows of one length: the first ``changed`` rows become what the formula says of all."""

    def typed(typing: Any, *arguments: Any) -> Any:
        if not _fits(arguments):
            return None

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            opened = _opened(context, builder, signature.args, values)
            numbers = [each for each in opened if not isinstance(each, tuple)]
            rows = [each for each in opened if isinstance(each, tuple)]

            def body(place: Any, lanes: int) -> None:
                given = [_spread_out(builder, number, lanes) for number in numbers]
                for (data, _), wide in zip(
                    rows[:changed], formula(*given, *(_fetch(builder, data, place, lanes) for data, _ in rows)), strict=True
                ):
                    _keep(builder, data, place, wide)

            _each(builder, rows[0][1], body)
            return context.get_dummy_value()

        return types.none(*arguments), generate

    # numba asks for names, one an argument.
    named = inspect.signature(formula).parameters.values()
    first = inspect.Parameter("typing", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    cast(Any, typed).__signature__ = inspect.Signature([first, *named])
    return cast("Callable[..., None]", intrinsic(typed))


def _sum_of_products(typing: Any, a: Any, b: Any) -> Any:
    if not _fits([a, b]):
        return None

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        (left, size), (right, _) = _opened(context, builder, signature.args, values)
        lanes = cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, [0.0] * LANES))
        found = cgutils.alloca_once_value(builder, ir.Constant(_DOUBLE, 0.0))
        whole = builder.and_(size, ir.Constant(size.type, -LANES))
        with cgutils.for_range_slice(builder, size.type(0), whole, size.type(LANES), size.type) as (place, _):
            product = _fetch(builder, left, place, LANES) * _fetch(builder, right, place, LANES)
            builder.store(builder.fadd(builder.load(lanes), product.value), lanes)
        total, width = builder.load(lanes), LANES
        while width > 1:
            width //= 2
            halves = (ir.Constant(ir.VectorType(ir.IntType(32), width), [*range(start, start + width)]) for start in (0, width))
            total = builder.fadd(*(builder.shuffle_vector(total, total, half) for half in halves))
        builder.store(builder.extract_element(total, ir.IntType(32)(0)), found)
        with cgutils.for_range_slice(builder, whole, size, size.type(1), size.type) as (place, _):
            product = _fetch(builder, left, place, 1) * _fetch(builder, right, place, 1)
            builder.store(builder.fadd(builder.load(found), product.value), found)
        return builder.load(found)

    return types.float64(a, b), generate


def _matrix_by_row(typing: Any, matrix: Any, row: Any, target: Any) -> Any:
    if not _fits([matrix, row, target]):
        return None

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        (cells, _), (row, size), (target, _) = _opened(context, builder, signature.args, values)
        _each(builder, size, lambda place, lanes: _keep(builder, target, place, _fetch(builder, row, place, lanes).constant(0.0)))

        def pile(first: Any, height: int) -> None:
            """``target +=`` some rows of the matrix, each times its number, added one after another; unless all are zero."""
            places = [builder.add(first, ir.Constant(size.type, step)) for step in range(height)]
            numbers = [_fetch(builder, row, place, 1).value for place in places]
            some = [builder.fcmp_unordered("!=", number, ir.Constant(_DOUBLE, 0.0)) for number in numbers]
            while len(some) > 1:
                some = [builder.or_(some.pop(), some.pop()), *some]
            with builder.if_then(some[0]):
                starts = [builder.mul(place, size) for place in places]

                def body(place: Any, lanes: int) -> None:
                    total = _fetch(builder, target, place, lanes)
                    for start, number in zip(starts, numbers, strict=True):
                        cell = _fetch(builder, cells, builder.add(start, place), lanes)
                        total = total + _spread_out(builder, number, lanes) * cell
                    _keep(builder, target, place, total)

                _each(builder, size, body)

        # Four at a time, so that the target is fetched and put back once for all of them.
        whole = builder.and_(size, ir.Constant(size.type, -4))
        with cgutils.for_range_slice(builder, size.type(0), whole, size.type(4), size.type) as (first, _):
            pile(first, 4)
        with cgutils.for_range_slice(builder, whole, size, size.type(1), size.type) as (first, _):
            pile(first, 1)
        return context.get_dummy_value()

    return types.none(matrix, row, target), generate


def _less_square(typing: Any, matrix: Any, row: Any) -> Any:
    if not _fits([matrix, row]):
        return None

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        (cells, _), (row, size) = _opened(context, builder, signature.args, values)
        with cgutils.for_range(builder, size) as loop:
            number = _fetch(builder, row, loop.index, 1).value
            start = builder.mul(loop.index, size)
            with builder.if_then(builder.fcmp_unordered("!=", number, ir.Constant(_DOUBLE, 0.0))):

                def body(place: Any, lanes: int) -> None:
                    at = builder.add(start, place)
                    product = _spread_out(builder, number, lanes) * _fetch(builder, row, place, lanes)
                    _keep(builder, cells, at, _fetch(builder, cells, at, lanes) - product)

                _each(builder, size, body)
        return context.get_dummy_value()

    return types.none(matrix, row), generate


sum_of_products: Callable[[Any, Any], Any] = cast("Any", intrinsic(_sum_of_products))
"""Of two rows: lane by lane, then the lanes' upper half onto the lower, then what is left over."""
matrix_by_row: Callable[[Any, Any, Any], None] = cast("Any", intrinsic(_matrix_by_row))
"""``target = row @ matrix``; the matrix lies flat, row by row."""
less_square: Callable[[Any, Any], None] = cast("Any", intrinsic(_less_square))
"""``matrix -= row * rowᵀ``, symmetric to the bit."""
