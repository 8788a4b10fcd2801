"""Reads a testbed's platform file, with every error at its file:line:column, and says what it will cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from estran.platforms.cost import Cost
from estran.spec.document import Document, read_file
from estran.spec.suggest import did_you_mean

if TYPE_CHECKING:
    from estran.platforms.testbeds.models import TestbedFile

NOT_BUILT = {
    "chameleon-edge": "its devices run containers without SSH",
    "vmong5k": "reserve bare nodes (provider: g5k) instead",
    "distem": "reserve bare nodes (provider: g5k) instead",
    "fabric": "use its own client, and name its nodes in a platform file of kind ssh",
    "static": "name the nodes in a platform file of kind ssh",
}
"""What EnOSlib could provide and Estran does not take from it, and why or what instead."""


def read_testbed_file(path: Path) -> TestbedFile:
    """Read a platform file of kind ``testbed``.

    Raises
    ------
    SpecErrors
        All that is wrong with it.
    """
    return asked_in(read_file(path), path.resolve().parent)


def asked_in(document: Document, folder: Path) -> TestbedFile:
    """Check a document that says ``platform: testbed``. Paths in it count from ``folder``; raises as `read_testbed_file` does."""
    from pydantic import ValidationError

    from estran.spec.findings import findings

    model = _model(document)
    data = _with_paths(document.data, model.folders, folder)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        for found in findings(error, data, model):
            document.complaints.add(found.path, found.what, found.remedy, at="key" if found.on_key else "value")
    document.complaints.stop_if_any()
    raise AssertionError("a document that is refused has something wrong")


def _model(document: Document) -> type[TestbedFile]:
    from estran.platforms.testbeds.models import FILES

    known = {name: model for model in FILES for name in get_args(model.model_fields["provider"].annotation)}
    provider = document.data.get("provider")
    if isinstance(provider, str) and provider in known:
        return known[provider]
    names = sorted(known)
    if "provider" not in document.data:
        document.complaints.add((), "the key 'provider' is missing", f"add provider: (one of {', '.join(names)})")
    elif str(provider) in NOT_BUILT:
        document.complaints.add(("provider",), f"{provider!r} is not built", NOT_BUILT[str(provider)])
    else:
        what = f"{provider!r} is none of {', '.join(names)}"
        document.complaints.add(("provider",), what, did_you_mean(str(provider), names))
    document.complaints.stop_if_any()
    raise AssertionError("a provider that is not known is a complaint")


def _with_paths(data: dict[str, Any], keys: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """Make paths absolute; firmware is a path, too, but of each layer."""
    whole: dict[str, Any] = dict(data)
    for key in keys:
        if isinstance(data.get(key), str):
            whole[key] = str(folder / Path(data[key]).expanduser())
    if data.get("provider") == "iotlab" and isinstance(data.get("layers"), dict):
        layers = data["layers"].items()
        whole["layers"] = {
            name: _with_paths(layer, ("image",), folder) if isinstance(layer, dict) else layer for name, layer in layers
        }
    return whole


def cost(asked: TestbedFile) -> Cost | None:
    """What the reservation costs; None where nobody charges."""
    return Cost(asked.nodes, asked.walltime) if asked.limited else None


def schema_of_testbeds() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of platform files of kind ``testbed``."""
    from pydantic import TypeAdapter

    from estran.platforms.testbeds.models import TestbedFile

    schema = TypeAdapter(TestbedFile).json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Estran testbed"}
