"""Certificates of one run: an authority that lives in memory, and for each host one certificate whose key goes nowhere but there.

X.509 version 3 (RFC 5280) with keys on the curve P-256. Who shows a certificate of another run, or of no authority, is refused by
both ends, and so is who is dialled under a name that is not in the certificate.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from estran.errors import RequestError
from estran.platforms.remote.host import RemoteHost
from estran.platforms.remote.together import together
from estran.runtime.launch import Security

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

EARLIER: Final = datetime.timedelta(hours=1)
LATER: Final = datetime.timedelta(days=1)
"""A certificate holds from so long before it is made, for clocks that are behind, until so long after the run must be over."""

_OWN_FILES_ONLY: Final = 0o600


@dataclass(frozen=True, slots=True)
class Identity:
    """A host's certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


class Authority:
    """Signs the certificates of one run; its own key never leaves this process's memory.

    Parameters
    ----------
    run_id
        Goes into its name.
    walltime
        Seconds that the run may take.
    """

    def __init__(self, run_id: str, walltime: float) -> None:
        _require()
        self._key = _new_key()
        now = datetime.datetime.now(datetime.UTC)
        self._until = (now - EARLIER, now + datetime.timedelta(seconds=walltime) + LATER)
        self._name = _name(f"estran {run_id}"[:64])
        self._certificate = self._sign(self._name, self._key.public_key(), _of_authority())

    @property
    def certificate(self) -> bytes:
        """What others must know to trust it, PEM."""
        return _pem(self._certificate)

    def issue(self, host: str, addresses: Collection[str]) -> Identity:
        """Make a key and a certificate for a host.

        Parameters
        ----------
        addresses
            IP addresses and names by which it is dialled, besides its own name.
        """
        key = _new_key()
        return Identity(_pem(self._sign(_name(host), key.public_key(), _of_host([host, *addresses]))), _pem_of_key(key))

    def _sign(
        self, subject: x509.Name, key: EllipticCurvePublicKey, extensions: Sequence[tuple[x509.ExtensionType, bool]]
    ) -> x509.Certificate:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(self._until[0]).not_valid_after(self._until[1])
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._key, hashes.SHA256())


async def equip(
    hosts: Mapping[str, RemoteHost], addresses: Callable[[str], Collection[str]], authority: Authority
) -> dict[str, Security]:
    """Give every host a certificate, its key and the authority's certificate, in its scratch folder; say where they are.

    Raises
    ------
    PlatformError
        If a host cannot keep them.
    """
    return await together({name: _equip(host, authority, addresses(name)) for name, host in hosts.items()})


def keep(name: str, addresses: Collection[str], authority: Authority, folder: Path) -> Security:
    """Make a host's certificate, and keep it in a folder of this machine that only its user can read."""
    identity = authority.issue(name, addresses)
    folder.mkdir(mode=0o700, parents=True)
    files = {"authority.pem": authority.certificate, "certificate.pem": identity.certificate, "key.pem": identity.key}
    for file, content in files.items():
        (folder / file).touch(mode=_OWN_FILES_ONLY)
        (folder / file).write_bytes(content)
    return Security(*(str(folder / file) for file in files))


async def _equip(host: RemoteHost, authority: Authority, addresses: Collection[str]) -> Security:
    identity = await asyncio.to_thread(authority.issue, host.name, addresses)
    folder = f"{host.facts['scratch']}/tls"
    security = Security(f"{folder}/authority.pem", f"{folder}/certificate.pem", f"{folder}/key.pem")
    await host.put_bytes(identity.key, security.key, mode=_OWN_FILES_ONLY)
    await host.put_bytes(identity.certificate, security.certificate, mode=_OWN_FILES_ONLY)
    await host.put_bytes(authority.certificate, security.authority, mode=_OWN_FILES_ONLY)
    return security


def _require() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise RequestError("certificates need the package cryptography", remedy="pip install 'estran[ssh]'") from error


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _name(name: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _of_authority() -> list[tuple[x509.ExtensionType, bool]]:
    from cryptography import x509

    return [(x509.BasicConstraints(ca=True, path_length=0), True), (_usage(sign_certificates=True), True)]


def _of_host(names: Sequence[str]) -> list[tuple[x509.ExtensionType, bool]]:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    both_ends = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    known = x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(names)])
    return [(x509.BasicConstraints(ca=False, path_length=None), True), (_usage(), True), (both_ends, False), (known, False)]


def _usage(sign_certificates: bool = False) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not sign_certificates, key_cert_sign=sign_certificates, crl_sign=sign_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_of_key(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    return key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
