"""The shapes of E2Clab's files, all dialects together, as pydantic models: what they refuse is wrong in each of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, StrictBool, StrictInt, StringConstraints

from estran.units import QuantityError, parse

Text = Annotated[str, StringConstraints(min_length=1)]
_WORDS: Final = {"msecs": "ms", "msec": "ms", "usecs": "us", "usec": "us", "nsecs": "ns", "nsec": "ns", "secs": "s"}
_BYTES: Final = {"bps": 1e0, "kbps": 1e3, "mbps": 1e6, "gbps": 1e9, "tbps": 1e12}


def _quantity(read: Callable[[Any], Any]) -> PlainValidator:
    """Read a quantity; what is wrong with it is told as the units tell it."""

    def checked(value: Any) -> Any:
        from pydantic_core import PydanticCustomError

        try:
            return read(value)
        except QuantityError as error:
            raise PydanticCustomError("quantity", "{what}", {"what": error.what, "remedy": error.remedy}) from None

    return PlainValidator(checked)


def read_delay(value: Any) -> tuple[float, float]:
    """Delay and jitter in seconds, of ``50ms`` or ``50ms 5ms``; raises `QuantityError`."""
    parts = str(value).split()
    if len(parts) not in (1, 2) or isinstance(value, bool):
        raise QuantityError(f"{value!r} is not a delay", "write 10ms, or 10ms 2ms for a delay and its jitter")
    words = [re.sub(r"[a-z]+$", lambda unit: _WORDS.get(unit[0], unit[0]), part.lower()) for part in parts]
    delay, jitter = parse(words[0], "duration"), parse(words[1], "duration") if len(words) == 2 else 0.0
    return delay, jitter


def in_bytes(value: Any) -> bool:
    """Whether a rate is one of those that ``tc`` counts in bytes per second: ``10mbps``."""
    return re.sub(r"[\d\s._]", "", str(value)).lower() in _BYTES


def read_rate(value: Any) -> float:
    """Bits per second, as ``tc`` reads them: ``mbps`` counts bytes, a bare number bits; raises `QuantityError`."""
    text = str(value).strip()
    if in_bytes(value):
        unit = re.sub(r"[\d\s._]", "", text).lower()
        rate = 8 * _BYTES[unit] * float(re.sub(r"[a-z\s]+$", "", text.lower()))
    else:
        rate = parse(f"{text}bit" if re.fullmatch(r"[\d.]+", text) else text, "rate")
    if rate == 0:
        raise QuantityError(f"{value!r} is out of range: it must be more than zero", "write 100mbit or 1gbit")
    return rate


def read_loss(value: Any) -> float:
    """A fraction, of ``5%`` or, as ``tc`` reads it, of a number of per cent; raises `QuantityError`."""
    text = str(value).strip()
    try:
        return parse(f"{text}%" if re.fullmatch(r"[\d.]+", text) and not isinstance(value, bool) else text, "fraction")
    except QuantityError as error:
        raise QuantityError(error.what, "write a share of all packets, such as 0.5%") from None


def _items(value: Any) -> Any:
    """Take one item for a list of one, nothing for none."""
    return [] if value is None else value if isinstance(value, list) else [value]


def joined(value: Any) -> Any:
    """Take a list of selectors for their union."""
    return ",".join(map(str, value)) if isinstance(value, list) and all(isinstance(item, str) for item in value) else value


def _listed(value: Any) -> Any:
    return [] if value is None else value


def _mapped(value: Any) -> Any:
    return {} if value is None else value


def clock(value: Any) -> Any:
    """Take the seconds that YAML 1.1 makes of ``01:00:00`` without quotes for what was written."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value // 3600:02d}:{value % 3600 // 60:02d}:{value % 60:02d}"
    return value


Walltime = Annotated[str, BeforeValidator(clock), StringConstraints(pattern=r"^\d+:[0-5]\d(:[0-5]\d)?$")]
Words = Annotated[tuple[Text, ...], BeforeValidator(_items)]
Selector = Annotated[Text, BeforeValidator(joined)]
Free = Annotated[dict[str, Any], BeforeValidator(_mapped)]
Tasks = Annotated[list[Any], BeforeValidator(_listed)]


class Open(BaseModel):
    """A block that may have keys of its own beside the known ones."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Closed(BaseModel):
    """A block that has the known keys only."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Common(Open):
    """What a testbed's settings and those of all testbeds have in common."""

    job_name: Text | None = None
    walltime: Walltime | None = None
    cluster: Text | None = None


class TestbedEntry(Common):
    """Settings of one testbed."""

    job_type: Words = ()
    queue: Text | None = None
    env_name: Text | None = None
    key_name: Text | None = None
    reservation: Text | None = None
    firewall_rules: list[dict[str, Any]] | None = None
    ipv6: StrictBool | None = None
    rc_file: Text | None = None
    image: Text | None = None
    profile: Text | None = None
    monitor: Text | None = None


class ServiceEntry(Open):
    """A service of a layer."""

    name: Text
    quantity: Annotated[StrictInt, Field(ge=1, le=10_000)] = 1
    repeat: Annotated[StrictInt, Field(ge=0, le=10_000)] = 0
    roles: Words = ()
    env: Free = Field(default_factory=dict)
    environment: Text | None = None
    cluster: Text | None = None
    servers: Words = ()
    archi: Text | None = None
    image: Text | None = None


class LayerEntry(Closed):
    """A layer: its services."""

    name: Text
    services: Annotated[list[dict[str, Any]], Field(min_length=1)]


class NetworkEntry(Closed):
    """A rule of the network."""

    src: Selector
    dst: Selector
    delay: Annotated[tuple[float, float], _quantity(read_delay)] = (0.0, 0.0)
    rate: Annotated[float | None, _quantity(read_rate)] = None
    loss: Annotated[float, _quantity(read_loss)] = 0.0
    symmetric: StrictBool = False


class DependencyEntry(Closed):
    """A dependency of a play."""

    service_selector: Selector
    prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    grouping: Literal["round_robin", "asarray", "aggregate", "address_match"] = "round_robin"
    array_info: Literal["id", "hostname", "g5k_ipv6_hostname"] = "id"


class PlayEntry(Open):
    """A play."""

    hosts: Selector
    depends_on: Annotated[list[DependencyEntry], BeforeValidator(_items)] = Field(default_factory=list)
    prepare: Tasks = Field(default_factory=list)
    launch: Tasks = Field(default_factory=list)
    finalize: Tasks = Field(default_factory=list)


Configurations = dict[str, Annotated[dict[str, str | StrictBool | StrictInt | float], BeforeValidator(_mapped)]]
