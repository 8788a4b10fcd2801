"""Verbs that look at runs: ls, show, logs, report."""

from __future__ import annotations

from pathlib import Path

from estran.cli.describe import JsonOption


def ls(folder: Path = Path("runs"), /, *, json: JsonOption = False) -> None:
    """List the runs and studies of a folder, newest first.

    Parameters
    ----------
    folder
        Where run folders are: `runs`, or the folder of a study; or where studies are: `studies`.
    json
        Print one JSON object instead of a table.
    """
    from estran.cli.listing import print_list
    from estran.observe.queries import list_runs
    from estran.study.listing import list_studies

    print_list(list_runs(folder), list_studies(folder), folder, json=json)


def show(run: str = "latest", /, *, out: Path = Path("runs"), json: JsonOption = False) -> int:
    """Show a run's figures, a study's table, or what an optimisation found.

    Parameters
    ----------
    run
        A run folder, a run's id (or the beginning of it), or `latest`; or the folder of a study or of an optimisation.
    out
        Where run folders are.
    json
        Print one JSON object instead of tables.
    """
    from rich.console import Console

    from estran.cli.listing import find_run, print_run
    from estran.observe.damage import telling
    from estran.report.table import print_summary

    if (Path(run) / "optimize.json").exists():
        with telling(Path(run)):
            return _show_optimisation(Path(run), json=json)
    if (Path(run) / "study.json").exists():
        from estran.cli.studying import print_plain, print_study
        from estran.study.folder import Folder

        with telling(Path(run)):
            study = Folder.open(Path(run))
            if json:
                print_plain(study, study.outcomes())
            else:
                print_study(Console(emoji=False), study, study.outcomes())
        return 0
    folder = find_run(run, out)
    with telling(folder):
        if json:
            from estran.report.folder import read_folder

            read_folder(folder)  # says what is wrong with a damaged document
            print_run(folder)
        else:
            print_summary(Console(emoji=False), folder)
    return 0


def _show_optimisation(path: Path, *, json: bool) -> int:
    import sys

    import msgspec
    from rich.console import Console

    from estran.optimize.folder import Folder
    from estran.optimize.optimize import conclude
    from estran.report.optimum.reading import told
    from estran.report.optimum.terminal import print_optimum

    folder = Folder.open(path)
    found = conclude(folder)
    if json:
        sys.stdout.write(msgspec.json.encode({"optimisation": str(path), **found.plain()}).decode() + "\n")
    else:
        print_optimum(Console(emoji=False), told(folder, found))
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
    """Write the self-contained HTML report of a run, a study or an optimisation, and print its path.

    Parameters
    ----------
    run
        A run folder, a run's id (or the beginning of it), or `latest`; or the folder of a study or of an optimisation.
    out
        Where run folders are.
    """
    from estran.cli.listing import find_run
    from estran.observe.damage import telling

    optimisation, study = (Path(run) / "optimize.json").exists(), (Path(run) / "study.json").exists()
    folder = Path(run) if optimisation or study else find_run(run, out)
    with telling(folder):
        print(_report_of_optimisation(folder) if optimisation else _report_of_study(folder) if study else _report(folder))


def _report(folder: Path) -> Path:
    from estran.report.page import write_report

    return write_report(folder)


def _report_of_study(folder: Path) -> Path:
    from estran.explain.table import read_table
    from estran.report.study_data import gather
    from estran.report.study_page import write_study_page

    return write_study_page(gather(read_table(folder)))


def _report_of_optimisation(path: Path) -> Path:
    from estran.optimize.folder import Folder
    from estran.optimize.optimize import conclude
    from estran.report.optimum.reading import write

    folder = Folder.open(path)
    return write(folder, conclude(folder))[1]
