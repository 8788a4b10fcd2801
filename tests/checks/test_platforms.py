"""The emulated platform passes the suite that third parties run on theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from estran.checks import platforms
from estran.platforms.emulated.platform import EmulatedPlatform


@pytest.mark.parametrize("engine", [None, "loopback"])
@pytest.mark.parametrize("check", platforms.CHECKS, ids=lambda check: check.__name__)
async def test_the_emulated_platform(check: platforms.Check, engine: str | None, tmp_path: Path) -> None:
    await check(EmulatedPlatform(engine), tmp_path)
