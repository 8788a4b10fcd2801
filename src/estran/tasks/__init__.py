"""Lists of Ansible tasks, done on hosts by their envoys: natively, by Ansible's own modules, or by ``ansible-playbook``."""

from estran.tasks.modules import known_modules

__all__ = ["known_modules"]
