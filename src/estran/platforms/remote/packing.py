"""What an experiment needs on a host, as archives: Estran, the packages below it, the experiment's own folder.

No internet is needed where the host's Python is of the controller's kind.
"""

from __future__ import annotations

import gzip
import hashlib
import marshal
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import estran
from estran.errors import PlatformError, RequestError
from estran.spec.own_files import own_files

LEFT_OUT: Final = frozenset({"duckdb", "cyclopts"})
"""Of what Estran depends on: needed by the controller alone, to evaluate runs and to read command lines."""

ALWAYS: Final = ("scikit-learn",)
"""Packed wherever the controller has it: the data sets that come with it need no download."""

KERNELS: Final = (".nbi", ".nbc")
"""Suffixes of numba's files."""

MOST_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class Kind:
    """What decides which packages fit: Python's version, the processor, and the C library's version."""

    python: tuple[int, int]
    machine: str
    libc: tuple[int, ...]

    @classmethod
    def own(cls) -> Kind:
        """The controller's."""
        return cls(sys.version_info[:2], platform.machine(), _version(platform.libc_ver()[1]))

    @classmethod
    def of(cls, python: str, facts: Mapping[str, Any]) -> Kind:
        """A host's, by its Python's version and what its envoy has told."""
        major, minor = _version(python)[:2]
        return cls((major, minor), facts["machine"], _version(facts["libc"].rpartition("-")[2]))

    def takes(self, other: Kind) -> bool:
        """Whether packages that are installed where it is ``other`` run here: native parts need a C library as old as theirs."""
        return (self.python, self.machine) == (other.python, other.machine) and self.libc >= (2, 28)


@dataclass(frozen=True, slots=True)
class Archive:
    """A compressed archive on the controller, and the folder's name that it is unpacked into on a host."""

    path: Path
    folder: str


def cache_folder() -> Path:
    """Where archives of packages are kept: ``$XDG_CACHE_HOME/estran/archives``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "estran" / "archives"


def remove_unfinished() -> None:
    """Remove from there what processes have left that were killed while they packed."""
    for path in cache_folder().glob(".packing-*"):
        pid = path.name.split("-")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _unfinished(pid: int) -> str:
    return f".packing-{pid}-"


def locked(extra: Sequence[str] = ()) -> dict[str, str]:
    """Names and versions of all distributions below Estran, and of others with what these need, as the controller has them.

    Raises
    ------
    RequestError
        If one of ``extra`` is not installed here.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    wanted = [(name, name in extra) for name in (*extra, *filter(_is_installed, ALWAYS))]
    wanted += [(str(requirement), False) for requirement in metadata.requires("estran") or ()]
    while wanted:
        text, asked = wanted.pop()
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        unmet = requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})
        if name in found or name in LEFT_OUT or unmet:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            if asked:
                raise RequestError(
                    f"the package {name!r} is not installed here", where="packages", remedy=f"pip install {name}, or leave it out"
                ) from None
            continue  # wanted on other systems only
        found[name] = distribution.version
        for extra_name in requirement.extras:
            wanted += [
                (need, False) for need in distribution.requires or () if f"extra == '{extra_name}'" in need.replace('"', "'")
            ]
        wanted += [(need, False) for need in distribution.requires or ()]
    return dict(sorted(found.items()))


def packages(kind: Kind, lock: Mapping[str, str]) -> Archive:
    """An archive of all distributions of a lock that run on hosts of that kind; made once and kept.

    Raises
    ------
    PlatformError
        If they must be downloaded, because hosts differ from the controller, and cannot be.
    """
    key = hashlib.sha256(repr((kind.python, kind.machine, sorted(lock.items()))).encode()).hexdigest()[:16]
    path = cache_folder() / f"packages-{key}.tar.gz"
    if not path.exists():
        files = _installed(lock) if kind.takes(Kind.own()) else _downloaded(kind, lock)
        write_archive(path, files, {})
    return Archive(path, f"packages-{key}")


def estran_itself() -> Archive:
    """An archive of Estran as it is here: with its entry points, and the kernels compiled here, which serve on like machines."""
    return _content("estran", _estran_files(), _times)


def experiment(folder: Path) -> Archive:
    """An archive of the experiment's folder, without runs, hidden files and caches.

    Raises
    ------
    RequestError
        If it is too large to be one.
    """
    files = dict(own_files(folder))
    size = sum(path.stat().st_size for path in files.values())
    if size > MOST_BYTES:
        raise RequestError(
            f"the experiment's folder has {size >> 20} MiB, and {MOST_BYTES >> 20} are copied to hosts at the most",
            where=str(folder),
            remedy="put the experiment into a folder of its own, and data where hosts find it themselves",
        )
    return _content("experiment", ((name, path.read_bytes()) for name, path in sorted(files.items())))


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _installed(lock: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """The files of installed distributions, as they lie in the folder of packages."""
    for name in lock:
        distribution = metadata.distribution(name)
        if distribution.files is None:
            raise PlatformError(f"the package {name} has no list of its files", remedy="install it with pip")
        for file in sorted(distribution.files, key=str):
            path = Path(str(distribution.locate_file(file)))
            if file.parts[0] != ".." and "__pycache__" not in file.parts and path.is_file():
                yield from with_code(str(file), path)


def with_code(name: str, path: Path) -> Iterator[tuple[str, bytes]]:
    """A file, and of a module also its compiled code, which compares no time of change: hosts need not compile anything."""
    source = path.read_bytes()
    yield name, source
    if path.suffix != ".py":
        return
    cached = Path(cache_from_source(str(path)))
    head = MAGIC_NUMBER + (1).to_bytes(4, "little") + source_hash(source)
    try:
        code = cached.read_bytes()
        fresh = (
            code[:8] == MAGIC_NUMBER + bytes(4) and int.from_bytes(code[8:12], "little") == int(path.stat().st_mtime) & 0xFFFFFFFF
        )
        body = code[16:] if fresh else _compiled(source, name)
    except OSError:
        body = _compiled(source, name)
    if body:
        yield cache_from_source(name), head + body


def _compiled(source: bytes, name: str) -> bytes:
    try:
        return marshal.dumps(compile(source, name, "exec", dont_inherit=True))
    except (SyntaxError, ValueError):
        return b""  # some packages bring templates and tests for other versions


def _downloaded(kind: Kind, lock: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """The files of wheels that fit another kind of host."""
    major, minor = kind.python
    newest = max(kind.libc[1] if len(kind.libc) > 1 else 17, 17)
    platforms = [f"manylinux_2_{number}_{kind.machine}" for number in range(newest, 16, -1)] + [f"manylinux2014_{kind.machine}"]
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=_unfinished(os.getpid())) as folder:
        argv = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
        ]
        argv += ["--dest", folder, "--python-version", f"{major}.{minor}", "--implementation", "cp"]
        argv += [part for abi in (f"cp{major}{minor}", "abi3", "none") for part in ("--abi", abi)]
        argv += [part for one in platforms for part in ("--platform", one)]
        argv += [f"{name}=={version}" for name, version in lock.items()]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:]
            raise PlatformError(
                f"no packages for Python {major}.{minor} on {kind.machine}: {said[0] if said else 'pip failed'}",
                remedy=f"let hosts have Python {sys.version_info[0]}.{sys.version_info[1]}, or this machine a package index",
            )
        for wheel in sorted(Path(folder).glob("*.whl")):
            with zipfile.ZipFile(wheel) as packed:
                for name in sorted(packed.namelist()):
                    if not name.endswith("/"):
                        yield _in_place(name), packed.read(name)


def _in_place(name: str) -> str:
    """Where a wheel's file goes: what it holds for the folder of packages may lie below ``NAME.data``."""
    head, _, rest = name.partition(".data/")
    return rest.partition("/")[2] if rest.startswith(("purelib/", "platlib/")) and "/" not in head else name


def _estran_files() -> Iterator[tuple[str, bytes]]:
    root = Path(estran.__file__).parent
    for path in sorted(root.rglob("*")):
        name = f"estran/{path.relative_to(root)}"
        if path.suffix in KERNELS:
            yield name, path.read_bytes()
        elif path.is_file() and "__pycache__" not in path.parts:
            yield from with_code(name, path)
    distribution = metadata.distribution("estran")
    for file in ("METADATA", "entry_points.txt"):
        text = distribution.read_text(file)
        if text is not None:
            yield f"estran-{distribution.version}.dist-info/{file}", text.encode()


def _times() -> dict[str, float]:
    """When Estran's modules were changed, which compiled kernels remember."""
    root = Path(estran.__file__).parent
    return {f"estran/{path.relative_to(root)}": path.stat().st_mtime for path in root.rglob("*.py")}


def _content(name: str, files: Iterable[tuple[str, bytes]], times: Callable[[], Mapping[str, float]] = dict) -> Archive:
    """An archive that is named by what it holds, but for compiled kernels, which a host can make itself; packed if it is not there.

    Parameters
    ----------
    times
        Says when files were changed, where that matters.
    """
    held = list(files)
    digest = hashlib.sha256()
    for file, data in held:
        if not file.endswith(KERNELS):
            digest.update(f"{file} {len(data)} ".encode() + data)
    folder = f"{name}-{digest.hexdigest()[:16]}"
    path = cache_folder() / f"{folder}.tar.gz"
    if not path.exists():
        write_archive(path, held, times())
    return Archive(path, folder)


def write_archive(path: Path, files: Iterable[tuple[str, bytes]], times: Mapping[str, float]) -> None:
    """Write an archive that is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_unfinished(os.getpid()), delete=False) as part:
        try:
            with (
                gzip.GzipFile(fileobj=part, mode="wb", compresslevel=1, mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w") as archive,
            ):
                for name, data in files:
                    _add(archive, name, data, times.get(name, 0.0))
            part.close()
            Path(part.name).replace(path)
        finally:
            Path(part.name).unlink(missing_ok=True)


def _add(archive: tarfile.TarFile, name: str, data: bytes, time: float) -> None:
    entry = tarfile.TarInfo(name)
    entry.mtime = time
    entry.size = len(data)
    entry.mode = 0o644
    archive.addfile(entry, BytesIO(data))
