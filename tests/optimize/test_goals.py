import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import RequestError
from estran.optimize.goals import Goals

MEASURED = {
    "latency_p99": {"value": 0.142, "unit": "s", "n": 100},
    "accuracy": {"value": 0.9, "unit": "fraction", "n": 100},
    "energy": {"value": 50.0, "unit": "J", "n": 1},
    "latency@detector": {"value": 0.1, "unit": "s", "n": 100},
}
VALUES = {name: one["value"] for name, one in MEASURED.items()}


def test_goals_and_limits_are_read_with_their_units() -> None:
    goals = Goals.read(["latency_p99"], ["accuracy"], ["energy<=40J", "latency_p99 <= 120ms", "accuracy>=85%"])
    goals.check(MEASURED)
    assert goals.costs(VALUES) == (0.142, -0.9)
    assert goals.violations(VALUES) == pytest.approx((10.0, 0.022, -0.05))
    assert goals.responses == ("latency_p99", "accuracy", "energy")
    assert not goals.single


def test_bounds_without_a_unit_are_named_where_there_is_one() -> None:
    goals = Goals.read(["energy"], [], ["latency_p99<=120", "latency@detector<=120ms", "accuracy>=0.9", "unknown<=1"])
    (text,) = goals.bare({name: one["unit"] for name, one in MEASURED.items()})
    assert text.startswith("--subject-to latency_p99<=120: ")
    assert "in s," in text


def test_goals_read_what_they_write() -> None:
    goals = Goals.read(["latency_p99", "energy"], ["accuracy"], ["energy<=40J"])
    plain = goals.plain()
    assert Goals.read(plain["minimize"], plain["maximize"], plain["subject_to"]) == goals


@pytest.mark.parametrize(
    ("minimize", "maximize", "limits", "what"),
    [
        ([], [], [], "nothing to optimise"),
        (["energy"], ["energy"], [], "a goal twice"),
        (["energy"], [], ["energy"], "is no limit"),
        (["energy"], [], ["energy<=many"], "no number or quantity"),
        (["energy"], [], ["energy=40J"], "is no limit"),
        (["energy"], [], ["accuracy>=70"], "accuracy is a share, and 70 is more than all"),
    ],
)
def test_what_is_no_goal_is_refused(minimize: list[str], maximize: list[str], limits: list[str], what: str) -> None:
    with pytest.raises(RequestError, match=what):
        Goals.read(minimize, maximize, limits)


def test_unknown_responses_are_refused_with_what_is_known() -> None:
    with pytest.raises(RequestError, match="latency_p98") as raised:
        Goals.read(["latency_p98"], [], []).check(MEASURED)
    assert "latency_p99" in str(raised.value)
    assert "latency@detector" not in str(raised.value)


def test_limits_of_another_kind_are_refused() -> None:
    with pytest.raises(RequestError, match="energy is in J, and the limit says duration"):
        Goals.read(["latency_p99"], [], ["energy<=40s"]).check(MEASURED)


@given(st.floats(0.001, 1000), st.floats(0.001, 1000))
def test_a_limit_is_broken_on_one_side_only(value: float, bound: float) -> None:
    most = Goals.read(["energy"], [], [f"energy<={bound!r}"]).violations({"energy": value})[0]
    least = Goals.read(["energy"], [], [f"energy>={bound!r}"]).violations({"energy": value})[0]
    assert most == -least
    assert (most <= 0) == (value <= bound)
