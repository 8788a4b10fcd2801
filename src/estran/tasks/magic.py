"""Variables that every task has: names of hosts and groups, and the variables of other hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from estran.tasks.host_state import HostState, ShortFacts, group_names
from estran.tasks.scope import Scope


class Others(Mapping[str, Any]):
    """``hostvars``: the variables of each host, evaluated when they are looked at."""

    def __init__(self, names: Sequence[str], scope_of: Callable[[str], Scope]) -> None:
        self._names = names
        self._scope_of = scope_of

    def __getitem__(self, host: str) -> Any:
        if host not in self._names:
            raise KeyError(host)
        return self._scope_of(host)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def magic(
    state: HostState,
    taking_part: Sequence[str],
    all_of_them: Sequence[str],
    groups: Mapping[str, list[str]],
    home: str,
    others: Others,
) -> dict[str, Any]:
    """Variables of a host.

    Parameters
    ----------
    taking_part, all_of_them
        Hosts of the list that have not left, and all of the list.
    home
        Where the list of tasks stands.
    others
        ``hostvars``.
    """
    return {
        "inventory_hostname": state.name, "inventory_hostname_short": state.name.split(".")[0], "groups": groups,
        "group_names": group_names(state.name, groups), "hostvars": others, "play_hosts": list(taking_part),
        "ansible_play_hosts": list(taking_part), "ansible_play_batch": list(taking_part),
        "ansible_play_hosts_all": list(all_of_them), "ansible_facts": ShortFacts(state), "ansible_check_mode": False,
        "ansible_diff_mode": False, "playbook_dir": home, "inventory_dir": home, "ansible_verbosity": 0,
        "ansible_forks": len(others), "ansible_host": state.name,
    }  # fmt: skip
