"""Experiments around the fragments that pages show."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.docs.pages import ROOT, Block, written

Map = dict[str, Any]

PLACES = {
    "publish": ("trainer", "publish"),
    "publish_every": ("trainer", "publish", "every"),
    "serving": ("detector", "serving"),
    "learner": ("trainer", "learner"),
    "pool": ("detector", "batch", "max_size"),
}
"""Where a factor of a fragment is used, in the settings of a service of the example."""

KEYS = {"layers", "network", "services", "streams", "factors", "claims", "faults"}
"""What a fragment may have."""

PEERS = """
experiment: peers
layers: {site: {hosts: 3, device: cloud-vm-2}}
services:
  camera: {on: site, component: source, with: {rate: 10/s}}
  peer: {on: site, component: gossip, with: {learner: softmax}}
  detector: {on: site, component: predictor}
streams:
  - {from: camera.samples, to: [peer.samples, detector.samples]}
  - {from: peer.models, to: detector.models, delivery: latest}
"""
SPLIT = """
experiment: split
layers: {edge: {hosts: 2, device: cloud-vm-2}, cloud: {hosts: 1, device: cloud-vm-2}}
services:
  camera: {on: edge, component: source, with: {rate: 10/s}}
  front: {on: edge, component: split-front}
  back: {on: cloud, component: split-back}
streams: [{from: camera.samples, to: front.samples}]
"""
TOGETHER = """
experiment: together
layers: {site: {hosts: 3, device: cloud-vm-2}}
services:
  camera: {on: site, component: source, with: {rate: 10/s}}
  detector: {on: site, component: predictor}
streams:
  - {from: camera.samples, to: detector.samples}
"""


def read(text: str) -> Any:
    """What YAML says, as plain values."""
    return YAML(typ="safe", pure=True).load(text)


def write(document: Map, folder: Path) -> Path:
    """Write an experiment file."""
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(document, text)
    file = folder / "experiment.yaml"
    file.write_text(text.getvalue(), encoding="utf-8")
    return file


def completed(block: Block) -> Map:
    """An experiment that has what the fragment says, and what that needs besides."""
    text = block.text
    if block.text.startswith("  - "):
        text = f"streams:\n{text}"
    elif block.text.startswith("  trainer:"):
        text = f"services:\n{text}"
    if "with:" in text.splitlines()[0]:
        return _simulating(read(text)["with"])
    fragment: Map = read(text)
    assert fragment.keys() <= KEYS, f"{block}: of an experiment are not {sorted(fragment.keys() - KEYS)}"
    whole = _base(block)
    if "services" in fragment:
        whole["services"] |= fragment["services"]
    if "streams" in fragment:
        news = fragment["streams"]
        whole["streams"] = news + [stream for stream in whole["streams"] if not _ends(stream) & set().union(*map(_ends, news))]
    for name, factor in fragment.get("factors", {}).items():
        if f"${{{name}}}" in str(fragment.get("faults")):
            whole["factors"][name] = factor
        else:
            _use(whole, name, factor)
    return whole | {key: value for key, value in fragment.items() if key in ("claims", "faults", "layers", "network")}


def _base(block: Block) -> Map:
    text = block.text
    if "rehearser" in text or "recalls" in text:
        found = written("docs/how-to/distributed-rehearsal.md", "yaml")
    elif "server.rounds" in text:
        found = written("docs/how-to/federated.md", "yaml")
    elif "peer.peers" in text:
        found = PEERS
    elif "front.activations" in text:
        found = SPLIT
    elif "ddp-trainer" in text:
        found = TOGETHER
    else:
        found = (ROOT / "examples" / "visual-inspection" / "experiment.yaml").read_text(encoding="utf-8")
    whole: Map = read(found)
    whole.pop("claims", None)
    return whole


def _ends(stream: Map) -> set[tuple[str, str]]:
    """The connections of a stream."""
    to = stream["to"]
    return {(stream["from"], one) for one in ([to] if isinstance(to, str) else to)}


def _use(whole: Map, name: str, factor: Any) -> None:
    if name not in whole["factors"]:
        service, *path, last = PLACES[name]
        settings = whole["services"][service].setdefault("with", {})
        for key in path:
            settings = settings.setdefault(key, {})
        if name == "publish":
            whole["factors"].pop("publish_every")
        settings[last] = f"${{{name}}}"
    whole["factors"][name] = factor


def _simulating(settings: Map) -> Map:
    whole: Map = copy.deepcopy(read(written("docs/how-to/own-simulator.md", "yaml")))
    whole["services"]["ensemble"]["with"] = settings
    return whole
