"""Ask for known holes of what is installed; exit 1 if there are any, or if nobody could be asked.

``audit.py PIP_AUDIT SITE_PACKAGES [--where-possible]``: with the last, that nobody could be asked is said, and no failure.

pip-audit by itself takes an index that does not tell of holes for one that knows of none: here every package must have been asked
about, but for Estran itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

OWN = {"estran"}


def main(arguments: list[str]) -> int:
    """Run pip-audit, and judge what it says."""
    program, place, *options = arguments
    command = [program, "--path", place, "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return unasked((done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1], options)
    holes, unknown = judged(dependencies)
    for line in holes:
        print(line)
    if holes:
        return 1
    if unknown:
        return unasked(
            f"{len(unknown)} of {len(dependencies)} packages could not be asked about: {', '.join(unknown[:5])} …", options
        )
    print(f"no known holes in {len(dependencies)} packages")
    return 0


def judged(dependencies: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Holes, a line each, and packages that nothing is known of."""
    holes = [
        f"{one['name']} {one['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'no version'}"
        for one in dependencies
        for hole in one.get("vulns", ())
    ]
    unknown = [one["name"] for one in dependencies if "skip_reason" in one and one["name"] not in OWN]
    return holes, unknown


def unasked(why: str, options: list[str]) -> int:
    """Say that there is no answer."""
    allowed = "--where-possible" in options
    print(f"audit {'skipped' if allowed else 'failed'}: nobody could be asked for known holes ({why})", file=sys.stderr)
    return 0 if allowed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
