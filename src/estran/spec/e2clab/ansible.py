"""Names that Ansible's documentation gives: keys of plays and tasks, modules of `ansible.builtin`, old short names of others."""

from __future__ import annotations

from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BOTH: Final = _names(
    """any_errors_fatal become become_exe become_flags become_method become_user check_mode collections connection debugger
    diff environment ignore_errors ignore_unreachable module_defaults name no_log port remote_user run_once tags
    throttle timeout vars"""
)

PLAY_KEYS: Final = _BOTH | _names(
    """fact_path force_handlers gather_facts gather_subset gather_timeout handlers max_fail_percentage order post_tasks
    pre_tasks roles serial strategy tasks vars_files vars_prompt"""
)

BLOCK_KEYS: Final = _names("block rescue always")

TASK_KEYS: Final = _BOTH | _names(
    """action args async changed_when delay delegate_facts delegate_to failed_when listen local_action loop loop_control notify
    poll register retries until when"""
)

BUILTIN: Final = _names(
    """add_host apt apt_key apt_repository assemble assert async_status blockinfile command copy cron deb822_repository debconf
    debug dnf dnf5 dpkg_selections expect fail fetch file find gather_facts get_url getent git group group_by hostname
    import_playbook import_role import_tasks include include_role include_tasks include_vars iptables known_hosts
    lineinfile meta mount_facts package package_facts pause ping pip raw reboot replace rpm_key script service
    service_facts set_fact set_stats setup shell slurp stat subversion systemd systemd_service sysvinit tempfile
    template unarchive uri user validate_argument_spec wait_for wait_for_connection yum yum_repository"""
)

MOVED: Final = _names(
    """acl alternatives apk archive at authorized_key cargo cpanm docker_compose docker_container docker_container_info
    docker_host_info docker_image docker_image_info docker_login docker_network docker_node docker_prune docker_stack
    docker_swarm docker_swarm_service docker_volume filesystem firewalld gem git_config helm homebrew htpasswd ini_file
    k8s locale_gen lvg lvol make modprobe mount mysql_db mysql_user nmcli npm opkg pacman pam_limits parted patch pipx
    postgresql_db postgresql_user seboolean selinux snap synchronize sysctl terraform timezone ufw xml"""
)
"""Short names of modules that have moved to collections, under which Ansible still finds them."""

KNOWN_MODULES: Final = BUILTIN | MOVED

_OURS: Final = ("ansible.builtin.", "ansible.legacy.")


def short(module: str) -> str:
    """A module's name without ``ansible.builtin.``; that of another collection stays as it is."""
    return next((module.removeprefix(prefix) for prefix in _OURS if module.startswith(prefix)), module)
