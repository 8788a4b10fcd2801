"""Which modules there are, and how each is done: natively, by Ansible's own module, or by ``ansible-playbook``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, Literal

from estran.spec.e2clab.ansible import BUILTIN, MOVED, short
from estran.spec.suggest import did_you_mean
from estran.tasks.archive import ansible_folder
from estran.tasks.errors import EvaluationError

Tier = Literal["native", "module", "playbook"]

_FILE = "mode owner group"
_COMMAND = "cmd argv chdir creates removes executable stdin stdin_add_newline strip_empty_ends expand_argument_vars warn"
_COPY = f"dest mode owner group backup force follow directory_mode validate decrypt {_FILE}"

NATIVE: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(words.split())
    for name, words in {
        "command": _COMMAND, "shell": _COMMAND, "raw": "executable cmd",
        "script": "cmd chdir creates removes executable decrypt",
        "copy": f"{_COPY} src content remote_src local_follow checksum",
        "template": f"{_COPY} src newline_sequence block_start_string block_end_string variable_start_string variable_end_string "
        "comment_start_string comment_end_string trim_blocks lstrip_blocks output_encoding",
        "fetch": "src dest flat fail_on_missing validate_checksum",
        "file": f"path dest name src state recurse follow force access_time access_time_format modification_time "
        f"modification_time_format {_FILE}",
        "stat": "path dest name follow get_checksum get_mime get_attributes checksum_algorithm checksum mime attributes",
        "slurp": "src path", "ping": "data",
        "get_url": f"url dest checksum force backup timeout headers url_username username url_password password validate_certs "
        f"use_proxy tmp_dest http_agent {_FILE}",
        "wait_for": "host port path timeout connect_timeout delay sleep state search_regex msg",
        "wait_for_connection": "timeout delay sleep connect_timeout",
        "synchronize": "src dest mode delete recursive archive checksum rsync_path times perms links owner group compress dirs",
        "debug": "msg var verbosity", "set_fact": "*", "include_vars": "file dir name free_form extensions depth files_matching",
        "assert": "that fail_msg msg success_msg quiet", "fail": "msg", "pause": "seconds minutes prompt echo",
        "meta": "", "async_status": "jid mode", "setup": "*", "gather_facts": "*",
        "include_tasks": "file apply", "import_tasks": "file",
    }.items()
}  # fmt: skip
"""Modules that are done without Ansible, and the parameters that they then take (``*``: any)."""

ALIASES: Final[Mapping[str, Mapping[str, str]]] = {
    "file": {"dest": "path", "name": "path"},
    "stat": {"dest": "path", "name": "path", "checksum": "checksum_algorithm", "mime": "get_mime", "attributes": "get_attributes"},
    "get_url": {"username": "url_username", "password": "url_password"},
    "slurp": {"path": "src"},
    "assert": {"msg": "fail_msg"},
}

FREE_FORM: Final = frozenset(
    ("command", "shell", "raw", "script", "meta", "include_tasks", "import_tasks", "include_vars", "include_role")
)
"""Modules that may be given a text that is no list of ``key=value``."""

REFUSED: Final[Mapping[str, str]] = {
    "add_host": "the hosts are those of the experiment: name them there",
    "group_by": "the groups are those of the experiment: name them there",
    "import_playbook": "name the other file's tasks here",
}
"""Modules that have no meaning here, and what to do instead."""

_BY_PLAYBOOK: Final = frozenset(["import_role", "include_role", "reboot", "set_stats", "validate_argument_spec"])
"""Modules of ansible-core that do their work on the controller, and are not done natively."""


def short_name(name: str) -> str:
    """Name of a module without the collections that are built in.

    Examples
    --------
    >>> short_name("ansible.builtin.shell"), short_name("ansible.posix.synchronize"), short_name("community.general.ufw")
    ('shell', 'synchronize', 'community.general.ufw')
    """
    bare = short(name)
    return {"ansible.posix.synchronize": "synchronize", "include": "include_tasks"}.get(bare, bare)


@cache
def _core() -> frozenset[str]:
    """Modules of ansible-core: those of the installed one, and those known where none is."""
    folder = ansible_folder()
    return BUILTIN | ({path.stem for path in (folder / "modules").glob("*.py")} - {"__init__"} if folder is not None else set())


def known_modules() -> frozenset[str]:
    """Names of all modules that tasks may name without a collection."""
    return _core() | frozenset(NATIVE) | MOVED


def is_known(name: str) -> bool:
    """Whether a module is known; one of a collection is taken to be, since only Ansible itself can tell."""
    return short_name(name) in known_modules() or short_name(name).count(".") >= 2


def tier(name: str, parameters: frozenset[str]) -> Tier:
    """How a module is to be done with these parameters; raises EvaluationError if nothing takes one of them."""
    taken = NATIVE.get(name)
    if taken is None:
        return "module" if name in _core() and name not in _BY_PLAYBOOK else "playbook"
    unknown = sorted(parameters - taken)
    if not unknown or "*" in taken:
        return "native"
    if name in _ALSO_MODULES:
        return "module"
    if name in ("copy", "template", "fetch", "script") and set(unknown) <= _RARE:
        return "playbook"
    raise EvaluationError(f"Unsupported parameters for ({name}) module: {unknown[0]}", remedy=did_you_mean(unknown[0], taken))


_ALSO_MODULES: Final = frozenset(("file", "stat", "slurp", "ping", "get_url", "wait_for"))
"""Native modules that Ansible has for hosts too, with more parameters."""
_RARE: Final = frozenset(("attributes", "attr", "selevel", "serole", "setype", "seuser", "unsafe_writes"))
"""Parameters of file modules that are left to Ansible."""
