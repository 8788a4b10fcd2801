"""Crates from strangers: what is whole is unpacked as it was, all else is refused with the file that is wrong."""

from __future__ import annotations

import shutil
import stat
import warnings
from pathlib import Path
from zipfile import ZIP_BZIP2, ZipFile, ZipInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estran.errors import EstranError, RequestError
from estran.reproduce import opening
from estran.reproduce.opening import inspect, unpack

from .crates import DESCRIPTION, FILES, crate_of, write

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name")
WITHIN = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """With a folder of our own above it, so that what leads out is seen without looking through what other tests wrote."""
    place = tmp_path / "above" / "here"
    place.mkdir(parents=True)
    return place


def refused(path: Path, what: str = "", name: str = "") -> None:
    """It is refused by both doors, with the file's name, and nothing is left outside the folder."""
    out = path.parent / f"out-{path.name}"
    before = set(path.parent.parent.rglob("*"))
    for door in (lambda: inspect(path), lambda: unpack(path, out)):
        with pytest.raises(RequestError) as caught:
            door()
        assert what in str(caught.value)
        assert name in str(caught.value)
    assert all(found == out or out in found.parents for found in set(path.parent.parent.rglob("*")) - before)
    assert not any(found.is_symlink() for found in out.rglob("*"))
    shutil.rmtree(out, ignore_errors=True)


def test_a_whole_crate_is_unpacked_as_it_was_packed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip")
    crate, description = inspect(path)
    assert description == FILES[DESCRIPTION][1]
    assert unpack(path, tmp_path / "out") == crate
    found = {
        file.relative_to(tmp_path / "out").as_posix(): file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()
    }
    assert found.keys() - {"crate.json"} == FILES.keys()
    assert all(found[name] == data for name, (_, data) in FILES.items())
    with pytest.raises(RequestError, match="cannot write"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("name", FILES)
def test_tampering_with_any_file_is_found_and_named(tmp_path: Path, name: str) -> None:
    role, data = FILES[name]
    one_bit = bytes([data[0] ^ 1]) + data[1:]
    for number, changed in enumerate((one_bit, data + b" ", data[:-1], b"")):
        path = write(tmp_path / f"{number}.zip", {**FILES, name: (role, changed)}, crate=crate_of())
        refused(path, name=name)
    lacking = {other: file for other, file in FILES.items() if other != name}
    refused(write(tmp_path / "lacking.zip", lacking, crate=crate_of()), "is missing", name)


def test_what_crate_json_says_is_sealed(tmp_path: Path) -> None:
    refused(write(tmp_path / "open.zip", seal=False), "is not sealed", "crate.json")
    path = write(tmp_path / "other.zip")
    data = path.read_bytes()
    with ZipFile(tmp_path / "forged.zip", "w") as archive, ZipFile(path) as whole:
        for info in whole.infolist():
            content = whole.read(info)
            archive.writestr(info, content.replace(b'"tiny"', b'"tidy"') if info.filename == "crate.json" else content)
        archive.comment = whole.comment
    refused(tmp_path / "forged.zip", "sealed", "crate.json")
    (tmp_path / "cut.zip").write_bytes(data[: len(data) // 2])
    refused(tmp_path / "cut.zip")
    refused(write(tmp_path / "none.zip", {}, crate=crate_of({})), "missing", DESCRIPTION)


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_bit_anywhere_is_refused_or_changes_nothing(tmp_path: Path, place: int, bit: int) -> None:
    data = bytearray(write(tmp_path / "a.zip").read_bytes())
    data[place % len(data)] ^= 1 << bit
    (tmp_path / "b.zip").write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            crate, description = inspect(tmp_path / "b.zip")
        except EstranError:
            return
    assert (crate, description) == inspect(tmp_path / "a.zip")  # a date, or another figure that nobody reads


HOSTILE = st.one_of(
    st.sampled_from(
        ["../evil", "/etc/passwd", "record/../../evil", "a\\..\\b", "C:/x", "./a", "a//b", "record/", "a/./b", "~\x00/x", "con:x"]
    ),
    st.lists(st.sampled_from(["..", ".", "", "a", "record", "\\", "é", "x" * 300, "\x07"]), min_size=1, max_size=4).map("/".join),
    st.text(max_size=12),
)


@given(HOSTILE)
@WITHIN
def test_no_name_leads_out_or_adds_anything(tmp_path: Path, name: str) -> None:
    try:
        path = write(tmp_path / "a.zip", more=[(name, b"evil")])
    except (ValueError, IndexError):  # what zipfile itself does not write
        return
    refused(path)


def link(name: str, mode: int) -> ZipInfo:
    info = ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR])
def test_only_files_are_files(tmp_path: Path, mode: int) -> None:
    files = {**FILES, "record/link": ("record", b"/etc/passwd")}
    crate = crate_of(files)  # type: ignore[arg-type]
    path = write(tmp_path / "a.zip", crate=crate, more=[(link("record/link", mode | 0o777), b"/etc/passwd")])
    refused(path, "it is no file", "record/link")


@pytest.mark.parametrize(
    "name", ["RECORD/run.json", "record/run.json", "Record/Run.JSON", "record/run.json/x", "record", "\u0065\u0301", "é"]
)
def test_no_two_names_are_one_on_any_file_system(tmp_path: Path, name: str) -> None:
    files = {**FILES, "é": ("data", b"1"), "record/x": ("record", b"2")}
    path = write(tmp_path / "a.zip", files, more=[(name, b"evil")])  # type: ignore[arg-type]
    refused(path)


def test_what_would_fill_the_disk_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = {**FILES, "record/zeros": ("record", bytes(70 << 20))}
    refused(write(tmp_path / "bomb.zip", bomb), "would unpack to")  # type: ignore[arg-type]
    data = bytearray(write(tmp_path / "liar.zip", {**FILES, "record/zeros": ("record", bytes(1 << 20))}).read_bytes())  # type: ignore[arg-type]
    size, small = (1 << 20).to_bytes(4, "little"), (1 << 10).to_bytes(4, "little")
    (tmp_path / "liar.zip").write_bytes(data.replace(size, small))
    refused(tmp_path / "liar.zip", name="record/zeros")
    monkeypatch.setattr(opening, "MOST_FILES", 5)
    refused(write(tmp_path / "many.zip"), "5 are the most")


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {**FILES, "record/x": ("record", b"a" * 50), "record/y": ("record", b"a" * 50)})  # type: ignore[arg-type]
    with ZipFile(path) as archive:
        offsets = {info.filename: info.header_offset.to_bytes(4, "little") for info in archive.infolist()}
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    (tmp_path / "b.zip").write_bytes(data[:start] + data[start:].replace(offsets["record/y"], offsets["record/x"]))
    refused(tmp_path / "b.zip")


def test_no_other_compression_and_no_secret_content(tmp_path: Path) -> None:
    info = ZipInfo("record/x")
    info.compress_type = ZIP_BZIP2
    files = {**FILES, "record/x": ("record", b"x")}
    refused(write(tmp_path / "a.zip", crate=crate_of(files), more=[(info, b"x")]), "not understood", "record/x")  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip", bytes(100)])
def test_what_is_no_zip_is_no_crate(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    refused(tmp_path / "a.zip", "no zip file")
    with pytest.raises(RequestError, match="no such crate"):
        inspect(tmp_path / "none.zip")
