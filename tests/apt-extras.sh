#!/bin/sh
# Install what some tests need, where this is root on a Debian-like machine; say so elsewhere.
set -eu
wanted=""
for pair in iptables:iptables chromium:chromium linux.uml:user-mode-linux ip:iproute2 sbatch:slurm-wlm munged:munge sshd:openssh-server; do
    PATH="$PATH:/usr/sbin" command -v "${pair%%:*}" >/dev/null 2>&1 || wanted="$wanted ${pair#*:}"
done
[ -n "$wanted" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "not root on Debian: tests that need$wanted are skipped" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then # servers are started by tests, each its own; none is to stay on this machine
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
apt-get install -qq --no-install-recommends $wanted >/dev/null
