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

_SPARSE: Final = {
    "truncated-gradient": "estran.learning.linear.sparse:TruncatedGradient",
    "fobos": "estran.learning.linear.sparse:FOBOS",
    "rda": "estran.learning.linear.sparse:RDA",
    "enhanced-rda": "estran.learning.linear.sparse:EnhancedRDA",
    "ada-fobos": "estran.learning.linear.sparse:AdaFOBOS",
    "ada-rda": "estran.learning.linear.sparse:AdaRDA",
}

_DEEP: Final = {
    "hbp": "estran.learning.deep.hbp:HedgeBackprop",
    "mlp": "estran.learning.mlp:Mlp",
}

_CONTINUAL: Final = {
    "naive": "estran.learning.rehearsal.strategies:Naive",
    "er": "estran.learning.rehearsal.strategies:ER",
    "er-ace": "estran.learning.rehearsal.strategies:ERACE",
    "der++": "estran.learning.rehearsal.strategies:DERpp",
    "a-gem": "estran.learning.rehearsal.strategies:AGEM",
    "gdumb": "estran.learning.rehearsal.gdumb:GDumb",
    "lwf": "estran.learning.rehearsal.regularised:LwF",
    "ewc": "estran.learning.rehearsal.regularised:EWC",
}

_KERNEL: Final = {
    "kernel-perceptron": "estran.learning.kernel_methods.budget:KernelPerceptron",
    "forgetron": "estran.learning.kernel_methods.budget:Forgetron",
    "projectron": "estran.learning.kernel_methods.budget:Projectron",
    "bpa-s": "estran.learning.kernel_methods.budget:BudgetPA",
    "fourier": "estran.learning.kernel_methods.maps:Fourier",
    "nystroem": "estran.learning.kernel_methods.maps:Nystroem",
}

_COMPOSED: Final = {
    "drift-reacting": "estran.learning.reacting:DriftReacting",
    "scaled": "estran.learning.scaling:Scaled",
}

_ACTIVE: Final = {
    "active": "estran.learning.active.model:Active",
}

_AVERAGING: Final = {
    "averaged": "estran.learning.averaging.model:Averaged",
}

_AUC: Final = {
    "oam": "estran.learning.auc.model:OAM",
    "opauc": "estran.learning.auc.model:OPAUC",
}

_MULTITASK: Final = {
    "multitask": "estran.learning.multitask.model:MultitaskPerceptron",
}

_EXPERTS: Final = {
    "hedge": "estran.learning.experts.methods:Hedge",
    "eg": "estran.learning.experts.methods:ExponentiatedGradient",
    "ftl": "estran.learning.experts.methods:FollowTheLeader",
    "ftpl": "estran.learning.experts.methods:FollowThePerturbedLeader",
    "hedged": "estran.learning.experts.voting:Hedged",
}
"""Forecasters, and the learner of classes that votes by one."""

_BANDITS: Final = {
    "exp3": "estran.learning.bandits.adversarial:Exp3",
    "exp4": "estran.learning.bandits.adversarial:Exp4",
    "ucb1": "estran.learning.bandits.stochastic:Ucb1",
    "thompson": "estran.learning.bandits.stochastic:Thompson",
    "epsilon-greedy": "estran.learning.bandits.stochastic:EpsilonGreedy",
    "linucb": "estran.learning.bandits.linear:LinUcb",
    "exp3-selected": "estran.learning.bandits.selecting:Exp3Selected",
    "banditron": "estran.learning.linear.banditron:Banditron",
}
"""Bandits, and the learners of classes that see no more than they do."""

_REGRESSION: Final = {
    "pa-regression": "estran.learning.regression.first_order:PARegression",
    "ogd-regression": "estran.learning.regression.first_order:OGDRegression",
    "adagrad-regression": "estran.learning.regression.first_order:AdaGradRegression",
    "ftrl-regression": "estran.learning.regression.first_order:FTRLRegression",
    "ridge": "estran.learning.regression.second_order:Ridge",
    "forward-ridge": "estran.learning.regression.second_order:ForwardRidge",
    "mlp-regression": "estran.learning.regression.network:MlpRegressor",
    "ons-regression": "estran.learning.regression.second_order:OnlineNewton",
}

BUILT_IN: Final[dict[str, str]] = {
    **_LINEAR,
    **_COST_SENSITIVE,
    **_SPARSE,
    **_DEEP,
    **_CONTINUAL,
    **_KERNEL,
    **_COMPOSED,
    **_ACTIVE,
    **_AVERAGING,
    **_AUC,
    **_MULTITASK,
    **_EXPERTS,
    **_BANDITS,
    **_REGRESSION,
}
"""``module:Class`` of each."""
