"""Lists of tasks on several hosts: who takes part, who fails, what is kept, and what becomes of processes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from estran.errors import SpecErrors
from estran.platforms.remote.bootstrap import local_host
from estran.platforms.remote.host import RemoteHost
from estran.spec.document import read_ansible
from estran.tasks.errors import TaskError
from estran.tasks.result import CENSORED, Report, Result
from estran.tasks.runner import TaskRunner, run_tasks

SYSTEM_PYTHON = "/usr/bin/python3"


@contextlib.asynccontextmanager
async def hosts(*names: str, python: str | None = None) -> AsyncIterator[dict[str, RemoteHost]]:
    async with contextlib.AsyncExitStack() as stack:
        options = {} if python is None else {"python": python}
        yield {name: await stack.enter_async_context(local_host(name, f"test-{name}-{os.getpid()}", **options)) for name in names}


async def play(
    text: str, names: tuple[str, ...] = ("a",), *, folder: Path | None = None, handlers: str = "", **options: Any
) -> Report:
    """Do tasks that are written as YAML on hosts of this machine."""
    file = str((folder or Path("/nowhere")) / "tasks.yml")
    document = read_ansible(text, file)
    heard = read_ansible(handlers, file).data if handlers else None
    async with hosts(*names) as here:
        return await run_tasks(document.data, here, marks=document.marks, handlers=heard, **options)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended, and that nobody asks how, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def statuses(report: Report) -> list[tuple[str, str, str]]:
    return [(result.host, result.task, result.status) for result in report.results]


async def test_a_host_that_fails_leaves_and_the_others_go_on() -> None:
    report = await play(
        """
- {name: one, shell: "test {{ inventory_hostname }} != b"}
- {name: two, shell: "echo {{ hostvars['b'].value | default('-') }} {{ ansible_play_hosts | length }}", register: two}
""",
        ("a", "b", "c"),
        variables={"b": {"value": "hello {{ 1 + 1 }}"}},
    )
    assert {host: result.where.line for host, result in report.failed.items()} == {"b": 2}
    assert [host for host, task, _ in statuses(report) if task == "two"] == ["a", "c"]
    assert report.variables["a"]["two"]["stdout"] == "hello 2 3"


async def test_once_for_all_and_for_another_host(tmp_path: Path) -> None:
    report = await play(
        f"""
- {{name: once, shell: "echo x >> {tmp_path}/once; echo {{{{ inventory_hostname }}}}", run_once: true, register: once}}
- {{name: see, shell: "echo {{{{ once.stdout }}}}", register: seen}}
- {{name: other, command: "echo for {{{{ inventory_hostname }}}}", delegate_to: b, register: other}}
- {{set_fact: {{shared: "{{{{ inventory_hostname }}}}"}}, run_once: true}}
- {{name: fact, debug: {{msg: "{{{{ shared }}}}"}}, register: fact}}
- {{name: nobody, command: "true", delegate_to: zz, ignore_errors: true, register: nobody}}
""",
        ("a", "b"),
    )
    assert (tmp_path / "once").read_text() == "x\n"
    assert [report.variables[host]["seen"]["stdout"] for host in ("a", "b")] == ["a", "a"]
    assert report.variables["b"]["fact"]["msg"] == "a"
    assert report.variables["a"]["other"]["stdout"] == "for a"
    assert "no host 'zz'" in report.variables["a"]["nobody"]["msg"]


async def test_hosts_that_take_turns_and_a_failure_that_ends_them_all() -> None:
    report = await play(
        """
- {name: turns, shell: "date +%s.%N; sleep 0.2; date +%s.%N", throttle: 1, register: turns}
- {name: fatal, shell: "test {{ inventory_hostname }} != b", any_errors_fatal: true}
- {name: never, shell: "true"}
""",
        ("a", "b", "c"),
    )
    spans = sorted([float(time) for time in report.variables[host]["turns"]["stdout_lines"]] for host in "abc")
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(spans))
    assert "never" not in [task for _, task, _ in statuses(report)]
    assert set(report.failed) == {"b"}


async def test_handlers_run_at_the_end_once_and_where_they_were_notified() -> None:
    report = await play(
        """
- {name: change, command: "true", when: inventory_hostname == 'a', notify: [restart, heard]}
- {name: again, command: "true", when: inventory_hostname == 'a', notify: restart}
- {name: same, command: "true", changed_when: false, notify: restart}
""",
        ("a", "b"),
        handlers="[{name: other, listen: heard, ping: {}, changed_when: true}, {name: restart, ping: {}}, {name: never, ping: {}}]",
    )
    assert [(host, task) for host, task, _ in statuses(report)][-2:] == [("a", "other"), ("a", "restart")]
    with pytest.raises(TaskError, match="no handler 'restrat'"):
        await play("- {command: 'true', notify: restrat}", handlers="[{name: restart, command: 'true'}]")


async def test_rescue_and_always_are_of_each_host() -> None:
    report = await play(
        """
- block:
    - {name: try, shell: "test {{ inventory_hostname }} = a"}
    - {name: only a, command: "true"}
  rescue:
    - {name: only b, command: "true"}
  always:
    - {name: both, command: "true"}
- {name: after, command: "true"}
""",
        ("a", "b"),
    )
    assert report.ok
    assert [(host, task) for host, task, _ in statuses(report)] == [
        ("a", "try"), ("b", "try"), ("a", "only a"), ("b", "only b"), ("a", "both"), ("b", "both"), ("a", "after"), ("b", "after"),
    ]  # fmt: skip


async def test_secrets_are_neither_told_nor_kept() -> None:
    told: list[Result] = []
    report = await play(
        """
- {name: hidden, shell: "echo s3cret; exit 1", no_log: true, register: hidden, ignore_errors: true}
- {name: used, shell: "test '{{ hidden.stdout }}' = s3cret"}
""",
        on_result=told.append,
    )
    assert report.ok
    assert told[0].data == {"censored": CENSORED, "changed": True, "failed": True}
    assert "s3cret" not in repr(told[0]) + repr(report.results[0])


async def test_jobs_in_the_background_are_watched_and_ended(tmp_path: Path) -> None:
    mark = tmp_path / "alive"
    text = f"""
- {{name: good, shell: "echo fine", async: 30, poll: 0, register: good}}
- {{name: bad, shell: "echo broken >&2; exit 7", async: 30, poll: 0}}
- {{name: long, shell: "sleep 60; touch {mark}", async: 90, poll: 0}}
- {{name: late, shell: "sleep 60", async: 1, poll: 1, ignore_errors: true, register: late}}
- name: look
  async_status: {{jid: "{{{{ good.ansible_job_id }}}}"}}
  register: looked
  until: looked.finished
  delay: 0.1
  retries: 50
"""
    document = read_ansible(text, "tasks.yml")
    async with hosts("a") as here, TaskRunner(here) as runner:
        report = await runner.run(document.data, document.marks)
        assert report.ok
        assert report.variables["a"]["looked"]["stdout"] == "fine"
        assert "did not complete within the requested time - 1s" in report.variables["a"]["late"]["msg"]
        async with asyncio.timeout(20):
            while len(runner.jobs.running()) > 1:
                await asyncio.sleep(0.02)
        assert [(job.task, job.where.line, found["rc"]) for job, found in runner.jobs.failures()] == [("bad", 3, 7)]
        assert [job.task for job in runner.jobs.running()] == ["long"]
        sleeping = (await here["a"].run(["pgrep", "-f", f"touch {mark}"])).stdout.split()
        assert sleeping
    assert not any(alive(int(pid)) for pid in sleeping)


async def test_what_tasks_leave_behind_ends_with_the_envoy() -> None:
    report = await play("- {shell: 'nohup sleep 61 >/dev/null 2>&1 & echo $!', register: left}")
    pid = int(report.variables["a"]["left"]["stdout"])
    assert not alive(pid)


async def test_a_job_that_is_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    report = await play(
        "- {shell: 'sleep 62 & echo $! > $HOME/.estran-test-pid; wait', timeout: 1, register: cut, ignore_errors: true}"
    )
    file = Path.home() / ".estran-test-pid"
    pid = int(file.read_text())
    file.unlink()
    assert "Timed out after 1 second(s)." in report.variables["a"]["cut"]["msg"]
    assert not alive(pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
@pytest.mark.skipif(not Path(SYSTEM_PYTHON).exists(), reason=f"other users need {SYSTEM_PYTHON}")
async def test_becoming_another_user(tmp_path: Path) -> None:
    place = Path("/tmp") / f"estran-test-{os.getpid()}"
    text = f"""
- {{command: id -un, become: true, become_user: nobody, register: who}}
- {{file: {{path: {place}, state: directory, mode: "0777"}}}}
- {{copy: {{content: "small", dest: {place}/small}}, become: true, become_user: nobody}}
- {{copy: {{src: big.bin, dest: {place}/big}}, become: true, become_user: nobody}}
- {{copy: {{content: "x", dest: /etc/estran-test}}, become: true, become_user: nobody, register: denied, ignore_errors: true}}
- {{tempfile: {{path: {place}}}, become: true, become_user: nobody, register: foreign}}
- {{lineinfile: {{path: {place}/lines, line: one, create: true}}, become: true, become_user: nobody}}
- {{command: id -un, become: true, become_user: nosuchuser, register: nosuch, ignore_errors: true}}
- {{command: id -un, become: true, register: root}}
"""
    (tmp_path / "big.bin").write_bytes(b"x" * (9 << 20))
    document = read_ansible(text, str(tmp_path / "tasks.yml"))
    try:
        async with hosts("a", python=SYSTEM_PYTHON) as here:
            report = await run_tasks(document.data, here, marks=document.marks, folders=[tmp_path])
        found = report.variables["a"]
        assert (found["who"]["stdout"], found["root"]["stdout"]) == ("nobody", "root")
        assert (place / "small").owner() == (place / "big").owner() == "nobody"
        assert (place / "big").stat().st_size == 9 << 20
        assert found["denied"]["failed"]
        assert found["foreign"]["owner"] == (place / "lines").owner() == "nobody"
        assert not list(Path("/tmp").glob("ansible-moduletmp-*")), "modules remove what they needed meanwhile"
        assert "cannot become 'nosuchuser'" in found["nosuch"]["msg"]
    finally:
        shutil.rmtree(place, ignore_errors=True)


async def test_synchronize_both_ways(tmp_path: Path) -> None:
    source, there, back = tmp_path / "source", tmp_path / "there", tmp_path / "back"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "a").write_text("a")
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (there / "source").mkdir(parents=True)
    (there / "source" / "stale").write_text("old")
    report = await play(
        f"""
- {{synchronize: {{src: source, dest: {there}, delete: true}}, register: first}}
- {{synchronize: {{src: source, dest: {there}, delete: true}}, register: second}}
- {{ansible.posix.synchronize: {{src: {there}/source/, dest: {back}, mode: pull}}, register: third}}
- {{synchronize: {{src: {there}/source/, dest: {back}, mode: pull}}, register: fourth}}
""",
        folder=tmp_path,
        folders=[tmp_path],
    )
    found = report.variables["a"]
    assert [found[name]["changed"] for name in ("first", "second", "third", "fourth")] == [True, False, True, False]
    assert sorted(path.name for path in (there / "source").rglob("*")) == ["a", "inner", "run.sh"]
    assert (back / "inner" / "a").read_text() == "a"
    assert (back / "run.sh").stat().st_mode & 0o777 == 0o755


async def test_facts_are_gathered_when_they_are_used() -> None:
    report = await play(
        "- {shell: 'echo {{ ansible_system }} {{ ansible_facts.architecture }} {{ ansible_nope | default(0) }}', register: r}"
    )
    assert report.variables["a"]["r"]["stdout"] == f"Linux {os.uname().machine} 0"


async def test_a_wrong_list_does_nothing(tmp_path: Path) -> None:
    with pytest.raises(SpecErrors):
        await play(f"- shell: touch {tmp_path}/done\n- shelll: echo")
    assert not (tmp_path / "done").exists()


async def test_the_last_tier_says_why_it_cannot_reach_a_host() -> None:
    with pytest.raises(TaskError, match="ansible-playbook, which cannot reach the host 'a'") as raised:
        await play("- {include_role: {name: web}}")
    assert raised.value.where.line == 1


async def test_roles_by_ansible_playbook(tmp_path: Path) -> None:
    pytest.importorskip("ansible", reason="ansible-core is not installed")
    (tmp_path / "roles" / "web" / "tasks").mkdir(parents=True)
    (tmp_path / "roles" / "web" / "tasks" / "main.yml").write_text(
        f"- copy: {{content: '{{{{ word }}}}', dest: {tmp_path}/by-role}}\n"
    )
    variables: Mapping[str, Any] = {
        "ansible_connection": "local",
        "ansible_python_interpreter": shutil.which("python3.11") or SYSTEM_PYTHON,
    }
    report = await play(
        "- {include_role: {name: web}, vars: {word: 'hello {{ inventory_hostname }}'}}\n"
        "- {community.none.module: {}, ignore_errors: true, register: none}",
        folder=tmp_path,
        folders=[tmp_path],
        variables={"a": variables},
    )
    assert [(result.status, result.tier) for result in report.results] == [("changed", "playbook"), ("ignored", "playbook")]
    assert (tmp_path / "by-role").read_text() == "hello a"


async def test_an_old_python_on_the_host(tmp_path: Path) -> None:
    python = next((path for path in sorted(Path.home().glob(".pyenv/versions/3.8.*/bin/python3"))), None)
    if python is None:
        pytest.skip("there is no Python 3.8 on this machine")
    text = f"""
- {{command: 'echo old', register: r}}
- {{copy: {{content: x, dest: {tmp_path}/x, mode: "u=rw,go="}}}}
- {{stat: {{path: {tmp_path}/x}}, register: s}}
"""
    document = read_ansible(text, "tasks.yml")
    async with hosts("a", python=str(python)) as here:
        assert here["a"].facts["python"].startswith("3.8.")
        report = await run_tasks(document.data, here, marks=document.marks)
    assert report.ok
    assert report.variables["a"]["s"]["stat"]["mode"] == "0600"


async def test_a_host_that_goes_is_unreachable() -> None:
    document = read_ansible("- {shell: 'kill -9 $(cat /proc/$PPID/status | sed -n s/PPid:.//p)'}\n- {command: 'true'}", "tasks.yml")
    async with hosts("a", "b") as here:
        report = await run_tasks(document.data, {"a": here["a"]}, marks=document.marks)
    assert [result.status for result in report.results] == ["unreachable"]
