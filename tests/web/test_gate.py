"""What the server lets through, tried on the real one: tokens, cookies, names, changes, paths."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

import pytest

from estran.errors import RequestError
from estran.web.app import Pages
from estran.web.index import Index, key_of
from estran.web.server import listen, scraping_token

from .served import Served, served

PATHS = ("/", "/compare", "/static/page.js", "/api/list", "/metrics", "/grafana.json", "/run/0123456789abcdef")


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_told_without_the_cookie(server: Served, path: str) -> None:
    assert server.ask(path, cookie=None).status == 401
    assert server.ask(path, cookie=f"{server.access.cookie}=guessed").status == 401


def test_the_link_opens_once(root: Path) -> None:
    with served([root]) as one:
        link = one.access.link().removeprefix(one.origin)
        assert one.ask(link.replace("token=", "token=x")).status == 403
        assert one.ask(link, "HEAD").status == 401
        answer = one.enter()
        attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
        assert attributes == {"httponly", "samesite=strict", "path=/"}
        assert one.ask("/").status == 200
        again = one.ask(link)
        assert again.status == 403
        assert "set-cookie" not in again.headers
        assert one.access.link().endswith("token=None&to=/")


@pytest.mark.parametrize("to", ["https://evil.example/", "//evil.example", "/\\evil", "javascript:alert(1)", "/run/../x"])
def test_the_link_leads_nowhere_else(root: Path, to: str) -> None:
    with served([root]) as one:
        answer = one.ask(one.access.link(to).removeprefix(one.origin))
        assert answer.status == 200
        assert 'content="0;url=/"' in answer.text
        assert "evil" not in answer.text


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:{port}", None]
)
def test_a_foreign_name_that_leads_here_is_refused(server: Served, host: str | None) -> None:
    name = None if host is None else host.format(port=server.access.port)
    assert server.ask("/", host=name).status in (400, 421)
    assert server.ask("/", host=f"localhost:{server.access.port}").status == 200


def test_changes_need_the_pages_token_and_origin(server: Served, root: Path) -> None:
    folder = root / "runs" / "visual-inspection" / "other"
    path = f"/api/run/{key_of(folder)}/report"
    good = {"origin": server.origin, "x_estran_csrf": server.access.csrf}
    for bad in (
        {},
        good | {"x_estran_csrf": "guessed"},
        good | {"origin": "http://evil.example"},
        {"x_estran_csrf": server.access.csrf},
        {"origin": server.origin},
    ):
        assert server.ask(path, "POST", **bad).status == 403
    assert server.ask(path, "POST", cookie=None, **good).status == 401
    assert not (folder / "report.html").exists()
    assert server.ask(path, "GET", **good).status == 405
    assert server.ask(path, "POST", **good).data == {"made": "report.html"}
    assert (folder / "report.html").exists()
    (folder / "report.html").unlink()


def test_nothing_is_changed_without_the_pages_token_and_origin(server: Served, root: Path) -> None:
    """Whatever there is to be changed: every route that takes more than questions."""
    run, study = key_of(root / "runs" / "visual-inspection" / "done"), key_of(root / "studies" / "placements")
    routes = Pages(Index([root]), server.access, None, lambda: False).routes()
    changing = [route.path for route in routes if not (route.methods or set()) <= {"GET", "HEAD"}]
    assert len(changing) >= 2
    for path in changing:
        place = path.format(key=study if "study" in path else run)
        for bad in (
            {},
            {"origin": server.origin},
            {"origin": "null", "x_estran_csrf": server.access.csrf},
            {"x_estran_csrf": server.access.csrf},
        ):
            assert server.ask(place, "POST", **bad).status == 403
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            assert server.ask(place, method).status == 403


def test_noise_and_half_open_connections_keep_nobody_out(server: Served) -> None:
    port = server.access.port
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    for number, one in enumerate(sockets):
        with suppress(OSError):
            one.send(
                [
                    b"",
                    b"GET / HT",
                    b"\xff" * 5000,
                    b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000,
                    b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
                ][number % 5]
            )
    assert server.ask("/").status == 200
    for one in sockets:
        one.close()
    assert server.ask("/").status == 200


def test_it_listens_on_this_machine_only() -> None:
    with listen(0) as sock:
        assert sock.getsockname()[0] == "127.0.0.1"


SECRETS = ("etc/passwd", "run.json", "web/gate.py")


@pytest.mark.parametrize(
    "path",
    [
        "/run/../../../../etc/passwd",
        "/run/..%2f..%2fetc%2fpasswd",
        "/run/%2e%2e/report",
        "/api/run/../runs/logs",
        "/api/run/..%2f..%2f..%2fetc/logs",
        "/static/../gate.py",
        "/static/..%2fgate.py",
        "/static/assets/run.js",
        "/static/%2fetc%2fpasswd",
        "/api/run/runs%2fvisual-inspection%2fdone/drawing",
        "/run/%252e%252e%252fetc%252fpasswd",
        "/static/%252e%252e%252fgate.py",
        "/static//etc/passwd",
        "/static/%00",
        "/run/%c0%ae%c0%ae%2fx/report",
        "/static/..\\gate.py",
    ],
)
def test_no_path_leads_out(server: Served, path: str) -> None:
    answer = server.ask(path)
    assert answer.status == 404
    assert b"root:" not in answer.body
    assert b"hmac" not in answer.body


def test_names_of_logs_and_numbers_of_pages_are_looked_up(server: Served, root: Path) -> None:
    run, study = key_of(root / "runs" / "visual-inspection" / "done"), key_of(root / "studies" / "placements")
    for name in ("../../run", "..%2f..%2frun.json", "/etc/passwd", "../logs/camera-0"):
        assert server.ask(f"/api/run/{run}/logs?name={name}").data["lines"] == []
    assert server.ask(f"/study/{study}/pages/0").status == 200
    for number in ("1", "-1", "..", "0/.."):
        assert server.ask(f"/study/{study}/pages/{number}").status == 404
    assert server.ask(f"/run/{study}").status == 404
    assert server.ask(f"/study/{run}").status == 404


def test_links_out_of_a_folder_are_not_followed(server: Served, root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.html"
    secret.write_text("a secret")
    folder, study = root / "runs" / "visual-inspection" / "done", root / "studies" / "placements"
    for place in (folder / "report.html", study / "a.html", folder / "logs" / "a.log"):
        place.symlink_to(secret)
    try:
        assert server.ask(f"/run/{key_of(folder)}/report").status == 404
        assert b"a secret" not in server.ask(f"/study/{key_of(study)}/pages/0").body
        assert b"a secret" not in server.ask(f"/api/run/{key_of(folder)}/logs").body
    finally:
        for place in (folder / "report.html", study / "a.html", folder / "logs" / "a.log"):
            place.unlink()


def test_browsers_are_told_to_load_nothing_from_elsewhere(server: Served, root: Path) -> None:
    for path in PATHS:
        headers = server.ask(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
    page = server.ask(f"/study/{key_of(root / 'studies' / 'placements')}/pages/0")
    assert page.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")
    assert "allow-same-origin" not in page.headers["content-security-policy"]


def test_prometheus_has_a_token_for_its_figures_only(root: Path, tmp_path: Path) -> None:
    token = scraping_token(tmp_path / "token")
    assert token is not None
    assert scraping_token(tmp_path / "token") == token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    with served([root], scraping=token) as one:
        for path in ("/metrics", "/grafana.json"):
            assert one.ask(path, authorization=f"Bearer {token}").status == 200
            assert one.ask(path, authorization="Bearer guessed").status == 401
            assert one.ask(path).status == 401
        assert one.ask("/api/list", authorization=f"Bearer {token}").status == 401
        assert one.ask("/metrics", authorization=f"Bearer {token}", host="evil.example").status == 421
        assert one.ask("/metrics", "POST", authorization=f"Bearer {token}").status in (403, 405)


@pytest.mark.parametrize(("content", "mode", "said"), [("x" * 30, 0o644, "others"), ("short", 0o600, "short"), (None, 0, "cannot")])
def test_a_token_that_is_none_is_refused(tmp_path: Path, content: str | None, mode: int, said: str) -> None:
    path = tmp_path / "token" if content else tmp_path / "absent" / "token"
    if content:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(RequestError, match=said):
        scraping_token(path)


def test_a_taken_port_is_told() -> None:
    with listen(0) as sock, pytest.raises(RequestError, match="cannot listen on port"):
        listen(sock.getsockname()[1])
    with pytest.raises(RequestError):
        listen(70_000)
