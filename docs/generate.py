"""Writes the pages of the reference that follow from code and schema: ``python docs/generate.py``.

``tests/docs/test_generated.py`` sees to it that the pages are those that the code makes.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "src"
NOTE = "<!-- made by docs/generate.py: change the code, not this page -->\n\n"
KINDS = {"100mbit": "rate", "512KiB": "size", "10ms": "duration", "50/s": "frequency", "0.1%": "fraction", "3.4W": "power"}
"""What a quantity is, by the example that its schema gives."""
PUBLIC = {
    "Components": {
        "runtime/component.py": "Component NoSettings",
        "runtime/ports.py": "Input Output Batch",
        "runtime/message.py": "Story Message",
        "components/messages.py": "",
        "units.py": "parse show QuantityError",
    },
    "Learners": {
        "learning/registry.py": "names check settings about create",
        "learning/learner.py": "",
        "learning/evaluation.py": "",
        "learning/regression/regressor.py": "Regressor create",
        "learning/experts/forecaster.py": "",
        "learning/bandits/bandit.py": "Bandit create",
        "learning/sklearn.py": "",
    },
    "Scripts and notebooks": {f"api/{name}.py": "" for name in ("experiments", "runs", "studies", "explaining", "optimising")},
    "Platforms": {"platforms/base.py": "", "platforms/remote/source.py": ""},
    "Suites for plug-ins": {
        **{f"checks/{name}.py": "" for name in ("learners", "regressors", "platforms", "hosts", "transports", "clocks")},
        "checks/experiments.py": "SmallExperiment",
    },
    "Errors": {"errors.py": ""},
}
"""What others may use: files, and which classes and functions of them if not all."""


def experiment_keys() -> str:
    """Every key of an experiment file, from the JSON Schema."""
    from estran.spec.json_schema import json_schema

    schema = json_schema()
    parts = [
        "# Every key of an experiment file\n",
        "From the JSON Schema that `estran schema` prints, by which editors complete and check. "
        "[The experiment file](experiment-file.md) says what the keys mean together. "
        "A key without a default has to be there. Any value may be a reference to a factor, `${name}`.\n",
        "## experiment\n",
        *_keys(schema),
    ]
    for name, entry in sorted(schema["$defs"].items()):
        if "properties" in entry:
            parts += [f"## {name}\n", f"{entry['description']}\n", *_keys(entry)]
    return "\n".join(parts) + "\n"


def _keys(entry: Mapping[str, Any]) -> list[str]:
    needed = entry.get("required", ())
    rows = [
        (f"`{key}`", _kind(value), "" if key in needed else _value(value.get("default")), _cell(value.get("description", "")))
        for key, value in entry["properties"].items()
    ]
    return _table(("key", "what it takes", "default", "meaning"), rows)


def _kind(schema: Mapping[str, Any]) -> str:
    """What a value may be, in words; references to factors, which may stand everywhere, are left out."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return "" if name == "Reference" else f"[{name}](#{name.lower()})"
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{_plain(one)}`" for one in schema.get("enum", (schema.get("const"),)))
    for example in schema.get("examples", ()):
        if example in KINDS:
            return KINDS[example]
    if "anyOf" in schema or "oneOf" in schema:
        kinds = [_kind(one) for one in schema.get("anyOf") or schema["oneOf"]]
        if any(kind in KINDS.values() for kind in kinds):
            kinds = [kind for kind in kinds if kind != "number"]
        return ", ".join(dict.fromkeys(kind for kind in kinds if kind))
    kind = schema.get("type")
    if kind == "array":
        return f"list of: {_kind(schema.get('items', {})) or 'anything'}"
    if kind == "object":
        inner = next(iter(schema.get("patternProperties", {}).values()), schema.get("additionalProperties"))
        return f"map to: {_kind(inner) or 'anything'}" if isinstance(inner, Mapping) else "map"
    return {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true`, `false`", "null": "`null`"}.get(
        str(kind), ""
    )


def component_settings() -> str:
    """Ports, metrics and settings of the ready components."""
    from estran.components.index import Components
    from estran.runtime.component import shape

    own = sorted(point.name for point in entry_points(group="estran.components") if point.dist and point.dist.name == "estran")
    parts = [
        "# Ports and settings of the ready components\n",
        "What `estran check` checks against. [The ready components](components.md) says what they do with it. "
        "A setting without a default has to be given.\n",
    ]
    maps: dict[str, type] = {}
    for name in own:
        found = Components().find(name)
        form = shape(found)
        ports = [("in", port, payload) for port, payload in form.inputs.items()]
        ports += [("out", port, payload) for port, payload in form.outputs.items()]
        parts += [
            f"## {name}\n",
            f"{_summary(found)}\n",
            *_table(("port", "", "message"), [(f"`{port}`", way, f"`{_type(payload)}`") for way, port, payload in ports]),
        ]
        metrics = ", ".join(f"`{metric}`" for metric in getattr(found, "METRICS", None) or ())
        parts += [f"Metrics: {metrics}.\n"] if metrics else []
        parts += _settings(form.settings, maps)
    parts += ["## Maps\n", "What settings take in place of a single word or number, for the details.\n"]
    done: set[str] = set()
    while waiting := sorted(set(maps) - done):
        for name in waiting:
            done.add(name)
            parts += [f"### {name}\n", f"{_summary(maps[name])}\n", *_settings(maps[name], maps)]
    return "\n".join(parts) + "\n"


def _settings(kind: type, maps: dict[str, type]) -> list[str]:
    """A table of a dataclass's fields, whose own dataclasses are added to the maps."""
    if not dataclasses.is_dataclass(kind) or not dataclasses.fields(kind):
        return []
    told = _attributes(inspect.getdoc(kind) or "")
    hints = typing.get_type_hints(kind)
    rows = []
    for field in dataclasses.fields(kind):
        for inner in _dataclasses_in(hints[field.name]):
            maps[inner.__name__] = inner
        rows.append((f"`{field.name}`", f"`{field.type}`".replace(" | ", " or "), _default(field), _cell(told.get(field.name, ""))))
    return _table(("setting", "what it takes", "default", "meaning"), rows)


def _dataclasses_in(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for inner in typing.get_args(hint):
        yield from _dataclasses_in(inner)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return _value(field.default)
    return "" if field.default_factory is dataclasses.MISSING else _value(field.default_factory())


def learner_settings() -> str:
    """Every built-in learner with its settings."""
    from estran.learning import registry
    from estran.learning.about import GIVEN
    from estran.learning.catalogue import BUILT_IN

    families: dict[str, list[tuple[str, ...]]] = {}
    for name in sorted(BUILT_IN):
        about = registry.about(name)
        if about is None:
            raise ValueError(f"learner {name} says nothing of itself")
        given = {parameter for parameters in GIVEN.values() for parameter in parameters}
        settings = [
            f"`{setting}`" if parameter.default is parameter.empty else f"`{setting}: {_plain(parameter.default)}`"
            for setting, parameter in inspect.signature(registry._factory(name)).parameters.items()
            if setting not in given
        ]
        order = str(about.order) if about.order else "–"
        row = (f"`{name}`", about.task, order, about.cost.replace("|", "\\|"), ", ".join(settings) or "–", about.source)
        families.setdefault(about.family, []).append(row)
    parts = [
        "# Every learner\n",
        f"The {len(BUILT_IN)} that come with Estran, by family; `estran learners` prints them together with those of "
        "installed packages. Costs are per sample, with *d* features (nonzero ones, in sparse rows) and "
        "*K* classes. [Learners](learners.md) says how to choose and to set them.\n",
    ]
    for family in sorted(families):
        parts += [f"## {family}\n", *_table(("name", "learns", "order", "cost", "settings", "source"), families[family])]
    return "\n".join(parts) + "\n"


def catalogue() -> str:
    """Devices and links with their sources."""
    from estran.spec.catalogue import loader

    parts = [
        "# Devices and links of the catalogue\n",
        "Every figure with its source; *typical value, no measurement found* is what it says: give your own under `devices:` "
        "and `links:` ([how](experiment-file.md#the-catalogue)) where you know better. `speed` is that of one thread; "
        "1.0 is defined as 4000 MIPS in the 7-zip benchmark (`7z b -mmt1`).\n",
        "## Devices\n",
    ]
    shown = ("cores", "speed", "memory", "idle_power", "busy_power")
    devices = loader.device_entries()
    parts += _table(
        ("device", *shown), [(f"[`{name}`](#{name})", *(str(one[key]) for key in shown)) for name, one in devices.items()]
    )
    shown = ("delay", "jitter", "rate", "loss")
    links = loader.link_entries()
    parts += ["## Links\n", "Delay and jitter are one way; *up* is from the device to the network.\n"]
    parts += _table(
        ("link", *shown), [(f"[`{name}`](#{name})", *(_plain(one.get(key, "–")) for key in shown)) for name, one in links.items()]
    )
    parts.append("## Sources\n")
    for name, entry in (*devices.items(), *links.items()):
        parts += [f"### {name}\n", *(_source(key, figure) for key, figure in entry.get("sources", {}).items()), ""]
    return "\n".join(parts) + "\n"


def _source(key: str, figure: Mapping[str, str]) -> str:
    text = figure["text"].rstrip(".")
    return f"- `{key}`: [{text}]({figure['url']})" if "url" in figure else f"- `{key}`: {text}"


def errors() -> str:
    """Every error that Estran raises on purpose, and how the command line ends with it."""
    found: dict[str, tuple[str, ast.ClassDef, str]] = {}
    for file in sorted((SOURCE / "estran").rglob("*.py")):
        if re.search(r"^class \w+Errors?\(", file.read_text(encoding="utf-8"), flags=re.MULTILINE):
            classes = [node for node in _parsed(file).body if isinstance(node, ast.ClassDef) and node.bases]
            found |= {node.name: (ast.unparse(node.bases[0]), node, _module(file)) for node in classes}
    rows = []
    for name, (_, node, module) in sorted(found.items()):
        line = [name]
        while line[-1] in found:
            line.append(found[line[-1]][0])
        if "EstranError" in line:
            code = next(code for one in line if (code := _exit_code(found[one][1])) is not None)
            rows.append((f"`{module}.{name}`", " ← ".join(line[1 : line.index("EstranError") + 1]), str(code), _first(node)))
    return "\n".join([
        "# Errors and exit statuses\n",
        "| status | |\n|---|---|\n| 0 | done |\n| 1 | the run failed or was interrupted, or the verdict is not the wished-for one "
        "([which verb says what](../how-to/ci.md#what-scripts-rely-on)) |\n"
        "| 2 | the request was wrong: a file, an option, a crate |\n",
        "Every error says *what* happened, *where* (file, line and column; host; service; phase) and, after `→`, *what to do*. "
        "In Python each is an `estran.errors.EstranError` with `what`, `where`, `remedy` and `exit_code`. "
        "Anything else that is raised is a defect: please report it.\n",
        *_table(("error", "kind of", "status", "meaning"), rows),
    ]) + "\n"  # fmt: skip


def _exit_code(node: ast.ClassDef) -> int | None:
    for line in node.body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "exit_code":
            return int(ast.literal_eval(line.value))
    return None


def python() -> str:
    """What may be used of Estran in Python."""
    parts = [
        "# Classes and functions of Estran in Python\n",
        "What components, learners, platforms and notebooks may rely on. All else may change from release to release. "
        "The files themselves say more: parameters, units, errors.\n",
    ]
    for title, files in PUBLIC.items():
        parts.append(f"## {title}\n")
        for file, names in files.items():
            tree = _parsed(SOURCE / "estran" / file)
            parts += [f"### {_module(SOURCE / 'estran' / file)}\n", f"{_first(tree)}\n"]
            for node in tree.body:
                if (
                    isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
                    and not node.name.startswith("_")
                    and node.name in (names.split() or [node.name])
                ):
                    parts += _entry(node)
            parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _entry(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """A line for a function or a class, and below a class one for each of its public functions."""
    if not isinstance(node, ast.ClassDef):
        yield f"- `{_signature(node)}`: {_first(node)}"
        return
    yield f"- **`{node.name}`**: {_first(node)}"
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and not inner.name.startswith("_"):
            attribute = any(ast.unparse(one).endswith("property") for one in inner.decorator_list)
            told = _first(inner)
            yield f"    - `{inner.name if attribute else _signature(inner)}`" + (f": {told}" if told else "")


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    given = re.sub(r"^(self|cls)(, )?", "", ast.unparse(node.args))
    answer = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{'async ' if isinstance(node, ast.AsyncFunctionDef) else ''}{node.name}({given}){answer}"


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _module(file: Path) -> str:
    return ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def _first(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return _cell((ast.get_docstring(node) or "").partition("\n\n")[0])


def _summary(thing: type) -> str:
    return _cell((inspect.getdoc(thing) or "").partition("\n\n")[0])


def _attributes(docstring: str) -> dict[str, str]:
    """What a NumPy docstring says of each attribute."""
    body = re.sub(r".*^Attributes\n-+\n", "", docstring, flags=re.DOTALL | re.MULTILINE) if "Attributes\n" in docstring else ""
    found: dict[str, str] = {}
    for names, text in re.findall(r"^(\S[^\n]*)\n((?:[ ]+[^\n]*\n?|\n)*)", body, flags=re.MULTILINE):
        found |= dict.fromkeys((name.strip() for name in names.split(",")), text)
    return found


def _cell(text: str) -> str:
    """Text of a docstring in a cell of a table or a line."""
    text = re.sub(r"`{1,2}([^`]+)`{1,2}", r"`\1`", " ".join(text.split()))
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def _type(payload: Any) -> str:
    return "any" if payload is Any else getattr(payload, "__name__", str(payload))


def _value(value: Any) -> str:
    return "–" if value is None else f"`{_plain(value)}`".replace("|", "\\|")


def _plain(value: Any) -> str:
    """A value as YAML writes it, in one line."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        value = {key: one for key, one in value.items() if one is not None}
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_plain(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_plain, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value != "" else '""'


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(cell or ' ' for cell in row)} |" for row in rows),
        "",
    ]


def command_line() -> str:
    """All verbs and options."""
    from estran.cli.main import app

    return f"{app.generate_docs()}\n"


GENERATED: dict[str, Callable[[], str]] = {
    "experiment-keys.md": experiment_keys,
    "component-settings.md": component_settings,
    "learner-settings.md": learner_settings,
    "catalogue.md": catalogue,
    "errors.md": errors,
    "python-api.md": python,
    "command-line.md": command_line,
}
"""Pages of the reference, and what makes them."""


def text_of(page: str) -> str:
    """A page as it is to be."""
    text = GENERATED[page]()
    return text if page == "command-line.md" else f"{text.partition(chr(10))[0]}\n\n{NOTE}{text.partition(chr(10))[2].lstrip()}"


if __name__ == "__main__":
    for page in GENERATED:
        (DOCS / "reference" / page).write_text(text_of(page), encoding="utf-8")
