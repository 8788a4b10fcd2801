"""Virtual machines on this computer, by EnOSlib's provider for Vagrant."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import enoslib as en
import vagrant

from .channel import Channel
from .failures import Failure
from .hosts import plain_hosts
from .persistence import Persistence


class Vagrant:
    """Machines of one name; EnOSlib and Vagrant keep what they know of them in a folder, to which we go."""

    def __init__(self, request: dict[str, Any], channel: Channel, persist: Persistence) -> None:
        self._request = request
        if shutil.which("vagrant") is None:
            raise Failure("not-installed", "there is no program vagrant", "install Vagrant, and libvirt or VirtualBox")
        self._folder = Path.cwd() / f"vagrant-{request['job']}"
        self._folder.mkdir(exist_ok=True)
        os.chdir(self._folder)

    def state(self) -> list[dict[str, Any]]:
        """Machines that were made, as plain data."""
        if not Path("Vagrantfile").exists():
            return []
        found = vagrant.Vagrant(root=str(self._folder)).status()
        return [
            {"site": None, "id": one.name, "state": one.state, "starts_at": None, "ends_at": None, "nodes": [one.name]}
            for one in found
            if one.state != "not_created"
        ]

    def reserve(self) -> dict[str, Any]:
        """Start the machines."""
        asked = self._request
        configuration = en.VagrantConf.from_settings(backend=asked["backend"], box=asked["box"], name_prefix=asked["job"])
        configuration.add_network(cidr=asked["network"], roles=["network"])
        for layer, wanted in asked["layers"].items():
            size = {"core": wanted["cores"], "mem": wanted["memory"]}
            configuration.add_machine(
                roles=[layer],
                flavour_desc=size,
                number=wanted["nodes"],
                name_prefix=f"{asked['job']}-{layer}",
                box=wanted["box"] or asked["box"],
                backend=asked["backend"],
                user="root",
            )
        roles, _ = en.Vagrant(configuration).init()
        hosts = plain_hosts(roles, asked["layers"])
        return {"hosts": hosts, "idle": [], "lost": [], "jobs": self.state(), "ends_at": None}

    def destroy(self) -> list[str]:
        """Destroy the machines and the folder."""
        machines = self.state()
        if Path("Vagrantfile").exists():
            vagrant.Vagrant(root=str(self._folder), quiet_stdout=False, quiet_stderr=False).destroy()
        os.chdir(self._folder.parent)
        shutil.rmtree(self._folder)
        return [f"machine {machine['id']}" for machine in machines]
