"""Streams of labelled rows: generators from the literature, and recorded rows split into tasks."""
