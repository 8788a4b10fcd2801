"""Whatever stands behind a keyword, a task ends with a result or with an error of ours that has a place."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.errors import EstranError, SpecErrors
from estran.spec.marks import Marks
from estran.tasks.runner import TaskRunner

KEYWORDS = (
    "when", "loop", "with_items", "with_dict", "with_sequence", "with_nested", "with_subelements", "with_together", "with_fileglob",
    "loop_control", "until", "retries", "async", "poll", "timeout", "vars", "environment", "ignore_errors", "failed_when",
    "changed_when", "delegate_to", "run_once", "become", "become_user", "no_log", "notify", "register", "name", "tags", "args",
)  # fmt: skip
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.floats(0, 1), st.text(max_size=6),
    st.sampled_from(["{{ x }}", "{{ nope }}", "{{", "{% if %}", "{{ [1] }}", "{{ x.y.z }}", "a=1", "end=2", "nope", "x", "*"]),
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=2))
)
modules = st.sampled_from(["debug", "set_fact", "assert", "fail", "include_vars", "include_tasks", "async_status"])


class Nowhere:
    """A host that tasks without a part on the host never ask for anything."""

    name = "a"
    facts: Mapping[str, Any] = MappingProxyType({})


async def play(task: dict[str, Any]) -> None:
    async with TaskRunner({"a": Nowhere()}, variables={"a": {"x": "value"}}) as runner:  # type: ignore[dict-item]
        for state in runner.states.values():
            state.gathered = True
        try:
            report = await runner.run([{"delay": 0, **task}], Marks("tasks.yml"))
            places = [result.where for result in report.results]
        except SpecErrors as errors:
            places = [error.where for error in errors.errors]
        except EstranError as error:
            places = [error.where]
    assert all(str(place).startswith("tasks.yml") for place in places)


@settings(max_examples=300, deadline=None)
@given(module=modules, arguments=values, keyword=st.sampled_from(KEYWORDS), value=values)
def test_any_value_behind_any_keyword(module: str, arguments: Any, keyword: str, value: Any) -> None:
    asyncio.run(play({module: arguments, keyword: value}))


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_wrong_expression_behind_each_keyword(keyword: str) -> None:
    asyncio.run(play({"debug": {"msg": "{{ item | default(1) }}"}, keyword: "{{ nope }}"}))
    asyncio.run(play({"debug": {"msg": "{{ item | default(1) }}"}, keyword: "{{ 1 +"}))
