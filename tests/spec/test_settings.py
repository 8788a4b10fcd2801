from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from estran.spec import settings_schema, validate_settings
from estran.units import Duration


@dataclass(frozen=True)
class Inner:
    every: Duration = 1.0
    keep: int = 3


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    many: tuple[Inner, ...] = ()
    named: dict[str, Inner] = field(default_factory=dict)
    either: Inner | str | None = None


def test_good_settings_become_plain_values_without_defaults() -> None:
    given = {"name": "x", "inner": {"every": "20ms"}, "many": [{"keep": 4}], "named": {"a": {"every": "1min"}}, "either": "b"}
    plain, faults = validate_settings(Outer, given)
    assert faults == []
    assert plain == {"name": "x", "inner": {"every": 0.02}, "many": [{"keep": 4}], "named": {"a": {"every": 60.0}}, "either": "b"}
    assert msgspec.convert(plain, Outer) == Outer("x", Inner(0.02), (Inner(keep=4),), {"a": Inner(60.0)}, "b")


def test_all_faults_with_their_paths() -> None:
    given = {
        "inner": {"evry": "20ms", "keep": "many"},
        "many": [{}, {"kep": 1}],
        "named": {"a": {"every": 5}},
        "either": {"kepe": 1},
        "nme": 1,
    }
    same, faults = validate_settings(Outer, given)
    assert same is given
    assert dict(faults) == {
        ("inner", "evry"): "unknown key 'evry'; did you mean 'every'?",
        ("inner", "keep"): "must be a whole number, not 'many'",
        ("many", 1, "kep"): "unknown key 'kep'; did you mean 'keep'?",
        ("named", "a", "every"): "5 has no unit for a duration; write 10ms, 2s or 5min",
        ("either", "kepe"): "unknown key 'kepe'; did you mean 'keep'?",
        ("nme",): "unknown key 'nme'; did you mean 'name'?",
    }


def test_a_missing_key_is_told_at_the_map() -> None:
    assert validate_settings(Outer, {})[1] == [((), "the key 'name' is missing; add name:")]


def test_the_schema_forbids_unknown_keys() -> None:
    schema = settings_schema(Outer)
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Inner"]["additionalProperties"] is False
