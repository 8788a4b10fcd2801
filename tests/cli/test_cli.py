"""The command line's manners: help, mistakes, exit statuses, machine-readable output."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from estran.cli.main import main
from estran.observe.secrets import without_in_document
from tests.run.experiments import TINY, estran, write

EXAMPLE = Path(__file__).parents[2] / "examples" / "visual-inspection" / "experiment.yaml"


def test_help_names_every_verb(tmp_path: Path) -> None:
    shown = estran("--help", cwd=tmp_path)
    assert shown.returncode == 0
    for verb in (
        "init",
        "examples",
        "learners",
        "check",
        "plan",
        "run",
        "study",
        "resume",
        "explain",
        "compare",
        "ls",
        "show",
        "logs",
        "report",
        "doctor",
        "clean",
        "schema",
    ):
        assert f" {verb} " in shown.stdout


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    program = "import sys, estran.cli.main as m\ntry:\n    m.app(['--help'])\nexcept SystemExit:\n    pass\n"
    program += "print([name for name in ('numpy', 'pydantic', 'zenoh', 'duckdb', 'numba', 'asyncio') if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    heavy = shown.stdout.strip().splitlines()[-1]
    assert heavy in ("[]", "['asyncio']")


@pytest.mark.parametrize(
    "argv", [["chek"], ["run"], ["check", "x", "--nonsense"], ["check", "absent.yaml"], ["run", "x", "--on", "moon"]]
)
def test_a_wrong_request_exits_2_with_a_remedy(tmp_path: Path, argv: list[str]) -> None:
    shown = estran(*argv, cwd=tmp_path)
    assert shown.returncode == 2
    assert "→" in shown.stderr
    assert "Traceback" not in shown.stderr
    assert shown.stdout == ""


def test_a_platform_that_is_not_built_is_said_so(tmp_path: Path) -> None:
    write(tmp_path)
    shown = estran("run", "experiment.yaml", "--on", "slurm", cwd=tmp_path)
    assert shown.returncode == 2
    assert "there is no platform 'slurm' in this version" in shown.stderr


def test_check_finds_all_errors_at_their_places(tmp_path: Path) -> None:
    file = write(
        tmp_path, TINY.replace("delay: 10ms", "delay: fast").replace("on: cloud", "on: clowd").replace("rate: 40", "raet: 40")
    )
    shown = estran("check", str(file), cwd=tmp_path)
    assert shown.returncode == 2
    lines = [line for line in shown.stderr.splitlines() if line.startswith(str(file))]
    assert [int(line[len(str(file)) + 1 :].split(":")[0]) for line in lines] == [8, 10, 11]
    assert "did you mean 'cloud'" in shown.stderr
    assert "did you mean 'rate'" in shown.stderr


def test_init_writes_an_example_that_checks_and_overwrites_nothing(tmp_path: Path) -> None:
    assert estran("init", "mine", cwd=tmp_path).returncode == 0
    assert estran("check", "mine", cwd=tmp_path).returncode == 0
    again = estran("init", "mine", cwd=tmp_path)
    assert again.returncode == 2
    assert "not overwritten" in again.stderr
    assert "visual-inspection" in estran("examples", cwd=tmp_path).stdout


def test_the_schema_accepts_the_example(tmp_path: Path) -> None:
    schema = json.loads(estran("schema", cwd=tmp_path).stdout)
    jsonschema.validate(YAML(typ="safe").load(EXAMPLE.read_text()), schema)


def test_plan_as_json_names_hosts_replicas_and_links(tmp_path: Path) -> None:
    shown = estran("plan", str(EXAMPLE), "--json", "--set", "placement=edge", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    plan = json.loads(shown.stdout)
    assert len(plan["hosts"]) == 6
    assert {replica["host"] for replica in plan["replicas"] if replica["service"] == "detector"} == {f"edge-{i}" for i in range(4)}
    assert plan["assignment"]["placement"] == "edge"


def test_a_plan_rounds_drawn_moments_for_people_and_hides_no_channel(tmp_path: Path) -> None:
    faults = {"bad": {"kill": "trainer", "random": {"times": 2}, "for": "1s"}}
    argv = ("plan", str(EXAMPLE), "--on", "simulate", "--set", f"faults={json.dumps(faults)}")
    shown = estran(*argv, cwd=tmp_path)
    moments = re.search(r"([\d.]+)s, ([\d.]+)s \(drawn\)", shown.stdout)
    assert moments is not None, shown.stdout
    assert all(len(moment.partition(".")[2]) <= 2 for moment in moments.groups())
    plan = json.loads(estran(*argv, "--json", cwd=tmp_path).stdout)
    assert [one["name"] for one in plan["faults"]] == ["bad/0", "bad/1"]
    assert [round(one["at"], 2) for one in plan["faults"]] == [float(moment) for moment in moments.groups()]
    assert any(round(one["at"], 2) != one["at"] for one in plan["faults"])
    assert without_in_document(plan["channels"], ()) == plan["channels"]


def test_a_plan_tells_settings_of_faults_with_their_units(tmp_path: Path) -> None:
    degrade = {"degrade": ["edge", "fog"], "delay": "60ms", "rate": "5mbit", "loss": "2%", "at": "1s"}
    shown = estran("plan", str(EXAMPLE), "--on", "simulate", "--set", f"faults={json.dumps({'bad': degrade})}", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    told = shown.stdout[shown.stdout.index("Faults") :]
    assert all(one in told for one in ("60ms", "5mbit", "2%"))


def test_a_place_at_line_100_is_no_emoji(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text("\n" * 99 + "nonsense: 1\n")
    shown = estran("check", "e.yaml", cwd=tmp_path)
    assert shown.returncode == 2
    assert "e.yaml:100:1: nonsense" in shown.stderr


def test_doctor_names_every_rung(tmp_path: Path) -> None:
    found = json.loads(estran("doctor", "--json", cwd=tmp_path).stdout)
    assert {rung["name"] for rung in found["engines"]} == {"netem", "nfqueue", "tun", "loopback"}
    assert {rung["name"] for rung in found["limiters"]} == {"cgroup2", "cgroup1", "throttle"}
    assert sum(rung["chosen"] for rung in found["engines"]) == 1
    assert all(rung["why"] for rung in (*found["engines"], *found["limiters"]))


def test_a_missing_run_is_explained(tmp_path: Path) -> None:
    for verb in ("show", "logs", "report"):
        shown = estran(verb, cwd=tmp_path)
        assert shown.returncode == 2
        assert "estran ls" in shown.stderr
    listed = estran("ls", "elsewhere", cwd=tmp_path)
    assert listed.returncode == 0
    assert listed.stdout.strip() == "no runs or studies in elsewhere: there is no such folder"


def test_a_missing_run_is_looked_for_by_the_verbs_own_option(tmp_path: Path) -> None:
    for argv, option in ((("export", "x"), "--runs"), (("compare", "latest", "x"), "--out")):
        shown = estran(*argv, cwd=tmp_path)
        assert shown.returncode == 2
        assert f"{option} names another folder" in shown.stderr


def test_only_a_crate_has_a_licence(tmp_path: Path) -> None:
    shown = estran("export", "--to", "prov", "--license", "MIT", cwd=tmp_path)
    assert (shown.returncode, "--license" in shown.stderr) == (2, True)


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
def test_ctrl_c_is_told_and_is_no_success(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("estran.cli.examples.all_examples", pressed)
    monkeypatch.setattr(sys, "argv", ["estran", "examples"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "interrupted\n"


def test_a_needed_port_without_a_stream_is_named(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(EXAMPLE.read_text().replace("to: [detector.samples, trainer.samples]", "to: [trainer.samples]"))
    shown = estran("check", str(file), cwd=tmp_path)
    assert shown.returncode == 2
    assert "services.detector: its port 'samples' is not connected" in shown.stderr


def test_an_unknown_engine_is_named_with_the_known_ones(tmp_path: Path) -> None:
    shown = estran("plan", str(EXAMPLE), "--on", "emulate:nope", cwd=tmp_path)
    assert shown.returncode == 2
    assert "there is no engine 'nope'" in shown.stderr
    assert "nfqueue" in shown.stderr


def test_examples_of_the_help_are_commands_that_there_are() -> None:
    from shlex import split

    from estran.cli.main import _EXAMPLES, app

    for verb, line in _EXAMPLES.items():
        program, *words = split(line)
        command, bound, *_ = app.parse_args(words, exit_on_error=False, print_error=False)
        assert (program, command.__name__) == ("estran", verb)
        assert bound.arguments


def test_a_mistyped_platform_and_a_folder_without_an_experiment_are_told_as_such(tmp_path: Path) -> None:
    shown = estran("plan", str(EXAMPLE), "--on", "simulte", cwd=tmp_path)
    assert shown.returncode == 2
    assert "did you mean 'simulate'?" in shown.stderr
    shown = estran("check", ".", cwd=tmp_path)
    assert shown.returncode == 2
    assert "there is no experiment.yaml in this folder" in shown.stderr
