"""List what Estran needs here, with licences and who asks for it; exit 1 if the GPL is met outside of the extras that may have it.

Run it with the Python of the environment that is looked at: ``.venv/bin/python .ci/licences.py``.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

MAY = frozenset({"ansible"})
"""Extras whose packages may be under the GPL: they run as programs of their own. EnOSlib's environment is apart from all."""
CORE = "estran"


def main() -> int:
    """Print the list."""
    users = needed()
    refused = []
    for name in sorted(users):
        found = distribution(name)
        licence, whose = licence_of(found), ", ".join(sorted(users[name]))
        print(f"{name:32} {found.version:18} {whose:40} {licence}")
        if is_gpl(licence) and not users[name] <= MAY | {"test"}:
            refused.append(f"{name} ({licence}) is needed by {whose}")
    for line in refused:
        print(f"under the GPL: {line}", file=sys.stderr)
    return 1 if refused else 0


def needed() -> dict[str, set[str]]:
    """What is installed of what Estran needs, by the extras that need it; ``estran`` for all users."""
    own = distribution("estran")
    users: dict[str, set[str]] = {}
    for extra in ["", *own.metadata.get_all("Provides-Extra", [])]:
        for name in closure("estran", extra) - {"estran"}:
            users.setdefault(name, set()).add(extra or CORE)
    return {name: {CORE} if CORE in extras else extras for name, extras in users.items()}


def closure(name: str, extra: str) -> set[str]:
    """All packages that one needs with an extra, and what these need, as far as they are installed."""
    left, found = deque([(name, extra)]), set[tuple[str, str]]()
    while left:
        one = left.popleft()
        if one in found:
            continue
        try:
            requirements = distribution(one[0]).requires or []
        except PackageNotFoundError:  # of another system, or not installed here
            continue
        found.add(one)
        for requirement in map(Requirement, requirements):
            if requirement.marker is None or requirement.marker.evaluate({"extra": one[1]}):
                left += [(canonicalize_name(requirement.name), wanted) for wanted in ("", *requirement.extras)]
    return {package for package, _ in found}


def licence_of(found: Distribution) -> str:
    """What its metadata say, in the newest form that they have."""
    metadata = found.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if line.startswith("License ::")]
    said = ", ".join(classifiers) or str(metadata.get("License") or "not said")
    return said.splitlines()[0][:48]


def is_gpl(licence: str) -> bool:
    """Whether the GPL or AGPL is the only choice."""
    choices = re.split(r"\bOR\b", licence)
    return all(re.search(r"(?<!L)(?<!Lesser )(?:\bA?GPL|General Public License)", choice.replace("LGPL", "")) for choice in choices)


if __name__ == "__main__":
    sys.exit(main())
