"""The catalogue of learners, printed."""

from __future__ import annotations


def print_learners(*, json: bool) -> None:
    """One line a learner that is installed; a dash where it does not say."""
    from estran.learning import registry

    found = {name: registry.about(name) for name in registry.names()}
    settings = {name: registry.settings(name) for name in found}
    if json:
        import msgspec

        entries = {name: {"about": about, "settings": settings[name]} for name, about in found.items()}
        print(msgspec.json.encode(entries).decode())
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "family", "learns", "order", "cost per sample", "source", "settings", box=None, pad_edge=False)
    for name, about in found.items():
        said = (about.family, about.task, str(about.order), about.cost, about.source) if about else ("–",) * 5
        table.add_row(name, *said, ", ".join(settings[name]))
    Console().print(table)
