#!/bin/sh
# Installs Debian's nginx, as root, without starting the service that comes with it: the stack runs nginx itself.
set -eu
export DEBIAN_FRONTEND=noninteractive

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

apt-get update -qq
apt-get install -y -qq --no-install-recommends nginx >/dev/null

# Nor does it start with the machine.
if command -v systemctl >/dev/null && [ -d /run/systemd/system ]; then
    systemctl disable --quiet nginx.service
elif command -v update-rc.d >/dev/null; then
    update-rc.d nginx disable >/dev/null 2>&1 || true
fi
