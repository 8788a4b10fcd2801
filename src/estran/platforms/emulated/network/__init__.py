"""Hosts and wires: network namespaces joined by a routing core, over raw netlink."""
