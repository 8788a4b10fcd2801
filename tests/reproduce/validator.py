"""The validator of RO-Crates without a network: what it would fetch lies beside this file:
the JSON-LD context of RO-Crate 1.1 (CC0).
"""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import requests
from requests.adapters import BaseAdapter

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
FILE = Path(__file__).parent / "ro-crate-1.1-context.jsonld.gz"


class _Shipped(BaseAdapter):
    """Answers from the file."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        from urllib3 import HTTPResponse

        response = requests.Response()
        response.status_code, response.url, response.request = 200, str(request.url), request
        response.headers["Content-Type"] = "application/ld+json"
        body = io.BytesIO(gzip.decompress(FILE.read_bytes()))
        response.raw = HTTPResponse(body=body, headers=dict(response.headers), status=200, preload_content=False)
        return response

    def close(self) -> None: ...


def warm(cache: Path) -> None:
    """Put what the validator needs into its cache."""
    from requests_cache import CachedSession

    with CachedSession(str(cache), backend="sqlite", expire_after=-1) as session:
        session.mount("https://", _Shipped())
        assert session.get(CONTEXT, headers={"Accept": "application/ld+json, application/json"}).status_code == 200


def complaints(crate: Path, profile: str, cache: Path, severity: str = "REQUIRED") -> list[str]:
    """What the validator finds wrong with a crate, by one profile and those below it."""
    from rocrate_validator import services
    from rocrate_validator.models import Severity, ValidationSettings

    settings = ValidationSettings(
        rocrate_uri=str(crate),
        profile_identifier=profile,
        requirement_severity=getattr(Severity, severity),
        offline=True,
        cache_path=cache,
    )
    result = services.validate(settings)
    return [f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()]
