"""FIT IoT-LAB's API over a few invented boards: experiments, firmware, and what goes wrong with them."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

from tests.platforms.testbeds.fake_api import Call, FakeApi, Refused

BOARDS = {("grenoble", "m3:at86rf231"): 3, ("grenoble", "a8:at86rf231"): 2}


@dataclass
class FakeIotLab(FakeApi):
    """One user's IoT-LAB.

    Attributes
    ----------
    looks
        How often an experiment is looked at before it runs.
    fate
        What becomes of experiments then.
    begins
        When they will begin, if not now.
    refusal
        What the testbed says to a submission.
    broken
        Boards that cannot be deployed.
    dull
        Boards that take no firmware.
    flashed
        Boards that got firmware, and how much of it.
    """

    looks: int = 1
    fate: str = "Running"
    begins: float | None = None
    refusal: str | None = None
    broken: set[str] = field(default_factory=set)
    dull: set[str] = field(default_factory=set)
    experiments: dict[int, dict[str, Any]] = field(default_factory=dict)
    flashed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        one = "/api/experiments/([0-9]+)"
        self.route("GET", "/api/experiments", self._list)
        self.route("POST", "/api/experiments", self._submit)
        self.route("GET", one, lambda call: (200, self._look(int(call.groups[0]))))
        self.route("DELETE", one, self._stop)
        self.route("GET", f"{one}/nodes", lambda call: (200, {"items": self.experiments[int(call.groups[0])]["boards"]}))
        self.route("GET", f"{one}/deployment", self._deployment)
        self.route("POST", f"{one}/nodes/flash", self._flash)

    def _list(self, call: Call) -> tuple[int, Any]:
        states = call.query["state"].split(",")
        return 200, {"items": [experiment for experiment in self.experiments.values() if experiment["state"] in states]}

    def _submit(self, call: Call) -> tuple[int, Any]:
        if self.refusal is not None:
            raise Refused(500, {"code": 500, "message": self.refusal})
        asked = json.loads(re.search(rb"\{.*\}", call.body, re.DOTALL).group())
        uid = 300_000 + len(self.experiments)
        self.experiments[uid] = {
            "id": uid, "name": asked["name"], "state": "Waiting", "submitted_duration": asked["duration"], "seen": 0,
            "start_date": "1970-01-01T00:00:00Z", "scheduled_date": stamp(self.begins or time.time()),
            "boards": list(self._choose(asked["nodes"])), "nodes": [],
        }  # fmt: skip
        return 200, {"id": uid}

    def _choose(self, wanted: list[Any]) -> Any:
        for one in wanted:
            if isinstance(one, str):
                archi, number = one.split(".")[0].rsplit("-", 1)
                yield board("grenoble", f"{archi}:at86rf231", int(number))
                continue
            place = one["properties"]["site"], one["properties"]["archi"]
            if BOARDS.get(place, 0) < int(one["nbnodes"]):
                raise Refused(500, {"code": 500, "message": "There are not enough resources for your request"})
            for number in range(1, int(one["nbnodes"]) + 1):
                yield board(*place, number)

    def _look(self, uid: int) -> dict[str, Any]:
        experiment = self.experiments[uid]
        experiment["seen"] += 1
        if experiment["state"] == "Waiting" and experiment["seen"] >= self.looks and self.begins is None:
            experiment |= {"state": self.fate, "start_date": stamp(time.time())}
        return experiment

    def _stop(self, call: Call) -> tuple[int, Any]:
        self.experiments[int(call.groups[0])]["state"] = "Terminated"
        return 200, {"id": int(call.groups[0]), "status": "Delete request registered"}

    def _deployment(self, call: Call) -> tuple[int, Any]:
        names = [one["network_address"] for one in self.experiments[int(call.groups[0])]["boards"]]
        return 200, {"0": [name for name in names if name not in self.broken], "1": sorted(self.broken & set(names))}

    def _flash(self, call: Call) -> tuple[int, Any]:
        names = [name.decode() for name in re.findall(rb'"([a-z0-9-]+\.grenoble\.iot-lab\.info)"', call.body)]
        assert b"\x7fELF" in call.body
        self.flashed += [name for name in names if name not in self.dull]
        return 200, {"0": [name for name in names if name not in self.dull], "1": sorted(self.dull & set(names))}

    def alive(self) -> list[dict[str, Any]]:
        return [experiment for experiment in self.experiments.values() if experiment["state"] in ("Waiting", "Running")]


def board(site: str, archi: str, number: int) -> dict[str, Any]:
    name = f"{archi.split(':')[0]}-{number}.{site}.iot-lab.info"
    return {"site": site, "archi": archi, "uid": f"b{number:03d}", "state": "Alive", "network_address": name}


def stamp(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
