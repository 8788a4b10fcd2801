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
        ("{{ true }} {{ 1 }}", "True 1"), ("{{ {'a': [1]} }}", {"a": [1]}), ("{{ [3, 1] | sort }}", [1, 3]),
        ("{{ [1, 2] | map('string') }}", ["1", "2"]), ("{{ 'yes' | bool }}", True), ("{{ 'x' | default('y') }}", "x"),
        ("{{ nope.a.b | default('y') }}", "y"), ("{{ '' | default('y', true) }}", "y"), ("{{ 'a' | b64encode | b64decode }}", "a"),
        ("{{ '/a/b.tar.gz' | basename }}", "b.tar.gz"), ("{{ '/a/b.gz' | splitext }}", ["/a/b", ".gz"]),
        ("{{ 'abc' | regex_replace('b', 'X') }}", "aXc"), ("{{ 'a=1' | regex_search('=(.)', '\\\\1') }}", ["1"]),
        ("{{ {'a': {'b': 1}} | combine({'a': {'c': 2}}, recursive=true) }}", {"a": {"b": 1, "c": 2}}),
        ("{{ {'a': 1} | dict2items }}", [{"key": "a", "value": 1}]), ("{{ [{'key': 'a', 'value': 1}] | items2dict }}", {"a": 1}),
        ("{{ [1, [2, [3]]] | flatten(levels=1) }}", [1, 2, [3]]), ("{{ [1, 1, 2] | unique }}", [1, 2]),
        ("{{ [1, 2] | difference([2]) }}", [1]), ("{{ [1, 2] | union([3]) }}", [1, 2, 3]), ("{{ [1, 2] | intersect([2]) }}", [2]),
        ("{{ [1, 2] | zip(['a', 'b']) | list }}", [[1, "a"], [2, "b"]]), ("{{ [1] | product([2, 3]) }}", [[1, 2], [1, 3]]),
        ("{{ true | ternary('a', 'b') }}", "a"), ("{{ {'b': 1} | to_json }}", '{"b": 1}'), ("{{ '[1, 2]' | from_json }}", [1, 2]),
        ("{{ 'a: yes' | from_yaml }}", {"a": True}), ("{{ {'a': [1]} | to_nice_yaml }}", "a:\n- 1\n"),
        ("{{ 'x' | hash('sha256') | length }}", 64), ("{{ \"it's\" | quote }}", "'it'\"'\"'s'"), ("{{ 7 | int + 1 }}", 8),
        ("{{ '1.10' is version('1.9', '>') }}", True), ("{{ 'ab' is match('a') and 'ab' is search('b') }}", True),
        ("{{ [1, 2] is contains(1) and [1] is subset([1, 2]) }}", True), ("{{ '/etc/passwd' is file }}", True),
        ("{{ '%d' | strftime(0, utc=true) }}", "01"), ("{{ 'x' | to_uuid | length }}", 36), ("{{ 1024 | human_readable }}", "1.00 KB"),
        ("{{ lookup('file', 'note.txt') }}", "hé, content"), ("{{ query('sequence', 'end=2') }}", ["1", "2"]),
        ("{% for i in [1, 2] %}{{ i }}{% endfor %}", "12"), ("{{ '{{' }}", "{{"),
    ],
)  # fmt: skip
def test_values(text: str, value: object) -> None:
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
    "text", ["{{ ''.__class__.__mro__ }}", "{{ lookup.__globals__ }}", "{{ cycler.__init__.__globals__ }}", "{{ ''['__class__'] }}"]
)
def test_the_sandbox_holds(text: str) -> None:
    with pytest.raises(EvaluationError):
        scope().value(text)


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
