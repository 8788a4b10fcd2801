"""The live page: a small server on this machine that shows runs as they go, and finished runs and studies alike."""
