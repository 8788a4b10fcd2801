"""How kernels are compiled, and their machine code kept. Importing it imports numba, so only kernels do so."""

from __future__ import annotations

import functools
import hashlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

_HOME: Final = Path(__file__).parents[1]
_IMPORT: Final = re.compile(r"^from (estran[\w.]*) import (\([^)]*\)|[^\n]*)", flags=re.MULTILINE)


def compiled(function: F, *, inlined: bool = False, lent: bool = False) -> F:
    """Compile at the first call of each type; keep the machine code on disk wherever numba finds a writable place.

    ``inlined`` puts it into its callers, and counts no references to the arrays that it is lent: for small functions counting
    takes longer than they do. Such a function may allocate nothing. ``lent`` counts none either, for entry points that are called
    with little to do. Dividing by zero gives an infinity or NaN, as in NumPy.

    Nothing may be reordered or fused: every sum is made in the order that is written here, whatever the processor's vectors, so
    that learning from the same rows gives the same bits on every machine.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    options |= {"forceinline": True} if inlined else {}
    options |= {"_nrt": False} if inlined or lent else {}
    return kept(function, options)


def kept(function: F, options: dict[str, Any]) -> F:
    """Compile by some options of numba, and keep the machine code on disk for as long as it is of the sources that there are.

    numba looks in ``NUMBA_CACHE_DIR`` if set, then beside the function's file, then in the user's cache folder; where none of them
    can be written it refuses to decorate at all, which is no reason not to work. What it keeps it would use until the function's
    own file changes, whatever became of the functions that this one calls; so it is told of their files as well.
    """
    kernel: Any
    compile_with: Any = numba.njit  # whose stubs do not know all of its options
    try:
        kernel = compile_with(cache=True, **options)(function)
        _stamp(kernel, digest(Path(function.__code__.co_filename)))
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        warnings.warn(
            f"{error}; it is compiled anew in every process (set NUMBA_CACHE_DIR to a writable folder)",
            RuntimeWarning,
            stacklevel=3,
        )
        kernel = compile_with(**options)(function)
    return cast(F, kernel)


def _stamp(kernel: Any, digest: str) -> None:
    """Have numba use machine code only if it was kept under this digest, besides what it looks at itself.

    Raises
    ------
    RuntimeError
        If this numba keeps machine code in another way than those that we know.
    """
    file = getattr(getattr(kernel, "_cache", None), "_cache_file", None)
    if not hasattr(file, "_source_stamp"):
        raise RuntimeError(f"cannot cache function {kernel.__name__!r}: numba {numba.__version__} stamps its cache otherwise")
    known: Any = file
    known._source_stamp = (known._source_stamp, digest)


@functools.cache
def digest(path: Path) -> str:
    """Of a source file, and of all of ours that it imports at its top, directly or through others."""
    found, waiting = {path}, [path]
    while waiting:
        fresh = {source for source in _imported(waiting.pop()) if source not in found}
        found |= fresh
        waiting += fresh
    return hashlib.sha256(b"\0".join(sorted(_content(source) for source in found))).hexdigest()


@functools.cache
def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


@functools.cache
def _imported(path: Path) -> tuple[Path, ...]:
    """Our source files that a file imports from: modules, and those of a package that it names."""
    places = []
    for module, names in _IMPORT.findall(_content(path).decode()):
        place = _HOME.joinpath(*module.split(".")[1:])
        words: list[str] = re.findall(r"\w+", names)
        places += [place.with_suffix(".py"), place / "__init__.py", *(place / f"{word}.py" for word in words)]
    return tuple(place for place in places if place.is_file())
