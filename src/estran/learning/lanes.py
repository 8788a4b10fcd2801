"""A sum of products in sixteen lanes, which the compiler may not find by itself. Importing it imports numba.

A sum in one fixed order cannot be spread over a processor's vectors without changing its bits, and numba does not make vectors of
sums that are written out lane by lane. So the lanes are asked for here: LLVM maps vectors of sixteen onto whatever the processor
has, and the bits are the same on all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from llvmlite import ir
from numba.core import cgutils as untyped
from numba.extending import intrinsic
from numpy.typing import NDArray

from estran.learning.compiled import compiled

LANES: Final = 16
cgutils: Any = untyped


def _sum_in_lanes(typing: Any, a: Any, b: Any) -> Any:
    """Sum of products of the first ``a.size - a.size % 16`` elements: lane by lane, then the lanes' upper half onto the lower.

    For contiguous arrays of one type and length; numba refuses to compile any others, but does not see lengths.
    """
    if (a.layout, a.ndim, b.layout, b.ndim) != ("C", 1, "C", 1) or a.dtype != b.dtype:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right = (
            context.make_array(kind)(context, builder, value) for kind, value in zip(signature.args, arguments, strict=True)
        )
        (size,) = cgutils.unpack_tuple(builder, left.shape)
        vector = ir.VectorType(context.get_value_type(a.dtype), LANES)
        total = cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * LANES))
        whole = builder.and_(size, ir.Constant(size.type, -LANES))
        with cgutils.for_range_slice(builder, size.type(0), whole, size.type(LANES), size.type) as (place, _):
            x, y = (
                builder.load(builder.bitcast(builder.gep(array.data, [place]), vector.as_pointer()), align=a.dtype.bitwidth // 8)
                for array in (left, right)
            )
            builder.store(builder.fadd(builder.load(total), builder.fmul(x, y)), total)
        lanes, width = builder.load(total), LANES
        while width > 1:
            width //= 2
            halves = (ir.Constant(ir.VectorType(ir.IntType(32), width), [*range(start, start + width)]) for start in (0, width))
            lanes = builder.fadd(*(builder.shuffle_vector(lanes, lanes, half) for half in halves))
        return builder.extract_element(lanes, ir.IntType(32)(0))

    return a.dtype(a, b), generate


sum_in_lanes: Callable[[NDArray[Any], NDArray[Any]], Any] = cast(Any, intrinsic(_sum_in_lanes))


@compiled
def dot(a: NDArray[Any], b: NDArray[Any]) -> Any:
    """Sum of products of two contiguous arrays of one type and length, in that type: sixteen lanes, then what is left over."""
    total = sum_in_lanes(a, b)
    for j in range(a.size - a.size % LANES, a.size):
        total += a[j] * b[j]
    return total
