"""What of a plan's shares of processors cannot be had."""

from __future__ import annotations

from estran.platforms.base import Problem
from estran.spec.plan import Plan


def share_problems(plan: Plan) -> list[Problem]:
    """Services that yield on hosts where commands run: nothing tells when a command computes."""
    commands: dict[str, str] = {}
    for replica in plan.replicas.values():
        if replica.service.command is not None:
            commands.setdefault(replica.host, replica.service.name)
    found: dict[str, Problem] = {}
    for replica in plan.replicas.values():
        name = replica.service.name
        if replica.service.share.yields and replica.host in commands:
            what = f"it lets components compute first, but not the command {commands[replica.host]!r} on {replica.host}"
            remedy = "give it a fixed share too (most: 30%), or place it elsewhere"
            found.setdefault(name, Problem(what, f"services.{name}.share", remedy, fatal=False))
    return list(found.values())
