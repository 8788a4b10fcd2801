"""``estran``: thin verbs over the house below. Results go to standard output, everything else to standard error."""

from __future__ import annotations

import io
import sys
from typing import NoReturn

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

app.command("estran.cli.describe:init", group=_DESCRIBE, help="Write a ready-to-run experiment into a folder.")
app.command("estran.cli.describe:examples", group=_DESCRIBE, help="List the examples that `init` can write.")
app.command("estran.cli.describe:check", group=_DESCRIBE, help="Find all errors of an experiment file, each at file:line:column.")
app.command("estran.cli.describe:plan", group=_DESCRIBE, help="Show hosts, links and placements, and what the platform cannot do.")
app.command("estran.cli.describe:schema", group=_DESCRIBE, help="Print the JSON Schema of experiment files, for editors.")
app.command("estran.cli.describe:learners", group=_DESCRIBE, help="List learners, by family: order, cost, settings, source.")
app.command("estran.cli.execute:run", group=_REPRODUCE, help="Run an experiment: build, verify, measure, report, give back.")
e2clab = App(name="e2clab", help="Check, run and migrate scenarios of E2Clab.", group=_REPRODUCE)
e2clab.command("estran.cli.e2clab:check", help="Find all errors of a scenario, and say what is done with it.")
e2clab.command("estran.cli.e2clab:migrate", help="Write the experiment file that a scenario comes nearest to.")
e2clab.command("estran.cli.e2clab:run", help="Run a scenario: hosts, links, prepare, launch, wait, finalize, give back.")
app.command(e2clab)
app.command("estran.cli.study:study", group=_REPRODUCE, help="Run an experiment at many levels of its factors.")
app.command("estran.cli.study:resume", group=_REPRODUCE, help="Go on with a study or optimisation that was interrupted or killed.")
app.command("estran.cli.reproducing:reproduce", group=_REPRODUCE, help="Make a packaged run or study again, and judge its claims.")
app.command("estran.cli.predict:calibrate", group=_REPRODUCE, help="Learn from finished runs what work costs, for `--on simulate`.")
app.command(
    "estran.cli.predict:validate", group=_REPRODUCE, help="Simulate and emulate, and judge how far the one predicts the other."
)
app.command("estran.cli.export:export", group=_REPRODUCE, help="Pack a run or study for another lab; or hand it to PROV, MLflow.")
app.command("estran.cli.explain:explain", group=_UNDERSTAND, help="Say which factors drive the responses of a study.")
app.command("estran.cli.explain:compare", group=_UNDERSTAND, help="Say how two runs or two studies differ.")
app.command("estran.cli.optimize:optimize", group=_OPTIMISE, help="Search the levels of factors for the best deployment.")
app.command("estran.cli.look:ls", group=_LOOK, help="List runs.")
app.command("estran.cli.look:show", group=_LOOK, help="Show a run's figures.")
app.command("estran.cli.look:logs", group=_LOOK, help="Print a run's logs.")
app.command("estran.cli.look:report", group=_LOOK, help="Write a run's self-contained HTML report.")
app.command("estran.cli.watch:watch", group=_LOOK, help="Show runs as they go, finished runs and studies, in the browser.")
app.command("estran.cli.machine:doctor", group=_MACHINE, help="Show what this machine can emulate, and why.")
app.command("estran.cli.machine:clean", group=_MACHINE, help="Remove what a killed run left behind.")
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

    console = Console(stderr=True, highlight=False)
    console.print(text, style="red", markup=False, soft_wrap=True)
    if remedy:
        console.print(f"  → {remedy}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
