"""An access point: it passes on what it is sent."""

from __future__ import annotations

from estran.components.messages import Samples
from estran.runtime.component import Component
from estran.runtime.ports import Input, Output


class Relay(Component):
    """Passes each message on, one after the other."""

    samples: Input[Samples]
    forwarded: Output[Samples]

    async def run(self) -> None:
        """Pass messages on until cancelled."""
        async for message in self.samples:
            payload = await self.compute(_checked, message.payload, operation="forward")
            await self.forwarded.send(payload, parent=message.story)


def _checked(samples: Samples) -> Samples:
    return samples
