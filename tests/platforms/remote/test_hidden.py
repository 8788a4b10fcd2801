"""Faults that nobody could bring about, since hosts are behind NAT: said by the plan, before any host is reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from estran.run.prepare import prepare

EXPERIMENT = """\
experiment: apart
layers:
  edge:  {hosts: 2, device: raspberry-pi-4}
  fog:   {hosts: 1, device: jetson-orin-nano}
  cloud: {hosts: 1, device: cloud-vm-2}
services:
  meter: {on: edge, command: sleep 9}
faults:
  seen: {cut: [fog, cloud], at: 1s, for: 1s}
  dead: {crash: edge-0, at: 1s, for: 1s}
  never: {cut: [edge, fog], at: 2s, for: 0s}
  far:
    cut: [edge, cloud]
    at: 3s
measure: {duration: 5s}
network:
  - {between: [edge, fog], delay: 1ms}
  - {between: [fog, cloud], delay: 1ms}
  - {between: [edge, cloud], delay: 1ms}
"""
SITE = "platform: ssh\nhosts:\n  - {host: 'node[1-4].lab', labels: [edge, fog, cloud]}\n"
MIXED = "platform: mixed\nlayers: {edge: site.yaml, fog: site.yaml, cloud: site.yaml}\n"


@pytest.mark.parametrize("file", [SITE, MIXED], ids=["ssh", "mixed"])
def test_faults_of_links_of_hosts_behind_nat_are_refused_with_their_place(file: str, tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    (tmp_path / "site.yaml").write_text(SITE)
    lab = tmp_path / "lab.yaml"
    lab.write_text(file)
    before = prepare(str(tmp_path), on=str(lab)).problems
    assert [one for one in before if one.where.startswith("faults.")] == []
    lab.write_text(file + "gateway: cloud\nbehind: [edge]\n")
    found = [one for one in prepare(str(tmp_path), on=str(lab)).problems if one.where.startswith("faults.")]
    assert [(one.where, one.fatal) for one in found] == [("faults.far", True)]
    assert "links of edge-0: it is behind NAT" in found[0].what
    assert str(found[0]).startswith(f"{tmp_path / 'experiment.yaml'}:12:3: faults.far: no cut of links")
