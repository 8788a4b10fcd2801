"""Hosts that are reached over a connection: SSH, a scheduler's job, or a socket on this machine."""
