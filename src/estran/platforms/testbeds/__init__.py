"""Testbeds through EnOSlib, which provisions in its own process and environment; after that, hosts are reached over SSH."""
