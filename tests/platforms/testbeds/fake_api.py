"""A web API of a testbed on this machine: routes, passwords, and faults on demand."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

USER, PASSWORD = "root", "open sesame"


@dataclass
class Fault:
    """The next ``times`` requests that match are answered by ``status``, or by nothing for ``silence`` seconds."""

    method: str
    path: str
    status: int = 503
    times: int = 1
    silence: float = 0.0
    after: bool = False
    """Whether the request is carried out all the same, so that only its answer is lost."""


@dataclass
class Call:
    """One request, as a route gets it."""

    groups: tuple[str, ...]
    query: dict[str, str]
    body: Any
    headers: Any


class Refused(Exception):  # noqa: N818
    """A route's refusal."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status, body)
        self.status, self.body = status, body


Route = Callable[[Call], tuple[int, Any] | tuple[int, Any, dict[str, str]]]


@dataclass
class FakeApi:
    """Serves until the context is left."""

    address: str = "127.0.0.1"
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    routes: list[tuple[str, re.Pattern[str], Route]] = field(default_factory=list)

    def route(self, method: str, path: str, function: Route) -> None:
        self.routes.append((method, re.compile(path), function))

    def admits(self, headers: Any) -> bool:
        """Whether name and password are right."""
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return headers.get("Authorization") == f"Basic {expected}"

    def said(self, text: str) -> Any:
        """How this API words an error."""
        return {"message": text}

    def __enter__(self) -> Self:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                api.answer(self)

            do_POST = do_DELETE = do_PUT = do_PATCH = do_GET  # noqa: N815

        self.server = ThreadingHTTPServer((self.address, 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://{self.address}:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        parts = urlsplit(handler.path)
        path = parts.path.replace("//", "/").rstrip("/") or "/"
        with self.lock:
            self.requests.append(f"{handler.command} {path}")
            fault = self._fault(handler.command, path)
        if fault is None or fault.after:
            status, body, *headers = self._serve(handler, path, parts.query, raw)
        if fault is not None:
            time.sleep(fault.silence)
            status, body, headers = fault.status, self.said("as was ordered by the test"), []
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        for name, value in (headers[0] if headers else {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    def _fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fault.method == method and re.search(fault.path, path):
                fault.times -= 1
                return fault
        return None

    def _serve(self, handler: BaseHTTPRequestHandler, path: str, query: str, raw: bytes) -> tuple[Any, ...]:
        if not self.admits(handler.headers):
            return 401, self.said("who are you?")
        for method, pattern, function in self.routes:
            found = pattern.fullmatch(path)
            if found and method == handler.command:
                try:
                    body = json.loads(raw) if raw else None
                except ValueError:
                    body = raw
                flat = {key: values[0] for key, values in parse_qs(query).items()}
                try:
                    with self.lock:
                        return function(Call(found.groups(), flat, body, handler.headers))
                except Refused as refused:
                    return refused.status, refused.body
        return 404, self.said(f"there is no {path}")
