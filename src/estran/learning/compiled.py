"""How the kernels of learners are compiled. Importing it imports numba, so only learning does so."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F, *, inlined: bool = False, lent: bool = False) -> F:
    """Compile at the first call of each type; keep the machine code on disk wherever numba finds a writable place.

    ``inlined`` puts it into its callers, and counts no references to the arrays that it is lent: for small functions counting
    takes longer than they do. Such a function may allocate nothing. ``lent`` counts none either, for entry points that are called
    with little to do. Dividing by zero gives an infinity or NaN, as in NumPy.

    Nothing may be reordered or fused: every sum is made in the order that is written here, whatever the processor's vectors, so
    that learning from the same rows gives the same bits on every machine.

    numba looks in ``NUMBA_CACHE_DIR`` if set, then beside this file, then in the user's cache folder; where none of them can be
    written it refuses to decorate at all, which is no reason not to learn.
    """
    kernel: Any
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    options |= {"forceinline": True} if inlined else {}
    options |= {"_nrt": False} if inlined or lent else {}
    compile_with: Any = numba.njit  # whose stubs do not know all of its options
    try:
        kernel = compile_with(cache=True, **options)(function)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        warnings.warn(
            f"{error}; the learner is compiled anew in every process (set NUMBA_CACHE_DIR to a writable folder)",
            RuntimeWarning,
            stacklevel=2,
        )
        kernel = compile_with(**options)(function)
    return cast(F, kernel)
