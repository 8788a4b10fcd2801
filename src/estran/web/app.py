"""The server's answers: documents, data, one stream of figures per page that is open."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from estran.errors import EstranError, RequestError
from estran.observe.damage import damaged, telling
from estran.report.folder import read_folder
from estran.report.page import NAME as REPORT
from estran.report.page import write_report
from estran.run.hand import LONGEST, ask
from estran.web import comparing, views
from estran.web.charts import beside, charts
from estran.web.drawing import Drawing, draw
from estran.web.following import Following, Followings
from estran.web.gate import ENTER, FILE_POLICY, Access, Gate
from estran.web.index import Index
from estran.web.logs import read_logs
from estran.web.prometheus import TYPE, dashboard, exposition
from estran.web.refusal import Refusal, refused
from estran.web.snapshot import snapshot
from estran.web.studying import pages, study_state

PERIOD: Final = 1.0
"""Seconds between two looks at a run that goes on."""
Endpoint = Callable[[Request], Awaitable[Response]]
_MOST: Final = 2**53
_OURS: Final = re.compile(r"/|/(run|study)/[0-9a-f]{16}")


class Pages:
    """Everything that can be asked for.

    Parameters
    ----------
    awaited
        Key of a run that will begin; its page waits for it.
    ending
        Whether the server is about to end: streams then say their last word.
    """

    def __init__(self, index: Index, access: Access, awaited: str | None, ending: Callable[[], bool]) -> None:
        self._index = index
        self._access = access
        self._awaited = awaited
        self._ending = ending
        self._followings = Followings()

    def routes(self) -> list[Route]:
        """All of them, each with what it says of records that were changed."""
        return [Route(route.path, self._telling(route.endpoint), methods=route.methods) for route in self._routes()]

    def _telling(self, endpoint: Endpoint) -> Endpoint:
        async def told(request: Request) -> Response:
            try:
                return await endpoint(request)
            except EstranError:
                raise
            except Exception as error:
                keys = [*request.path_params.values(), *request.query_params.getlist("of")]
                folders = [folder for key in keys if (folder := self._index.known(str(key))) is not None]
                if (damage := await asyncio.to_thread(damaged, error, *folders)) is not None:
                    raise damage from error
                raise

        return told

    def _routes(self) -> list[Route]:
        return [
            Route(ENTER, self.enter),
            Route("/", self.list),
            Route("/static/{name}", self.static),
            Route("/run/{key}", self.run),
            Route("/run/{key}/report", self.report),
            Route("/study/{key}", self.study),
            Route("/study/{key}/pages/{number:int}", self.study_file),
            Route("/compare", self.compare),
            Route("/api/list", self.list_data),
            Route("/api/run/{key}/drawing", self.drawing_data),
            Route("/api/run/{key}/stream", self.stream),
            Route("/api/run/{key}/charts", self.chart_data),
            Route("/api/run/{key}/moment", self.moment_data),
            Route("/api/run/{key}/faults", self.fault_kinds),
            Route("/api/run/{key}/faults", self.start_fault, methods=["POST"]),
            Route("/api/run/{key}/logs", self.log_data),
            Route("/api/run/{key}/report", self.make_report, methods=["POST"]),
            Route("/api/study/{key}", self.study_data),
            Route("/api/study/{key}/explain", self.make_explanation, methods=["POST"]),
            Route("/api/compare", self.compare_data),
            Route("/api/compare/charts", self.compare_charts),
            Route("/metrics", self.metrics),
            Route("/grafana.json", self.grafana),
        ]

    # Documents

    async def enter(self, request: Request) -> Response:
        """Exchange the one-time token for the cookie."""
        session = self._access.enter(request.query_params.get("token", ""))
        if session is None:
            return Response(
                "This link was used before, or is not ours: start `estran watch` again.\n", 403, media_type="text/plain"
            )
        to = request.query_params.get("to", "/")
        response = HTMLResponse(views.entered(to if _OURS.fullmatch(to) else "/"))
        response.set_cookie(self._access.cookie, session, httponly=True, samesite="strict", path="/")
        return response

    async def list(self, request: Request) -> Response:
        """Runs and studies."""
        return HTMLResponse(views.list_page(self._access.csrf))

    async def static(self, request: Request) -> Response:
        """A script or a style."""
        name = request.path_params["name"]
        if name not in views.ASSETS:
            return Response("no such file\n", 404, media_type="text/plain")
        content, kind = views.asset(name)
        return Response(content, media_type=kind, headers={"cache-control": "max-age=31536000, immutable"})

    async def run(self, request: Request) -> Response:
        """One run."""
        key = request.path_params["key"]
        awaited, reported, drawing = key == self._awaited, False, None
        try:
            drawing = await asyncio.to_thread(self._drawing, key)
            reported = (self._index.path(key, "run") / REPORT).is_file()
        except RequestError:
            if not awaited:
                raise
        return HTMLResponse(views.run_page(key, self._access.csrf, drawing, awaited=awaited, report=reported))

    async def report(self, request: Request) -> Response:
        """A run's report."""
        return _file(self._index.path(request.path_params["key"], "run") / REPORT)

    async def study(self, request: Request) -> Response:
        """One study."""
        key = request.path_params["key"]
        await asyncio.to_thread(self._index.path, key, "study")
        return HTMLResponse(views.study_page(key, self._access.csrf))

    async def study_file(self, request: Request) -> Response:
        """One of the pages that a study's folder holds, by its number."""
        found = pages(self._index.path(request.path_params["key"], "study"))
        number = request.path_params["number"]
        if number >= len(found):
            raise Refusal(404, "there is no such page", where="the study")
        return _file(found[number])

    async def compare(self, request: Request) -> Response:
        """Some runs, or studies, side by side."""
        return HTMLResponse(views.compare_page(self._access.csrf))

    # Data

    async def list_data(self, request: Request) -> Response:
        """All runs and studies; nothing of them where they are still as ``known``."""
        known = request.query_params.get("known")
        return Response(await asyncio.to_thread(self._index.encoded, known), media_type="application/json")

    async def drawing_data(self, request: Request) -> Response:
        """The topology of a run."""
        drawing = await asyncio.to_thread(self._drawing, request.path_params["key"])
        return _json(drawing.plain() if drawing else {"nodes": [], "edges": []})

    async def stream(self, request: Request) -> Response:
        """Figures and charts of a run as they come in, as server-sent events, until it is over."""
        key, width = request.path_params["key"], _whole(request, "width", 600)
        await asyncio.to_thread(self._following, key)
        return StreamingResponse(self._events(key, width), media_type="text/event-stream")

    async def _events(self, key: str, width: int) -> AsyncIterator[str]:
        while True:
            ending = self._ending()
            try:
                state = await asyncio.to_thread(self._state, key, width)
            except EstranError as error:  # the answer has begun, and cannot be another any more
                yield f"event: problem\ndata: {msgspec.json.encode(str(error)).decode()}\n\n"
                return
            yield f"data: {msgspec.json.encode(state).decode()}\n\n"
            if state["run"]["over"] or ending:
                yield f"event: end\ndata: {'over' if state['run']['over'] else 'gone'}\n\n"
                return
            for _ in range(int(PERIOD / 0.1)):
                await asyncio.sleep(0.1)
                if self._ending():
                    break

    async def chart_data(self, request: Request) -> Response:
        """Charts of a part of a run."""
        key = request.path_params["key"]
        start, end = _number(request, "start", 0.0), _number(request, "end", float("inf"))
        width = _whole(request, "width", 600)

        def read() -> list[dict[str, Any]]:
            run = self._following(key)
            with run.lock:
                run.refresh()
                return charts(run, start, min(end, run.facts.newest), width)

        return _json(await asyncio.to_thread(read))

    async def moment_data(self, request: Request) -> Response:
        """All figures of a finished run as they were at a moment of its clock."""
        key, moment = request.path_params["key"], _number(request, "at", 0.0)

        def read() -> dict[str, Any]:
            run = self._following(key)
            with run.lock:
                return snapshot(run.at(moment), draw(run.folder), datetime.now(UTC))

        return _json(await asyncio.to_thread(read))

    async def log_data(self, request: Request) -> Response:
        """Lines of a run's logs."""
        folder = self._index.path(request.path_params["key"], "run")
        asked = request.query_params
        after, until = _whole(request, "after", 0), _number(request, "until", float("inf"))
        return _json(await asyncio.to_thread(read_logs, folder, asked.get("name", ""), after, asked.get("text", ""), until))

    async def study_data(self, request: Request) -> Response:
        """A study's table and progress; nothing where both are still as ``known``."""
        key, known = request.path_params["key"], request.query_params.get("known")

        def read() -> dict[str, Any]:
            runs = [run for run in self._index.runs() if run.study == key]
            folder = self._index.path(key, "study")
            state = f"{self._index.state} {' '.join(page.name for page in pages(folder))}"
            if state == known:
                return {"state": state}
            return study_state(folder, runs, datetime.now(UTC)) | {"state": state}

        return _json(await asyncio.to_thread(read))

    async def compare_data(self, request: Request) -> Response:
        """Responses side by side."""
        kind = "study" if request.query_params.get("kind") == "study" else "run"
        keys = request.query_params.getlist("of")

        def read() -> dict[str, Any]:
            with refused(409):  # what is chosen may be damaged
                return comparing.side_by_side([self._index.path(key, kind) for key in keys])  # type: ignore[arg-type]

        return _json(await asyncio.to_thread(read))

    async def compare_charts(self, request: Request) -> Response:
        """Charts of runs over each other."""
        keys, width = request.query_params.getlist("of")[: comparing.MOST], _whole(request, "width", 600)

        def read() -> list[dict[str, Any]]:
            runs = [self._following(key) for key in keys]
            for run in runs:
                with run.lock:
                    run.refresh()
            return beside([(run.path.name, run) for run in runs], width)

        return _json(await asyncio.to_thread(read))

    async def metrics(self, request: Request) -> Response:
        """The newest run's figures for Prometheus: of those that go on, if any does."""
        return Response(await asyncio.to_thread(self._exposed), media_type=TYPE)

    async def grafana(self, request: Request) -> Response:
        """The dashboard."""
        return _json(dashboard())

    # What changes something

    async def make_report(self, request: Request) -> Response:
        """Write a run's report."""
        await asyncio.to_thread(write_report, self._index.path(request.path_params["key"], "run"))
        return _json({"made": REPORT})

    async def fault_kinds(self, request: Request) -> Response:
        """Which faults can be started in a run now: of each kind why it cannot."""
        return _json(await self._by_hand(request, {"ask": "kinds"}))

    async def start_fault(self, request: Request) -> Response:
        """Start a fault in a run that goes on; answers when it has begun."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LONGEST:
                raise Refusal(413, "this is too long", where="the fault")
        try:
            fault = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise RequestError(f"this is no fault: {error}", where="the request") from error
        return _json(await self._by_hand(request, {"fault": fault}))

    async def make_explanation(self, request: Request) -> Response:
        """Explain a study, into its folder."""
        with refused(409):
            path = await asyncio.to_thread(_explain, self._index.path(request.path_params["key"], "study"))
        return _json({"made": path.name})

    # Underneath

    async def _by_hand(self, request: Request, asked: dict[str, Any]) -> dict[str, Any]:
        """What a run's conductor answers; that it says no, or is not there, is a conflict with how things stand."""
        run = self._following(request.path_params["key"])
        with refused(409):
            return await ask(run.run.status.id, asked)

    def _following(self, key: str) -> Following:
        with refused(404):  # it may have been removed just now
            return self._followings.of(self._index.path(key, "run"))

    def _drawing(self, key: str) -> Drawing | None:
        """The topology as planned; None where nothing is yet: the record of a run comes before its plan."""
        run = self._following(key)
        folder = run.folder if run.folder.hosts else read_folder(run.path)
        return draw(folder) if folder.hosts else None

    def _state(self, key: str, width: int) -> dict[str, Any]:
        run = self._following(key)
        with run.lock, telling(run.path):
            run.refresh()
            return snapshot(run, draw(run.folder), datetime.now(UTC)) | {"charts": charts(run, width=width)}

    def _exposed(self) -> str:
        runs = self._index.runs()
        newest = next((run for run in runs if run.status == "running"), next(iter(runs), None))
        if newest is None:
            return exposition(None, None)
        with telling(self._index.path(newest.key, "run")):
            return self._exposition(newest.key)

    def _exposition(self, key: str) -> str:
        run = self._following(key)
        with run.lock:
            run.refresh()
            return exposition(run, snapshot(run, draw(run.folder), datetime.now(UTC)))


def make_app(
    roots: Sequence[Path], access: Access, *, awaited: str | None = None, ending: Callable[[], bool] = lambda: False
) -> Gate:
    """The whole server behind its gate.

    Parameters
    ----------
    roots
        Folders of runs and studies.
    awaited, ending
        See `Pages`.
    """
    every = Pages(Index(roots), access, awaited, ending)

    async def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, EstranError)
        status = error.status if isinstance(error, Refusal) else 400 if isinstance(error, RequestError) else 500
        if request.url.path.startswith("/api/"):
            return _json({"what": str(error.what), "where": str(error.where or ""), "remedy": error.remedy}, status)
        return HTMLResponse(views.problem_page(error.what, error.remedy, access.csrf), status)

    return Gate(Starlette(routes=every.routes(), exception_handlers={EstranError: problem}), access)


def _json(data: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(data), status, media_type="application/json")


def _file(path: Path) -> Response:
    """A self-contained page of a run folder, which may come from anybody."""
    if path.is_symlink() or not path.is_file():
        raise Refusal(404, "it is not there", where=path.name, remedy="make it first")
    return HTMLResponse(path.read_bytes(), headers={"content-security-policy": FILE_POLICY})


def _number(request: Request, name: str, otherwise: float) -> float:
    try:
        value = float(request.query_params.get(name, otherwise))
    except ValueError as error:
        raise RequestError(f"{name} is no number", where="the request") from error
    return value if value == value else otherwise


def _whole(request: Request, name: str, otherwise: int) -> int:
    """A whole number of the query, from 0 to what any screen or log has."""
    return int(min(max(_number(request, name, otherwise), 0.0), _MOST))


def _explain(folder: Path) -> Path:
    from estran.explain.table import read_table
    from estran.report.study_data import gather
    from estran.report.study_page import write_study_page

    return write_study_page(gather(read_table(folder)))
