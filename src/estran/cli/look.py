"""Verbs that look at runs: ls, show, logs, report."""

from __future__ import annotations

from pathlib import Path

from estran.cli.describe import JsonOption


def ls(folder: Path = Path("runs"), /, *, json: JsonOption = False) -> None:
    """List runs, newest first.

    Parameters
    ----------
    folder
        Where run folders are.
    json
        Print one JSON object instead of a table.
    """
    from estran.cli.listing import print_runs
    from estran.observe.queries import list_runs

    print_runs(list_runs(folder), json=json)


def show(run: str = "latest", /, *, out: Path = Path("runs"), json: JsonOption = False) -> int:
    """Show a run's figures.

    Parameters
    ----------
    run
        A run folder, a run's id (or the beginning of it), or `latest`.
    out
        Where run folders are.
    json
        Print one JSON object instead of tables.
    """
    from rich.console import Console

    from estran.cli.listing import find_run, print_run
    from estran.report.table import print_summary

    folder = find_run(run, out)
    if json:
        from estran.report.folder import read_folder

        read_folder(folder)  # says what is wrong with a damaged document
        print_run(folder)
    else:
        print_summary(Console(), folder)
    return 0


def logs(run: str = "latest", service: str | None = None, /, *, out: Path = Path("runs")) -> None:
    """Print a run's logs.

    Parameters
    ----------
    run
        A run folder, a run's id (or the beginning of it), or `latest`.
    service
        Only this service or replica.
    out
        Where run folders are.
    """
    from estran.cli.listing import find_run, print_logs

    print_logs(find_run(run, out), service)


def report(run: str = "latest", /, *, out: Path = Path("runs")) -> None:
    """Write a run's or a study's self-contained HTML report and print its path.

    Parameters
    ----------
    run
        A run folder, a run's id (or the beginning of it), or `latest`; or a study's folder.
    out
        Where run folders are.
    """
    from estran.cli.listing import find_run
    from estran.report.page import write_report

    if (Path(run) / "study.json").exists():
        from estran.explain.table import read_table
        from estran.report.study_data import gather
        from estran.report.study_page import write_study_page

        print(write_study_page(gather(read_table(Path(run)))))
        return
    print(write_report(find_run(run, out)))
