"""Chameleon and other clouds with OpenStack, by EnOSlib's providers; what is given back is ours alone.

EnOSlib's own ``destroy`` deletes every server of the project whose name begins with ``enos``, whoever made it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import enoslib as en
from enoslib.infra.enos_chameleonbaremetal import provider as leasing
from enoslib.infra.enos_openstack import provider as openstack
from enoslib.infra.enos_openstack.utils import source_credentials_from_rc_file
from neutronclient.neutron import client as neutron
from novaclient import client as nova

from .channel import Channel
from .failures import Failure
from .hosts import clock_text, plain_hosts
from .persistence import Persistence
from .waiting import Look, await_running

GONE = ("TERMINATED", "ERROR", "DELETING")
"""States of leases that hold nothing any more."""


class VirtualMachines:
    """Virtual machines of one name; they run until they are given back."""

    def __init__(self, request: dict[str, Any], channel: Channel, persist: Persistence) -> None:
        self._request = request
        self._channel = channel
        self._persist = persist
        if not Path(request["rc_file"]).is_file():
            raise Failure("credentials", f"there is no {request['rc_file']}", "download the RC file from the site's web page")
        self._mine = re.compile(rf"enos--?{re.escape(request['job'])}_-.*")

    def state(self) -> list[dict[str, Any]]:
        """Servers of this name, as plain data."""
        servers = self._persist(self._servers, "looking for servers")
        return [_plain(str(server.id), server.status, nodes=[server.name]) for server in servers]

    def _servers(self) -> list[Any]:
        with self._session() as (session, region):
            servers = nova.Client(openstack.NOVA_VERSION, session=session, region_name=region).servers.list()
        return [server for server in servers if self._mine.fullmatch(server.name)]

    @contextmanager
    def _session(self) -> Iterator[tuple[Any, str]]:
        """A session with the credentials of the RC file, and the region's name."""
        with source_credentials_from_rc_file(self._request["rc_file"]) as region:
            yield openstack.get_session(), region

    def reserve(self) -> dict[str, Any]:
        """Start the servers, or find those of this name, and give one a public address, through which all are reached."""
        return self._started(self._provider(en.OSConf, en.OS if self._request["provider"] == "openstack" else en.CKVM))

    def _provider(self, configuration: Any, kind: Any, **more: Any) -> Any:
        asked = self._request
        self._persist(self._check_flavours, "asking for flavours")
        settings: dict[str, Any] = {
            "rc_file": asked["rc_file"],
            "key_name": asked["key_name"],
            "image": asked["image"],
            "user": asked["user"],
            "gateway_user": asked["user"],
            "prefix": f"{asked['job']}_",  # no name of a job can end so, thus none begins with another's
            **more,
        }
        if asked["network"]:
            subnet = {"name": asked["subnet"], "cidr": self._persist(self._cidr, "asking for the subnet")}
            settings |= {"network": {"name": asked["network"]}, "subnet": subnet, "configure_network": False}
        machines = [
            {"roles": [layer], "flavour": wanted["flavour"], "number": wanted["nodes"], "image": wanted["image"] or asked["image"]}
            for layer, wanted in asked["layers"].items()
        ]
        return kind(configuration.from_dictionary({**settings, "resources": {"machines": machines, "networks": ["network"]}}))

    def _cidr(self) -> str:
        """The addresses of the subnet that is asked for; EnOSlib wants to be told."""
        with self._session() as (session, region):
            subnets = neutron.Client("2", session=session, region_name=region).list_subnets()["subnets"]
        known = {subnet["name"]: str(subnet["cidr"]) for subnet in subnets}
        if self._request["subnet"] not in known:
            what = f"the site has no subnet {self._request['subnet']!r}"
            raise Failure("configuration", what, f"choose one of {', '.join(sorted(known))}")
        return known[self._request["subnet"]]

    def _check_flavours(self) -> None:
        with self._session() as (session, _):
            known, _ = openstack.check_flavors(session)
        for layer, wanted in self._request["layers"].items():
            if wanted["flavour"] not in known:
                what = f"layers.{layer}: the site has no flavour {wanted['flavour']!r}"
                raise Failure("configuration", what, f"choose one of {', '.join(sorted(known))}")

    def _started(self, provider: Any) -> dict[str, Any]:
        roles = self._persist(lambda: self._attempt(provider), "starting servers")
        servers = self._servers()
        return {
            "hosts": plain_hosts(roles, self._request["layers"]),
            "idle": [],
            "lost": [],
            "jobs": [_plain(str(server.id), server.status, nodes=[server.name]) for server in servers],
            "ends_at": None,
        }

    def _attempt(self, provider: Any) -> Any:
        """Start servers anew if an attempt before this one left but a part of them; say which could not be started, and why."""
        found = self._servers()
        if 0 < len(found) < sum(layer["nodes"] for layer in self._request["layers"].values()):
            self._delete_servers()
        try:
            roles, _ = provider.init()
        except Exception as error:
            broken = [server for server in self._servers() if server.status == "ERROR"]
            if broken:
                raise self._unstarted(broken) from error
            raise
        return roles

    @staticmethod
    def _unstarted(servers: list[Any]) -> Failure:
        said = {server.name: getattr(server, "fault", {}).get("message", "no reason given") for server in servers}
        lack = any("No valid host" in text for text in said.values())
        words = "; ".join(f"{name}: {text}" for name, text in sorted(said.items()))
        return Failure(
            "no-resources" if lack else "deployment", f"servers could not be started: {words}", "ask for fewer, or others"
        )

    def destroy(self) -> list[str]:
        """Delete the servers of this name, and wait until they have gone. Networks that EnOSlib made stay for the next time."""
        return self._persist(self._delete_servers, "deleting servers")

    def _delete_servers(self) -> list[str]:
        servers = self._servers()
        for server in servers:
            server.delete()
        while self._servers():
            time.sleep(1.0)
        return [f"server {server.name}" for server in servers]


class BareMetal(VirtualMachines):
    """Nodes of a lease; they end with it."""

    def state(self) -> list[dict[str, Any]]:
        """Leases of this name that wait or run, as plain data."""
        return [_lease(lease) for lease in self._persist(self._leases, "looking for leases")]

    def _leases(self) -> list[dict[str, Any]]:
        with self._session() as (session, _):
            leases = leasing.create_blazar_client(None, session).lease.list()
        return [lease for lease in leases if lease["name"] == self._request["job"] and lease["status"] not in GONE]

    def _check_flavours(self) -> None:
        """Types of nodes are known to the leases only."""

    def reserve(self) -> dict[str, Any]:
        """Make or find the lease, wait until it begins, start its servers."""
        more = {"lease_name": self._request["job"], "walltime": clock_text(self._request["walltime"])}
        provider = self._provider(en.CBMConf, en.CBM, **more)
        lease = self._persist(lambda: self._leased(provider), "making the lease")
        look = partial(self._persist, partial(self._look, lease["id"]), "asking for the lease's state")
        await_running(look, self._request, self._channel)
        jobs = self.state()
        return {**self._started(provider), "jobs": jobs, "ends_at": min(job["ends_at"] for job in jobs)}

    def _leased(self, provider: Any) -> dict[str, Any]:
        with self._session() as (session, _):
            client, asked = leasing.create_blazar_client(None, session), provider.provider_conf
            lease: dict[str, Any] = leasing.get_reservation(client, asked) or leasing.create_reservation(client, asked)
        return lease

    def _look(self, identity: str) -> list[Look]:
        with self._session() as (session, _):
            lease = leasing.create_blazar_client(None, session).lease.get(identity)
        state, start = lease["status"], _moment(lease["start_date"])
        return [Look(f"lease {lease['name']}", state, state == "ACTIVE", state not in GONE, start)]

    def destroy(self) -> list[str]:
        """Delete the servers, then the leases of this name."""
        return super().destroy() + self._persist(self._delete_leases, "deleting leases")

    def _delete_leases(self) -> list[str]:
        leases = self._leases()
        with self._session() as (session, _):
            client = leasing.create_blazar_client(None, session)
            for lease in leases:
                client.lease.delete(lease["id"])
        return [f"lease {lease['name']}" for lease in leases]


def _lease(lease: dict[str, Any]) -> dict[str, Any]:
    return _plain(lease["id"], lease["status"], begin=_moment(lease["start_date"]), end=_moment(lease["end_date"]))


def _plain(identity: str, state: str, begin: float | None = None, end: float | None = None, nodes: Any = ()) -> dict[str, Any]:
    return {"site": None, "id": identity, "state": state, "starts_at": begin, "ends_at": end, "nodes": list(nodes)}


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
