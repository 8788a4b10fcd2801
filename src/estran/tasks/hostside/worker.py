"""The worker: does tasks on a host as one user, each in a fork of its own.

Speaks the frames of an envoy (two lengths, a JSON head, raw bytes) on its standard streams. A request names a function of the
modules sent with it, or a module of Ansible's; the answer is what that returned. When its input ends, it kills what still runs.
"""

# Runs where neither Estran nor a new Python is: annotations are never evaluated, and what came after 3.8 is not used.
from __future__ import annotations

import contextlib
import json
import os
import pwd
import selectors
import signal
import struct
import sys
import tempfile
import time
import traceback
from typing import Any

from estran.platforms.remote.envoy_facts import end_strays
from estran.tasks.hostside import attributes, commands, files, foreign, network, placing
from estran.tasks.hostside.outcome import Failed

LENGTHS = struct.Struct(">II")
MODULES = (commands, files, network, placing)
DESCRIBED = ("file", "place", "copy_there", "get_url", "wait_for")
"""Functions in whose results the file is described that they name."""
FUNCTIONS = {name: getattr(module, name) for module in MODULES for name in module.OFFERED}


class Job:
    """A fork that does one task."""

    def __init__(self, number: int, pid: int, answer: int, deadline: float | None, output: Any, errors: Any) -> None:
        self.number = number
        self.pid = pid
        self.answer = answer
        self.deadline = deadline
        self.output = output
        self.errors = errors
        self.heard = bytearray()
        self.late = False


class Worker:
    """Serves one controller until its input ends."""

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.waiting = bytearray()
        self.selector = selectors.DefaultSelector()
        self.selector.register(0, selectors.EVENT_READ, None)

    def serve(self) -> None:
        """Take requests and hand back results."""
        self.say({"say": "here", "user": pwd.getpwuid(os.geteuid()).pw_name, "python": list(sys.version_info[:3])})
        while True:
            for key, _ in self.selector.select(self.patience()):
                if key.data is None:
                    some = os.read(0, 1 << 20)
                    if not some:
                        return
                    self.take(some)
                else:
                    self.hear(key.data)
            self.end_late()

    def patience(self) -> float | None:
        """Seconds until the next deadline."""
        deadlines = [job.deadline for job in self.jobs.values() if job.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def take(self, some: bytes) -> None:
        """Take bytes; begin what is complete."""
        self.waiting += some
        while len(self.waiting) >= LENGTHS.size:
            head, body = LENGTHS.unpack(self.waiting[: LENGTHS.size])
            end = LENGTHS.size + head + body
            if len(self.waiting) < end:
                return
            request = json.loads(bytes(self.waiting[LENGTHS.size : LENGTHS.size + head]).decode())
            data = bytes(self.waiting[LENGTHS.size + head : end])
            del self.waiting[:end]
            self.begin(request, data)

    def begin(self, request: dict[str, Any], data: bytes) -> None:
        """Do one request."""
        if request["do"] == "kill":
            job = self.jobs.get(request["of"])
            if job is not None:
                self.kill(job)
        elif request["do"] == "learn":
            try:
                found: dict[str, Any] = {"ok": foreign.learn(**request["details"])}
            except Failed as error:
                found = {"failed": True, "msg": str(error)}
            except (ImportError, OSError) as error:  # a user may not be able to read where this Python is
                found = {"failed": True, "msg": "its Python cannot import Ansible's modules ({})".format(error)}
            self.say({"reply": request["id"], "result": found})
        else:
            self.fork(request, data)

    def fork(self, request: dict[str, Any], data: bytes) -> None:
        """Start a task in a process of its own, at the head of a session of its own."""
        answer, theirs = os.pipe()
        output, errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has ended
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(answer)
                self.be_child(request, data, theirs, output.fileno(), errors.fileno())
                status = 0
            finally:
                os._exit(status)
        os.close(theirs)
        limit = request.get("timeout")
        deadline = None if limit is None else time.monotonic() + limit
        job = self.jobs[request["id"]] = Job(request["id"], pid, answer, deadline, output, errors)
        self.selector.register(answer, selectors.EVENT_READ, job)

    def be_child(self, request: dict[str, Any], data: bytes, theirs: int, output: int, errors: int) -> None:
        """Do the task and write what it found."""
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        with contextlib.suppress(OSError):
            os.chdir(os.path.expanduser("~"))
        for name, value in request["environment"].items():
            os.environ[name] = value
        body = b""
        try:
            if request["do"] == "module":
                result: Any = foreign.run(request["module"], request["arguments"], output, errors)
            else:
                result = FUNCTIONS[request["function"]](request["arguments"], data)
                if isinstance(result, tuple):
                    result, body = result
        except Failed as error:
            result = error.result
        except OSError as error:
            result = {"failed": True, "msg": f"{error.filename or type(error).__name__}: {error.strerror or error}"}
        except Exception as error:  # noqa: BLE001 - the controller is told of every failure, and the worker stays
            result = {"failed": True, "msg": f"{type(error).__name__}: {error}", "exception": traceback.format_exc()}
        if request.get("function") in DESCRIBED:
            attributes.describe(result)
        text = json.dumps({"reply": request["id"], "result": result}, default=str).encode()
        with os.fdopen(theirs, "wb") as file:
            file.write(LENGTHS.pack(len(text), len(body)) + text + body)

    def hear(self, job: Job) -> None:
        """Take what a fork says; when it has said all, hand it on."""
        some = os.read(job.answer, 1 << 20)
        if some:
            job.heard += some
            return
        self.selector.unregister(job.answer)
        os.close(job.answer)
        _, status = os.waitpid(job.pid, 0)
        del self.jobs[job.number]
        if job.heard and not job.late:
            self.send(bytes(job.heard))
        else:
            self.say({"reply": job.number, "result": self.silent(job, status)})
        job.output.close()
        job.errors.close()

    def silent(self, job: Job, status: int) -> dict[str, Any]:
        """What to say of a fork that said nothing."""
        if job.late:
            return {"failed": True, "timedout": True, "msg": "did not end in time"}
        job.errors.seek(0)
        words = job.errors.read().decode(errors="replace")
        return {"failed": True, "msg": f"the task ended without a result (status {status})", "stderr": words}

    def end_late(self) -> None:
        """Kill what is beyond its deadline."""
        now = time.monotonic()
        for job in self.jobs.values():
            if job.deadline is not None and now >= job.deadline:
                job.deadline = None
                job.late = True
                self.kill(job)

    def kill(self, job: Job) -> None:
        """Kill a task and all in its session."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(job.pid, signal.SIGKILL)

    def say(self, head: dict[str, Any]) -> None:
        """Send a frame without bytes."""
        text = json.dumps(head).encode()
        self.send(LENGTHS.pack(len(text), 0) + text)

    def send(self, frame: bytes) -> None:
        """Write all of a frame."""
        view = memoryview(frame)
        while view:
            view = view[os.write(1, view) :]


def become(user: str) -> None:
    """Be another user, with his groups and home; only root can."""
    entry = pwd.getpwnam(user)
    if entry.pw_uid == os.geteuid():
        return
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ.update(HOME=entry.pw_dir, USER=user, LOGNAME=user, SHELL=entry.pw_shell or "/bin/sh")


def main(user: str | None, mark: str | None, sweeps: bool) -> None:
    """Be a worker until the controller goes; one that ``sweeps`` kills whatever its tasks left running."""
    if user is not None:
        become(user)
    if mark is not None:
        os.environ["ESTRAN_RUN"] = mark
    worker = Worker()
    try:
        worker.serve()
    finally:
        for job in worker.jobs.values():
            worker.kill(job)
        if sweeps and mark is not None:
            end_strays(mark)
        os._exit(0)
