"""What distinguishes one setting of an experiment from another, whatever the seed and however long it was measured."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

from estran.errors import EstranError

_APART: Final = ("seed", "measure", "claims")


def setting(folder: Path) -> str | None:
    """A digest of a run's resolved description without seed and duration, or None where the folder holds none.

    Raises
    ------
    EstranError
        If the description is damaged.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    path = folder / "experiment.yaml"
    if not path.exists():
        return None
    try:
        document = YAML(typ="safe").load(path)
        told = {key: value for key, value in document.items() if key not in _APART}
    except (YAMLError, AttributeError) as error:
        raise EstranError("this is no resolved description", where=str(path), remedy="run the experiment again") from error
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]
