"""From a crate to its verdict: what is confirmed, what is not and why, and that nothing is executed unasked."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import msgspec
import pytest

from estran.cli.explain import compare
from estran.cli.look import show
from estran.errors import EstranError, RequestError
from estran.observe.secrets import HIDDEN
from estran.reproduce.asking import arguments, platform_of, write_points
from estran.reproduce.layout import DOCUMENT, SEAL, Asked, Binding, decode, encode
from estran.reproduce.opening import unpack
from estran.reproduce.rebuilding import rebuild
from estran.reproduce.reproduction import Request, preview
from estran.reproduce.reproduction import reproduce as make_again
from estran.reproduce.verdict import Verdict, judge
from estran.reproduce.writing import write_crate
from estran.run.prepare import prepare
from estran.run.record import QuietProgress
from estran.run.session import execute
from estran.study.rows import read_design
from tests.reproduce.crates import FILES, crate_of, write
from tests.reproduce.experiments import EXPERIMENT
from tests.run.experiments import PARTS, estran
from tests.run.simulated import simulate, written

CLAIMS = 'claims:\n  - latency within 10% of 12ms\n  - "latency(rate=20) < latency(rate=40) at 90%"\n'
CLAIMED = EXPERIMENT + CLAIMS
DELAY = "network[edge ↔ cloud].delay: 10ms → 12ms (+20 %)"
MODULES = {"parts": PARTS}
WIDE = "claims:\n  - latency within 80% of 12ms\n  - throughput >= 10/s\n"


def reproduce(crate: Path, *options: str) -> tuple[int, dict[str, Any]]:
    done = estran("reproduce", str(crate), "--json", *options, cwd=crate.parent)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def figures(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "sha256": "sha256:" + hashlib.sha256(data).hexdigest()}


def repacked(crate: Path, to: Path, changes: Mapping[str, Callable[[bytes], bytes]]) -> Path:
    """A crate with other content that is consistent with itself, as its authors could have made it."""
    with ZipFile(crate) as archive:
        content = {info.filename: archive.read(info) for info in archive.infolist()}
    for name, change in changes.items():
        assert change(content[name]) != content[name]
        content[name] = change(content[name])
    document = decode(content[DOCUMENT], "")
    files = tuple(msgspec.structs.replace(file, **figures(content[file.path])) for file in document.files)
    content[DOCUMENT] = encode(msgspec.structs.replace(document, files=files))
    with ZipFile(to, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
        archive.comment = (SEAL + hashlib.sha256(content[DOCUMENT]).hexdigest()).encode()
    return to


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated run with claims."""
    return simulate(tmp_path_factory.mktemp("recorded"), CLAIMED, MODULES)


# -- whole


def test_a_run_is_the_same_again_after_yes_and_not_before(recorded: Path, tmp_path: Path) -> None:
    crate, _ = write_crate(recorded, tmp_path / "a.zip")
    code, told = reproduce(crate)
    assert (code, told["verdict"]) == (2, None)
    assert told["would"]["command"].startswith("estran run crate/experiment/experiment.yaml --on simulate --seed 1")
    assert told["would"]["services"] == [["meter", "parts:Meter"], ["total", "parts:Total"]]
    assert told["would"]["code"] == ["parts.py"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    code, told = reproduce(crate, "--yes", "--env", "here")
    assert (code, told["verdict"], told["kind"]) == (0, "confirmed", "repeat"), told["because"]
    assert told["files"]["differing"] == []
    assert told["files"]["files"] > 6
    assert [claim["verdict"] for claim in told["claims"]] == ["confirmed", "cannot tell"]
    assert told["differences"]["changed"] == []
    assert told["environment"] == []
    assert "confirmed" in Path(told["page"]).read_text()


def test_a_study_is_the_same_again_run_by_run(study: Path, tmp_path: Path) -> None:
    crate, _ = write_crate(study, tmp_path / "a.zip")
    _, found = make_again(Request(crate, environment="here"), out=tmp_path / "out", tell=print)
    assert found.files is not None
    assert (found.verdict, found.files.runs, found.files.differing) == ("confirmed", 4, ())
    rows = [read_design(Path(side) / "design.csv") for side in (found.record, found.again)]
    one, other = ([(row.run, row.block, row.seed, row.levels) for row in side] for side in rows)
    assert one == other


def test_code_in_a_crate_runs_only_after_yes(recorded: Path, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    evil = f"from pathlib import Path\nPath({str(marker)!r}).touch()\n".encode()
    whole, _ = write_crate(recorded, tmp_path / "a.zip")
    crate = repacked(whole, tmp_path / "b.zip", {"experiment/parts.py": lambda code: evil + code})
    request = Request(crate, environment="here")
    preview(request)
    assert not marker.exists()
    _, found = make_again(request, out=tmp_path / "out", tell=print)
    assert marker.exists()
    assert found.verdict == "confirmed"  # it computes the same, and the change is told
    assert [one.name for one in found.differences.changed] == ["parts.py"]


def test_an_emulated_run_is_judged_by_its_claims(tmp_path: Path) -> None:
    prepared = prepare(str(written(tmp_path / "lab", EXPERIMENT + WIDE, MODULES)), on="emulate")
    run, _ = execute(prepared, out=tmp_path / "lab" / "runs", progress=QuietProgress())
    crate, _ = write_crate(run, tmp_path / "a.zip")
    folder, found = make_again(Request(crate, environment="here"), out=tmp_path / "out", tell=print)
    assert (found.verdict, found.files, found.kind) == ("confirmed", None, "repeat"), found.because
    assert [claim.again.verdict for claim in found.claims] == ["confirmed", "confirmed"]
    assert (folder / "verdict.json").exists()


def test_a_run_that_fails_again_is_told_with_its_reason(tmp_path: Path) -> None:
    failing = EXPERIMENT.replace('with: {rate: "${rate}"}', 'with: {rate: "${rate}", fail_after: 5}')
    crate, _ = write_crate(simulate(tmp_path / "lab", failing, MODULES), tmp_path / "a.zip")
    with pytest.raises(EstranError, match="the sensor is on fire"):
        make_again(Request(crate, environment="here"), out=tmp_path / "out", tell=print)


# -- seen


def test_runs_and_comparisons_tell_of_claims_and_facts(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(str(recorded), json=True)
    told = json.loads(capsys.readouterr().out)["claims"]
    assert [(one["verdict"], one["runs"]) for one in told] == [("confirmed", 1), ("cannot tell", 0)]
    show(str(recorded))
    assert "✓ confirmed  latency within 10% of 12ms" in capsys.readouterr().out
    other = simulate(tmp_path, CLAIMED.replace("delay: 10ms", "delay: 12ms"), MODULES)
    compare(recorded, other, json=True)
    facts = json.loads(capsys.readouterr().out)["facts"]
    assert [one["told"] for one in facts["changed"]] == [DELAY]
    assert facts["same"]["environment"] > 20
    compare(recorded, other)
    assert DELAY in capsys.readouterr().out


def test_a_study_tells_of_claims(tmp_path: Path) -> None:
    written(tmp_path, CLAIMED, MODULES)
    done = estran("study", "experiment.yaml", "--on", "simulate", "--replicates", "2", "--jobs", "1", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)["claims"]
    assert [(one["blocks"], one["runs"], one["reason"]) for one in told] == [(2, 4, "spread of 2 replicates")] * 2
    assert told[0]["verdict"] == "confirmed"


def test_a_damaged_description_hides_no_figures(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = tmp_path / "again"
    shutil.copytree(recorded, again)
    (again / "experiment.yaml").write_text("claims: [nonsense]\n")
    show(str(again))
    out = capsys.readouterr().out
    assert "claims cannot be judged" in out
    assert "throughput" in out


# -- planted changes


def changed(record: Path, again: Path) -> Verdict:
    return judge(record, again, crate="a.zip", experiment="tiny")


@pytest.mark.parametrize(
    ("text", "code", "seed", "named"),
    [
        (CLAIMED.replace("delay: 10ms", "delay: 12ms"), PARTS, None, f"description: {DELAY}"),
        (CLAIMED, PARTS, 2, "description: seed: 1 → 2"),
        (CLAIMED, PARTS.replace("self.rng.random()", "1 - self.rng.random()"), None, "files: parts.py: sha256:"),
        (CLAIMED.replace("[20, 40]", "[40, 20]"), PARTS, None, "description: level of rate: 20 → 40"),
    ],
)  # fmt: skip
def test_one_planted_change_is_detected_and_named(
    recorded: Path, tmp_path: Path, text: str, code: str, seed: int | None, named: str
) -> None:
    found = changed(recorded, simulate(tmp_path, text, {"parts": code}, seed=seed))
    assert found.verdict == "not confirmed"
    assert found.files is not None
    assert found.files.differing
    assert f"{found.differences.changed[0].group}: {found.differences.changed[0]}".startswith(named)
    if "delay: 12ms" in text:
        assert found.claims[0].verdict == "not confirmed"
        assert found.claims[0].reasons[0] == named
        assert (found.claims[0].recorded.verdict, found.claims[0].again.verdict) == ("confirmed", "refuted")


def test_another_library_is_named_and_another_calibration_too(recorded: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(recorded, again)
    for name, old, new in (("environment.json", '"name": "numpy",\n   "version": "', '"name": "numpy",\n   "version": "0.'),):
        text = (again / name).read_text()
        assert old in text, text[:400]
        (again / name).write_text(text.replace(old, new))
    manifest = json.loads((again / "manifest.json").read_text())
    manifest["hashes"]["calibration.json"] = "sha256:" + "0" * 64
    (again / "manifest.json").write_text(json.dumps(manifest))
    found = changed(recorded, again)
    assert [one.name for one in found.differences.changed] == ["calibration.json", "package numpy"]
    assert found.verdict == "confirmed"


def test_a_file_that_is_gone_or_another_is_not_the_same(recorded: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(recorded, again)
    (again / "events.parquet").unlink()
    (again / "plan.json").write_bytes((again / "plan.json").read_bytes() + b" ")
    found = changed(recorded, again)
    assert found.files is not None
    assert set(found.files.differing) == {"events.parquet", "plan.json"}
    assert (found.verdict, found.because) == ("not confirmed", f"2 of {found.files.files} files are not the same")


def test_the_same_rows_in_other_bytes_are_the_same(recorded: Path, tmp_path: Path) -> None:
    import duckdb

    again = tmp_path / "again"
    shutil.copytree(recorded, again)
    target = again / "messages.parquet"
    rows, connection = recorded / "messages.parquet", duckdb.connect()
    connection.execute(f"COPY (FROM '{rows}') TO '{target}' (FORMAT parquet, COMPRESSION gzip)")
    found = changed(recorded, again)
    assert found.files is not None
    assert (found.verdict, found.files.rewritten) == ("confirmed", ("messages.parquet",))
    connection.execute(f"COPY (FROM '{rows}' ORDER BY bytes, received DESC) TO '{target}' (FORMAT parquet)")
    assert changed(recorded, again).verdict == "not confirmed"


# -- asking again


def test_another_platform_replicates(recorded: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(recorded, again)
    run = json.loads((again / "run.json").read_text())
    (again / "run.json").write_text(json.dumps(run | {"platform": "emulate"}))
    found = changed(recorded, again)
    assert (found.kind, found.files, found.verdict) == ("replicate", None, "confirmed")
    assert {one.verdict for one in found.responses} <= {"equivalent"}
    assert str(found.differences.changed[0]) == "platform: simulate → emulate"


def test_another_machine_reproduces(recorded: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(recorded, again)
    manifest = json.loads((again / "manifest.json").read_text())
    (again / "manifest.json").write_text(json.dumps(manifest | {"kernel": "Linux 9.9", "machine": "other"}))
    found = changed(recorded, again)
    assert (found.kind, found.verdict) == ("reproduce", "confirmed")
    assert {one.name for one in found.differences.changed} == {"kernel", "name"}


def test_what_cannot_be_asked_for_again_is_refused(tmp_path: Path) -> None:
    secret = f"services.a.env.KEY={HIDDEN}"
    hidden = crate_of(asked=Asked(verb="run", file="experiment/experiment.yaml", seed=1, overrides=(secret,)))
    with pytest.raises(RequestError, match=r"services\.a\.env\.KEY"):
        arguments(hidden, tmp_path, "simulate", tmp_path)
    with pytest.raises(RequestError, match="a search is not made again"):
        arguments(crate_of(asked=Asked(verb="optimize", file="experiment/experiment.yaml", seed=1)), tmp_path, "simulate", tmp_path)
    elsewhere = crate_of(binding=Binding(platform="ssh", on="lab.yaml", file="sha256:0"))
    with pytest.raises(RequestError, match="hosts of its own"):
        platform_of(elsewhere, None)
    assert platform_of(elsewhere, "emulate") == "emulate"
    for on in ("/etc/passwd", "../lab.yml", "--out=/", ""):
        with pytest.raises(RequestError, match="hosts of its own"):
            platform_of(crate_of(binding=Binding(platform="ssh", on=on)), None)
    outside = crate_of(asked=Asked(verb="run", file="experiment/experiment.yaml", seed=1, calibration="/etc/passwd"))
    with pytest.raises(RequestError, match="calibration is not in it"):
        arguments(outside, tmp_path, "simulate", tmp_path)


def test_all_options_are_asked_again(tmp_path: Path) -> None:
    asked = Asked(
        verb="run", file="experiment/a.yaml", seed=9, overrides=("measure.duration=3s",), assignment={"rate": 20, "who": "20"},
        calibration="experiment/calibration.json", trace=True,
    )  # fmt: skip
    told = arguments(crate_of(asked=asked), Path("root"), "simulate", tmp_path)
    assert told == [
        "run", "root/experiment/a.yaml", "--on", "simulate", "--seed", "9", "--set=measure.duration=3s", "--set=rate=20",
        '--set=who="20"', "--calibration", "root/experiment/calibration.json", "--trace",
    ]  # fmt: skip
    assert "--trace" not in arguments(crate_of(asked=asked), Path("root"), "emulate", tmp_path)


def test_seeds_of_a_study_that_are_not_its_blocks_are_refused(tmp_path: Path) -> None:
    (tmp_path / "record").mkdir()
    (tmp_path / "record" / "design.csv").write_text("run,block,point,seed,rate\n1,1,1,5,20\n")
    asked = Asked(verb="study", file="experiment/experiment.yaml", seed=1)
    with pytest.raises(RequestError, match="seeds"):
        write_points(crate_of(asked=asked), tmp_path, tmp_path / "points.csv")


def test_a_wrong_request_is_told_before_anything_is_done(tmp_path: Path) -> None:
    crate = write(tmp_path / "a.zip")
    for request, what in ((Request(crate, margin=0.0), "margin"), (Request(crate, on="moon"), "no platform 'moon'")):
        with pytest.raises(RequestError, match=what):
            make_again(request, out=tmp_path / "out", tell=print)
    assert not (tmp_path / "out").exists()
    with pytest.raises(RequestError, match="could not be made again"):  # its component is no component
        make_again(Request(crate, environment="here"), out=tmp_path / "out", tell=print)


# -- environments


def test_a_package_that_is_not_to_be_had_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    lock = json.dumps({"python": {"version": platform.python_version()}, "distributions": []}).encode()
    lacking = {"environment/lock.json": lock, "environment/requirements.txt": b"no-such==1.2\n"}
    files = {**FILES, **{name: ("environment", data) for name, data in lacking.items()}}
    crate = unpack(write(tmp_path / "a.zip", files), tmp_path / "root")  # type: ignore[arg-type]
    with pytest.raises(EstranError, match=r"no-such==1\.2 is not to be had"):
        rebuild(crate, tmp_path / "root", tmp_path / "env", print)


def test_a_crate_without_estran_or_python_says_so(tmp_path: Path) -> None:
    lacking = {name: file for name, file in FILES.items() if file[0] != "estran"}
    crate = unpack(write(tmp_path / "a.zip", lacking), tmp_path / "root")
    with pytest.raises(RequestError, match="no Estran"):
        rebuild(crate, tmp_path / "root", tmp_path / "env", print)


def test_a_preview_tells_of_commands(tmp_path: Path) -> None:
    shown = preview(Request(write(tmp_path / "a.zip")))
    assert shown.services == (("a", "sh -c 'exit 0'"), ("b", "mine:Thing"))
    assert shown.code == ("mine.py",)
