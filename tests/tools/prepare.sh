#!/usr/bin/env bash
# Installs what the tests need and this machine lacks: Debian packages, client libraries, cargo's test runner and licence checker.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=${CARGO_TARGET_DIR:-target}/test-tools
mkdir -p "$tools"
exec 9>"$tools/lock"
flock 9

say() { echo "prepare: $*"; }

missing=()
need() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || missing+=("$2"); }
need chromium chromium
need curl curl
need openssl openssl
need docker-compose docker-compose
need dockerd docker.io
need debootstrap debootstrap
need python3 python3
python3 -c "import ensurepip" 2>/dev/null || missing+=(python3-venv)
need node nodejs
need npm npm
need php php-cli
need ruby ruby
need gcc build-essential
need git git
need ip iproute2
need pgrep procps
need strace strace
need faketime faketime
need script bsdutils
need man man-db
need mandoc mandoc
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
if [ ${#missing[@]} -gt 0 ]; then
    [ "$(id -u)" = 0 ] || { echo "prepare: as root: apt-get install ${missing[*]}" >&2; exit 1; }
    say "installing ${missing[*]}"
    apt-get -qq update
    # No service is to start by itself.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
    fi
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
fi
if [ ! -x /usr/sbin/nginx ]; then
    [ "$(id -u)" = 0 ] || { echo "prepare: as root: apt-get install nginx" >&2; exit 1; }
    say "installing nginx"
    docker/install-nginx.sh
fi

# Nothing fails without it: the instructions of a delivery are not counted then.
if ! command -v valgrind >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing valgrind"
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends valgrind; } >/dev/null 2>&1 ||
        say "no valgrind: the instructions of a delivery are not counted"
fi

if [ ! -x "$tools/venv/bin/python" ] || ! cmp -s tests/clients/requirements.txt "$tools/requirements.txt"; then
    say "installing Python clients"
    python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
    cp tests/clients/requirements.txt "$tools/"
fi
if ! cmp -s tests/clients/ansible.txt "$tools/ansible/requirements.txt"; then
    say "installing Ansible, of its collections one module"
    python3 -m venv "$tools/ansible"
    "$tools/ansible/bin/pip" install --quiet --disable-pip-version-check "$(grep core tests/clients/ansible.txt)"
    "$tools/ansible/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$tools/ansible" "$(grep -v core tests/clients/ansible.txt)"
    (
        cd "$tools/ansible"
        bin/python -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(members=sys.argv[2:])' ansible-*.whl \
            ansible_collections/community/general/{MANIFEST.json,meta/runtime.yml,plugins/modules/supervisorctl.py}
        rm ansible-*.whl
    )
    cp tests/clients/ansible.txt "$tools/ansible/requirements.txt"
fi
if ! cmp -s tests/clients/package-lock.json "$tools/node/package-lock.json"; then
    say "installing Node clients"
    mkdir -p "$tools/node"
    cp tests/clients/package.json tests/clients/package-lock.json "$tools/node/"
    (cd "$tools/node" && npm ci --silent --no-audit --no-fund)
fi
cp tests/clients/*.mjs "$tools/node/"

for component in fmt:rustfmt clippy:clippy; do
    cargo "${component%:*}" --version >/dev/null 2>&1 || rustup component add "${component#*:}"
done
command -v cargo-nextest >/dev/null || { say "installing cargo-nextest"; cargo install --quiet --locked cargo-nextest; }
command -v cargo-deny >/dev/null || { say "installing cargo-deny"; cargo install --quiet --locked cargo-deny; }
say "everything is there"
