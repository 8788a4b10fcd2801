"""What the provisioner says while it works: one JSON object a line."""

from __future__ import annotations

import json
import logging
from typing import Any, TextIO


class Channel:
    """Writes JSON lines; what goes wrong in between goes to standard error, which is the provisioner's log.

    Attributes
    ----------
    begun
        Whether the testbed may have reserved something by now.
    undone
        Whether all of it was given back.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.begun = False
        self.undone = False

    def say(self, word: str, /, **details: Any) -> None:
        """Write one line."""
        self._out.write(json.dumps({"say": word, **details}) + "\n")
        self._out.flush()

    def progress(self, text: str) -> None:
        """Say what is being waited for."""
        self.say("progress", text=text)


class Forward(logging.Handler):
    """Passes on as progress what EnOSlib logs for its user."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(logging.INFO)
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        self._channel.progress(record.getMessage())
