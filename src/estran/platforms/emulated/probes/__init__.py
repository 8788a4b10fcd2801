"""Measuring links before the workload starts."""
