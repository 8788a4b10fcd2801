"""``estran``: thin verbs over the house below. Results go to standard output, everything else to standard error."""

from __future__ import annotations

import io
import sys
from typing import Final, NoReturn

from cyclopts import App, CycloptsError, Group

import estran

app = App(
    name="estran",
    help="Repeatable experiments with AI workflows that train, simulate and serve at the same time, from edge to cloud.",
    version=estran.__version__,
    help_format="markdown",
    suppress_keyboard_interrupt=False,  # main says that it was interrupted
)

_DESCRIBE = Group("Describe", sort_key=1)
_REPRODUCE = Group("Reproduce", sort_key=2)
_UNDERSTAND = Group("Understand", sort_key=3)
_OPTIMISE = Group("Optimise", sort_key=4)
_LOOK = Group("Look", sort_key=5)
_MACHINE = Group("This machine", sort_key=6)

_EXAMPLES: Final = {
    "init": "estran init my-study --example smart-grid",
    "check": "estran check my-study --set placement=edge",
    "plan": "estran plan my-study --on emulate",
    "run": "estran run my-study --on simulate --set placement=edge --set measure.duration=5s --seed 7",
    "study": "estran study my-study --on simulate --replicates 5",
    "resume": "estran resume studies/visual-inspection/20261128-091500-1a2b",
    "calibrate": "estran calibrate latest",
    "validate": "estran validate my-study --replicates 3",
    "export": "estran export latest --to crate",
    "explain": "estran explain studies/visual-inspection/20261128-091500-1a2b --response latency --what-if delay=60ms",
    "compare": "estran compare 20261128-0915 latest --margin 5%",
    "optimize": 'estran optimize my-study --minimize latency_p99 --maximize accuracy --subject-to "energy<=40J" --on simulate',
    "show": "estran show latest",
    "logs": "estran logs latest detector",
}
"""Ends of verbs' helps."""


def _verb(target: str, group: Group, help: str) -> None:  # noqa: A002 the option's name
    """Add a verb, whose module is imported when it is asked for."""
    example = _EXAMPLES.get(target.rpartition(":")[2])
    app.command(target, group=group, help=help, help_epilogue=None if example is None else f"Example: `{example}`")


_verb("estran.cli.describe:init", _DESCRIBE, "Write a ready-to-run experiment into a folder.")
_verb("estran.cli.describe:examples", _DESCRIBE, "List the examples that `init` can write.")
_verb("estran.cli.describe:check", _DESCRIBE, "Find all errors of an experiment file, each at file:line:column.")
_verb("estran.cli.describe:plan", _DESCRIBE, "Show hosts, links and placements, and what the platform cannot do.")
_verb("estran.cli.describe:schema", _DESCRIBE, "Print the JSON Schema of experiment files, for editors.")
_verb("estran.cli.describe:learners", _DESCRIBE, "List learners, by family: order, cost, settings, source.")
_verb("estran.cli.execute:run", _REPRODUCE, "Run an experiment: build, verify, measure, report, give back.")
e2clab = App(name="e2clab", help="Check, run and migrate scenarios of E2Clab.", group=_REPRODUCE)
e2clab.command("estran.cli.e2clab:check", help="Find all errors of a scenario, and say what is done with it.")
e2clab.command("estran.cli.e2clab:migrate", help="Write the experiment file that a scenario comes nearest to.")
e2clab.command("estran.cli.e2clab:run", help="Run a scenario: hosts, links, prepare, launch, wait, finalize, give back.")
app.command(e2clab)
_verb("estran.cli.study:study", _REPRODUCE, "Run an experiment at many levels of its factors.")
_verb("estran.cli.study:resume", _REPRODUCE, "Go on with a study or optimisation that was interrupted or killed.")
_verb("estran.cli.reproducing:reproduce", _REPRODUCE, "Make a packaged run or study again, and judge its claims.")
_verb("estran.cli.predict:calibrate", _REPRODUCE, "Learn from finished runs what work costs, for `--on simulate`.")
_verb("estran.cli.predict:validate", _REPRODUCE, "Simulate and emulate, and judge how far the one predicts the other.")
_verb("estran.cli.export:export", _REPRODUCE, "Pack a run or study for another lab; or hand it to PROV, MLflow.")
_verb("estran.cli.explain:explain", _UNDERSTAND, "Say which factors drive the responses of a study.")
_verb("estran.cli.explain:compare", _UNDERSTAND, "Say how two runs or two studies differ.")
_verb("estran.cli.optimize:optimize", _OPTIMISE, "Search the levels of factors for the best deployment.")
_verb("estran.cli.look:ls", _LOOK, "List runs and studies.")
_verb("estran.cli.look:show", _LOOK, "Show the figures of a run, or what an optimisation found.")
_verb("estran.cli.look:logs", _LOOK, "Print a run's logs.")
_verb("estran.cli.look:report", _LOOK, "Write the self-contained HTML report of a run, study or optimisation.")
_verb("estran.cli.watch:watch", _LOOK, "Show runs as they go, finished runs and studies, in the browser.")
_verb("estran.cli.machine:doctor", _MACHINE, "Show what this machine can emulate, and why.")
_verb("estran.cli.machine:clean", _MACHINE, "Remove what a killed run left behind.")
_TESTBEDS = App(
    name="testbeds", help="Grid'5000, FIT IoT-LAB, Chameleon, Vagrant: install, look, reserve, give back.", group=_MACHINE
)
_TESTBEDS.command("estran.cli.testbeds:install", help="Make the environment in which EnOSlib reserves nodes.")
_TESTBEDS.command("estran.cli.testbeds:providers", name="list", help="List testbeds, and whether what they need is installed.")
_TESTBEDS.command("estran.cli.testbeds:schema", help="Print the JSON Schema of platform files of kind `testbed`, for editors.")
_TESTBEDS.command("estran.cli.testbeds:status", help="Show reservations that were made here, and what has become of them.")
_TESTBEDS.command("estran.cli.testbeds:reserve", help="Reserve what a platform file asks for, keep it, and print its hosts.")
_TESTBEDS.command("estran.cli.testbeds:release", help="Give back a reservation that was kept.")
app.command(_TESTBEDS)
app.register_install_completion_command(name="--install-completion", add_to_startup=False, group=_MACHINE)


def main() -> NoReturn:
    """Entry point. Exit status: 0 done, 1 the run failed, 2 the request was wrong."""
    from estran.errors import EstranError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows a question mark for an arrow, and goes on
    try:
        status = app(exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        complain(str(error), remedy=f"see `estran {' '.join(error.command_chain or ())} --help`".replace("  ", " "))
        sys.exit(2)
    except EstranError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def complain(text: str, remedy: str | None = None) -> None:
    """Print an error for a person, in red where that can be seen."""
    from rich.console import Console

    console = Console(stderr=True, emoji=False, highlight=False)
    console.print(text, style="red", markup=False, soft_wrap=True)
    if remedy:
        console.print(f"  → {remedy}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
