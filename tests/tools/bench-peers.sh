#!/usr/bin/env bash
# Installs the supervisors that ours is measured beside; for `make bench-supervisor` alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=${CARGO_TARGET_DIR:-target}/test-tools
horust=0.1.14
mkdir -p "$tools"
exec 9>"$tools/lock"
flock 9

say() { echo "bench-peers: $*"; }

missing=()
[ -x /usr/bin/s6-svscan ] || missing+=(s6)
[ -x /usr/bin/runsvdir ] || missing+=(runit)
if [ ${#missing[@]} -gt 0 ]; then
    [ "$(id -u)" = 0 ] || { echo "bench-peers: as root: apt-get install ${missing[*]}" >&2; exit 1; }
    say "installing ${missing[*]}, only to measure beside them"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
fi
if ! grep -qs "^\"horust $horust " "$tools/horust/.crates.toml"; then
    say "installing horust $horust, only to measure beside it"
    # Its build stays out of ours.
    env -u CARGO_TARGET_DIR cargo install --quiet --locked --force --root "$tools/horust" --version "$horust" horust
fi
