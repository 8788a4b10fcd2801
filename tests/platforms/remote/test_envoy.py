"""An envoy on this machine: commands, services, pipes, files, functions, and that it leaves nothing behind."""

from __future__ import annotations

import ast
import asyncio
import os
import platform
import shutil
import signal
import socket
import tempfile
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estran.errors import PlatformError
from estran.platforms.remote import envoy, envoy_sampling, envoy_unpacking
from estran.platforms.remote.agents import unpack_files
from estran.platforms.remote.bootstrap import CARRIED, local_host, packed
from estran.platforms.remote.host import RemoteHost
from estran.platforms.remote.pipe import WINDOW
from estran.run.journal import processes_of
from estran.tasks.hostside import outcome

MARK = f"test-envoy-{os.getpid()}"


@pytest.fixture
async def host() -> AsyncIterator[RemoteHost]:
    async with local_host("here", MARK) as found:
        yield found


async def test_a_command_has_its_input_output_status_place_and_environment(host: RemoteHost, tmp_path: Path) -> None:
    script = 'cat; pwd; echo "$A" >&2; exit 3'
    done = await host.run(["sh", "-c", script], cwd=str(tmp_path), env={"A": "b"}, stdin=b"in\n")
    assert (done.returncode, done.stdout, done.stderr) == (3, f"in\n{tmp_path}\n".encode(), b"b\n")


async def test_what_a_process_does_not_read_is_not_sent(host: RemoteHost, tmp_path: Path) -> None:
    """Else it would pile up on the host, as what is sent through a login node to nodes that are slow."""
    go = tmp_path / "go"
    pipe = await host.open(["sh", "-c", f"until [ -e {go} ]; do sleep .01; done; wc -c"])
    size, sent = 1 << 18, 0
    with suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            while sent < 64 << 20:
                pipe.write(bytes(size))
                sent += size
                await pipe.drain()
    assert WINDOW <= sent <= WINDOW + 4 * size
    go.touch()
    for _ in range(40):
        pipe.write(bytes(size))
        sent += size
        await pipe.drain()
    pipe.close()
    assert int(await pipe.reader.read()) == sent


async def test_who_waits_to_write_to_a_process_that_ends_goes_on(host: RemoteHost) -> None:
    pipe = await host.open(["sleep", "0.3"])
    pipe.write(bytes(3 * WINDOW))
    async with asyncio.timeout(10):
        await pipe.drain()
        await pipe.wait_closed()


async def test_output_is_told_while_a_command_runs(host: RemoteHost, tmp_path: Path) -> None:
    go = tmp_path / "go"
    heard: list[tuple[str, bytes]] = []

    def hear(channel: str, data: bytes) -> None:
        heard.append((channel, data))
        go.touch()  # it goes on only when the first word has been heard

    await host.run(["sh", "-c", f"echo one; until [ -e {go} ]; do sleep .01; done; echo two >&2"], on_output=hear)
    assert heard == [("stdout", b"one\n"), ("stderr", b"two\n")]


async def test_a_command_that_leaves_a_child_with_its_output_ends_itself(host: RemoteHost) -> None:
    done = await host.run(["sh", "-c", "sleep 60 & echo done"])
    assert done.stdout == b"done\n"


@pytest.mark.parametrize(
    ("argv", "said"), [(["no-such-program"], "there is no no-such-program"), (["/etc/passwd"], "permission denied")]
)
async def test_what_cannot_be_started_is_said(host: RemoteHost, argv: list[str], said: str) -> None:
    with pytest.raises(PlatformError, match=said):
        await host.run(argv)


async def test_a_command_that_takes_too_long_is_killed_with_its_children(host: RemoteHost, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(PlatformError, match="did not end within"):
        await host.run(["sh", "-c", f"sleep 60 & echo $! > {pid}; wait"], timeout=0.5)
    assert not _lives(int(pid.read_text()))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=64) | st.integers(0, 2**20).map(lambda size: os.urandom(size)))
async def test_files_come_and_go_whole(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "target")
        source.write_bytes(data)
        source.chmod(0o640)
        async with local_host("here", MARK) as host:
            sent = await host.put(source, "a/b/c")
            assert await host.put(source, "a/b/c") == sent
            assert await host.get("a/b/c", target) == sent
            assert target.read_bytes() == data
            assert target.stat().st_mode & 0o777 == 0o640


async def test_a_file_that_cannot_be_written_leaves_nothing(host: RemoteHost, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    with pytest.raises(PlatformError, match="cannot write"):
        await host.put(tmp_path / "file", "/proc/no/such")
    with pytest.raises(PlatformError, match="No such file"):
        await host.get("no-such-file", tmp_path / "got")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


async def test_a_service_that_ends_is_told_and_one_that_is_stopped_ends(host: RemoteHost) -> None:
    await host.start("short", ["sh", "-c", "echo said; exit 4"], log="short.log")
    events = host.events()
    assert await anext(events) == {"say": "ended", "name": "short", "status": 4}
    assert (await host.run(["cat", f"{host.facts['scratch']}/short.log"])).stdout == b"said\n"
    await host.start("long", ["sleep", "60"], log="long.log")
    with pytest.raises(PlatformError, match="runs already"):
        await host.start("long", ["sleep", "60"], log="long.log")
    assert await host.stop("long") == -signal.SIGTERM
    assert await host.stop("long") is None


async def test_a_service_that_does_not_heed_is_killed(host: RemoteHost) -> None:
    await host.start(
        "deaf", ["sh", "-c", "trap '' TERM; echo > deaf; while :; do sleep 1; done"], log="x.log", cwd=str(host.facts["scratch"])
    )
    while not Path(str(host.facts["scratch"]), "deaf").exists():
        await asyncio.sleep(0.01)
    assert await host.stop("deaf", grace=0.1) == -signal.SIGKILL


async def test_a_pipe_carries_both_ways(host: RemoteHost) -> None:
    pipe = await host.open(["cat"])
    sent = os.urandom(1_000_000)
    pipe.write(sent)
    assert await pipe.reader.readexactly(len(sent)) == sent
    pipe.close()
    await pipe.wait_closed()
    assert pipe.status == 0


async def test_functions_are_learnt_and_their_errors_told(host: RemoteHost) -> None:
    counting = "def count(envoy, data, by):\n    return [len(data) * by, envoy.scratch]\n"
    await host.load("own", counting + "def fail(envoy, data):\n    raise ValueError('so')\n")
    assert await host.call("own.count", data=b"abc", by=2) == [6, host.facts["scratch"]]
    with pytest.raises(PlatformError, match="ValueError: so"):
        await host.call("own.fail")
    with pytest.raises(PlatformError, match="no module other"):
        await host.call("other.fail")


async def test_clocks_of_one_machine_agree_within_the_bound(host: RemoteHost) -> None:
    clock = await host.clock_offset()
    assert abs(clock.offset_ns) <= clock.bound_ns == (min(clock.round_trips_ns) + 1) // 2


@pytest.mark.parametrize("end", ["politely", "killed"])
async def test_when_the_controller_goes_nothing_is_left(end: str, tmp_path: Path) -> None:
    undone = tmp_path / "undone"
    async with local_host("here", MARK) as host:
        await host.start("service", ["sleep", "60"], log="x.log")
        await host.start("stray", ["sh", "-c", "setsid sleep 61 & sleep .1"], log="y.log")  # leaves its group
        await host.undo(["touch", str(undone)])
        scratch = Path(str(host.facts["scratch"]))
        if end == "killed":
            host._link.close()
            await host.lost()
    for _ in range(500):
        if not scratch.exists() and undone.exists() and not processes_of(MARK):
            return
        await asyncio.sleep(0.01)
    raise AssertionError((scratch.exists(), undone.exists(), processes_of(MARK)))


async def test_a_file_that_was_under_way_when_the_controller_went_is_not_left(tmp_path: Path) -> None:
    async with local_host("here", MARK) as host:
        host._link.write({"id": None, "do": "piece", "of": 9, "path": str(tmp_path / "a" / "file")}, b"half")
        await host.run(["true"])
        assert len(list((tmp_path / "a").iterdir())) == 1
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize("argv", [["a\0b"], 5, [1], []])
async def test_what_cannot_be_undone_keeps_nothing_else_from_it(argv: Any, tmp_path: Path) -> None:
    async with local_host("here", MARK) as host:
        await host.undo(["touch", str(tmp_path / "undone")])
        for _ in range(3):
            await host.ask("undo", argv=argv)
        scratch = Path(host.facts["scratch"])
    assert (tmp_path / "undone").exists()
    assert not scratch.exists()


async def test_without_signs_of_life_an_envoy_leaves() -> None:
    async with local_host("here", MARK, lease=0.3) as host:
        assert "connection" in await asyncio.wait_for(host.lost(), 10)
        with pytest.raises(PlatformError, match="connection to its envoy has ended"):
            await host.run(["true"])


async def test_a_host_that_does_not_answer_is_given_up() -> None:
    async with local_host("here", MARK, heartbeat=0.3) as host:
        os.kill(host.facts["pid"], signal.SIGSTOP)
        try:
            assert "does not answer any more" in await asyncio.wait_for(host.lost(), 20)
        finally:
            os.kill(host.facts["pid"], signal.SIGCONT)


async def test_a_python_that_is_too_old_or_none_is_said() -> None:
    with pytest.raises(PlatformError, match="did not start"):
        async with local_host("here", MARK, python="false"):
            pass


@pytest.mark.parametrize("name", [*CARRIED, "envoy_sampling", "envoy_unpacking"])
def test_what_is_sent_is_python_3_8(name: str) -> None:
    source = Path(envoy.__file__).with_name(f"{name}.py").read_text()
    ast.parse(source, feature_version=(3, 8))


async def test_archives_are_unpacked_whole_and_packed_files_stay_in_their_folder(host: RemoteHost, tmp_path: Path) -> None:
    await host.load("estran_unpacking", Path(envoy_unpacking.__file__).read_text())
    await host.put_bytes(b"a", "left/one")
    await host.put_bytes(b"bb", "left/sub/two")
    told, packed = await host.ask("call", function="estran_unpacking.pack", details={"folder": "left"})
    assert told == {"files": 2}
    unpack_files(packed, tmp_path)
    assert {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == {
        "one": b"a",
        "sub/two": b"bb",
    }
    await host.put_bytes(packed, "a.tar.gz")
    await asyncio.gather(*(host.call("estran_unpacking.unpack", archive="a.tar.gz", folder="whole") for _ in range(1)))
    assert await host.call("estran_unpacking.is_unpacked", folder="whole")
    assert not await host.call("estran_unpacking.is_unpacked", folder="none")


def _lives(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return False


async def test_an_envoy_knows_its_host_as_pythons_own_library_does() -> None:
    async with local_host("a", "test-facts") as host:
        told = host.facts
    assert (told["system"], told["kernel"], told["machine"]) == (platform.system(), platform.release(), platform.machine())
    assert (told["hostname"], told["python"]) == (socket.gethostname(), platform.python_version())
    assert told["libc"] == "-".join(platform.libc_ver())
    assert told["bytecode"] == MAGIC_NUMBER.hex()
    assert told["tools"]["bash"] == shutil.which("bash")
    assert set(told["pythons"]) == {path for minor in range(11, 16) if (path := shutil.which(f"python3.{minor}"))}


async def test_modules_go_compiled_only_to_a_python_that_takes_them() -> None:
    own = packed((outcome,), [], bytecode=MAGIC_NUMBER.hex())
    for other in (packed((outcome,), []), packed((outcome,), [], bytecode="00000000")):
        assert b"class Failed" in zlib.decompress(other)
    assert b"class Failed" not in zlib.decompress(own)


async def test_whole_hosts_are_sampled_and_no_sample_is_told_twice() -> None:
    async with local_host("a", "test-sampling") as host:
        await host.load("sampling", Path(envoy_sampling.__file__).read_text())
        await host.call("sampling.begin", period=0.02)
        await asyncio.sleep(0.3)
        found = [*await host.call("sampling.taken"), *await host.call("sampling.end")]
        assert await host.call("sampling.taken") == []
    times, busy, memory, *_ = zip(*found, strict=True)
    assert len(found) > 4
    assert list(times) == sorted(times)
    assert list(busy) == sorted(busy)
    assert 0 < min(memory) <= max(memory) < 1 << 50
