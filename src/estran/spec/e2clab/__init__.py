"""Reading the files of E2Clab's scenarios, in all their dialects."""

from estran.spec.e2clab.model import Scenario
from estran.spec.e2clab.scenario import read_scenario

__all__ = ["Scenario", "read_scenario"]
