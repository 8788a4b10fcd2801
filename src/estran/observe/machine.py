"""Facts of the machine on which a run is conducted; those that do not change are read once a process."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path
from typing import Any, Final

SYSCTLS: Final = (
    "net.ipv4.tcp_congestion_control", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "net.ipv4.tcp_slow_start_after_idle",
    "net.core.rmem_max", "net.core.wmem_max", "net.core.default_qdisc", "vm.swappiness", "vm.overcommit_memory",
)  # fmt: skip
_CONTAINERS: Final = (("/.dockerenv", "docker"), ("/run/.containerenv", "podman"), ("/.singularity.d", "apptainer"))
_NVIDIA: Final = Path("/proc/driver/nvidia")


@functools.cache
def machine() -> dict[str, Any]:
    """Kernel, operating system, processor, memory, GPUs, container, name."""
    hardware = _hardware()
    return {
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "kernel_build": platform.version(),
        "os": _system(),
        "libc": " ".join(platform.libc_ver()),
        "cpu": f"{hardware['cores']} × {hardware['model']}",
        "hardware": hardware,
        "gpus": _gpus(),
        "container": next((kind for path, kind in _CONTAINERS if Path(path).exists()), None),
        "machine": platform.node(),
    }


def settings() -> dict[str, str]:
    """Settings of the kernel that results may depend on, as they are now."""
    found = {name: _text("/proc/sys/" + name.replace(".", "/")) for name in SYSCTLS}
    return {name: " ".join(value.split()) for name, value in found.items() if value is not None}


def _system() -> str | None:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return None


def _hardware() -> dict[str, Any]:
    return {
        "model": _field("/proc/cpuinfo", "model name", "Model", "Hardware") or platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory": int((_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) * 1024,
        "governor": _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    }


def _gpus() -> list[dict[str, str | None]]:
    """NVIDIA's by model and driver; others by their vendor and device numbers, which the kernel tells."""
    found: list[dict[str, str | None]] = []
    driver = (_text(str(_NVIDIA / "version")) or "").partition("\n")[0] or None
    for path in sorted(_NVIDIA.glob("gpus/*/information")):
        found.append({"model": _field(str(path), "Model"), "driver": driver})
    for device in sorted(Path("/sys/class/drm").glob("card[0-9]/device")):
        vendor, number = _text(str(device / "vendor")), _text(str(device / "device"))
        if vendor is not None and vendor != "0x10de":
            found.append({"model": f"{vendor}:{number}", "driver": _driver(device)})
    return found


def _driver(device: Path) -> str | None:
    try:
        return (device / "driver").resolve(strict=True).name
    except OSError:
        return None


def _field(file: str, *names: str) -> str | None:
    """The value of the first line ``name : value`` with one of the names, tried in order."""
    lines = [line.partition(":") for line in (_text(file) or "").splitlines()]
    return next((value.strip() for name in names for key, _, value in lines if key.strip() == name), None)


def _text(file: str) -> str | None:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
