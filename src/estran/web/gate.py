"""Who may ask this server for what: it runs code of nobody, shows files of one person, and listens on this machine only.

A page anywhere on the web can make a browser send requests to 127.0.0.1. What keeps it from reading or changing anything:

- the ``Host`` header must name this server, so that no foreign name can be rebound to this address;
- a link that is printed once, and opens once, is exchanged for a cookie that scripts cannot read and that no foreign page's request
  carries (``HttpOnly``, ``SameSite=Strict``);
- what changes something also needs a token that only our own pages hold, and must come from our own origin;
- our pages load nothing from elsewhere, and nobody may frame them.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ENTER: Final = "/enter"
SCRAPED: Final = ("/metrics", "/grafana.json")
"""What Prometheus may read with a token of its own."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILE_POLICY: Final = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""For reports, which are files of run folders that may come from anybody: they run in an origin of their own, and reach nothing."""
SAFE: Final = ("GET", "HEAD")


def _drawn() -> str:
    return secrets.token_urlsafe(32)


@dataclass
class Access:
    """The secrets of one server.

    Attributes
    ----------
    port
        Where it listens.
    scraping
        What Prometheus shows as its bearer token; None where it has none.
    """

    port: int
    scraping: str | None = None
    csrf: str = field(default_factory=_drawn, repr=False)
    _session: str = field(default_factory=_drawn, repr=False)
    _token: str | None = field(default_factory=_drawn, repr=False)

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a request may call this server."""
        return (f"127.0.0.1:{self.port}", f"localhost:{self.port}")

    @property
    def cookie(self) -> str:
        """Name of the cookie: of this port, as browsers do not tell ports apart."""
        return f"estran-{self.port}"

    def link(self, path: str = "/") -> str:
        """The address that opens the page, once."""
        return f"http://127.0.0.1:{self.port}{ENTER}?token={self._token}&to={path}"

    def enter(self, token: str) -> str | None:
        """Exchange the token for the cookie's value; None if it is wrong or was used before."""
        if self._token is None or not _same(token, self._token):
            return None
        self._token = None
        return self._session

    def knows(self, headers: Headers) -> bool:
        """Whether a request carries the cookie."""
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        return self.cookie in cookies and _same(cookies[self.cookie].value, self._session)

    def scrapes(self, headers: Headers) -> bool:
        """Whether a request carries the token for Prometheus."""
        return self.scraping is not None and _same(headers.get("authorization", ""), f"Bearer {self.scraping}")

    def ours(self, headers: Headers) -> bool:
        """Whether a request that changes something comes from a page of ours."""
        own = {f"http://{host}" for host in self.hosts}
        return headers.get("origin") in own and _same(headers.get("x-estran-csrf", ""), self.csrf)


def _same(given: str, wanted: str) -> bool:
    """Compare in a time that does not tell how much was right."""
    return hmac.compare_digest(given.encode(), wanted.encode())


class Gate:
    """Lets through what `Access` allows, and puts the rules for browsers on every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope, Headers(scope=scope))
        await (refusal or self._app)(scope, receive, _guarded(send))

    def _refusal(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        path = str(scope["path"])
        if headers.get("host") not in self._access.hosts:
            return PlainTextResponse("This server answers to 127.0.0.1 and localhost only.\n", 421)
        if path == ENTER and scope["method"] == "GET":  # who only asks for the head does not use the link up
            return None
        if path in SCRAPED and self._access.scrapes(headers):
            return None
        if not self._access.knows(headers):
            return PlainTextResponse("Open the link that `estran watch` printed: it works once, for one browser.\n", 401)
        if scope["method"] not in SAFE and not self._access.ours(headers):
            return PlainTextResponse("Only the page itself may ask for this.\n", 403)
        return None


def _guarded(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("content-security-policy", POLICY)
            headers.setdefault("cache-control", "no-store")
            headers["x-content-type-options"] = "nosniff"
            headers["referrer-policy"] = "no-referrer"
            headers["cross-origin-resource-policy"] = "same-origin"
            headers["cross-origin-opener-policy"] = "same-origin"
        await send(message)

    return guarded
