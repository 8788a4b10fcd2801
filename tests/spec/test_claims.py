"""Claims: what is read, what is refused and where, and that what is written reads back."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.errors import SpecErrors, Where
from estran.spec import dump, load_text
from estran.spec.claim_parser import ClaimError, parse_claim
from estran.spec.claims import CONFIDENCE, Amount, Claim, Measure

from .conftest import EXAMPLE, Index

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}(@[a-z][a-z0-9]{0,4}(-[0-9])?(\.[a-z]{1,4})?)?", fullmatch=True)
factors = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,6}", fullmatch=True)
scalars = st.one_of(
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(-1e9, 1e9),
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"])),
)
levels = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.from_regex("[a-z]{1,4}", fullmatch=True), inner, max_size=2),
)
measures = st.builds(
    Measure,
    names.filter(lambda name: name not in ("mean", "within", "at")),
    st.dictionaries(factors, levels, max_size=2).map(lambda chosen: tuple(chosen.items())),
)


def amounts(*, positive: bool = False) -> st.SearchStrategy[str]:
    sign = st.just("") if positive else st.sampled_from(["", "-"])
    units = st.sampled_from(["", "%", "ms", "s", "/s", "kB", "J", "W", "mbit"])
    return st.tuples(sign, st.integers(1, 9999).map(str) | st.floats(0.001, 1e6).map("{:.6g}".format), units).map("".join)


def amount(text: str) -> Amount:
    bound = parse_claim(f"x > {text}").bound
    assert isinstance(bound, Amount)
    return bound


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    operator = draw(st.sampled_from([None, "-", "/"]))
    relation = draw(st.sampled_from([">=", ">", "<=", "<", "within"]))
    bound: Any = amount(draw(amounts())) if operator or draw(st.booleans()) else draw(measures)
    tolerance = amount(draw(amounts(positive=True))) if relation == "within" or draw(st.booleans()) else None
    confidence = draw(st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.995]))
    right = draw(measures) if operator else None
    return Claim(draw(measures), relation, bound, operator, right, tolerance, confidence)


@settings(max_examples=40)
@given(claims())
def test_what_is_written_reads_back(claim: Claim) -> None:
    read, refused = attempt(str(claim))
    if read is None:  # drawn at random, some compare what cannot be compared
        assert refused is not None
        assert any(word in refused.what for word in ("compared", "measure different", "a ratio has no unit", "is nothing"))
    else:
        assert read == claim
        assert str(read) == str(claim)


def attempt(text: str) -> tuple[Claim | None, ClaimError | None]:
    try:
        return parse_claim(text), None
    except ClaimError as error:
        return None, error


@given(st.text(max_size=40) | st.text("accuryltn(=,)<>±-/ 0.%mswithinof@", max_size=40))
def test_any_text_is_read_or_refused_at_a_place_in_it(text: str) -> None:
    claim, refused = attempt(text)
    if refused is not None:
        assert 0 <= refused.offset <= len(text)
        assert refused.what
    else:
        assert claim is not None
        assert parse_claim(str(claim)) == claim


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("accuracy(p=a) - accuracy(p=b) >= 0.02 at 95%", "accuracy(p=a) - accuracy(p=b) >= 0.02"),
        ("latency_p99<=120 ms ± 10 %", "latency_p99 <= 120ms ± 10%"),
        ("latency_p99 ≤ 120ms +- 10%", "latency_p99 <= 120ms ± 10%"),
        ("mean(latency, publish_every=2s) within 5% of 35ms", "latency(publish_every=2s) within 5% of 35ms"),
        ("mean(latency) < 1s", "latency < 1s"),
        ("utilisation@edge→cell < 50%", "utilisation@edge→cell < 50%"),
        ("loss@camera.samples <= 0", "loss@camera.samples <= 0"),
        ("latency(a={mlp: {hidden: [64]}}) < latency(a=softmax)", 'latency(a={"mlp": {"hidden": [64]}}) < latency(a=softmax)'),
        ("accuracy > 0.5 at 99.5%", "accuracy > 0.5 at 99.5%"),
    ],
)  # fmt: skip
def test_ways_to_write_it(text: str, canonical: str) -> None:
    assert str(parse_claim(text)) == canonical


def test_quantities_are_in_si_units() -> None:
    claim = parse_claim("latency_p99 <= 120ms ± 10%")
    assert (claim.bound.value, claim.tolerance.value, claim.confidence) == (0.12, 0.1, CONFIDENCE)  # type: ignore[union-attr]
    assert parse_claim("memory_peak < 64MiB").bound.value == 64 * 2**20  # type: ignore[union-attr]
    assert parse_claim("accuracy - accuracy > -2%").bound.value == -0.02  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "offset", "what"),
    [
        ("", 0, "a response is missing"),
        ("accuracy", 8, "a comparison is missing"),
        ("accuracy = 3", 9, "a comparison is missing"),
        ("accuracy >= 5ms", 12, "is not compared with 5ms"),
        ("accuracy >= 70", 12, "is a share, and 70 is more than all"),
        ("accuracy - accuracy >= 2", 23, "is a share"),
        ("y > 1e400", 4, "is too large"),
        ("latency >= 3", 11, "is not compared with 3"),
        ("latency > 1s x", 13, "'x' is too much"),
        ("latency - accuracy > 0", 10, "measure different things"),
        ("latency / latency > 3ms", 20, "a ratio has no unit"),
        ("accuracy - accuracy > accuracy", 22, "compared with a quantity"),
        ("latency within 5% of 0s", 21, "is nothing"),
        ("latency within 0ms of 1s", 22, "tolerates nothing"),
        ("accuracy > 0.5 at 5%", 18, "no confidence"),
        ("accuracy(a=1, a=2) > 0.1", 14, "two levels"),
        ("accuracy(a={b > 0.1", 11, "is no level"),
        ("accuracy > 5q", 11, "is no unit"),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(text: str, offset: int, what: str) -> None:
    with pytest.raises(ClaimError) as caught:
        parse_claim(text)
    assert what in caught.value.what
    assert caught.value.offset == offset


def test_a_file_has_its_claims_and_they_survive_its_resolution() -> None:
    text = (
        EXAMPLE
        + 'claims:\n  - "accuracy(placement=cloud) - accuracy(placement=edge) >= 0.02 at 95%"\n  - latency_p99 <= 120ms ± 10%\n'
    )
    experiment = load_text(text, components=Index())
    assert [str(claim) for claim in experiment.claims] == [
        "accuracy(placement=cloud) - accuracy(placement=edge) >= 0.02", "latency_p99 <= 120ms ± 10%",
    ]  # fmt: skip
    again = load_text(dump(load_text(text, overrides=["placement=cloud"], components=Index()).document), components=Index())
    assert again.claims == experiment.claims


def test_errors_of_a_file_are_at_line_and_column() -> None:
    claims = """claims:
  - "accuracy(placement=cloud) - accuracy(placment=edge) >= 0.02"
  - latency_p99(placement=here) <= 120ms
  - latency_p99 = 120ms
  - 5
"""
    with pytest.raises(SpecErrors) as caught:
        load_text(EXAMPLE + claims, components=Index())
    line = EXAMPLE.count("\n") + 1
    found = {
        (error.where.line - line, error.where.column): error for error in caught.value.errors if isinstance(error.where, Where)
    }  # type: ignore[operator]
    assert list(found) == [(1, 34), (2, 5), (3, 17), (4, 5)]
    assert found[1, 34].remedy == "did you mean 'placement'?"
    assert "'here' is no level of placement" in found[2, 5].what


@pytest.mark.parametrize("block", ["claims: latency < 1s", "claims: {a: b}", "claims: [[1]]"])
def test_the_block_is_a_list_of_text(block: str) -> None:
    with pytest.raises(SpecErrors, match="claims"):
        load_text(EXAMPLE + block, components=Index())


def test_relations_are_those_that_are_described() -> None:
    from estran.spec.claims import Relation

    for relation in get_args(Relation):
        text = "x within 1 of 2" if relation == "within" else f"x {relation} 2"
        assert parse_claim(text).relation == relation
