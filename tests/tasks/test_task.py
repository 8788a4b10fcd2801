"""Reading of tasks: what is wrong is told with its place and what was most likely meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import SpecErrors
from estran.spec.document import read_ansible
from estran.tasks import free_form, known_modules, modules
from estran.tasks.errors import EvaluationError
from estran.tasks.task import Block, Task, read_tasks


def read(text: str):
    document = read_ansible(text, "tasks.yml")
    return read_tasks(document.data, document.marks)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("- shelll: echo hi", 1, ("no module 'shelll'", "did you mean 'shell'?")),
        ("- name: a\n  shelll: echo hi", 2, ("no module 'shelll'",)),
        ("- shell: echo\n  regster: x", 2, ("'regster' is neither", "did you mean 'register'?")),
        ("- shell: a\n  copy: src=a dest=b", 2, ("names two modules", "'shell' and 'copy'")),
        ("- name: nothing", 1, ("names no module",)),
        ("- name: ok\n  shell: a\n- just text", 3, ("a task must be a map",)),
        ("shell: a", 1, ("tasks must be a list",)),
        ("- add_host: name=x", 1, ("'add_host' cannot be used here",)),
        ("- file: some words", 1, ("takes no free text",)),
        ("- shell: a\n  become_exe: x", 2, ("'become_exe' is not built",)),
        ("- block: [{shell: a}]\n  resque: []", 2, ("no keyword of a block", "did you mean 'rescue'?")),
    ],
)
def test_what_is_wrong_has_a_place(text: str, line: int, words: tuple[str, ...]) -> None:
    with pytest.raises(SpecErrors) as raised:
        read(text)
    error = raised.value.errors[0]
    assert error.where.line == line
    for word in words:
        assert word in str(error)


def test_all_errors_are_told_at_once() -> None:
    with pytest.raises(SpecErrors) as raised:
        read("- shelll: a\n- copyy: src=a dest=b\n- block:\n    - flie: path=a\n")
    assert [error.where.line for error in raised.value.errors] == [1, 2, 4]


def test_keywords_of_blocks_add_up() -> None:
    (block,) = read("- block:\n    - {shell: a, when: x, vars: {b: 2}}\n  when: y\n  vars: {a: 1, b: 1}\n  become: yes")
    assert isinstance(block, Block)
    (task,) = block.tasks
    assert isinstance(task, Task)
    assert task.get("when") == ["y", "x"]
    assert task.get("vars") == {"a": 1, "b": 2}
    assert task.get("become") is True


def test_names_of_modules_with_their_collection() -> None:
    tasks = read(
        "- ansible.builtin.shell: a\n- ansible.posix.synchronize: src=a dest=b\n"
        "- community.general.ufw: {state: enabled}\n- include: x"
    )
    assert [task.module for task in tasks] == ["shell", "synchronize", "community.general.ufw", "include_tasks"]


@pytest.mark.parametrize(
    ("module", "parameters", "tier"),
    [
        ("copy", {"src"}, "native"), ("copy", {"src", "seuser"}, "playbook"), ("file", {"path", "attributes"}, "module"),
        ("apt", {"name"}, "module"), ("docker_container", {"name"}, "playbook"), ("community.general.ufw", set(), "playbook"),
        ("include_role", {"name"}, "playbook"),
    ],
)  # fmt: skip
def test_how_a_module_is_done(module: str, parameters: set[str], tier: str) -> None:
    assert modules.tier(module, frozenset(parameters)) == tier


def test_a_parameter_that_nothing_takes() -> None:
    with pytest.raises(EvaluationError, match=r"Unsupported parameters for \(debug\) module: mgs") as raised:
        modules.tier("debug", frozenset({"mgs"}))
    assert "did you mean 'msg'?" in str(raised.value)


def test_values_are_read_as_ansible_reads_them() -> None:
    (task,) = read("- file: {path: a, mode: 0644, recurse: yes, src: y}")
    assert task.arguments == {"path": "a", "mode": 0o644, "recurse": True, "src": "y"}


def test_the_registry_of_modules() -> None:
    assert {"shell", "copy", "apt", "synchronize", "lineinfile"} <= known_modules()


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=60))
def test_a_command_without_options_stays_as_it_is(text: str) -> None:
    rest, options = free_form.command(text)
    assert options or rest == text


@given(
    st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.from_regex(r"[a-z0-9/.]{1,12}( [a-z]{1,4})?", fullmatch=True))
)
def test_pairs_come_back(pairs: dict[str, str]) -> None:
    assert free_form.pairs(" ".join(f"{key}='{value}'" for key, value in pairs.items())) == pairs
