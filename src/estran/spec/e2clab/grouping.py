"""What `depends_on` tells the machines of a play about the services that it depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from estran.errors import RequestError
from estran.spec.e2clab.model import Dependency

_ARRAYS: Final = {"hostname": "__address__", "g5k_ipv6_hostname": "__g5k_ipv6_address__"}


def distribute(
    dependency: Dependency, hosts: Mapping[str, Mapping[str, Any]], services: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Give each host of a play its variables about the services that it depends on.

    Parameters
    ----------
    hosts
        Variables so far by the machine's key; each has ``_self``, which is told to others as it is.
    services
        The ``_self`` of every machine that the dependency selects, in order.

    Returns
    -------
    dict
        Variables by key, in the order of ``hosts``. ``address_match`` leaves out hosts whose address is not among the services'.
        What an earlier dependency said under the same prefix stays, and is added to.

    Raises
    ------
    RequestError
        If there is no service to tell of.
    """
    if not services:
        raise RequestError(f"{dependency.selector!r} finds no machine", where=str(dependency.where), remedy="correct the selector")
    told = {
        key: _told(dependency, index, variables.get("_self", {}), services) for index, (key, variables) in enumerate(hosts.items())
    }
    return {key: _added(variables, told[key]) for key, variables in hosts.items() if told[key] is not None}


def _told(
    dependency: Dependency, index: int, own: Mapping[str, Any], services: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Variables of one host, the ``index``-th of its play; None if it has no part in the play."""
    prefix = dependency.prefix
    match dependency.grouping:
        case "round_robin":
            return {prefix: dict(services[index % len(services)])}
        case "asarray":
            return {prefix: [_element(dependency.array_info, service) for service in services]}
        case "aggregate":
            return {f"{prefix}{service['service_id']}_{service['machine_id']}": dict(service) for service in services}
        case "address_match":
            same = [service for service in services if service["__address__"] == own.get("__address__")]
            return {prefix: dict(same[0])} if same else None


def _element(info: str, service: Mapping[str, Any]) -> Any:
    return str(service["_id"]).replace("_", "") if info == "id" else service.get(_ARRAYS[info])


def _added(variables: Mapping[str, Any], told: Mapping[str, Any] | None) -> dict[str, Any]:
    """Variables with new ones; a map or list of the same name is joined, and of a map the earlier entries hold."""
    joined = dict(variables)
    for name, value in (told or {}).items():
        before = joined.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            joined[name] = {**value, **before}
        elif isinstance(value, list) and isinstance(before, list):
            joined[name] = [*value, *before]
        else:
            joined[name] = value
    return joined
