"""Searching the levels of factors for the best deployment."""
