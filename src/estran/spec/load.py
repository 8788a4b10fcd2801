"""Reading an experiment file: text → document → factors → blocks → experiment, with all errors at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Final

from estran.errors import SpecError, SpecErrors
from estran.spec.claim_block import read_claims
from estran.spec.document import Document, read_file, read_text
from estran.spec.factors import PLAIN, check_references, escape, read_factors, substitute
from estran.spec.index import ComponentIndex
from estran.spec.marks import look_up
from estran.spec.model import Experiment, Variation
from estran.spec.overrides import choose

_FOLDER: Final = re.compile(rb"^(\xef\xbb\xbf)?[\"']?folder[\"']?\s*:", re.MULTILINE)


def load(
    path: str | FilePath,
    *,
    assignment: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    components: ComponentIndex | None = None,
) -> Experiment:
    """Read an experiment file.

    Parameters
    ----------
    path
        A YAML file.
    assignment
        A level for some of the factors; the others have their first.
    overrides
        Options ``path=value``, such as ``placement=cloud`` (a factor) or ``network.0.delay=10ms`` (a place in the document).
    components
        What is known of components; without it, their names, ports and settings are not checked.

    Raises
    ------
    SpecErrors
        All that is wrong, in the order of the file, each with file, line and column.
    """
    file = FilePath(path)
    return _experiment(read_file(file), base_folder(file), assignment or {}, overrides, components)


def base_folder(path: FilePath) -> FilePath:
    """The folder that paths and modules in an experiment file start from: its own, or what its ``folder:`` says from there."""
    parent = path.resolve().parent
    try:
        raw = path.read_bytes()
    except OSError:
        return parent
    if not _FOLDER.search(raw):  # reading YAML takes long
        return parent
    named = read_file(path).data.get("folder")
    return (parent / named).resolve() if isinstance(named, str) else parent


def load_text(
    text: str,
    *,
    source: str = "experiment.yaml",
    folder: str | FilePath = ".",
    assignment: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    components: ComponentIndex | None = None,
) -> Experiment:
    """Read an experiment from memory; ``source`` names it in errors. Otherwise as `load`."""
    return _experiment(read_text(text, source), FilePath(folder).resolve(), assignment or {}, overrides, components)


def _experiment(
    document: Document, folder: FilePath, assignment: Mapping[str, Any], overrides: Sequence[str], components: ComponentIndex | None
) -> Experiment:
    from estran.spec.blocks import TOP, as_meant, read_blocks
    from estran.spec.build import Builder
    from estran.spec.build_costs import check_calls
    from estran.spec.fault_references import FaultReferences
    from estran.spec.partial import check_broken
    from estran.spec.references import References

    complaints = document.complaints
    as_meant(document)
    variations = read_factors(document)
    check_references(document, {name: list(one.levels) for name, one in variations.items()})
    choice = choose(document, variations, assignment, overrides, TOP)
    data = substitute(document, choice)
    blocks = read_blocks(data, complaints)
    if "folder" in data and not folder.is_dir():
        complaints.add(("folder",), f"there is no folder {folder}", "name it from where this file is, or leave it out")
    builder = Builder(blocks, complaints)
    layers, network, services = builder.layers(), builder.network(), builder.services()
    streams, measure, faults = builder.streams(), builder.measure(), builder.faults()
    checks = References(layers, services, blocks.declared, complaints, components)
    checks.names()
    for index, entry in blocks.network.items():
        checks.ends(("network", index), entry)
    services = {n: checks.service(s, isinstance(look_up(data, ("services", n, "on")), list)) for n, s in services.items()}
    for index, stream in streams.items():
        checks.stream(index, stream, isinstance(look_up(data, ("streams", index, "to")), list))
    checks.twice(streams)
    for service in services.values():
        checks.share(service)
    check_calls(services, complaints)
    check_broken(data, blocks, builder, checks)
    claims = read_claims(data, variations, complaints)
    checks.until(measure.until)
    FaultReferences(layers, network, services, streams.values(), checks, complaints).check(faults, measure)
    complaints.stop_if_any()
    return Experiment(
        name=blocks.scalars["experiment"],
        seed=blocks.scalars["seed"],
        layers=layers,
        network=network,
        services=services,
        streams=tuple(streams.values()),
        variations=variations,
        assignment=choice.levels,
        measure=measure,
        claims=claims,
        faults=tuple(faults.values()),
        source=document.marks.file,
        folder=str(folder),
        document=_resolved(data, choice.levels),
        title=blocks.scalars["title"],
        description=blocks.scalars["description"],
    )


def _resolved(data: Mapping[str, Any], levels: Mapping[str, Any]) -> dict[str, Any]:
    """The document with all levels written in, and the assignment beside its factors."""
    left_out = ("assignment", "folder")  # the folder is that of one file in one place
    plain = {key: value if key in PLAIN else escape(value) for key, value in data.items() if key not in left_out}
    if levels:
        plain["assignment"] = dict(levels)
    return plain


def check_levels(path: str | FilePath, *, components: ComponentIndex | None = None) -> tuple[SpecError, ...]:
    """Try every other level of each factor, the rest having their defaults, and return what is wrong then.

    Of a range its ends are tried, and of a factor with a condition its levels where it counts.

    A study would meet these errors only when its design gets there. A combination that is right only with another factor's level is
    reported too: the caller shows these as warnings.

    Raises
    ------
    SpecErrors
        If the file is wrong with the defaults already.
    """
    experiment = load(path, components=components)
    found: dict[tuple[str, str], SpecError] = {}
    for name, one in experiment.variations.items():
        around = _counting(name, experiment.variations)
        for level in one.levels:
            if level == one.default:
                continue
            try:
                load(path, assignment={**around, name: level}, components=components)
            except SpecErrors as errors:
                found.update({(str(error.where), error.what): error for error in errors.errors})
    return tuple(found.values())


def _counting(name: str, variations: Mapping[str, Variation]) -> dict[str, Any]:
    """Levels of other factors at which one counts: defaults where they allow it, else the first that do."""
    chosen: dict[str, Any] = {}
    for other, allowed in variations[name].when.items():
        chosen |= _counting(other, variations)
        default = variations[other].default
        chosen[other] = default if default in allowed else allowed[0]
    return chosen
