"""Estran for Python: the verbs as functions, for scripts and notebooks. Use them from `estran` itself."""
