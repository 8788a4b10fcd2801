"""Namespaces: there and back, gone with their owner, and without root."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from estran.errors import PlatformError
from estran.platforms.emulated.network import namespace

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes network namespaces")
SOURCE = Path(__file__).parents[4] / "src"


def inode(descriptor: int) -> int:
    return os.fstat(descriptor).st_ino


def here() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


@root
def test_entered_goes_there_and_comes_back_even_when_the_body_raises() -> None:
    home = here()
    with namespace.returning():
        made = namespace.create()
        assert here() == inode(made) != home
    assert here() == home
    try:
        with namespace.entered(made):
            assert here() == inode(made)
            assert socket.if_nameindex() == [(1, "lo")]
        assert here() == home
        with pytest.raises(KeyError), namespace.entered(made):
            raise KeyError
        assert here() == home
    finally:
        os.close(made)


@root
def test_sysctls_are_the_namespaces_own() -> None:
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    before = forwarding.read_text()
    with namespace.returning():
        os.close(namespace.create())
        namespace.set_sysctls({"ipv4/ip_forward": "1"})
        assert forwarding.read_text() == "1\n"
        namespace.set_sysctls({"ipv4/ip_forward": "0"})
        assert forwarding.read_text() == "0\n"
    assert forwarding.read_text() == before


@root
def test_a_refused_sysctl_says_which_and_why() -> None:
    with namespace.returning():
        os.close(namespace.create())
        with pytest.raises(PlatformError, match="net/ipv4/tcp_congestion_control to warp: No such file") as caught:
            namespace.set_sysctls({"ipv4/tcp_congestion_control": "warp"})
    assert isinstance(caught.value.__cause__, OSError)


def test_what_is_no_namespace_cannot_be_entered() -> None:
    with Path("/dev/null").open() as file, pytest.raises(PlatformError, match="cannot enter"):
        namespace.enter(file.fileno())


def test_a_process_with_threads_cannot_get_a_user_namespace() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with pytest.raises(PlatformError) as caught:
            namespace.enter_user_namespace()
    finally:
        stop.set()
        thread.join()
    assert "single thread" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"/proc/sys/kernel/unprivileged_userns_clone": "0"}, 1, "unprivileged_userns_clone=1"),
        ({"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"}, 13, "apparmor_restrict_unprivileged_userns=0"),
        ({"/proc/sys/user/max_user_namespaces": "0"}, 28, "max_user_namespaces"),
        ({}, 1, "security profile"),
    ],
)
def test_the_remedy_names_the_setting_that_forbids(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], code: int, words: str
) -> None:
    monkeypatch.setattr(namespace, "_setting", settings.get)
    assert words in namespace._remedy_user_namespace(code)


@root
def test_a_forbidden_user_namespace_is_reported_by_the_setting() -> None:
    done = nobody(
        """
        from estran.platforms.emulated.network import namespace
        namespace.enter_user_namespace()
        open("/proc/sys/user/max_user_namespaces", "w").write("0")
        try:
            namespace.enter_user_namespace()
        except Exception as error:
            print(error)
        """
    )
    assert "cannot make a user namespace" in done
    assert "raise user.max_user_namespaces" in done


@root
def test_without_root_hosts_reach_each_other() -> None:
    done = nobody(
        """
        import os, socket
        from pathlib import Path
        from estran.platforms.emulated.network import namespace
        from estran.platforms.emulated.network.fabric import Fabric
        from estran.platforms.emulated.links.traffic import limited
        from estran.spec.model import LinkSpec

        outside = os.getuid()
        privilege = namespace.acquire_privilege()
        print(outside, privilege, os.getuid(), Path("/proc/self/uid_map").read_text().split())
        with Fabric(["a", "b"], {("a", "b"): LinkSpec(rate=1e7)}) as fabric, limited(fabric):
            with namespace.entered(fabric.hosts["b"].namespace_fd):
                receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                receiver.bind((fabric.address("a", "b"), 0))
            with namespace.entered(fabric.hosts["a"].namespace_fd):
                sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            receiver.settimeout(2)
            sender.sendto(b"over", receiver.getsockname())
            print(receiver.recvfrom(9)[1][0])
        """
    )
    assert done.splitlines() == ["65534 user namespace 0 ['0', '65534', '1']", "10.0.0.1"]


def nobody(program: str) -> str:
    """What a program prints that runs as nobody, with a Python that nobody may execute."""
    for python in (sys.executable, "/usr/bin/python3"):
        command = [python, "-c", "import sys; assert sys.version_info >= (3, 11); import estran.errors"]
        if run_as_nobody(command).returncode == 0:
            done = run_as_nobody([python, "-c", textwrap.dedent(program)])
            if "cannot make a user namespace" in done.stderr:
                pytest.skip(f"user namespaces are forbidden here: {done.stderr.splitlines()[-1]}")
            assert done.returncode == 0, done.stderr
            return done.stdout
    pytest.skip("no Python >= 3.11 that the user nobody may execute")


def run_as_nobody(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(
            command, user=65534, group=65534, extra_groups=[], env=environment, capture_output=True, text=True, timeout=20, cwd="/"
        )
    except OSError as error:
        return subprocess.CompletedProcess(command, 126, "", str(error))
