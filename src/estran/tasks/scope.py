"""What names mean to a task on one host: layers of variables, evaluated when they are looked at.

What users write may hold expressions and is a *template*; what hosts answered (registered results, facts) is *data*, in which
braces mean nothing. Ansible 2.19 draws the same line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from estran.tasks.errors import EvaluationError, FactsNeeded
from estran.tasks.templating import MISSING, Templates

NO_FACTS: Final = frozenset(
    "ansible_check_mode ansible_config_file ansible_diff_mode ansible_facts_gathered ansible_forks ansible_index_var "  # noqa: SIM905
    "ansible_loop ansible_loop_var ansible_play_batch ansible_play_hosts ansible_play_hosts_all ansible_play_name "
    "ansible_playbook_python ansible_run_tags ansible_skip_tags ansible_verbosity ansible_version ansible_failed_task "
    "ansible_failed_result ansible_host ansible_port ansible_user ansible_password ansible_connection "
    "ansible_python_interpreter ansible_become ansible_become_user ansible_become_method ansible_become_password "
    "ansible_delegated_vars".split()
)
"""Names that begin like facts and are none."""


class Scope(Mapping[str, Any]):
    """Names of one task on one host.

    Parameters
    ----------
    layers
        Maps with whether their values are templates, the strongest first.
    facts
        The host whose facts are not known yet; None when they are.
    """

    def __init__(
        self, templates: Templates, layers: tuple[tuple[Mapping[str, Any], bool], ...], *, facts: str | None = None
    ) -> None:
        self.templates = templates
        self.layers = layers
        self._facts = facts
        self._open: list[str] = []

    def inside(self, *layers: tuple[Mapping[str, Any], bool]) -> Scope:
        """Return the same scope with stronger layers before it."""
        return Scope(self.templates, (*layers, *self.layers), facts=self._facts)

    def __getitem__(self, name: str) -> Any:
        for layer, template in self.layers:
            if name in layer:
                return self._evaluated(name, layer[name]) if template else layer[name]
        if self._facts is not None and name.startswith("ansible_") and name not in NO_FACTS and not name.startswith("ansible_ssh_"):
            raise FactsNeeded(self._facts)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter({name: None for layer, _ in self.layers for name in layer})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return any(name in layer for layer, _ in self.layers)

    def _evaluated(self, name: str, raw: Any) -> Any:
        if name in self._open:
            raise EvaluationError(f"the variable {name!r} refers to itself", remedy="give one of the two another name")
        self._open.append(name)
        try:
            return self.value(raw)
        finally:
            self._open.pop()

    def value(self, raw: Any) -> Any:
        """Evaluate all expressions in a value; parts that are ``omit`` are left out of maps and lists.

        Raises
        ------
        EvaluationError
            If an expression is wrong or a name in it is not defined.
        """
        if isinstance(raw, str):
            return self.templates.evaluate(raw, self)
        if isinstance(raw, Mapping):
            parts = ((self._key(key), self.value(part)) for key, part in raw.items())
            return {key: part for key, part in parts if part is not MISSING}
        if isinstance(raw, (list, tuple)):
            return [part for part in map(self.value, raw) if part is not MISSING]
        return raw

    def _key(self, key: Any) -> Any:
        return self.templates.evaluate(key, self) if isinstance(key, str) else key

    def holds(self, condition: Any) -> bool:
        """Whether a condition (text of an expression, a bool, or a list of which all must hold) holds; raises as `value`."""
        return self.false_condition(condition) is None

    def false_condition(self, condition: Any) -> Any:
        """The first part of a condition that does not hold; None if all hold."""
        for part in condition if isinstance(condition, (list, tuple)) else [condition]:
            if not (self.templates.condition(part, self) if isinstance(part, str) else bool(part)):
                return part if part is not None else False
        return None
