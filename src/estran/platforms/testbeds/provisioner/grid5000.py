"""Grid'5000: OAR jobs and Kadeploy deployments, by EnOSlib's provider; we wait ourselves, for it waits for killed jobs for ever."""

from __future__ import annotations

import logging
import os
import socket
from functools import partial
from pathlib import Path
from typing import Any

import enoslib as en
from enoslib.infra.enos_g5k.g5k_api_utils import (
    get_all_clusters_sites,
    get_all_sites_obj,
    get_api_client,
    get_api_username,
    job_delete,
)

from .channel import Channel
from .failures import Failure, explain
from .hosts import clock_text, plain_hosts
from .persistence import Persistence
from .waiting import Look, await_running

ALIVE = "waiting,launching,running"
FILE = ".python-grid5000.yaml"


class Grid5000:
    """Jobs of one name, one on each site that is needed."""

    def __init__(self, request: dict[str, Any], channel: Channel, persist: Persistence) -> None:
        self._request = request
        self._channel = channel
        self._persist = persist
        en.set_config(g5k_auto_jump=request.get("jump"), ansible_stdout="noop")
        _check_credentials()

    def state(self) -> list[dict[str, Any]]:
        """Jobs on all sites, as plain data."""
        return [_plain(job) for job in self._persist(self._jobs, "looking for jobs")]

    def _jobs(self) -> list[Any]:
        excluded = get_api_client().excluded_sites
        jobs = [job for site in get_all_sites_obj() if site.uid not in excluded for job in self._jobs_at(site)]
        for job in jobs:
            job.refresh()
        return jobs

    def _jobs_at(self, site: Any) -> list[Any]:
        jobs: list[Any] = site.jobs.list(name=self._request["job"], state=ALIVE, user=get_api_username())
        return jobs

    def reserve(self) -> dict[str, Any]:
        """Submit or find the jobs, wait until they run, deploy or get root on their nodes."""
        provider = en.G5k(self._persist(self._configuration, "reading the reference of Grid'5000"))
        self._persist(provider.reserve, "submitting jobs")  # looks for jobs of this name first, so it may be repeated
        provider.reserve = lambda: None  # preparing nodes reserves first; jobs that were killed meanwhile would be submitted anew
        provider.wait = partial(self._wait, provider)
        self._persist(provider.init, "preparing nodes")
        jobs = [_plain(job) for job in provider.jobs]
        ends = [job["ends_at"] for job in jobs if job["ends_at"] is not None]
        return {
            "hosts": plain_hosts(_usable(provider), self._request["layers"]),
            "idle": [],
            "lost": [host.fqdn for host in provider.undeployed],
            "jobs": jobs,
            "ends_at": min(ends) if ends else None,
        }

    def _configuration(self) -> Any:
        asked = self._request
        sites = get_all_clusters_sites()
        settings: dict[str, Any] = {
            "job_name": asked["job"],
            "walltime": clock_text(asked["walltime"]),
            "queue": asked["queue"],
            "job_type": list(asked["job_types"]),
            "project": asked["project"],
            "reservation": asked["start"],
            "key": asked["public_key"],
        }
        if asked["env"]:
            settings |= {"job_type": [*settings["job_type"], "deploy"], "env_name": asked["env"]}
        configuration = en.G5kConf.from_settings(**settings)
        for layer, wanted in asked["layers"].items():
            self._add(configuration, layer, wanted, sites)
        return configuration

    def _add(self, configuration: Any, layer: str, wanted: dict[str, Any], sites: dict[str, str]) -> None:
        cluster = wanted["cluster"] or wanted["servers"][0].split("-")[0]
        if cluster not in sites:
            what = f"layers.{layer}: Grid'5000 has no cluster {cluster!r}"
            raise Failure("configuration", what, f"choose one of {', '.join(sorted(sites))}")
        network = _network(configuration, wanted["network"], sites[cluster])
        chosen = {"servers": wanted["servers"]} if wanted["servers"] else {"cluster": cluster}
        configuration.add_machine(
            roles=[layer], nodes=wanted["nodes"], primary_network=network, reservable_disks=wanted["disks"], **chosen
        )

    def _looks(self, provider: Any) -> list[Look]:
        jobs: list[Any] = provider.driver.jobs
        for job in jobs:
            job.refresh()
        return [
            Look(
                f"job {job.uid} on {job.site}", job.state, job.state == "running", job.state in ALIVE.split(","),
                getattr(job, "scheduled_at", None), f": {job.message}" if getattr(job, "message", None) else "",
            ) for job in jobs
        ]  # fmt: skip

    def _wait(self, provider: Any) -> None:
        look = partial(self._persist, partial(self._looks, provider), "asking for the state of jobs")
        await_running(look, self._request, self._channel)

    def destroy(self) -> list[str]:
        """Delete every job of this name on every site; a site that does not answer keeps none of the others from it."""
        done, unanswered = [], []
        excluded = get_api_client().excluded_sites
        for site in self._persist(get_all_sites_obj, "looking for sites"):
            if site.uid in excluded:
                continue
            try:
                done += self._persist(partial(self._delete_at, site), f"giving back at {site.uid}")
            except Exception as error:
                logging.exception("giving back at %s", site.uid)
                unanswered.append(f"{site.uid}: {explain(error).details['what']}")
        if unanswered:
            raise Failure("api", f"could not look for jobs at {'; '.join(unanswered)}", "`estran clean` tries again")
        return done

    def _delete_at(self, site: Any) -> list[str]:
        jobs = self._jobs_at(site)
        for job in jobs:
            job_delete(job, wait=True)
        return [f"job {job.uid} on {site.uid}" for job in jobs]


def _check_credentials() -> None:
    """Without a file of credentials that can be read EnOSlib goes on anonymously, which fails later outside of Grid'5000."""
    inside = socket.getfqdn().endswith("grid5000.fr")
    path = Path(os.environ["HOME"]) / FILE
    remedy = f"write your Grid'5000 name and password to ~/{FILE}, as `username: …` and `password: …`, readable by you alone"
    if not path.exists() and not inside:
        raise Failure("credentials", f"there is no ~/{FILE}", remedy)
    if get_api_client().username is None and not inside:
        raise Failure("credentials", f"~/{FILE} has no user name, or cannot be read", remedy)


def _usable(provider: Any) -> dict[str, list[Any]]:
    """Hosts by layer: all whose deployment did not fail; EnOSlib forgets what it deployed at its first try if it tries again."""
    usable: dict[str, list[Any]] = {}
    for host in provider.hosts:
        if host not in provider.undeployed:
            _, address = host.primary_network.translate([host.fqdn])[0]
            usable.setdefault(host.roles[0], []).append(host.to_enoslib(address=address))
    return usable


def _network(configuration: Any, kind: str, site: str) -> Any:
    """The network of this kind on this site; one for all layers that ask for the same."""
    name = f"{kind}-{site}"
    found = [network for network in configuration.networks if network.id == name]
    if not found:
        configuration.add_network(id=name, type=kind, roles=[name], site=site)
    return found[0] if found else configuration.networks[-1]


def _plain(job: Any) -> dict[str, Any]:
    started = getattr(job, "started_at", None) or None
    walltime = getattr(job, "walltime", None)
    return {
        "site": job.site,
        "id": str(job.uid),
        "state": job.state,
        "starts_at": started or getattr(job, "scheduled_at", None),
        "ends_at": started + walltime if started and walltime else None,
        "nodes": list(getattr(job, "assigned_nodes", []) or []),
    }
