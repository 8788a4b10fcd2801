"""Did you mean: the known name that a mistyped one was most likely meant to be."""

from __future__ import annotations

from collections.abc import Iterable


def closest(wrong: str, known: Iterable[str]) -> str | None:
    """Return the known name most like a wrong one, or None if none is near."""
    from difflib import get_close_matches

    names = {name.lower().replace("_", "-"): name for name in known}
    key = str(wrong).lower().replace("_", "-")
    near = get_close_matches(key, names, n=1, cutoff=0.6)
    if near:
        return names[near[0]]
    starts = [name for folded, name in names.items() if len(key) >= 2 and (folded.startswith(key) or key.startswith(folded))]
    return starts[0] if len(starts) == 1 else None


def did_you_mean(wrong: str, known: Iterable[str], *, kind: str = "name") -> str:
    """Write a remedy: the closest name, or the list of all.

    Examples
    --------
    >>> did_you_mean("detektor", ["camera", "detector"])
    "did you mean 'detector'?"
    >>> did_you_mean("x", ["camera", "detector"], kind="service")
    'known services: camera, detector'
    """
    names = list(known)
    near = closest(wrong, names)
    if near is not None:
        return f"did you mean {near!r}?"
    if not names:
        return f"there is no {kind} here"
    shown = ", ".join(names[:24]) + (", …" if len(names) > 24 else "")
    return f"known {kind}s: {shown}"


def slip(wrong: str, known: Iterable[str]) -> str | None:
    """Return the known name of which another is most likely a slip of the pen, among names that may be anything; None if of none.

    Examples
    --------
    >>> slip("quantty", ["quantity", "roles"]), slip("image", ["quantity", "roles"])
    ('quantity', None)
    """
    from difflib import get_close_matches

    near = get_close_matches(wrong.lower(), list(known), n=1, cutoff=0.85)
    return near[0] if near else None
