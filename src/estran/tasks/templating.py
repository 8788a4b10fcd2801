"""Expressions in tasks: Jinja2 in a sandbox, giving values of their own types as Ansible does since 2.19."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

from estran.errors import RequestError
from estran.tasks.errors import EvaluationError

if TYPE_CHECKING:
    from jinja2 import Environment
    from jinja2.runtime import Context


class _Missing:
    """The value of ``omit``."""

    def __repr__(self) -> str:
        return "omit"


MISSING: Final = _Missing()
_MARKS = ("{{", "{%", "{#")


class Templates:
    """Evaluates the expressions of one play.

    Parameters
    ----------
    lookup
        Answers ``lookup(name, terms, options)`` with a list of values.
    """

    def __init__(self, lookup: Callable[[str, tuple[Any, ...], Mapping[str, Any], Mapping[str, Any]], list[Any]]) -> None:
        self._lookup = lookup
        self._environment = make_environment()
        self._compile: Callable[[str], CodeType] = lru_cache(4096)(self._compiled)

    def evaluate(self, text: str, names: Mapping[str, Any]) -> Any:
        """Evaluate a text: a lone expression gives its value, anything else a text; raises EvaluationError."""
        if not any(mark in text for mark in _MARKS):
            return text
        return _native(self._run(text, self._environment, names))

    def condition(self, text: str, names: Mapping[str, Any]) -> bool:
        """Evaluate a bare expression to true or false; raises EvaluationError."""
        bare = text.strip()
        inner = bare[2:-2] if bare.startswith("{{") and bare.endswith("}}") and bare.count("{{") == 1 else bare
        value = self.evaluate("{{ " + inner + " }}" if "{%" not in inner else inner, names)
        if isinstance(value, str) and "{%" in inner:
            return value.strip().lower() in ("true", "yes", "1")
        return bool(value)

    def render(self, text: str, names: Mapping[str, Any], **options: Any) -> str:
        """Render a file to text; ``options`` are those of Jinja's environment (``trim_blocks``, …); raises EvaluationError."""
        environment = self._environment.overlay(**options)
        return "".join(map(_text, self._run(text, environment, names, cached=False)))

    def _run(self, text: str, environment: Environment, names: Mapping[str, Any], *, cached: bool = True) -> list[Any]:
        from jinja2 import Template, TemplateError

        try:
            code = self._compile(text) if cached else environment.compile(text)
            template = Template.from_code(environment, code, environment.globals)
            context = template.new_context(_Names(names, self._callables(names)))  # type: ignore[arg-type]
            return list(template.root_render_func(context))
        except TemplateError as error:
            raise EvaluationError(_reason(error)) from error
        except RequestError as error:
            raise EvaluationError(error.what, remedy=error.remedy) from error
        except RecursionError:
            raise EvaluationError("the expressions refer to each other without end") from None
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, OSError) as error:
            raise EvaluationError(f"{type(error).__name__}: {error}") from error

    def _compiled(self, text: str) -> CodeType:
        return self._environment.compile(text)

    def _callables(self, names: Mapping[str, Any]) -> dict[str, Any]:
        """The functions that see the names of the moment."""

        def query(kind: str, *terms: Any, **options: Any) -> list[Any]:
            return self._lookup(kind.removeprefix("ansible.builtin."), terms, options, names)

        def lookup(kind: str, *terms: Any, wantlist: bool = False, **options: Any) -> Any:
            found = query(kind, *terms, **options)
            if wantlist:
                return found
            return found[0] if len(found) == 1 else ",".join(map(_text, found)) if found else ""

        return {"lookup": lookup, "query": query, "q": query, "omit": MISSING}


class _Names(dict[str, Any]):
    """Names as Jinja wants to be given them, looked up only when used."""

    def __init__(self, names: Mapping[str, Any], callables: Mapping[str, Any]) -> None:
        super().__init__()
        self.names = names
        self.callables = callables


def make_environment() -> Environment:
    """Make Jinja's environment; raises RequestError if Jinja is not installed."""
    try:
        from jinja2 import ChainableUndefined, StrictUndefined
        from jinja2.nativetypes import NativeCodeGenerator
        from jinja2.runtime import Context, missing
        from jinja2.sandbox import SandboxedEnvironment
    except ImportError as error:
        raise RequestError("tasks need Jinja2", remedy="pip install 'estran[tasks]'") from error
    from estran.tasks import filters, jinja_tests

    class Undefined(ChainableUndefined, StrictUndefined):
        """Fails when used, not when a part of it is asked for, so that ``a.b | default(1)`` works without ``a``."""

    class LazyContext(Context):
        """Looks names up in our scope, when they are used."""

        def __init__(self, environment: Any, parent: Any, name: Any, blocks: Any, globals: Any = None) -> None:  # noqa: A002
            super().__init__(environment, parent, name, blocks, globals)
            self._source = parent

        def resolve_or_missing(self, key: str) -> Any:
            if key in self.vars:
                return self.vars[key]
            if isinstance(self._source, _Names):
                if key in self._source.callables:
                    return self._source.callables[key]
                try:
                    return self._source.names[key]
                except KeyError:
                    return self.environment.globals.get(key, missing)
            return super().resolve_or_missing(key)

    class TaskEnvironment(SandboxedEnvironment):
        """A sandbox whose templates give values, not only text."""

        code_generator_class = NativeCodeGenerator
        context_class: type[Context] = LazyContext

        def getitem(self, obj: Any, argument: Any) -> Any:
            if isinstance(obj, Mapping) and isinstance(argument, str) and argument in obj:
                return obj[argument]
            return super().getitem(obj, argument)

    environment = TaskEnvironment(
        undefined=Undefined, trim_blocks=True, keep_trailing_newline=True, extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"]
    )
    environment.filters.update(filters.FILTERS)
    environment.tests.update(jinja_tests.TESTS)
    environment.globals["now"] = filters.now
    return environment


def _native(parts: list[Any]) -> Any:
    """One part keeps its type; several are joined as text."""
    if len(parts) == 1:
        return _settled(parts[0])
    return "".join(map(_text, parts))


def _settled(value: Any) -> Any:
    """Make plain data of what filters leave: generators become lists, undefined values fail."""
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        str(value)
    if isinstance(value, (Iterator, range, set, frozenset, tuple)) or type(value).__name__ in ("dict_keys", "dict_values", "dict_items"):
        return [_settled(part) for part in value]
    if isinstance(value, Mapping):
        return {key: _settled(part) for key, part in value.items()}
    if isinstance(value, list):
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


def is_template(value: Any) -> bool:
    """Whether a value holds an expression anywhere."""
    if isinstance(value, str):
        return any(mark in value for mark in _MARKS)
    return any(mark in json.dumps(value, default=str) for mark in _MARKS)
