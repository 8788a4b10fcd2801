"""Where each learner of the house is defined, by the name that experiment files know it by."""

from __future__ import annotations

from typing import Final

_LINEAR: Final = {
    "softmax": "estran.learning.softmax:Softmax",
    "perceptron": "estran.learning.linear.first_order:Perceptron",
    "pa": "estran.learning.linear.first_order:PA",
    "pa1": "estran.learning.linear.first_order:PA1",
    "pa2": "estran.learning.linear.first_order:PA2",
    "ogd": "estran.learning.linear.first_order:OGD",
    "romma": "estran.learning.linear.first_order:ROMMA",
    "aromma": "estran.learning.linear.first_order:AggressiveROMMA",
    "alma": "estran.learning.linear.first_order:ALMA",
    "adagrad": "estran.learning.linear.first_order:AdaGrad",
    "ftrl": "estran.learning.linear.first_order:FTRL",
    "winnow": "estran.learning.linear.winnow:Winnow",
    "sop": "estran.learning.linear.second_order:SOP",
    "cw": "estran.learning.linear.second_order:CW",
    "eccw": "estran.learning.linear.second_order:ECCW",
    "arow": "estran.learning.linear.second_order:AROW",
    "narow": "estran.learning.linear.second_order:NAROW",
    "scw1": "estran.learning.linear.second_order:SCW1",
    "scw2": "estran.learning.linear.second_order:SCW2",
    "nherd": "estran.learning.linear.second_order:NHERD",
    "iellip": "estran.learning.linear.second_order:IELLIP",
    "ons": "estran.learning.linear.newton:ONS",
}

_COST_SENSITIVE: Final = {
    "paum": "estran.learning.linear.costs:PAUM",
    "cpa": "estran.learning.linear.costs:CPA",
    "csogd": "estran.learning.linear.costs:CSOGD",
}

_DEEP: Final = {
    "hbp": "estran.learning.deep.hbp:HedgeBackprop",
    "mlp": "estran.learning.mlp:Mlp",
}

_COMPOSED: Final = {
    "drift-reacting": "estran.learning.reacting:DriftReacting",
    "scaled": "estran.learning.scaling:Scaled",
}

BUILT_IN: Final[dict[str, str]] = {**_LINEAR, **_COST_SENSITIVE, **_DEEP, **_COMPOSED}
"""``module:Class`` of each."""
