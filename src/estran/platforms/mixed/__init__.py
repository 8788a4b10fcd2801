"""Layers on different platforms in one experiment: inventories, schedulers, testbeds, and emulated hosts on this machine."""
