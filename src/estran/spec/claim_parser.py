"""Reading a claim.

The grammar, where ``{}`` repeats and ``[]`` may be left out::

    claim      = expression relation bound ["±" amount] ["at" percent]
               | expression "within" amount "of" bound ["at" percent]
    expression = measure ["-" measure | "/" measure]
    measure    = response ["(" factor "=" level {"," factor "=" level} ")"]
    bound      = amount | measure
    relation   = ">=" | ">" | "<=" | "<"

``mean(latency, placement=edge)`` is read as ``latency(placement=edge)``: a measure is always the mean over runs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn, get_args

from estran.spec.claims import BARE, CONFIDENCE, Amount, Claim, Measure, Operator, Relation, dimension_of
from estran.spec.document import parse_value
from estran.units import Dimension, QuantityError, parse

_NAME: Final = re.compile(r"[A-Za-z_](?:[\w.-]*\w)?(?:@\w(?:[\w.:>→/-]*\w)?)?", re.ASCII)
_AMOUNT: Final = re.compile(
    r"([+-]?)((?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?:\s*(%|(?!(?:at|of)\b)[^\W\d_]+(?:/[a-z]+)?|/[a-z]+))?"
)
_RELATION: Final = re.compile(r">=|<=|>|<|within\b")
_EXAMPLE: Final = "accuracy(placement=cloud) - accuracy(placement=edge) >= 0.02 at 95%"
_WRITTEN: Final[Mapping[Dimension, str]] = {
    "duration": "a duration, such as 120ms", "fraction": "a share, such as 0.02 or 2%", "frequency": "a rate, such as 50/s",
    "size": "a size, such as 64MiB", "energy": "an energy, such as 40J",
}  # fmt: skip


class ClaimError(ValueError):
    """A text is no claim; ``offset`` is where in the text that shows, counted from 0."""

    def __init__(self, what: str, offset: int, remedy: str | None = None) -> None:
        super().__init__(what)
        self.what, self.offset, self.remedy = what, offset, remedy


def parse_claim(text: str) -> Claim:
    """Read a claim.

    Raises
    ------
    ClaimError
        If it is none; it says where.

    Examples
    --------
    >>> str(parse_claim("mean(latency, publish_every=2s) within 5% of 35ms"))
    'latency(publish_every=2s) within 5% of 35ms'
    """
    return _Parser(text).claim()


class _Parser:
    """Recursive descent over one text."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("−", "-")
        self._at = 0

    def claim(self) -> Claim:
        left, operator, right = self._expression()
        relation, tolerance = self._relation(), None
        if relation == "within":
            tolerance = self._amount()
            self._word("of", "write within 5% of 35ms")
        start = self._blank()
        bound = self._bound()
        if relation != "within" and (self._next("±") or self._next("+-")):
            tolerance = self._amount()
        confidence = self._confidence() if self._next("at") else CONFIDENCE
        if self._blank() < len(self._text):
            self._fail(f"{self._text[self._at :]!r} is too much", "end with a tolerance (± 10%) or a confidence (at 95%), if any")
        claim = Claim(left, relation, bound, operator, right, tolerance, confidence)
        _check(claim, start)
        return claim

    def _expression(self) -> tuple[Measure, Operator | None, Measure | None]:
        left = self._measure()
        for operator in get_args(Operator):
            if self._next(operator):
                return left, operator, self._measure()
        return left, None, None

    def _measure(self) -> Measure:
        start = self._blank()
        name = self._match(_NAME, "a response is missing", f"write for example {_EXAMPLE}")
        if not self._next("("):
            return Measure(name, (), start)
        if name == "mean":
            name = self._match(_NAME, "a response is missing", "write mean(latency, placement=edge)")
            if self._next(")"):
                return Measure(name, (), start)
            self._word(",", "write mean(latency, placement=edge)")
        levels = dict([self._condition({})])
        while self._next(","):
            levels |= [self._condition(levels)]
        self._word(")", "close the levels with )")
        return Measure(name, tuple(levels.items()), start)

    def _condition(self, known: Mapping[str, Any]) -> tuple[str, Any]:
        start = self._blank()
        name = self._match(re.compile(r"[A-Za-z_][\w-]*", re.ASCII), "a factor is missing", "write (placement=edge)")
        if name in known:
            raise ClaimError(f"the factor {name!r} has two levels", start, "keep one")
        self._word("=", f"write {name}=LEVEL")
        begin = self._blank()
        raw = self._level()
        try:
            return name, parse_value(raw)
        except ValueError as error:
            raise ClaimError(f"{raw!r} is no level: {error}", begin, "quote it") from None

    def _level(self) -> str:
        """Text up to the comma or bracket that ends it; brackets and quotes within belong to it."""
        begin, depth, quote = self._at, 0, ""
        while self._at < len(self._text):
            letter = self._text[self._at]
            if quote:
                if letter == "\\" and quote == '"':
                    self._at += 1
                quote = "" if letter == quote else quote
            elif depth == 0 and letter in ",)":
                break
            elif letter in "\"'" and (depth or self._at == begin):
                quote = letter
            else:
                depth += (letter in "[{(") - (letter in "]})")
            self._at += 1
        raw = self._text[begin : self._at].strip()
        if not raw:
            self._fail("a level is missing", "write (placement=edge)")
        return raw

    def _relation(self) -> Relation:
        self._blank()
        for sign, relation in (("≥", ">="), ("≤", "<=")):
            if self._next(sign):
                return relation  # type: ignore[return-value]  # one of the five
        return self._match(_RELATION, "a comparison is missing", "use one of >= > <= < or within")  # type: ignore[return-value]

    def _bound(self) -> Amount | Measure:
        self._blank()
        return self._amount() if _AMOUNT.match(self._text, self._at) else self._measure()

    def _amount(self) -> Amount:
        start = self._blank()
        return _amount(self._match(_AMOUNT, "a quantity is missing", "write for example 120ms, 0.02 or 10%"), start)

    def _confidence(self) -> float:
        start, amount = self._blank(), self._amount()
        if amount.dimension != "fraction" or not 0.5 <= amount.value < 1:
            raise ClaimError(f"{amount} is no confidence", start, "write at 95%; from 50% to less than 100%")
        return amount.value

    def _match(self, pattern: re.Pattern[str], what: str, remedy: str) -> str:
        self._blank()
        found = pattern.match(self._text, self._at)
        if found is None:
            self._fail(what, remedy)
        self._at = found.end()
        return found[0]

    def _next(self, word: str) -> bool:
        """Whether a word comes next; if so, it is passed."""
        self._blank()
        if not self._text.startswith(word, self._at):
            return False
        self._at += len(word)
        return True

    def _word(self, word: str, remedy: str) -> None:
        if not self._next(word):
            self._fail(f"{word!r} is missing", remedy)

    def _blank(self) -> int:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._at

    def _fail(self, what: str, remedy: str) -> NoReturn:
        raise ClaimError(what, self._at, remedy)


def _amount(text: str, offset: int) -> Amount:
    """A quantity of any dimension, by its unit."""
    found = _AMOUNT.fullmatch(text)
    assert found is not None
    sign, number, unit = -1.0 if found[1] == "-" else 1.0, found[2], found[3]
    written = f"{'-' if sign < 0 else ''}{number}{unit or ''}"
    if not math.isfinite(float(number)):
        raise ClaimError(f"{number} is too large", offset, "write a smaller number")
    if unit is None:
        return Amount(sign * float(number), None, written)
    if unit == "%":
        return Amount(sign * float(number) / 100, "fraction", written)
    for dimension in get_args(Dimension):
        try:
            return Amount(sign * parse(number + unit, dimension), dimension, written)
        except QuantityError:
            continue
    raise ClaimError(f"{unit!r} is no unit", offset, "write for example 120ms, 0.02, 10%, 50/s, 64MiB or 40J")


def _check(claim: Claim, bound_at: int) -> None:
    """Refuse what cannot be compared."""
    bound, tolerance, kind = claim.bound, claim.tolerance, dimension_of(claim.left.response)
    if isinstance(bound, Measure) and claim.operator is not None:
        raise ClaimError("a difference or a ratio is compared with a quantity", bound_at, f"write for example {_EXAMPLE}")
    for other in claim.measures[1:]:
        alike = dimension_of(other.response)
        if None not in (kind, alike) and kind != alike and claim.operator != "/":
            raise ClaimError(
                f"{claim.left.response} and {other.response} measure different things", other.offset, "compare like with like"
            )
    if isinstance(bound, Amount):
        if claim.operator == "/" and bound.dimension not in ("fraction", None):
            raise ClaimError(f"a ratio has no unit, and {bound} has one", bound_at, "write a number, such as 0.5")
        if claim.operator != "/":
            _fits(bound, kind, claim.left, bound_at)
            if kind == "fraction":
                _share(bound, claim.left, bound_at)
    if tolerance is None:
        return
    if tolerance.value < 0 or (tolerance.value == 0 and claim.relation == "within"):
        raise ClaimError(f"{tolerance} tolerates nothing", bound_at, "write more than 0")
    if not tolerance.text.endswith("%") and claim.operator != "/":
        _fits(tolerance, kind, claim.left, bound_at)
    elif isinstance(bound, Amount) and bound.value == 0:
        raise ClaimError(f"{tolerance} of 0 is nothing", bound_at, f"write a tolerance as {_WRITTEN.get(kind or 'fraction')}")


def _fits(amount: Amount, kind: Dimension | None, measure: Measure, offset: int) -> None:
    if kind is None or amount.dimension == kind or (amount.dimension is None and (kind in BARE or amount.value == 0)):
        return
    raise ClaimError(f"{measure.response} is not compared with {amount}", offset, f"write {_WRITTEN[kind]}")


def _share(amount: Amount, measure: Measure, offset: int) -> None:
    """Refuse 70 where 70 % is meant."""
    if abs(amount.value) > 1:
        remedy = (
            f"write {amount.text}%"
            if amount.dimension is None and abs(amount.value) <= 100
            else "write a share, such as 0.02 or 2%"
        )
        raise ClaimError(f"{measure.response} is a share, and {amount} is more than all", offset, remedy)
