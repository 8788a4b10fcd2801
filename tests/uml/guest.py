# ruff: noqa - runs as a guest's first process, with the standard library and nothing to lose
"""The guest's first process: mounts what the script needs, runs it, leaves output and status in the shared folder, halts."""

import ctypes
import errno
import json
import os
import subprocess
import sys
import traceback

POWER_OFF = 0x4321FEDC
FINIT_MODULE = 313  # x86_64, the only machine that User-Mode Linux is packaged for here


def mount(kind, target, options="defaults"):
    subprocess.run(["mount", "-n", "-t", kind, "-o", options, "none", target], check=True)


def prepare(order):
    mount("proc", "/proc")
    mount("sysfs", "/sys")
    mount("tmpfs", "/tmp")
    for folder in (order["cwd"], os.path.dirname(os.path.dirname(order["python"]))):
        if folder.startswith("/tmp/") and not os.path.exists(folder):  # a checkout down there is hidden by now
            os.makedirs(folder)
            mount("hostfs", folder, folder)
    if os.path.isdir("/dev/shm"):
        mount("tmpfs", "/dev/shm")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=False)
    if order["cgroup2"]:
        mount("cgroup2", "/sys/fs/cgroup")
    folder = f"/usr/lib/uml/modules/{os.uname().release}"
    for module in order["modules"]:
        load(folder, module)


def load(folder, name):
    """Load a module after what it depends on; without modprobe, which need not be installed."""
    with open(f"{folder}/modules.dep") as file:
        needs = dict(line.rstrip().split(":", 1) for line in file)
    path = next((path for path in needs if os.path.basename(path) == f"{name}.ko"), None)
    if path is None:
        with open(f"{folder}/modules.builtin") as file:
            if any(os.path.basename(line.strip()) == f"{name}.ko" for line in file):
                return
        raise FileNotFoundError(f"no module {name} in {folder}")
    libc = ctypes.CDLL(None, use_errno=True)
    for module in [*reversed(needs[path].split()), path]:
        with open(f"{folder}/{module}", "rb") as file:
            if libc.syscall(FINIT_MODULE, file.fileno(), b"", 0) and ctypes.get_errno() != errno.EEXIST:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), module)


def main():
    share = os.path.dirname(sys.argv[0])
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    with open(f"{share}/order.json") as file:
        order = json.load(file)
    status = "guest"
    try:
        mount("tmpfs", "/run")
        os.makedirs("/run/share")
        mount("hostfs", "/run/share", share)
        share = "/run/share"
        prepare(order)
        environment = {
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "HOME": "/tmp",
            "NUMBA_CACHE_DIR": "/tmp/numba",
        }
        with open(f"{share}/output", "wb") as output:
            done = subprocess.run(
                [order["python"], f"{share}/script.py"], stdout=output, stderr=subprocess.STDOUT, cwd=order["cwd"], env=environment
            )
        status = str(done.returncode)
    except BaseException:
        with open(f"{share}/output", "a") as output:
            traceback.print_exc(file=output)
    with open(f"{share}/status", "w") as file:
        file.write(status)
    os.sync()
    ctypes.CDLL(None).reboot(POWER_OFF)


main()
