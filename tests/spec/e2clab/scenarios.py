"""Scenarios in the style of those that are published, one for each dialect, and a writer of them."""

from __future__ import annotations

from pathlib import Path

from estran.errors import SpecErrors
from estran.spec.e2clab import Scenario, read_scenario

FIRST = {
    "layers_services.yaml": """---
environment:
  job_name: cctv
  walltime: 02:00:00
  g5k:
    job_type: ["allow_classic_ssh"]
    cluster: parasilo
  iotlab:
    cluster: grenoble
monitoring:
  type: tig
  provider: g5k
  network: shared
layers:
- name: cloud
  services:
  - name: Server
    environment: g5k
    quantity: 1
    port: 8080
- name: edge
  services:
  - name: Client
    environment: g5k
    repeat: 3
  - name: Producer
    environment: iotlab
    archi: rpi3:at86rf233
""",
    "network.yaml": """---
networks:
- src: cloud.*
  dst: edge.*
  delay: "92ms"
  rate: "10gbit"
  loss: 2
""",
    "workflow.yaml": """---
- hosts: cloud.*, edge.*
  prepare:
    - debug: msg="{{ working_dir }}"
- hosts: cloud.server.*
  launch:
    - shell: nohup python3 /opt/server.py &
      become: yes
- hosts: edge.client.*
  depends_on:
    service_selector: cloud.server.*
    prefix: server
  launch:
    - shell: python3 /opt/client.py --server {{ server.url }} --me {{ _self._id }}
""",
}

SECOND = {
    "layers_services.yaml": """---
environment:
  job_name: learning
  walltime: "01:00:00"
  g5k:
    job_type: ["deploy"]
    env_name: debian11-big
    cluster: gros
    firewall_rules: [{services: [cloud.*], ports: [80]}]
provenance:
  provider: g5k
  dataflow_spec: spec.py
layers:
- name: cloud
  services:
  - {name: Coordinator, quantity: 1, roles: [monitoring]}
- name: edge
  services:
  - {name: Worker, quantity: 3, roles: [monitoring], env: {batch: 32}}
""",
    "network.yaml": """---
networks:
- {src: cloud, dst: edge, delay: "10ms", rate: "100mbit", loss: "0.5%", symmetric: true}
""",
    "workflow.yaml": """---
- hosts: cloud.coordinator.1.1
  prepare:
    - copy: {src: "{{ working_dir }}/coordinator.py", dest: /tmp/coordinator.py, mode: 0644}
  launch:
    - shell: python3 /tmp/coordinator.py --rounds {{ env_rounds }}
      async: 3600
      poll: 0
  finalize:
    - fetch: {src: /tmp/model.bin, dest: "{{ working_dir }}/results", validate_checksum: no}
- hosts: edge.worker.*
  depends_on:
    - {service_selector: cloud.coordinator.1.1, grouping: round_robin, prefix: coordinator}
    - {service_selector: edge.worker.*, grouping: aggregate, prefix: worker}
  launch:
    - shell: echo {{ coordinator.__address__ }} {{ worker1_2.url }}
""",
    "workflow_env.yaml": """---
short: {rounds: 3, name: a}
long: {rounds: 300, name: b}
""",
}

THIRD = {
    "layers_services.yaml": """environment:
  job_name: pipeline
  walltime: "00:30:00"
  cluster: paradoxe
  g5k: {job_type: [], queue: default}
monitoring: {type: dstat, options: -m -c -n}
kwollect: {metrics: [wattmetre_power_watt], step: launch}
layers:
- name: fog
  services:
  - {name: Gateway, quantity: 2}
- name: cloud
  services:
  - {name: Store}
""",
    "network.yaml": "networks: null\n",
    "workflow.yaml": """- hosts: fog.gateway.*
  vars: {port: 9000}
  depends_on:
    - {service_selector: "cloud.*", grouping: asarray, array_info: hostname, prefix: stores}
  prepare:
    - ansible.builtin.file: {path: /tmp/gateway, state: directory}
  launch:
    - name: start the gateway
      ansible.builtin.shell: ./gateway --port {{ port }} --stores {{ stores | join(',') }}
      args: {chdir: /tmp/gateway}
""",
}

DIALECTS = {"first": FIRST, "second": SECOND, "third": THIRD}


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def read(folder: Path, files: dict[str, str], **changed: str) -> Scenario:
    """Read a scenario, files replaced by the names of keywords such as ``network``."""
    return read_scenario(write(folder, files | {f"{name}.yaml": text for name, text in changed.items()}))


def mistakes(folder: Path, files: dict[str, str], **changed: str) -> list[str]:
    """What is wrong with a scenario, each as ``file:line:column: what → remedy``, without the folder."""
    try:
        read(folder, files, **changed)
    except SpecErrors as errors:
        return [str(error).replace(f"{folder}/", "").replace("\n  ", " ") for error in errors.errors]
    return []
