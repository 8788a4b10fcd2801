"""Netlink: encoding and decoding, and what the kernel says when it refuses."""

from __future__ import annotations

import errno
import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import PlatformError
from estran.platforms.emulated.network import namespace, netlink
from estran.platforms.emulated.network.netlink import End, Netlink

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes network namespaces")

rows = st.lists(st.tuples(st.integers(0, netlink.NLA_TYPE_MASK), st.binary(max_size=300)), max_size=20)


@given(rows)
def test_attributes_come_back_as_they_went(row: list[tuple[int, bytes]]) -> None:
    data = b"".join(netlink.attribute(kind, payload) for kind, payload in row)
    assert len(data) % 4 == 0
    assert list(netlink.attributes(data)) == row


@given(rows, st.integers(0, netlink.NLA_TYPE_MASK))
def test_nested_attributes_come_back(row: list[tuple[int, bytes]], outer: int) -> None:
    data = netlink.nested(outer, *(netlink.attribute(kind, payload) for kind, payload in row))
    [(kind, inner)] = netlink.attributes(data)
    assert kind == outer
    assert list(netlink.attributes(inner)) == row


@given(rows.filter(bool), st.data())
def test_cut_attributes_are_refused_or_shorter(row: list[tuple[int, bytes]], data: st.DataObject) -> None:
    whole = b"".join(netlink.attribute(kind, payload) for kind, payload in row)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        read = list(netlink.attributes(cut))
    except ValueError:
        return
    # Only padding, or whole attributes, may be missing from the end.
    assert read == row[: len(read)]


def test_the_layout_is_the_kernels() -> None:
    assert netlink.text(netlink.IFLA_IFNAME, "eth0") == struct.pack("=HH", 9, 3) + b"eth0\0\0\0\0"
    assert netlink.u32(netlink.IFLA_MTU, 1500) == struct.pack("=HHI", 8, 4, 1500)


def test_an_attribute_cannot_be_longer_than_its_length_field() -> None:
    assert len(netlink.attribute(1, bytes(65531))) == 65536
    with pytest.raises(ValueError, match="does not fit"):
        netlink.attribute(1, bytes(65532))


@root
def test_the_kernels_words_reach_the_user() -> None:
    with namespace.returning():
        os.close(namespace.create())
        with Netlink() as own, pytest.raises(PlatformError) as caught:
            own.send([netlink.link_up(1), netlink.link_up(4242), netlink.link_up(4243)])
    assert "interface 4242" in caught.value.what
    assert os.strerror(errno.ENODEV) in caught.value.what
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENODEV


@root
def test_the_kernels_extended_words_reach_the_user() -> None:
    mac = netlink.mac("02:00:00:00:00:01")
    with namespace.returning():
        descriptor = namespace.create()
        try:
            with Netlink() as own:
                pair = netlink.veth(End("here", 50, mac), End("there", 51, mac), descriptor, mtu=1500, queue_length=10)
                own.send([pair])
                with pytest.raises(PlatformError, match="create the link here to there: File exists"):
                    own.send([pair])
                with pytest.raises(PlatformError, match=r"\(.*[Nn]exthop.*\)"):
                    own.send([netlink.add_route(50, "10.1.1.1", gateway="10.9.9.9")])
        finally:
            os.close(descriptor)


@root
def test_a_batch_beyond_one_send_is_done_whole_and_in_order() -> None:
    mac = netlink.mac("02:00:00:00:00:01")
    with namespace.returning():
        descriptor = namespace.create()
        try:
            with Netlink() as own:
                ends = [(End(f"a{i}", 1000 + i, mac), End(f"b{i}", 3000 + i, mac)) for i in range(600)]
                own.send(netlink.veth(*pair, descriptor, mtu=1500, queue_length=10) for pair in ends)
                assert [index for index, _ in socket.if_nameindex()] == [1, *range(1000, 1600), *range(3000, 3600)]
        finally:
            os.close(descriptor)


def test_without_privilege_the_refusal_has_a_remedy() -> None:
    error = netlink._refused(errno.EPERM, "", netlink.link_up(1))
    assert "run as root" in str(error)
