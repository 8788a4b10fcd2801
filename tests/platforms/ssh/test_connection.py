"""Hosts over a real sshd: reached by both clients, and every way in which that fails."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from estran.errors import EstranError, PlatformError, RequestError
from estran.platforms.ssh.connection import all_reached, reached
from estran.platforms.ssh.target import Client
from tests.platforms.ssh.sshd import Machine, usable

pytestmark = [usable, pytest.mark.root]
MARK = "test-ssh"
both = pytest.mark.parametrize("client", ["asyncssh", "openssh"])


@both
async def test_eight_hosts_are_reached_side_by_side_and_nothing_stays(hosts: Mapping[str, Machine], client: Client) -> None:
    targets = {name: replace(machine.target, client=client) for name, machine in hosts.items()}
    async with all_reached(targets, MARK) as found:
        done = await asyncio.gather(*(host.run(["hostname", "-I"]) for host in found.values()))
        assert [one.stdout.split()[0].decode() for one in done] == [machine.target.host for machine in hosts.values()]
        assert [host.facts["ssh"].split()[2] for host in found.values()] == [machine.target.host for machine in hosts.values()]
        assert all("envoy" in " ".join(machine.processes()) or len(machine.processes()) > 1 for machine in hosts.values())
    for machine in hosts.values():
        while len(machine.processes()) > 1:  # sshd needs a moment to see the end of its session
            await asyncio.sleep(0.01)


@both
@pytest.mark.parametrize(
    ("changes", "what", "remedy"),
    [
        ({"host": "somewhere", "timeout": 1.0}, "it cannot be reached", "see whether it runs"),
        ({"host": "no-such-host.invalid"}, "there is no host of that name", "correct `host:`"),
        ({"port": 2222}, "nothing listens on its SSH port", "ssh -p 2222"),
        ({"python": "python2.1"}, "there is no python2.1 on it", "install Python ≥ 3.8"),
        ({"python": "false"}, "did not start", "see whether it runs"),
        ({"known_hosts": "/dev/null"}, "its host key is not in known_hosts", "accept-new"),
        ({"keys": ("other",)}, "it refuses every key", "authorized_keys"),
        ({"keys": ("missing",)}, "there is no key", "correct `key:`"),
        ({"known_hosts": "changed"}, "its host key has changed", "ssh-keygen -R"),
    ],
)
async def test_each_failure_has_its_cause_and_remedy(
    hosts: Mapping[str, Machine], home: Path, client: Client, changes: dict[str, Any], what: str, remedy: str
) -> None:
    machine = hosts["h0"]
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / "other")], check=True)
    (home / "changed").write_text(f"{machine.target.host} {(home / 'other.pub').read_text()}")
    if changes.get("host") == "somewhere":
        changes = {**changes, "host": machine.target.host.rpartition(".")[0] + ".99"}
    if "keys" in changes:
        changes = {"keys": tuple(str(home / name) for name in changes["keys"])}
    if changes.get("known_hosts") == "changed":
        changes = {"known_hosts": str(home / "changed")}
    with pytest.raises(EstranError, match=what) as caught:
        async with reached(replace(machine.target, client=client, where="lab.yaml:3:5", **changes), MARK):
            pass
    assert str(caught.value).startswith("lab.yaml:3:5: h0: ")
    assert remedy in str(caught.value.remedy)


@both
async def test_accept_new_notes_the_key_and_then_insists_on_it(hosts: Mapping[str, Machine], home: Path, client: Client) -> None:
    (home / ".ssh").mkdir(mode=0o700)
    # OpenSSH takes the home of the account, whatever HOME says; its own file is not for tests to write.
    known = {"known_hosts": "accept-new"} if client == "asyncssh" else {"known_hosts": str(home / ".ssh" / "known_hosts")}
    target = replace(hosts["h1"].target, client=client, **known)
    if client == "openssh":
        (home / ".ssh" / "known_hosts").write_bytes(Path(str(hosts["h1"].target.known_hosts)).read_bytes())
    async with reached(target, MARK) as host:
        assert (await host.run(["true"])).returncode == 0
    noted = (home / ".ssh" / "known_hosts").read_text()
    assert target.host in noted
    mine = next(line for line in noted.splitlines() if line.startswith(target.host))
    other = mine.replace(target.host, hosts["h2"].target.host) + "\n"
    (home / ".ssh" / "known_hosts").write_text(other)
    with pytest.raises(PlatformError, match="host key has changed"):
        async with reached(replace(target, host=hosts["h2"].target.host), MARK):
            pass


async def test_a_jump_host_of_the_users_settings_is_gone_through(hosts: Mapping[str, Machine], home: Path) -> None:
    near = hosts["h4"].target
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text(f"Host gate\n HostName {near.host}\n User root\n IdentityFile {near.keys[0]}\n")
    (home / ".ssh" / "known_hosts").write_text(Path(str(near.known_hosts)).read_text())
    async with reached(replace(hosts["h3"].target, jump="gate"), MARK) as host:
        assert host.facts["ssh"].split()[0] == near.host


async def test_a_full_disk_is_said_and_its_part_of_a_file_removed(hosts: Mapping[str, Machine], tmp_path: Path) -> None:
    async with reached(hosts["h0"].target, MARK) as host:  # which has mounts of its own
        assert (await host.run(["mount", "-t", "tmpfs", "-o", "size=64k", "estran-test", str(tmp_path)])).returncode == 0
        await host.undo(["umount", str(tmp_path)])
        with pytest.raises(PlatformError, match=r"h0: cannot write .*: No space left on device"):
            await host.put_bytes(b"x" * 1_000_000, str(tmp_path / "large"))
        assert (await host.run(["ls", "-A", str(tmp_path)])).stdout == b""


async def test_of_several_that_cannot_be_reached_all_are_named(hosts: Mapping[str, Machine]) -> None:
    targets = {name: machine.target for name, machine in hosts.items()}
    targets["h2"] = replace(targets["h2"], port=2222)
    targets["h5"] = replace(targets["h5"], python="python2.1")
    with pytest.raises(PlatformError, match=r"2 hosts cannot be used: h2: nothing listens.*; h5: there is no python2.1"):
        async with all_reached(targets, MARK):
            pass


async def test_a_host_whose_power_goes_is_noticed_and_the_others_stay(hosts: Mapping[str, Machine]) -> None:
    targets = {name: hosts[name].target for name in ("h6", "h7")}
    async with all_reached(targets, MARK) as found:
        hosts["h6"].kill()
        assert "has ended" in await asyncio.wait_for(found["h6"].lost(), 20)
        with pytest.raises(PlatformError, match="h6: the connection to its envoy has ended"):
            await found["h6"].run(["true"])
        assert (await found["h7"].run(["true"])).returncode == 0
    hosts["h6"].start()


async def test_without_asyncssh_the_remedy_is_named(hosts: Mapping[str, Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "asyncssh", None)
    with pytest.raises(RequestError, match="asyncssh is not installed"):
        async with reached(hosts["h0"].target, MARK):
            pass
