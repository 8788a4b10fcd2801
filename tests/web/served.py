"""The real server in a thread, and a client that does exactly what it is told."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from estran.web.gate import Access
from estran.web.server import listen, serve


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Served:
    access: Access
    cookie: str = ""
    answers: list[Answer] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.access.port}"

    def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str | None) -> Answer:
        """One request; header names with ``_`` for ``-``; None leaves a header out that would be sent."""
        sent: dict[str, str | None] = {"Host": f"127.0.0.1:{self.access.port}", "Cookie": self.cookie or None}
        sent |= {"Content-Length": str(len(body))} if body else {}
        sent |= {name.replace("_", "-").title(): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.access.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            response = connection.getresponse()
            return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())
        finally:
            connection.close()

    def enter(self) -> Answer:
        """Use the one-time link, and keep the cookie."""
        answer = self.ask(self.access.link().removeprefix(self.origin))
        self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return answer

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """A stream's events until its end."""
        connection = http.client.HTTPConnection("127.0.0.1", self.access.port, timeout=30)
        try:
            connection.request("GET", path, headers={"Cookie": self.cookie})
            response = connection.getresponse()
            name = "message"
            for line in response:
                text = line.decode().rstrip("\n")
                if text.startswith("event: "):
                    name = text[7:]
                elif text.startswith("data: "):
                    yield name, text[6:] if name == "end" else json.loads(text[6:])
        finally:
            connection.close()


@contextmanager
def served(roots: Sequence[Path], *, awaited: str | None = None, scraping: str | None = None) -> Iterator[Served]:
    """A server until the block ends; it must end by itself then."""
    loop = asyncio.new_event_loop()
    over = asyncio.Event()
    with listen(0) as sock:
        access = Access(sock.getsockname()[1], scraping)

        async def until() -> None:
            await over.wait()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(sock, access, roots, awaited=awaited, until=until),))
        thread.start()
        try:
            yield Served(access)
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join(10)
            assert not thread.is_alive(), "the server did not end"
            loop.close()
