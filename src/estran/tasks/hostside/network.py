"""What a host fetches from elsewhere, and what it waits for."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import socket
import tempfile
import time
from typing import Any

from estran.tasks.hostside import attributes
from estran.tasks.hostside.files import digest
from estran.tasks.hostside.outcome import Failed, boolean, needed, number
from estran.tasks.hostside.placing import place

OFFERED = ("get_url", "wait_for")
FIRST_LOOK = 0.02


def get_url(arguments: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Fetch a file by its address."""
    url = needed(arguments, "url").strip()
    dest = os.path.expanduser(os.path.expandvars(needed(arguments, "dest")))
    kind, wanted = expected(arguments, url)
    known = None if os.path.isdir(dest) else dest
    force = boolean(arguments, "force")
    there = known is not None and os.path.exists(known)
    if there and known is not None and not force and wanted is not None and digest(known, kind) == wanted:
        changed = attributes.settle(known, arguments, changed=False)
        return {"dest": known, "url": url, "changed": changed, "msg": "file already exists"}
    since = os.path.getmtime(dest) if there and not force and wanted is None else None
    began = time.monotonic()
    answer = opened(url, arguments, since)
    if answer is None:
        changed = attributes.settle(dest, arguments, changed=False)
        told = {"msg": "HTTP Error 304: Not Modified", "status_code": 304, "elapsed": int(time.monotonic() - began)}
        return {"dest": dest, "url": url, "changed": changed, **told}
    with contextlib.closing(answer):
        path = dest if known is not None else os.path.join(dest, file_name(answer, url))
        return received(answer, path, arguments, kind, wanted, url, began)


def expected(arguments: dict[str, Any], url: str) -> tuple[str, str | None]:
    """Kind and value of the checksum that is asked for; it may stand in a file at another address."""
    given = arguments.get("checksum")
    if not given:
        return "sha1", None
    kind, colon, value = given.partition(":")
    if not colon or kind not in hashlib.algorithms_available:
        raise Failed("The checksum parameter has to be in format <algorithm>:<checksum>")
    if not re.match("[a-z]+://", value):
        return kind, re.sub(r"\W", "", value).lower()
    answer = opened(value, arguments, None)
    lines = [] if answer is None else answer.read().decode(errors="replace").split("\n")
    name = url.rsplit("/", 1)[-1]
    pairs = [line.split() for line in lines if line.strip()]
    named = [pair[0] for pair in pairs if len(pair) > 1 and pair[1].lstrip("*./").endswith(name)]
    alone = [pair[0] for pair in pairs if len(pair) == 1 and len(pairs) == 1]
    if not named + alone:
        raise Failed(f"Unable to find a checksum for file '{name}' in '{value}'")
    return kind, (named + alone)[0].lower()


def opened(url: str, arguments: dict[str, Any], since: float | None) -> Any:
    """Open an address; None if it has not changed since a time."""
    import ssl  # here, since these take longer to import than all else that a worker does
    import urllib.error
    import urllib.request
    from email.utils import formatdate

    agent = arguments.get("http_agent") or "ansible-httpget"
    request = urllib.request.Request(url, headers={"User-Agent": agent})  # noqa: S310 - the task says which; file: too
    for name, value in (arguments.get("headers") or {}).items():
        request.add_header(name, value)
    user = arguments.get("url_username")
    if user:
        words = "{}:{}".format(user, arguments.get("url_password") or "")
        request.add_header("Authorization", "Basic " + base64.b64encode(words.encode()).decode())
    if since is not None:
        request.add_header("If-Modified-Since", formatdate(since, usegmt=True))
    context = ssl.create_default_context()
    if not boolean(arguments, "validate_certs", True):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    https = urllib.request.HTTPSHandler(context=context)
    proxies = [] if boolean(arguments, "use_proxy", True) else [urllib.request.ProxyHandler({})]
    try:
        return urllib.request.build_opener(https, *proxies).open(request, timeout=number(arguments, "timeout", 10))
    except urllib.error.HTTPError as error:
        if error.code == 304:
            return None
        told = {"status_code": error.code, "response": str(error), "url": url, "dest": arguments["dest"]}
        raise Failed("Request failed", **told) from None
    except (urllib.error.URLError, OSError) as error:
        raise Failed(f"Request failed: {error}", url=url, dest=arguments["dest"], elapsed=0) from None


def file_name(answer: Any, url: str) -> str:
    """Name of the file that an answer brings."""
    found = re.search('filename="?([^";]+)', answer.headers.get("Content-Disposition") or "")
    return os.path.basename(found.group(1) if found else answer.geturl().split("?")[0].rstrip("/")) or "index.html"


def received(
    answer: Any, path: str, arguments: dict[str, Any], kind: str, wanted: str | None, url: str, began: float
) -> dict[str, Any]:
    """Take the content, verify it and put it into its place."""
    descriptor, staged = tempfile.mkstemp(prefix="estran-", dir=arguments.get("tmp_dest"))
    try:
        size = 0
        with os.fdopen(descriptor, "wb") as file:
            for piece in iter(lambda: answer.read(1 << 18), b""):
                file.write(piece)
                size += len(piece)
        if wanted is not None and digest(staged, kind) != wanted:
            found = digest(staged, kind)
            raise Failed(f"The checksum for {path} did not match {wanted}; it was {found}.", url=url, dest=path)
        before = digest(path) if os.path.isfile(path) else None
        done = place(dict(arguments, dest=path, staged=staged, force=True), b"")
    finally:
        os.unlink(staged)
    status = None if url.startswith("file:") else answer.status
    told = {"url": url, "status_code": status, "checksum_src": done.pop("checksum"), "checksum_dest": before}
    return dict(done, **told, msg=f"OK ({length(answer, size)})", elapsed=int(time.monotonic() - began))


def length(answer: Any, size: int) -> str:
    """Size as the server tells it."""
    told = answer.headers.get("Content-Length")
    return "unknown bytes" if told is None else f"{size} bytes"


def wait_for(arguments: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Wait until a port or a file is there, or has gone."""
    wanted = arguments.get("state") or "started"
    if wanted not in ("started", "present", "stopped", "absent"):
        raise Failed(f"value of state must be one of: absent, present, started, stopped, got: {wanted}")
    port, path = number(arguments, "port", None), arguments.get("path")
    if port is not None and path is not None:
        raise Failed("port and path parameter can not both be passed to wait_for", elapsed=0)
    began, timeout = time.monotonic(), number(arguments, "timeout", 300)
    time.sleep(number(arguments, "delay", 0))
    found: dict[str, Any] = {"match_groups": [], "match_groupdict": {}}
    if port is None and path is None:
        time.sleep(timeout)
    else:
        awaited(arguments, wanted in ("started", "present"), began, timeout, found)
    elapsed = int(time.monotonic() - began)
    told = {"state": wanted, "port": port, "search_regex": arguments.get("search_regex"), "path": path, "elapsed": elapsed}
    return dict(told, changed=False, **found)


def awaited(arguments: dict[str, Any], there: bool, began: float, timeout: float, found: dict[str, Any]) -> None:
    """Look, ever more seldom, until it is so; fail when the time is over."""
    pause = FIRST_LOOK
    longest = number(arguments, "sleep", 1)
    while bool(seen(arguments, found)) is not there:
        if time.monotonic() - began >= timeout:
            elapsed = int(time.monotonic() - began)
            raise Failed(arguments.get("msg") or late(arguments, there), elapsed=elapsed)
        time.sleep(min(pause, longest, max(0.0, began + timeout - time.monotonic())))
        pause *= 1.5


def late(arguments: dict[str, Any], there: bool) -> str:
    """Say for what was waited in vain."""
    pattern, path, port = arguments.get("search_regex"), arguments.get("path"), arguments.get("port")
    place_ = path if path is not None else "{}:{}".format(arguments.get("host") or "127.0.0.1", port)
    if there and pattern:
        return f"Timeout when waiting for search string {pattern} in {place_}"
    if path is not None:
        return "Timeout when waiting for {} {}".format("file" if there else "to be absent", path).replace("for to", "for file to")
    return "Timeout when waiting for {}".format(place_ if there else place_ + " to stop.")


def seen(arguments: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether the port answers, or the file is there, with what is searched in it."""
    pattern = arguments.get("search_regex")
    path = arguments.get("path")
    if path is not None:
        if pattern is None:
            return os.path.exists(path)
        try:
            with open(path, "rb") as file:
                return fits(pattern, file.read(), found)
        except OSError:
            return False
    place_ = (arguments.get("host") or "127.0.0.1", int(arguments["port"]))
    try:
        with socket.create_connection(place_, number(arguments, "connect_timeout", 5)) as connection:
            if pattern is None:
                return True
            heard = b""
            while not fits(pattern, heard, found):
                some = connection.recv(1024)
                if not some:
                    return False
                heard += some
            return True
    except OSError:
        return False


def fits(pattern: str, content: bytes, found: dict[str, Any]) -> bool:
    """Whether a pattern occurs; its groups are noted."""
    match = re.search(pattern.encode(), content, re.MULTILINE)
    if match is None:
        return False
    found["match_groups"] = [group.decode(errors="replace") for group in match.groups()]
    found["match_groupdict"] = {name: group.decode(errors="replace") for name, group in match.groupdict().items()}
    return True
