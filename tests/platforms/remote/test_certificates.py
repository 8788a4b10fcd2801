"""Certificates of a run: what they say, where they go, and who gets in with which."""

from __future__ import annotations

import asyncio
import datetime
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from estran.checks import transports
from estran.errors import TransportError
from estran.platforms.remote.bootstrap import local_host
from estran.platforms.remote.certificates import Authority, Identity, equip
from estran.platforms.remote.certificates import keep as keep_here
from estran.runtime.clock import RealClock
from estran.runtime.launch import Security
from estran.runtime.transport import ChannelSpec, Transport
from estran.runtime.zenoh_transport import ZenohTransport

CLOCK = RealClock(time.monotonic_ns())
CHANNEL = ChannelSpec("secret/channel", "acknowledged", 8)
CHECKS = (
    transports.order_without_loss,
    transports.large_frames,
    transports.latest_ends_with_the_newest,
    transports.backpressure,
    transports.many_channels,
)


def free_endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tls/127.0.0.1:{probe.getsockname()[1]}"


def keep(folder: Path, authority: Authority, identity: Identity) -> Security:
    folder.mkdir()
    security = Security(str(folder / "authority.pem"), str(folder / "certificate.pem"), str(folder / "key.pem"))
    Path(security.authority).write_bytes(authority.certificate)
    Path(security.certificate).write_bytes(identity.certificate)
    Path(security.key).write_bytes(identity.key)
    return security


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Security]:
    """Two hosts of this run, one of another run, and one of this run whose certificate is for another address."""
    folder = tmp_path_factory.mktemp("tls")
    ours, other = Authority("today", 60), Authority("yesterday", 60)
    made = {
        "fog-0": (ours, ours.issue("fog-0", ["127.0.0.1"])),
        "edge-0": (ours, ours.issue("edge-0", ["127.0.0.1"])),
        "elsewhere": (ours, ours.issue("edge-1", ["127.0.0.99"])),
        "yesterday": (other, other.issue("edge-0", ["127.0.0.1"])),
        "replayed": (ours, other.issue("edge-0", ["127.0.0.1"])),
        "expired": (ours, _expired(ours)),
    }
    return {name: keep(folder / name, *pair) for name, pair in made.items()}


def _expired(authority: Authority) -> Identity:
    """A certificate of this run's authority that ended an hour ago."""
    now, until = datetime.datetime.now(datetime.UTC), authority._until
    authority._until = (now - datetime.timedelta(hours=3), now - datetime.timedelta(hours=1))
    try:
        return authority.issue("edge-0", ["127.0.0.1"])
    finally:
        authority._until = until


def test_a_certificate_names_its_host_and_holds_until_a_day_after_the_run() -> None:
    authority = Authority("a-run", walltime=3600)
    found = x509.load_pem_x509_certificate(authority.issue("edge-0", ["10.0.0.7", "edge.example.org"]).certificate)
    names = found.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    assert isinstance(names, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.DNSName) == ["edge-0", "edge.example.org"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]
    assert found.not_valid_after_utc - found.not_valid_before_utc == datetime.timedelta(days=1, hours=2)
    found.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate))


def test_a_key_does_not_show_in_what_is_printed() -> None:
    identity = Authority("a-run", 1).issue("edge-0", [])
    assert b"PRIVATE KEY" in identity.key
    assert "PRIVATE KEY" not in repr(identity)


async def test_keys_are_only_in_the_scratch_folder_and_go_with_it() -> None:
    authority = Authority("a-run", 60)
    async with local_host("edge-0", "certificates-test") as host:
        found = (await equip({"edge-0": host}, lambda name: ["127.0.0.1"], authority))["edge-0"]
        assert found.key.startswith(host.facts["scratch"])
        assert Path(found.key).stat().st_mode & 0o777 == 0o600
        context = ssl.create_default_context(cafile=found.authority)
        context.load_cert_chain(found.certificate, found.key)  # they belong together
    assert not Path(found.key).exists()


def test_files_of_a_key_are_the_users_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        security = keep_here("edge-0", ["127.0.0.1"], Authority("a-run", 60), tmp_path / "tls")
    finally:
        os.umask(before)
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700
    assert {Path(file).stat().st_mode & 0o777 for file in (security.key, security.certificate, security.authority)} == {0o600}


async def test_half_open_connections_and_noise_keep_nobody_out(known: dict[str, Security]) -> None:
    """Who has no certificate may connect and say nothing, or anything: hosts of the run get in beside them."""
    async with listening(known["fog-0"]) as endpoint:
        port = int(endpoint.rpartition(":")[2])
        sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
        for number, one in enumerate(sockets):
            with suppress(OSError):
                one.send(
                    [b"", b"\x16\x03\x01", b"\x16\x03\x01\xff\xff" + b"\xff" * 5000, b"GET / HTTP/1.1\r\n\r\n", os.urandom(4000)][
                        number % 5
                    ]
                )
        assert await gets_through(endpoint, known["edge-0"], 20.0)
        for one in sockets:
            one.close()


@asynccontextmanager
async def listening(security: Security) -> AsyncIterator[str]:
    endpoint = free_endpoint()
    async with ZenohTransport([endpoint], [], CLOCK, security=security) as consumer:
        receiver = await consumer.receiver(CHANNEL)

        async def confirm() -> None:
            while True:
                receiver.done((await receiver.receive()).seq)

        task = asyncio.create_task(confirm())
        yield endpoint
        task.cancel()


async def gets_through(endpoint: str, security: Security | None, patience: float) -> bool:
    async with ZenohTransport([], [endpoint], CLOCK, security=security) as producer:
        sender = await producer.sender(CHANNEL)
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await sender.send([b"hello"])
                await sender.drain()
                return True
        return False


async def test_only_hosts_of_this_run_get_in(known: dict[str, Security]) -> None:
    async with listening(known["fog-0"]) as endpoint:
        for stranger in ("yesterday", "replayed", "expired"):
            assert not await gets_through(endpoint, known[stranger], 1.0), stranger
        # Without a certificate: by another program, since zenoh itself would not even dial.
        port = int(endpoint.rpartition(":")[2])
        context = ssl.create_default_context(cafile=known["fog-0"].authority)
        with (
            pytest.raises((ssl.SSLError, ConnectionError)),
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
        ):
            wrapped.recv(1)
        assert not await gets_through(endpoint.replace("tls/", "tcp/"), None, 0.5)
        assert await gets_through(endpoint, known["edge-0"], 10.0)


async def test_who_is_dialled_must_be_the_host_that_was_meant(known: dict[str, Security]) -> None:
    async with listening(known["elsewhere"]) as endpoint:
        assert not await gets_through(endpoint, known["edge-0"], 1.0)
    for stranger in ("replayed", "expired"):
        async with listening(known[stranger]) as endpoint:
            assert not await gets_through(endpoint, known["edge-0"], 1.0)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_streams_keep_their_promises_over_tls(check: transports.Check, known: dict[str, Security]) -> None:
    @asynccontextmanager
    async def pair() -> AsyncIterator[tuple[Transport, Transport]]:
        endpoint = free_endpoint()
        async with (
            ZenohTransport([], [endpoint], CLOCK, security=known["edge-0"]) as producer,
            ZenohTransport([endpoint], [], CLOCK, security=known["fog-0"]) as consumer,
        ):
            yield producer, consumer

    await check(pair)


async def test_missing_certificates_are_named() -> None:
    nowhere = Security("/nowhere/authority.pem", "/nowhere/certificate.pem", "/nowhere/key.pem")
    with pytest.raises(TransportError, match="no zenoh session") as error:
        async with ZenohTransport([free_endpoint()], [], CLOCK, security=nowhere):
            pass
    assert "/nowhere/certificate.pem" in str(error.value)
