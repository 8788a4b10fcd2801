"""Hosts of an inventory, reached over SSH."""
