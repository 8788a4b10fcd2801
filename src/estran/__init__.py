"""Estran: repeatable experiments with AI workflows across edge, fog, cloud and HPC hosts."""

__version__ = "0.1.0"
