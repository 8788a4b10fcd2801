"""``README.md`` of a crate: what a person sees who unpacks it and has never heard of Estran."""

from __future__ import annotations

from collections.abc import Iterator

from estran.reproduce.layout import DOCUMENT, ENVIRONMENT, EXPERIMENT, METADATA, RECORD, Crate
from estran.spec.model import Experiment


def readme(crate: Crate, experiment: Experiment, licence: str | None) -> bytes:
    """The text, the same for the same crate."""
    return "\n".join(_lines(crate, experiment, licence)).encode() + b"\n"


def _lines(crate: Crate, experiment: Experiment, licence: str | None) -> Iterator[str]:
    yield f"# {experiment.title or crate.experiment}"
    if experiment.description:
        yield f"\n{experiment.description.strip()}"
    yield f"\nA {crate.kind} of an experiment with [Estran](https://pypi.org/project/estran/), `{crate.id}`, status {crate.status}."
    yield f"\nTo run it again and compare: install Estran {crate.estran} (a wheel is in `{ENVIRONMENT}/`), then"
    yield "`estran reproduce FILE.zip` with the zip file that this was in."
    yield f"\n- `{EXPERIMENT}/`: the description, code, calibration and data"
    yield f"- `{RECORD}/`: what was recorded and measured"
    yield f"- `{ENVIRONMENT}/`: all that was installed"
    yield f"- `{DOCUMENT}`: index with hashes, roles and claims; `{METADATA}`: the same as RO-Crate"
    yield f"\nIt ran on `{crate.binding.platform}`; what each layer is for, and so what another platform must provide:\n"
    yield "| layer | hosts | like | services |\n|---|---|---|---|"
    for part in crate.parts:
        yield f"| {part.layer} | {part.hosts} | {part.device} | {', '.join(part.services) or '–'} |"
    if crate.claims:
        yield "\nClaims:\n"
        yield from (f"- `{claim}`" for claim in crate.claims)
    if crate.warnings:
        yield "\nTo know before it is used:\n"
        yield from (f"- {warning}" for warning in crate.warnings)
    yield f"\nLicence: {licence or 'none was given; ask the authors before you use it'}."
