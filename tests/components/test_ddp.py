"""Process groups of torch.distributed: what they add up, how they end, and what cannot be asked of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from estran.components.ddp import DdpSettings
from estran.components.process_group import interface
from estran.errors import ServiceError
from estran.learning.mistakes import SettingsError
from estran.run.prepare import prepare

pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'estran[torch]'")

MEMBER = """
import asyncio, sys
import torch
from estran.components.process_group import GroupError, ProcessGroup

async def main(rank):
    for number in range(2):  # a group, and another one after it has failed
        async with ProcessGroup("gloo", "127.0.0.1", 10.0) as group:
            port = 0
            if rank == 0:
                port = await group.invite(0)
                print(port, flush=True)
            else:
                port = int(sys.stdin.readline())
            size = 3 - number
            await group.join("127.0.0.1", port, rank, size)
            print((await group.sum(torch.tensor([1.0, 10.0 ** rank]))).tolist(), flush=True)
            if number == 0 and rank == 2:
                return
            if number == 0:
                try:
                    await group.sum(torch.zeros(1))
                except GroupError as error:
                    print("lost", error.what.startswith("the process group could not add up"), flush=True)

asyncio.run(main(int(sys.argv[1])))
"""


def test_a_group_adds_up_and_is_formed_anew_without_the_one_that_has_ended() -> None:
    members = [
        subprocess.Popen([sys.executable, "-c", MEMBER, str(rank)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for rank in range(3)
    ]

    def lines(*ranks: int) -> list[str]:
        return [members[rank].stdout.readline().strip() for rank in ranks]

    def tell(port: str, *ranks: int) -> None:
        for rank in ranks:
            members[rank].stdin.write(port + "\n")
            members[rank].stdin.flush()

    try:
        tell(*lines(0), 1, 2)
        assert lines(0, 1, 2) == ["[3.0, 111.0]"] * 3
        assert lines(0, 1) == ["lost True"] * 2
        tell(*lines(0), 1)
        assert lines(0, 1) == ["[2.0, 11.0]"] * 2
        assert [member.wait(20) for member in members] == [0, 0, 0]
    finally:
        for member in members:
            member.kill()
            member.wait()
            member.stdin.close()
            member.stdout.close()


def test_the_interface_of_an_address_is_found() -> None:
    assert interface("127.0.0.1") == "lo"
    with pytest.raises(ServiceError, match="no network interface"):
        interface("192.0.2.1")


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"learner": "mlp"}, "not with mlp"),
        ({"learner": {"torch.nn:Linear": {}}, "timeout": 1.0, "patience": 2.0}, "timeout is 1s and patience 2s"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        DdpSettings(**settings)


SIMULATED = """
experiment: together
layers: {site: {hosts: 2, device: cloud-vm-2}}
network: [{between: [site, site], delay: 1ms, rate: 100mbit}]
services:
  camera: {on: site, component: source, with: {data: digits, rate: 50/s}}
  trainer: {on: site, component: ddp-trainer, with: {learner: {"torch.nn:Linear": {in_features: 64, out_features: 10}}}}
streams:
  - {from: camera.samples, to: trainer.samples}
  - {from: trainer.meetings, to: trainer.peers, routing: all}
measure: {duration: 1s}
"""


def test_planning_says_that_it_cannot_be_simulated(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(SIMULATED)
    (problem,) = [one for one in prepare(str(tmp_path / "experiment.yaml"), on="simulate").problems if one.fatal]
    assert problem.where == "services.trainer"
    assert "simulated time cannot see" in problem.what
    assert "--on emulate" in (problem.remedy or "")
