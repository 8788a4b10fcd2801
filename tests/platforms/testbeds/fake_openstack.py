"""A site of Chameleon on this machine: identity, images, servers, networks and leases, as far as EnOSlib's clients use them."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import Any

from tests.platforms.testbeds.fake_api import Call, FakeApi, Refused

SECRET, TOKEN = "application secret", "a token"
FLAVOURS = ("m1.medium", "baremetal")
TYPES = {"compute_skylake": 2}
"""Bare-metal nodes of each type."""
RC = """\
export OS_AUTH_TYPE=v3applicationcredential
export OS_AUTH_URL={url}/identity/v3
export OS_IDENTITY_API_VERSION=3
export OS_REGION_NAME="CHI@HOME"
export OS_INTERFACE=public
export OS_APPLICATION_CREDENTIAL_ID=me
export OS_APPLICATION_CREDENTIAL_SECRET="{secret}"
"""


@dataclass
class FakeOpenStack(FakeApi):
    """One project of a site.

    Attributes
    ----------
    capacity
        Virtual machines that can be started.
    fate
        What becomes of leases.
    later
        Seconds after which leases begin.
    """

    capacity: int = 10
    fate: str = "ACTIVE"
    later: float = 0.0
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    leases: dict[str, dict[str, Any]] = field(default_factory=dict)
    things: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        external = {"id": "ext", "name": "public", "router:external": True}
        shared = {"id": "net", "name": "sharednet1", "router:external": False}
        subnet = {"id": "sub", "name": "sharednet1-subnet", "cidr": "10.52.0.0/22", "gateway_ip": "10.52.3.254"}
        self.things = {"networks": [external, shared], "subnets": [subnet], "ports": [], "floatingips": []}
        self.things |= {"security-groups": [], "security-group-rules": [], "routers": []}
        self.route("POST", "/identity/v3/auth/tokens", self._token)
        self.route("GET", "/image", lambda call: (300, versions("v2.15", f"{self.url}/image/v2/")))
        schema = {"name": "image", "properties": {"id": {"type": "string"}, "name": {"type": "string"}}}
        self.route("GET", "/image/v2/schemas/image", lambda call: (200, schema))
        self.route("GET", "/image/v2/images", lambda call: (200, {"images": [{"id": "img", "name": "CC-Ubuntu22.04"}]}))
        self.route("GET", "/compute/v2.1", lambda call: (200, {"version": {"id": "v2.1", "status": "CURRENT"}}))
        self.route(
            "GET", "/compute/v2.1/flavors(?:/detail)?", lambda call: (200, {"flavors": [flavour(name) for name in FLAVOURS]})
        )
        self.route("GET", "/compute/v2.1/flavors/([a-z0-9.-]+)", lambda call: (200, {"flavor": flavour(call.groups[0])}))
        self.route("GET", "/compute/v2.1/servers/detail", self._list)
        self.route("POST", "/compute/v2.1/servers", self._start)
        self.route("GET", "/compute/v2.1/servers/([a-z0-9-]+)", lambda call: (200, {"server": self.servers[call.groups[0]]}))
        self.route("DELETE", "/compute/v2.1/servers/([a-z0-9-]+)", self._delete)
        network = "/network/v2.0/([a-z-]+)"
        self.route("GET", network, lambda call: (200, {call.groups[0].replace("-", "_"): self._found(call)}))
        self.route("POST", network, self._make)
        self.route("PUT", f"{network}/([a-z0-9-]+)(?:/[a-z_]+)?", self._change)
        self.route("GET", "/reservation/leases", lambda call: (200, {"leases": [self._aged(one) for one in self.leases.values()]}))
        self.route("POST", "/reservation/leases", self._lease)
        self.route(
            "GET", "/reservation/leases/([a-z0-9-]+)", lambda call: (200, {"lease": self._aged(self.leases[call.groups[0]])})
        )
        self.route("DELETE", "/reservation/leases/([a-z0-9-]+)", lambda call: (200, self.leases.pop(call.groups[0]) and {}))

    def admits(self, headers: Any) -> bool:
        return headers.get("X-Auth-Token") in (TOKEN, None)

    def said(self, text: str) -> Any:
        return {"error": {"message": text}}

    def _token(self, call: Call) -> tuple[int, Any, dict[str, str]]:
        if call.body["auth"]["identity"]["application_credential"]["secret"] != SECRET:
            raise Refused(401, {"error": {"code": 401, "message": "The request you have made requires authentication."}})
        places = {"image": "/image", "compute": "/compute/v2.1", "network": "/network", "reservation": "/reservation"}
        catalog = [
            {"type": kind, "name": kind, "id": kind, "endpoints": [
                {"id": kind, "interface": "public", "region": "CHI@HOME", "region_id": "CHI@HOME", "url": self.url + path}
            ]} for kind, path in places.items()
        ]  # fmt: skip
        body = {"methods": ["application_credential"], "expires_at": "2099-01-01T00:00:00.000000Z", "catalog": catalog}
        body |= {"user": {"id": "me", "name": "me", "domain": {"id": "d", "name": "d"}}, "issued_at": "2026-01-01T00:00:00.000000Z"}
        return 201, {"token": body}, {"X-Subject-Token": TOKEN}

    def _list(self, call: Call) -> tuple[int, Any]:
        name = call.query.get("name", "")
        return 200, {
            "servers": [server for server in self.servers.values() if name in server["name"]] if "marker" not in call.query else []
        }

    def _start(self, call: Call) -> tuple[int, Any]:
        asked, number = call.body["server"], next(self.numbers)
        full = len(self.servers) >= self.capacity
        address = [] if full else [{"addr": f"10.52.0.{number}", "OS-EXT-IPS:type": "fixed", "version": 4}]
        server = {
            "id": f"server-{number}", "name": asked["name"], "status": "ERROR" if full else "ACTIVE", "links": [],
            "flavor": {"id": asked["flavorRef"]}, "addresses": {} if full else {"sharednet1": address},
            "hints": call.body.get("os:scheduler_hints"), "key_name": asked["key_name"],
        }  # fmt: skip
        if full:
            server["fault"] = {"message": "No valid host was found. There are not enough hosts available.", "code": 500}
        self.servers[server["id"]] = server
        self.things["ports"].append(
            {"id": f"port-{number}", "device_id": server["id"], "network_id": "net", "fixed_ips": [], "name": ""}
        )
        return 202, {"server": server}

    def _delete(self, call: Call) -> tuple[int, Any]:
        del self.servers[call.groups[0]]
        return 204, None

    def _found(self, call: Call) -> list[dict[str, Any]]:
        return [one for one in self.things[call.groups[0]] if all(one.get(key) == value for key, value in call.query.items())]

    def _make(self, call: Call) -> tuple[int, Any]:
        kind = call.groups[0]
        ((word, asked),) = call.body.items()
        made = {"id": f"{word}-{next(self.numbers)}", "fixed_ip_address": None, "floating_ip_address": "192.5.87.1", **asked}
        self.things[kind].append(made)
        return 201, {word: made}

    def _change(self, call: Call) -> tuple[int, Any]:
        ((word, asked),) = call.body.items()
        (one,) = (one for one in self.things[call.groups[0]] if one["id"] == call.groups[1])
        one |= asked
        return 200, {word: one}

    def _lease(self, call: Call) -> tuple[int, Any]:
        for wanted in call.body["reservations"]:
            kind = wanted["resource_properties"].split('"')[5]
            if TYPES.get(kind, 0) < int(wanted["min"]):
                raise Refused(400, {"error_code": 400, "error_message": "Not enough hosts available"})
        uid, begin = f"lease-{next(self.numbers)}", time.time() + self.later
        reservations = [{"id": f"{uid}-r", **one} for one in call.body["reservations"]]
        lease = {"id": uid, "name": call.body["name"], "status": "PENDING", "reservations": reservations, "begin": begin}
        self.leases[uid] = lease | {"start_date": stamp(begin), "end_date": stamp(begin + 7200)}
        return 201, {"lease": self.leases[uid]}

    def _aged(self, lease: dict[str, Any]) -> dict[str, Any]:
        """A lease becomes what it will after it was looked at once in its time."""
        seen = dict(lease)
        if lease["status"] == "PENDING" and time.time() >= lease["begin"]:
            lease["status"] = self.fate
        return seen


def flavour(name: str) -> dict[str, Any]:
    return {"id": name, "name": name, "links": [], "ram": 4096, "vcpus": 2, "disk": 40}


def versions(name: str, url: str) -> dict[str, Any]:
    return {"versions": [{"id": name, "status": "CURRENT", "links": [{"rel": "self", "href": url}]}]}


def stamp(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000", time.gmtime(moment))
