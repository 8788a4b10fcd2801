"""FIT IoT-LAB: experiments on boards, by EnOSlib's provider. Boards with Linux are hosts; microcontrollers are only listed."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import enoslib as en
import iotlabcli.auth
import iotlabcli.experiment
import iotlabcli.helpers
import iotlabcli.node
import iotlabcli.rest
from iotlabsshcli import open_linux

from .channel import Channel
from .failures import Failure
from .hosts import clock_text, plain_hosts
from .persistence import Persistence
from .waiting import Look, await_running

ACTIVE = ",".join(iotlabcli.helpers.ACTIVE_STATES)
BOOT = 120
"""Seconds that Linux has to boot."""
WHY = "a microcontroller ({archi}): it runs its firmware and has no SSH, so no service can run on it and no link be shaped"


class IotLab:
    """Experiments of one name."""

    def __init__(self, request: dict[str, Any], channel: Channel, persist: Persistence) -> None:
        self._request = request
        self._channel = channel
        self._persist = persist
        self._user, password = _credentials()
        self._api = iotlabcli.rest.Api(self._user, password)

    def state(self) -> list[dict[str, Any]]:
        """Experiments of this name that wait or run, as plain data."""
        return [_plain(experiment) for experiment in self._persist(self._experiments, "looking for experiments")]

    def _experiments(self) -> list[dict[str, Any]]:
        items = iotlabcli.experiment.get_experiments_list(self._api, ACTIVE, 0, 0)["items"]
        return [item for item in items if item["name"] == self._request["job"]]

    def reserve(self) -> dict[str, Any]:
        """Submit or find the experiment, wait until it runs, flash microcontrollers and wait for Linux to boot."""
        provider = en.Iotlab(self._configuration())
        self._persist(provider.async_init, "submitting the experiment")  # looks for one of this name first
        identity = provider.client.get_job_id()
        look = partial(self._persist, partial(self._look, identity), "asking for the experiment's state")
        await_running(look, self._request, self._channel)
        lost: set[str] = set()
        provider.client.flash_nodes = partial(self._flash, identity, lost)
        provider.client.wait_ssh = partial(self._boot, identity, lost)
        roles = self._persist(lambda: _prepared(provider), "preparing boards")
        deployment = self._persist(lambda: self._api.get_experiment_info(identity, "deployment"), "asking what was deployed")
        lost |= set(deployment.get("1", []))
        jobs = self.state()
        states = {node["network_address"]: node["state"] for node in provider.client.nodes}
        return {
            "hosts": [host for host in self._hosts(provider, roles) if host["name"] not in lost],
            "idle": [_idle(sensor, states[sensor.address]) for sensor in provider.sensors if sensor.address not in lost],
            "lost": sorted(lost),
            "jobs": jobs,
            "ends_at": min((job["ends_at"] for job in jobs if job["ends_at"]), default=None),
        }

    def _configuration(self) -> Any:
        asked = self._request
        walltime = clock_text(asked["walltime"], with_seconds=False)
        configuration = en.IotlabConf.from_settings(job_name=asked["job"], walltime=walltime, start_time=asked["start"])
        for layer, wanted in asked["layers"].items():
            if wanted["image"] and not Path(wanted["image"]).is_file():
                raise Failure("configuration", f"layers.{layer}: there is no firmware {wanted['image']}", "check image:")
            which = {"archi": wanted["archi"], "site": wanted["site"], "number": wanted["nodes"]}
            chosen = {"hostname": wanted["boards"]} if wanted["boards"] else which
            configuration.add_machine(roles=[layer], image=wanted["image"], profile=wanted["profile"], **chosen)
        return configuration

    def _look(self, identity: int) -> list[Look]:
        found = self._api.get_experiment_info(identity)
        state, start = found["state"], _moment(found.get("scheduled_date"))
        return [Look(f"experiment {identity}", state, state == "Running", state in ACTIVE.split(","), start)]

    def _flash(self, identity: int, lost: set[str], image: str, nodes: list[str]) -> None:
        """As EnOSlib does, which does not look at what came of it."""
        self._channel.progress(f"flashing {len(nodes)} boards")
        done = iotlabcli.node.node_command(api=self._api, command="flash", exp_id=identity, nodes_list=nodes, cmd_opt=image)
        lost |= set(done.get("1", []))

    def _boot(self, identity: int, lost: set[str], nodes: list[str]) -> None:
        """As EnOSlib does, which only logs the boards that do not come up."""
        if nodes:
            self._channel.progress(f"waiting for {len(nodes)} boards to boot")
            account = {"user": self._user, "exp_id": identity}
            booted = open_linux.wait_for_boot(account, nodes, self._request.get("boot", BOOT))["wait-for-boot"]
            lost |= {node.removeprefix("node-") for node in booted.get("1", [])}

    def _hosts(self, provider: Any, roles: Any) -> list[dict[str, Any]]:
        """Boards with Linux, through the gate of their site."""
        sites = {host.ssh_address: host.site for host in provider.hosts}
        with_linux = {layer: [host for host in roles[layer] if host.address in sites] for layer in self._request["layers"]}
        return [
            {
                **host,
                "name": host["address"].removeprefix("node-"),
                "jump": [f"{self._user}@{sites[host['address']]}.iot-lab.info"],
            }
            for host in plain_hosts(with_linux, self._request["layers"])
        ]

    def destroy(self) -> list[str]:
        """Stop every experiment of this name, and wait until the testbed has its boards back."""
        experiments = self._persist(self._experiments, "looking for experiments")
        for experiment in experiments:
            self._persist(partial(self._stop, experiment["id"]), "stopping the experiment")
        while self._persist(self._experiments, "asking whether it has stopped"):
            time.sleep(1.0)
        return [f"experiment {experiment['id']}" for experiment in experiments]

    def _stop(self, identity: int) -> None:
        try:
            iotlabcli.experiment.stop_experiment(self._api, identity)
        except OSError as error:  # `urllib.error.HTTPError` is one
            if "already" not in str(error):
                raise


def _prepared(provider: Any) -> Any:
    """Its roles. What an attempt before this one had found would be counted twice."""
    provider.hosts, provider.sensors, provider.networks = [], [], []
    roles, _ = provider.init()
    return roles


def _credentials() -> tuple[str, str]:
    path = os.getenv("IOTLAB_PASSWORD_FILE") or "~/.iotlabrc"
    remedy = f"run `iotlab-auth -u NAME` in EnOSlib's environment, which writes {path}"
    try:
        user, password = iotlabcli.auth.get_user_credentials()
    except ValueError as error:
        raise Failure("credentials", f"{path} cannot be read", remedy) from error
    if user is None or password is None:
        raise Failure("credentials", f"there is no {path}", remedy)
    return user, password


def _plain(experiment: dict[str, Any]) -> dict[str, Any]:
    begin = _moment(experiment.get("start_date"))
    return {
        "site": None,
        "id": str(experiment["id"]),
        "state": experiment["state"],
        "starts_at": begin or _moment(experiment.get("scheduled_date")),
        "ends_at": begin + 60 * experiment["submitted_duration"] if begin else None,
        "nodes": experiment.get("nodes") or [],
    }


def _moment(text: str | None) -> float | None:
    """Seconds since 1970; the testbed writes that year for what has not happened."""
    if not text or text.startswith("1970"):
        return None
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


def _idle(sensor: Any, state: str) -> dict[str, Any]:
    return {"name": sensor.address, "layer": sensor.roles[0], "state": state, "why": WHY.format(archi=sensor.archi)}
