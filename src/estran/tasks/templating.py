"""Expressions in tasks: Jinja2 in a sandbox, giving values of their own types as Ansible does since 2.19."""

from __future__ import annotations

import re
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from estran.errors import RequestError
from estran.tasks.errors import EvaluationError

if TYPE_CHECKING:
    from jinja2 import Environment, Template


class _Missing:
    """The value of ``omit``."""

    def __repr__(self) -> str:
        return "omit"


MISSING: Final = _Missing()
_RAISED: Final = (
    TypeError, ValueError, AttributeError, LookupError, ArithmeticError, OSError, MemoryError, RuntimeError, SyntaxError, re.error
)  # fmt: skip
"""What an expression's filters, and methods of values, may raise."""
_MARKS = ("{{", "{%", "{#")


Lookup = Callable[[str, tuple[Any, ...], Mapping[str, Any], Mapping[str, Any]], list[Any]]


class Templates:
    """Evaluates the expressions of one play.

    Parameters
    ----------
    lookup
        Answers ``lookup(name, terms, options, names)`` with a list of values.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._environment = make_environment()
        self._environment.globals.update(_functions(lookup))
        self._compiled: Callable[[str], Template] = lru_cache(4096)(self._compile)

    def evaluate(self, text: str, names: Mapping[str, Any]) -> Any:
        """Evaluate a text: a lone expression gives its value, anything else a text; raises EvaluationError."""
        if not any(mark in text for mark in _MARKS):
            return text
        return self._run(lambda: self._compiled(text), names, _native)

    def _compile(self, text: str) -> Template:
        return self._environment.from_string(text if "\\" not in text else self._with_backslashes(text))

    def _with_backslashes(self, text: str) -> str:
        """Let a backslash in a quoted text of an expression be just that, as Ansible does; else patterns would need two."""
        tokens = self._environment.lex(text)
        return "".join(value.replace("\\", "\\\\") if kind == "string" else value for _, kind, value in tokens)

    def condition(self, text: str, names: Mapping[str, Any]) -> bool:
        """Evaluate a bare expression to true or false; raises EvaluationError."""
        bare = text.strip()
        if bare.startswith("{{") and bare.endswith("}}") and bare.count("{{") == 1:
            bare = bare[2:-2]
        if not any(mark in bare for mark in _MARKS):
            return bool(self.evaluate("{{ (" + bare + ") }}", names))
        value = self.evaluate(bare, names)
        return self.condition(value, names) if isinstance(value, str) and value != text else bool(value)

    def render(self, text: str, names: Mapping[str, Any], folders: Sequence[Path] = (), **options: Any) -> str:
        """Render a file to text.

        Parameters
        ----------
        folders
            Where files that it includes are looked for.
        options
            Those of Jinja's environment (``trim_blocks``, …).

        Raises
        ------
        EvaluationError
            If it is no template, or an expression in it cannot be evaluated.
        """
        from jinja2 import FileSystemLoader

        options = {"loader": FileSystemLoader(folders), "keep_trailing_newline": False, **options}
        environment = self._environment.overlay(**options)
        whole = str(self._run(lambda: environment.from_string(text), names, _joined))
        lost = _newlines(text) - _newlines(whole)
        return whole + environment.newline_sequence * max(lost, 0)

    def _run(self, compiled: Callable[[], Template], names: Mapping[str, Any], whole: Callable[[Iterable[Any]], Any]) -> Any:
        from jinja2 import TemplateError

        try:
            template = compiled()
            context = template.new_context({_NAMES: names})
            return whole(template.root_render_func(context))
        except TemplateError as error:
            raise EvaluationError(_reason(error)) from error
        except RequestError as error:
            raise EvaluationError(error.what, remedy=error.remedy) from error
        except RecursionError:
            raise EvaluationError("the expressions refer to each other without end") from None
        except _RAISED as error:
            raise EvaluationError(f"{type(error).__name__}: {error}") from error


def _functions(lookup_in: Lookup) -> dict[str, Any]:
    """The functions that see the names of the moment."""
    from jinja2 import pass_context

    @pass_context
    def query(context: Any, kind: str, *terms: Any, **options: Any) -> list[Any]:
        return lookup_in(kind.removeprefix("ansible.builtin."), terms, options, context.parent[_NAMES])

    @pass_context
    def lookup(context: Any, kind: str, *terms: Any, wantlist: bool = False, **options: Any) -> Any:
        found = query(context, kind, *terms, **options)
        if wantlist:
            return found
        return found[0] if len(found) == 1 else ",".join(map(_text, found)) if found else ""

    return {"lookup": lookup, "query": query, "q": query, "omit": MISSING}


def make_environment() -> Environment:
    """Make Jinja's environment; raises RequestError if Jinja is not installed."""
    try:
        from jinja2 import ChainableUndefined, StrictUndefined, nodes
        from jinja2.nativetypes import NativeCodeGenerator
        from jinja2.runtime import Context
        from jinja2.sandbox import SandboxedEnvironment
        from jinja2.utils import missing
    except ImportError as error:
        raise RequestError("tasks need Jinja2", remedy="pip install 'estran[tasks]'") from error
    from estran.tasks import filters, jinja_tests

    class Undefined(ChainableUndefined, StrictUndefined):
        """Fails when used, not when a part of it is asked for, so that ``a.b | default(1)`` works without ``a``."""

    class LazyContext(Context):
        """Looks names up in our scope, when they are used."""

        def resolve_or_missing(self, key: str) -> Any:
            if key in self.vars:
                return self.vars[key]
            if key in self.parent and key not in self.environment.globals:
                return self.parent[key]
            try:
                return self.parent[_NAMES][key]
            except KeyError:
                return self.parent.get(key, missing)

    class Generator(NativeCodeGenerator):
        """Leaves constants as they are; Jinja's own makes text of them, and guesses what the text was."""

        def _output_child_to_const(self, node: Any, frame: Any, finalize: Any) -> Any:
            if not isinstance(node, nodes.TemplateData):
                raise nodes.Impossible
            return super()._output_child_to_const(node, frame, finalize)

    class TaskEnvironment(SandboxedEnvironment):
        """A sandbox whose templates give values, not only text."""

        code_generator_class = Generator
        context_class: type[Context] = LazyContext
        concat = staticmethod(_native)  # values, not only text

        def getattr(self, obj: Any, attribute: str) -> Any:
            """Of our own maps (``hostvars``, ``vars``, facts) expressions see the keys, and nothing of how they are made."""
            if not isinstance(obj, Mapping) or isinstance(obj, dict) or attribute in ("get", "items", "keys", "values"):
                return super().getattr(obj, attribute)
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)

    environment = TaskEnvironment(
        undefined=Undefined, trim_blocks=True, keep_trailing_newline=True, extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"]
    )
    environment.filters.update(filters.FILTERS)
    environment.tests.update(jinja_tests.TESTS)
    environment.globals["now"] = filters.now
    return environment


_NAMES: Final = "__names__"
"""Where a template's context keeps our scope."""


def _native(parts: Iterable[Any]) -> Any:
    """One part keeps its type; several are joined as text, and none are nothing."""
    whole = list(parts)
    if not whole:
        return None
    return _settled(whole[0]) if len(whole) == 1 else _joined(whole)


def _newlines(text: str) -> int:
    return len(text) - len(text.rstrip("\n"))


def _joined(parts: Iterable[Any]) -> str:
    return "".join(map(_text, parts))


def _settled(value: Any) -> Any:
    """Make plain data of what filters leave: generators become lists, undefined values fail."""
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        str(value)
    if isinstance(value, Mapping):
        return {key: _settled(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, range, Iterator, KeysView, ValuesView, ItemsView)):
        return [_settled(part) for part in value]
    return value


def _text(value: Any) -> str:
    settled = _settled(value)
    if settled is None:
        return ""
    return settled if isinstance(settled, str) else str(settled)


def _reason(error: Any) -> str:
    message = str(error.message or error)
    line = getattr(error, "lineno", None)
    return message if line in (None, 1) else f"{message} (line {line} of the template)"
