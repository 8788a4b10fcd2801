"""What a killed emulated run may leave: its control groups. Namespaces vanish by themselves, processes are found by the journal."""

from __future__ import annotations

from estran.platforms.emulated.limits.cgroup import groups_of, remove_tree


def remove_groups(run_id: str) -> int:
    """Remove the control groups of a run whose conductor is gone, with any process in them; return how many there were.

    Raises
    ------
    PlatformError
        If a group cannot be removed.
    """
    left = groups_of(run_id)
    for path in left:
        remove_tree(path)
    return len(left)
