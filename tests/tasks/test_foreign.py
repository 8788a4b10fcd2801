"""Ansible's own modules in the worker: what they need, and what is said where it is missing."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from estran.platforms.remote.bootstrap import local_host
from estran.platforms.remote.bringing import bring, teach
from estran.spec.document import read_ansible
from estran.tasks import archive
from estran.tasks.errors import TaskError
from estran.tasks.result import Report
from estran.tasks.runner import run_tasks


async def play(text: str) -> Report:
    document = read_ansible(text, "tasks.yml")
    async with local_host("a", f"test-foreign-{os.getpid()}") as host:
        return await run_tasks(document.data, {"a": host}, marks=document.marks)


def without_ansible(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where ansible-core is not installed."""
    for place in ("archive.ansible_folder", "modules.ansible_folder", "actions.gathering.ansible_folder"):
        monkeypatch.setattr(f"estran.tasks.{place}", lambda: None)
    archive.core_modules.cache_clear()


async def test_a_module_without_ansible_core_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ansible(monkeypatch)
    with pytest.raises(TaskError, match="needs ansible-core, which is not installed") as raised:
        await play("- command: 'true'\n- lineinfile: {path: /tmp/x, line: y}")
    assert raised.value.where.line == 2
    assert "estran[ansible]" in str(raised.value)


async def test_facts_without_ansible_core_are_those_of_the_envoy(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ansible(monkeypatch)
    report = await play("- {command: 'echo {{ ansible_kernel }} {{ ansible_facts.processor_vcpus }}', register: told}")
    assert report.variables["a"]["told"]["stdout"].startswith(os.uname().release)


async def test_a_python_that_is_too_old_for_ansible_core(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ansible", reason="ansible-core is not installed")
    newer = replace(archive.core_modules(), oldest=(9, 0))
    monkeypatch.setattr("estran.tasks.foreign.core_modules", lambda: newer)
    report = await play("- {lineinfile: {path: /tmp/x, line: y}, register: told, ignore_errors: true}\n- {command: 'true'}")
    assert "too old for this ansible-core, whose modules need 9.0" in report.variables["a"]["told"]["msg"]
    assert [result.status for result in report.results] == ["ignored", "changed"]


def test_the_archive_is_the_same_each_time() -> None:
    pytest.importorskip("ansible", reason="ansible-core is not installed")
    folder = archive.installed_ansible()
    first, second = archive.packed_modules(folder), archive.packed_modules(folder)
    assert first == second
    assert first.oldest >= (3, 0)


async def test_modules_are_brought_to_a_host_once_and_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ansible", reason="ansible-core is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "controller"))
    archive.core_modules.cache_clear()
    packed = archive.core_modules().archive
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "host"))
    sent = []
    for round_ in range(2):
        async with local_host("a", f"test-once-{os.getpid()}-{round_}") as host:
            await teach(host)
            sent.append(await bring(host, packed))
            text = f"- lineinfile: {{path: '{tmp_path}/lines', line: '{round_}', create: true}}"
            document = read_ansible(text, "tasks.yml")
            assert (await run_tasks(document.data, {"a": host}, marks=document.marks)).ok
    assert sent == [True, False]
    assert list((tmp_path / "host" / "estran" / packed.folder).rglob(f"basic.{sys.implementation.cache_tag}.pyc"))
    assert (tmp_path / "lines").read_text() == "0\n1\n"
    archive.core_modules.cache_clear()


async def test_many_modules_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    pytest.importorskip("ansible", reason="ansible-core is not installed")
    names = [f"h{number}" for number in range(4)]
    line = f"path: '{tmp_path}/{{{{ inventory_hostname }}}}', line: '{{{{ item }}}}', create: true"
    text = f"- lineinfile: {{{line}}}\n  loop: [a, b, c]"
    document = read_ansible(text, "tasks.yml")

    async def one(name: str) -> Report:
        async with local_host(name, f"test-{name}-{os.getpid()}") as host:
            return await run_tasks(document.data, {name: host}, marks=document.marks)

    reports: list[Any] = await asyncio.gather(*(one(name) for name in names))
    assert all(report.ok for report in reports)
    assert {(tmp_path / name).read_text() for name in names} == {"a\nb\nc\n"}


async def test_a_crash_in_a_worker_is_a_failure_of_the_task() -> None:
    report = await play(
        "- {get_url: {url: 'http://[broken', dest: /tmp/nowhere}, register: told, ignore_errors: true}\n- command: 'true'"
    )
    assert report.variables["a"]["told"]["failed"]
    assert report.ok
    assert isinstance(report.variables["a"]["told"]["msg"], str)
