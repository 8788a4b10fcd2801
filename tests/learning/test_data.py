"""Datasets, tables and arrivals: what is read, and what is refused."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estran.errors import DataError
from estran.learning import datasets
from estran.learning.arrivals import Arrivals, arrival_process, gaps
from estran.learning.datasets import Data, Dataset, load
from estran.learning.mistakes import SettingsError

CSV = "a,b,kind\n1,10,cat\n2,20,dog\n3,30,cat\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rows.csv").write_text(CSV, encoding="utf-8")
    (tmp_path / "gaps.csv").write_text("a,label\n1,0\n,1\n", encoding="utf-8")
    (tmp_path / "texts.csv").write_text("a,label\nhello,0\nyou,1\n", encoding="utf-8")
    (tmp_path / "empty.csv").write_text("a,label\n", encoding="utf-8")
    (tmp_path / "nolabel.csv").write_text("a,label\n1,x\n2,\n", encoding="utf-8")
    (tmp_path / "garbage.parquet").write_bytes(b"no parquet at all")
    (tmp_path / "garbage.npz").write_bytes(b"no zip at all")
    np.savez(tmp_path / "rows.npz", x=np.arange(24.0).reshape(3, 2, 4), y=np.array([5, 7, 5]))
    np.savez(tmp_path / "uneven.npz", x=np.zeros((3, 2)), y=np.array([5, 7]))
    np.savez(tmp_path / "objects.npz", x=np.array([{}, {}], dtype=object), y=np.array([1, 2]))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "rows", "features", "classes"),
    [("digits", 1797, 64, 10), ("iris", 150, 4, 3), ("wine", 178, 13, 3), ("breast-cancer", 569, 30, 2)],
)
def test_datasets_by_name(name: str, rows: int, features: int, classes: int) -> None:
    pytest.importorskip("sklearn")
    found = load(name)
    assert found.x.shape == (rows, features)
    assert (found.features, found.classes, found.y.max() + 1) == (features, classes, classes)
    assert np.isfinite(found.x).all()


def test_digits_are_pixels_from_0_to_1_and_others_are_standardised() -> None:
    pytest.importorskip("sklearn")
    assert (load("digits").x.min(), load("digits").x.max()) == (0.0, 1.0)
    assert load("iris").x.std(axis=0) == pytest.approx(np.ones(4))
    assert load(Data(name="iris", scale="none")).x.max() == 7.9
    assert load(Data(name="iris", scale="columns")).x.max(axis=0).tolist() == [1.0] * 4


@pytest.fixture(autouse=True)
def _nothing_loaded() -> None:
    """Datasets that earlier tests have loaded are forgotten."""
    datasets._bundled.cache_clear()


def test_who_loads_the_same_shares_it_and_cannot_change_it(folder: Path) -> None:
    wanted = Data(file="rows.csv", label="kind")
    first = load(wanted, folder)
    assert load(wanted, folder).x is first.x
    with pytest.raises(ValueError, match="read-only"):
        first.x[0, 0] = 7.0
    with pytest.raises(ValueError, match="read-only"):
        first.y[0] = 1
    (folder / "rows.csv").write_text(CSV + "9,9,cat\n", encoding="utf-8")
    assert len(load(wanted, folder).y) == len(first.y) + 1


def test_without_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", absent)
    with pytest.raises(DataError) as raised:
        load("digits")
    assert "pip install 'estran[sklearn]'" in str(raised.value)


def test_a_bundled_dataset_is_kept_and_scikit_learn_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = load("iris")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    datasets._bundled.cache_clear()
    again = load("iris")
    assert np.array_equal(first.x, again.x)
    assert first.labels == again.labels
    (kept,) = tmp_path.glob("estran/datasets/*.npz")
    kept.write_bytes(b"damaged")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    datasets._bundled.cache_clear()
    assert np.array_equal(load("iris").y, first.y)


def _check_rows(found: Dataset) -> None:
    assert found.x.tolist() == [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]
    assert found.y.tolist() == [0, 1, 0]
    assert found.labels == ("cat", "dog")
    assert found.columns == ("a", "b")


def test_tables_of_the_user(folder: Path) -> None:
    import duckdb

    _check_rows(load(Data(file="rows.csv", label="kind"), folder))
    (folder / "rows.tsv").write_text(CSV.replace(",", "\t"), encoding="utf-8")
    _check_rows(load(Data(file="rows.tsv", label="kind"), folder))
    with duckdb.connect() as database:
        database.execute(f"COPY (SELECT * FROM read_csv('{folder}/rows.csv')) TO '{folder}/rows.parquet'")
    _check_rows(load(Data(file="rows.parquet", label="kind"), folder))
    assert load(Data(file="rows.csv", label="kind", columns=("b",)), folder).x.tolist() == [[10.0], [20.0], [30.0]]


def test_images_in_an_archive_are_flattened(folder: Path) -> None:
    found = load("rows.npz", folder)
    assert found.x.shape == (3, 8)
    assert found.labels == ("5", "7")
    assert found.y.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("lost.csv", "no such file"),
        ("rows.csv", "no column 'label'"),
        (Data(file="rows.csv", label="knd"), "did you mean kind"),
        (Data(file="rows.csv", label="kind", columns=("a", "c")), "no column 'c'"),
        ("gaps.csv", "row 2"),
        ("texts.csv", "not numbers"),
        ("empty.csv", "no rows"),
        ("nolabel.csv", "no value in row 2"),
        ("garbage.parquet", "cannot be read"),
        ("garbage.npz", "cannot be read"),
        ("uneven.npz", "3 rows but 2 labels"),
        ("objects.npz", "cannot be read"),
        (Data(file="rows.xlsx"), "no such file"),
    ],
    ids=str,
)
def test_unsuitable_files_are_refused(folder: Path, data: Any, text: str) -> None:
    with pytest.raises(DataError) as raised:
        load(data, folder)
    assert text in str(raised.value)
    assert raised.value.remedy


@pytest.mark.parametrize(
    "wrong", [{}, {"name": "digits", "file": "a.csv"}, {"name": "digitz"}, {"name": "iris", "label": "x"}], ids=str
)
def test_wrong_choices_of_data(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        Data(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def drawn(count: int, rate: float | None, **wanted: Any) -> Any:
    return np.array(list(islice(gaps(Arrivals(**wanted), rate, np.random.default_rng(5)), count)))


def test_fixed_arrivals_and_as_fast_as_possible() -> None:
    found = drawn(100, 50.0)
    assert found[1:] == pytest.approx(np.full(99, 0.02))
    assert 0 <= found[0] < 0.02
    assert not drawn(10, None).any()


def test_poisson_arrivals_are_exponential() -> None:
    found = drawn(20_000, 40.0, kind="poisson")
    assert found.mean() == pytest.approx(1 / 40, rel=0.03)
    assert found.std() == pytest.approx(1 / 40, rel=0.05)


@pytest.mark.parametrize("quiet", [0.0, 0.2])
def test_bursts_keep_the_mean_and_are_more_variable(quiet: float) -> None:
    found = drawn(40_000, 40.0, kind="bursty", on=0.5, off=1.5, quiet=quiet)
    assert found.mean() == pytest.approx(1 / 40, rel=0.1)
    counts = np.bincount(np.cumsum(found).astype(int))
    assert counts.var() > 3 * counts.mean()


def test_a_day_has_its_night_at_the_start() -> None:
    times = np.cumsum(drawn(20_000, 100.0, kind="diurnal", period=20.0, swing=0.9))
    phase = times[times < 180] % 20
    counts, _ = np.histogram(phase, bins=4, range=(0, 20))
    expected = 100 * 9 * (5 - 0.9 * 10 / np.pi * np.array([1, -1, -1, 1]))
    assert counts == pytest.approx(expected, rel=0.1)
    assert len(times[times < 180]) == pytest.approx(18_000, rel=0.05)


def test_traces_are_replayed(folder: Path) -> None:
    np.savez(folder / "trace.npz", time=np.array([4, 5, 5, 9]), back=np.array([3.0, 2.0]), text=np.array(["a"]))

    def replay(**more: Any) -> list[float]:
        return list(gaps(Arrivals("replay", file="trace.npz", **more), None, np.random.default_rng(0), folder))

    assert replay(speed=2.0) == [0.0, 0.5, 0.0, 2.0]
    with pytest.raises(DataError, match="row 2 is before"):
        replay(column="back")
    with pytest.raises(DataError, match="not a list of times"):
        replay(column="text")
    with pytest.raises(SettingsError, match="no column 'tme'"):
        replay(column="tme")


def test_wrong_arrivals_are_refused() -> None:
    with pytest.raises(SettingsError, match="trace"):
        arrival_process("replay")
    with pytest.raises(SettingsError, match="need a rate"):
        gaps(Arrivals("poisson"), None, np.random.default_rng(0))
    with pytest.raises(SettingsError, match="more than zero"):
        Arrivals("bursty", on=0.0)
