"""Devices and links with public figures, as data files; a description may add its own."""

from __future__ import annotations

from estran.spec.catalogue.loader import device_entries, devices, link_entries, links

__all__ = ["device_entries", "devices", "link_entries", "links"]
