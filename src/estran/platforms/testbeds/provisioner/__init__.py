"""Runs in EnOSlib's environment, by whatever Python that has: standard library and EnOSlib only, nothing of Estran.

One process serves one command. A JSON object comes in on standard input, JSON lines go out on standard output; the last says
``done`` or ``failed``.
"""
