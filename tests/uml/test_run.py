"""A whole run in a kernel that has netem and cgroup v2: the rungs that most laboratories will use."""

from __future__ import annotations

import json

import pytest

from tests.uml.harness import requires_uml, run_in_uml

pytestmark = [pytest.mark.uml, requires_uml]

MODULES = ("veth", "sch_netem", "sch_htb", "cls_u32")

RUN = """
import json, os, sys
from pathlib import Path
import duckdb
sys.path.insert(0, os.getcwd())
from tests.run.experiments import TINY, estran, left_groups, left_processes, record, run_folder, write

HUNGRY = '''
import os, time
if os.path.exists("fed"):
    time.sleep(60)
open("fed", "w").close()
eaten = bytearray(b"x") * (40 << 20)
time.sleep(60)
'''

folder = Path("/tmp/experiment")
folder.mkdir()
(folder / "hungry.py").write_text(HUNGRY)
# One slow processor for all: little to send, and time enough for everyone to get connected.
text = TINY.replace("delay: 10ms, rate: 20mbit", "delay: 30ms, rate: 4mbit").replace("rate: 40}", "rate: 20}")
text = text.replace("warmup: 0.3s, duration: 1.5s", "warmup: 1s, duration: 4s")
text = text.replace("network:", '''  shed: {hosts: 1, device: mote}
devices:
  mote: {like: raspberry-pi-4, memory: 24MiB}
network:''')
text = text.replace("streams:", '''  hungry: {on: shed, command: [python3, -IS, /tmp/experiment/hungry.py], restart: on-failure}
streams:''')
write(folder, text)
done = estran("run", "experiment.yaml", "--json", cwd=folder, timeout=100)
run = run_folder(folder)
network = json.loads((run / "network.json").read_text()) if (run / "network.json").exists() else None
messages = str(run / "messages.parquet")
query = "SELECT min(received - sent), count(*), count(DISTINCT seq), max(seq) + 1 FROM read_parquet(?) GROUP BY origin"
print(json.dumps({
    "status": done.returncode,
    "said": done.stderr[-2000:],
    "record": record(folder),
    "network": network,
    "messages": duckdb.execute(query, [messages]).fetchall() if done.returncode == 0 else [],
    "left": left_processes(run.name) + [str(path) for path in left_groups(run.name)],
}))
"""


def test_a_run_on_netem_and_cgroup_v2() -> None:
    result = json.loads(run_in_uml(RUN, modules=MODULES, timeout=150).splitlines()[-1])
    run, network = result["record"], result["network"]
    assert result["status"] == 0, (result["said"], run["failure"])
    assert run["status"] == "done"
    facts = network["facts"]
    assert (facts["engine"]["engine"], facts["limiter"]) == ("netem", "cgroup2")
    assert facts["engine_ladder"]["netem"]["works"]
    for link in network["links"]:
        assert link["ok"], link["complaint"]
        assert link["measured"]["delay"] == pytest.approx(0.030, abs=0.001)
        assert link["measured"]["rate"] == pytest.approx(4e6, rel=0.06)
    assert all(cpu["ok"] for cpu in network["cpus"])
    assert len(result["messages"]) == 2
    for fastest, count, distinct, numbered in result["messages"]:
        assert fastest >= 0.0299
        assert count == distinct == numbered > 20
    exceeded = "was restarted: was killed for exceeding the memory of its device (24MiB for all services of shed-0)"
    assert f"hungry-0 on shed-0 {exceeded}" in run["warnings"]
    assert result["left"] == []
