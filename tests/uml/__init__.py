"""A kernel with netem and cgroup v2 for tests, whatever the machine's own kernel has: User-Mode Linux."""
