"""Grid'5000's API over an invented small reference: jobs, deployments, VLANs, and what goes wrong with them."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Any

from tests.platforms.testbeds.fake_api import USER, Call, FakeApi, Refused

CLUSTERS = {"midi": {"azur": 3, "brume": 1}, "nord": {"craie": 2}}
"""Nodes of each cluster of each site."""
KO = "Reservation not valid --> KO (This reservation could run at 2031-02-03 04:05:06)"


def nic(name: str, mounted: bool) -> dict[str, Any]:
    device = "eth0" if mounted else "eth1"
    return {
        "device": device, "name": name, "mountable": True, "mounted": mounted, "interface": "Ethernet", "management": False,
    }  # fmt: skip


@dataclass
class FakeGrid5000(FakeApi):
    """One user's Grid'5000.

    Attributes
    ----------
    looks
        How often a job is looked at before it runs.
    fate
        What becomes of jobs then: ``running``, ``error`` or ``terminated`` (killed).
    elapsed
        Seconds of their walltime that are over when they begin to run.
    begins
        When jobs will begin, if not now: they wait.
    refusal
        What OAR says to a job.
    broken
        Nodes whose deployment fails.
    """

    looks: int = 1
    fate: str = "running"
    elapsed: float = 0.0
    begins: float | None = None
    refusal: str | None = None
    broken: set[str] = field(default_factory=set)
    jobs: dict[int, dict[str, Any]] = field(default_factory=dict)
    deployments: dict[str, dict[str, Any]] = field(default_factory=dict)
    moved: list[tuple[str, list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        site = "/stable/sites/([a-z]+)"
        self.route("GET", "/stable/sites", lambda call: (200, listed([self._site(uid) for uid in CLUSTERS])))
        self.route("GET", site, lambda call: (200, self._site(call.groups[0])))
        self.route(
            "GET", f"{site}/servers/dns", lambda call: (200, {"uid": "dns", "network_adapters": {"default": {"ip": "10.0.0.53"}}})
        )
        self.route("GET", f"{site}/clusters", lambda call: (200, listed([cluster(uid) for uid in CLUSTERS[call.groups[0]]])))
        self.route("GET", f"{site}/clusters/([a-z]+)", lambda call: (200, cluster(call.groups[1])))
        self.route("GET", f"{site}/clusters/([a-z]+)/status", self._status)
        self.route("GET", f"{site}/clusters/([a-z]+)/nodes/([a-z0-9-]+)", lambda call: (200, node(call.groups[2])))
        self.route("GET", f"{site}/clusters/([a-z]+)/nodes", lambda call: (200, listed([node(f"{call.groups[1]}-1")])))
        self.route("GET", f"{site}/jobs", self._list)
        self.route("POST", f"{site}/jobs", self._submit)
        self.route("GET", f"{site}/jobs/([0-9]+)", lambda call: (200, self._look(int(call.groups[1]))))
        self.route("DELETE", f"{site}/jobs/([0-9]+)", self._delete)
        self.route("POST", f"{site}/deployments", self._deploy)
        self.route("GET", f"{site}/deployments/([A-Z0-9-]+)", lambda call: (200, self._deployed(call.groups[1])))
        self.route("GET", f"{site}/vlans/([0-9]+)", lambda call: (200, {"uid": call.groups[1]}))
        self.route("POST", f"{site}/vlans/([0-9]+)/nodes", self._move)

    def _site(self, uid: str) -> dict[str, Any]:
        network = {"network": "10.77.0.0/24", "gateway": "10.77.0.254"}
        return {"uid": uid, "kavlans": {"default": network, "4": network, "1": network}, "ipv6": {"site_index": 1}, "g5ksubnet": {}}

    def _status(self, call: Call) -> tuple[int, Any]:
        site, name = call.groups
        return 200, {
            "nodes": {
                fqdn(f"{name}-{n + 1}", site): {"hard": "alive", "soft": "free", "reservations": []}
                for n in range(CLUSTERS[site][name])
            }
        }

    def _list(self, call: Call) -> tuple[int, Any]:
        states = call.query.get("state", "").split(",")
        found = [
            job for job in self.jobs.values()
            if job["site"] == call.groups[0] and job["state"] in states and job["name"] == call.query.get("name", job["name"])
        ]  # fmt: skip
        return 200, listed(found)

    def _submit(self, call: Call) -> tuple[int, Any]:
        site, asked = call.groups[0], call.body
        if self.refusal is not None:
            raise Refused(400, {"message": self.refusal})
        nodes, vlans = self._choose(site, asked["resources"])
        hours, minutes, seconds = re.search(r"walltime=(\d+):(\d+):(\d+)", asked["resources"]).groups()
        uid = 1000 + len(self.jobs)
        self.jobs[uid] = {
            "uid": uid, "site": site, "name": asked["name"], "state": "waiting", "user": USER, "types": asked["types"], "looks": 0,
            "walltime": int(hours) * 3600 + int(minutes) * 60 + int(seconds), "queue": asked["queue"],
            "scheduled_at": self.begins or time.time(), "started_at": 0, "assigned_nodes": nodes,
            "resources_by_type": {"cores": nodes, "vlans": vlans}, "reservation": asked.get("reservation"),
        }  # fmt: skip
        return 201, self.jobs[uid]

    def _choose(self, site: str, resources: str) -> tuple[list[str], list[str]]:
        """Give out nodes as OAR would, or refuse as it would."""
        nodes: list[str] = []
        held = {name for job in self.jobs.values() if job["state"] in ("waiting", "running") for name in job["assigned_nodes"]}
        for name, count in re.findall(r"\{cluster='([a-z]+)'\}/nodes=(\d+)", resources):
            free = [fqdn(f"{name}-{n + 1}", site) for n in range(CLUSTERS[site][name])]
            free = [one for one in free if one not in held | set(nodes)]
            if len(free) < int(count):
                raise Refused(400, {"message": "There are not enough resources for your request\nOAR_JOB_ID=-5"})
            nodes += free[: int(count)]
        for names in re.findall(r"network_address in \(([^)]*)\)", resources):
            nodes += re.findall(r"'([^']+)'", names)
        kinds = re.findall(r"\{type='(kavlan[a-z-]*)'\}/vlan=1", resources)
        return nodes, ["1" if kind == "kavlan-local" else "4" for kind in kinds]

    def _look(self, uid: int) -> dict[str, Any]:
        job = self.jobs[uid]
        job["looks"] += 1
        if job["state"] == "waiting" and job["looks"] >= self.looks and self.begins is None:
            job["state"] = self.fate
            job["started_at"] = time.time() - self.elapsed if self.fate == "running" else 0
        return job

    def _delete(self, call: Call) -> tuple[int, Any]:
        job = self.jobs[int(call.groups[1])]
        if job["state"] not in ("waiting", "running"):
            raise Refused(400, {"message": "This job was already killed"})
        job["state"] = "terminated"
        return 202, None

    def _deploy(self, call: Call) -> tuple[int, Any]:
        uid = f"D-{len(self.deployments)}"
        self.deployments[uid] = {"uid": uid, "site": call.groups[0], "status": "processing", **call.body}
        return 201, self.deployments[uid]

    def _deployed(self, uid: str) -> dict[str, Any]:
        deployment = self.deployments[uid]
        result = {name: {"state": "KO" if name in self.broken else "OK"} for name in deployment["nodes"]}
        deployment |= {"status": "terminated", "result": result}
        return deployment

    def _move(self, call: Call) -> tuple[int, Any]:
        self.moved.append((call.groups[1], call.body))
        return 200, {name: {"status": "success"} for name in call.body}

    def alive(self) -> list[dict[str, Any]]:
        """Jobs that hold nodes."""
        return [job for job in self.jobs.values() if job["state"] in ("waiting", "running")]


def fqdn(uid: str, site: str) -> str:
    return f"{uid}.{site}.grid5000.fr"


def cluster(uid: str) -> dict[str, Any]:
    return {"uid": uid, "exotic": uid == "brume"}


def node(uid: str) -> dict[str, Any]:
    return {"uid": uid, "network_adapters": [nic("eno1", True), nic("eno2", False)]}


def listed(items: list[Any]) -> dict[str, Any]:
    return {"total": len(items), "offset": 0, "items": items, "links": []}
