"""Everything that a report shows of one run, gathered in one pass over its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from estran.observe.queries import open_run
from estran.observe.usage import energy_sources
from estran.report.answers import Accuracy, Publications, Staleness, accuracy, publications, staleness
from estran.report.faults import Faults, faults_of
from estran.report.folder import RunFolder, read_folder
from estran.report.histograms import latencies
from estran.report.recorded import Recorded, recorded
from estran.report.services import ServiceRow, services
from estran.report.stages import Distribution, Leg, distributions, legs
from estran.report.usage import Energy, Usage, energy, usage
from estran.report.verdict import Outcome, outcome


@dataclass(frozen=True, slots=True)
class Report:
    """One run, ready to be written down. ``energy_sources`` says per host how its energy is known."""

    run: RunFolder
    outcome: Outcome
    accuracy: Accuracy | None
    staleness: Staleness | None
    publications: Publications
    legs: list[Leg]
    distributions: list[Distribution]
    usage: Usage | None
    energy: list[Energy]
    energy_sources: dict[str, str]
    services: list[ServiceRow]
    recorded: list[Recorded]
    faults: Faults | None


def gather(folder: Path) -> Report:
    """Read a run folder and aggregate its tables.

    Raises
    ------
    RequestError
        If there is no run in ``folder``.
    DataError
        If one of its files is damaged.
    """
    run = read_folder(folder)
    opened = open_run(folder)
    with opened.database() as connection:
        connection.execute(_HOLD)
        judged, aged = accuracy(connection, run.window), staleness(connection, run.window)
        spread = latencies(connection, folder) if run.by_costs else distributions(connection, run.window)
        answering = next(iter(spread), None)
        return Report(
            run=run,
            outcome=outcome(run, judged, answering, aged),
            accuracy=judged,
            staleness=aged,
            publications=publications(connection),
            legs=legs(connection, run.window),
            distributions=spread,
            usage=usage(connection, run.hosts, run.window),
            energy=energy(connection, run.hosts, run.window),
            energy_sources=energy_sources(connection),
            services=services(connection, run),
            recorded=recorded(connection, run.window),
            faults=faults_of(opened.document("faults"), opened.responses),
        )


# The messages are read once, without what few queries need; those find it in `recorded`.
_HOLD = """
CREATE TEMP VIEW recorded AS SELECT * FROM memory.main.messages WHERE isfinite(done) AND isfinite(created);
CREATE TEMP TABLE names AS
  SELECT name, regexp_replace(name, '-[0-9]+$', '') AS service
  FROM (SELECT DISTINCT receiver AS name FROM memory.main.messages UNION SELECT DISTINCT origin FROM memory.main.messages);
CREATE TEMP TABLE messages AS
  SELECT recorded.* EXCLUDE (trace, seq, bytes), taker.service, giver.service AS sender
  FROM recorded JOIN names taker ON taker.name = receiver JOIN names giver ON giver.name = origin;
"""
