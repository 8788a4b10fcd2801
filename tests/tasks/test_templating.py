"""Expressions: types are kept, names are looked up late, nothing of a host's answers is evaluated, nothing escapes the sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.tasks.errors import EvaluationError, FactsNeeded
from estran.tasks.finder import Finder
from estran.tasks.lookups import look_up
from estran.tasks.scope import Scope
from estran.tasks.templating import Templates

FINDER = Finder((Path(__file__).parent / "assets",))
TEMPLATES = Templates(lambda kind, terms, options, names: look_up(kind, terms, options, names, FINDER))


def scope(given: dict[str, object] | None = None, data: dict[str, object] | None = None, facts: str | None = None) -> Scope:
    return Scope(TEMPLATES, ((data or {}, False), (given or {}, True)), facts=facts)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ 5 }}", 5), ("{{ '5' }}", "5"), ("{{ [1, 'a'] }}", [1, "a"]), ("{{ none }}", None), ("a{{ none }}b", "ab"),
        ("{{ [1, 2] | map('string') }}", ["1", "2"]), ("{{ nope.a.b | default('y') }}", "y"), ("{{ '{{' }}", "{{"),
        ("{{ lookup('file', 'note.txt') }}", "hé, content"), ("{{ query('sequence', 'end=2') }}", ["1", "2"]),
    ],
)  # fmt: skip
def test_types_are_kept(text: str, value: object) -> None:
    found = scope().value(text)
    assert found == value
    assert type(found) is type(value)


def test_variables_refer_to_each_other_and_are_evaluated_late() -> None:
    names = scope({"a": "{{ b }}", "b": "{{ c + 1 }}", "c": 1, "wrong": "{{ nope }}"})
    assert names["a"] == 2
    assert names.holds("a == 2")


def test_a_variable_that_refers_to_itself_is_told() -> None:
    with pytest.raises(EvaluationError, match="refers to itself"):
        scope({"a": "{{ b }}", "b": "{{ a }}"}).value("{{ a }}")


def test_what_a_host_answered_is_never_evaluated() -> None:
    names = scope({"outer": "{{ answer }}"}, {"answer": "{{ 1 + 1 }}"})
    assert names.value("{{ answer }}") == "{{ 1 + 1 }}"
    assert names.value("{{ outer }}") == "{{ 1 + 1 }}"


@given(st.text(max_size=40))
def test_any_answer_comes_through_unchanged(text: str) -> None:
    assert scope(data={"answer": text}).value("{{ answer }}") == text


def test_undefined_names_fail_and_omitted_parts_are_left_out() -> None:
    with pytest.raises(EvaluationError, match="'nope' is undefined"):
        scope().value({"a": ["{{ nope }}"]})
    assert scope().value({"a": "{{ nope | default(omit) }}", "b": [1, "{{ omit }}"]}) == {"b": [1]}


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ lookup.__globals__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ ''['__class__'] }}",
        "{{ vars.templates }}",
    ],
)
def test_the_sandbox_holds(text: str) -> None:
    with pytest.raises(EvaluationError):
        scope(data={"vars": scope()}).value(text)


@pytest.mark.parametrize(("kind", "words"), [("pipe", "not allowed"), ("fiel", "did you mean 'file'?")])
def test_lookups_that_are_refused(kind: str, words: str) -> None:
    with pytest.raises(EvaluationError) as raised:
        scope().value("{{ lookup('" + kind + "', 'true') }}")
    assert words in str(raised.value)


def test_facts_are_asked_for_when_they_are_needed() -> None:
    names = scope(facts="a")
    with pytest.raises(FactsNeeded):
        names.value("{{ ansible_hostname }}")
    assert names.value("{{ ansible_become is defined }}") is False


def test_chance_needs_a_seed() -> None:
    with pytest.raises(EvaluationError, match="seed"):
        scope().value("{{ [1, 2, 3] | random }}")
    draw = "{{ [1, 2, 3] | shuffle(seed=4) }}"
    assert scope().value(draw) == scope().value(draw)


@pytest.mark.parametrize(
    ("condition", "value"), [("1 == 1", True), (["true", "false"], False), (True, True), ("{{ 1 > 2 }}", False)]
)
def test_conditions(condition: object, value: bool) -> None:
    assert scope().holds(condition) is value
