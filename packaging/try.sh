#!/usr/bin/env bash
# Tries what packaging/package.sh built, the folder and the version of which are named: what it holds, whether it runs, and, where there is root and
# dpkg, how an installation, an upgrade and a purge go in a system of its own.
set -euo pipefail
out=$(cd "$1" && pwd)
version=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/sse-package.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT

fail() { echo "package: $*" >&2; exit 1; }
said() { echo "package: $*"; }
has() { grep -qxF -- "$2" "$1" || fail "$2 is missing in $(basename "$1")"; }

# --- the tarball
tarball=$(echo "$out"/*.tar.gz)
name=$(basename "$tarball" .tar.gz)
tar -tzf "$tarball" >"$work/tarball"
for file in bin/{sse-server,supervisord,supervisorctl} LICENSE-{MIT,APACHE} etc/sse-server.toml stack/nginx-sse.conf \
    systemd/sse-server.service share/man/man1/{sse-server,supervisorctl}.1 share/man/man5/{sse-server.toml,supervisord.conf}.5 \
    share/man/man8/supervisord.8; do
    has "$work/tarball" "$name/$file"
done
tar -C "$work" -xzf "$tarball"

# Nothing but glibc and the unwinder that comes with it.
runs() {
    local program=$1 needed
    needed=$(objdump -p "$program" | awk '$1 == "NEEDED" { print $2 }' | grep -vE '^(libc|libm|libgcc_s|ld-linux-[a-z0-9-]+)\.so\.[0-9]+$' || true)
    [ -z "$needed" ] || fail "$(basename "$program") needs $needed"
    case $(basename "$program") in
        sse-server) [ "$("$program" --version)" = "sse-server $version" ] || fail "$program is of another version" ;;
        supervisord) [ "$("$program" --version)" = "$version" ] || fail "$program is of another version" ;;
        supervisorctl) "$program" --help | grep -q '^Usage: ' || fail "$program has no help" ;;
    esac
}
for program in "$work/$name"/bin/*; do runs "$program"; done
DATA_DIR=$work/data "$work/$name/bin/sse-server" --config "$work/$name/etc/sse-server.toml" check >/dev/null
glibc=$(objdump -T "$work/$name"/bin/* | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
said "$name needs ${glibc/_/ }"

# --- the Debian packages, unpacked
hub=$(echo "$out"/sse-server_*.deb)
supervisor=$(echo "$out"/sse-supervisor_*.deb)
for deb in "$hub" "$supervisor"; do
    dpkg-deb -c "$deb" | awk '{ print $6 }' >"$work/files"
    owners=$(dpkg-deb -c "$deb" | awk '{ print $2 }' | sort -u)
    [[ $owners =~ ^(root/root|0/0)$ ]] || fail "$deb has files of $owners"
    case $deb in
        "$hub") files="usr/bin/sse-server etc/sse-stack/sse-server.toml usr/lib/sysusers.d/sse-server.conf
            usr/share/man/man1/sse-server.1.gz usr/share/man/man5/sse-server.toml.5.gz usr/share/doc/sse-server/copyright" ;;
        *) files="usr/bin/supervisord usr/bin/supervisorctl usr/share/man/man8/supervisord.8.gz usr/share/man/man1/supervisorctl.1.gz
            usr/share/doc/sse-supervisor/copyright" ;;
    esac
    for file in $files; do has "$work/files" "./$file"; done
    dpkg-deb -x "$deb" "$work/tree"
    case $(dpkg-deb -f "$deb" Version) in "$version"-*) ;; *) fail "$deb is of another version" ;; esac
done
for program in "$work"/tree/usr/bin/*; do runs "$program"; done
[ "$(dpkg-deb -f "$supervisor" Conflicts)" = supervisor ] || fail "$supervisor is installable beside Debian's supervisor, whose files it has"
[ "$(dpkg-deb --ctrl-tarfile "$hub" | tar -xO ./conffiles)" = /etc/sse-stack/sse-server.toml ] || fail "$hub has other conffiles"
"$work/tree/usr/bin/sse-server" --config "$work/tree/etc/sse-stack/sse-server.toml" check | grep -qF 'history = "disk"  # file' ||
    fail "the configuration of $hub is not read"
unit=$(find "$work/tree" -name sse-server.service)
if command -v systemd-analyze >/dev/null; then
    # With the program where it was unpacked; the targets of a machine that was booted by systemd are not here.
    sed "s#=/usr/bin/sse-server#=$work/tree/usr/bin/sse-server#" "$unit" >"$work/sse-server.service"
    systemd-analyze verify --man=no "$work/sse-server.service" >"$work/verify" 2>&1 || true
    if grep -F sse-server.service "$work/verify" | grep -vE 'Unit [a-z-]+\.target not found'; then fail "systemd-analyze verify says the above"; fi
fi
if command -v lintian >/dev/null; then
    # There is no changelog of Debian's, and nobody with an address.
    lintian --fail-on error --suppress-tags no-changelog,maintainer-address-missing,malformed-contact "$hub" "$supervisor" ||
        fail "lintian says the above"
fi

# --- the whole stack out of the tarball, as docs/install.md says
if PATH=$PATH:/usr/sbin command -v nginx >/dev/null; then
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cd "$work/$name"
    PATH=$PWD/bin:$PATH:/usr/sbin PORT=$port RUN_DIR=$PWD/run LOG_DIR=$PWD/logs DATA_DIR=$PWD/data SSE_HISTORY=disk \
        SSE_USER=$(id -un) NGINX_USER=$(id -un) SOCKET_OWNER=$(id -un):$(id -gn) stack/start.sh >"$work/stack" 2>&1 &
    stack=$!
    cd - >/dev/null
    deadline=$((SECONDS + 30))
    until curl -sf "http://127.0.0.1:$port/sse/health/ready" >/dev/null; do
        if [ "$SECONDS" -ge "$deadline" ] || ! kill -0 "$stack" 2>/dev/null; then
            cat "$work/stack" >&2
            kill "$stack" 2>/dev/null || true
            fail "the stack of the tarball does not serve"
        fi
        sleep 0.1
    done
    kill "$stack"
    wait "$stack" || fail "the stack of the tarball did not end in order"
fi

# --- installed, upgraded and purged in a system of its own
if [ "$(id -u)" = 0 ] && command -v dockerd >/dev/null; then
    "$here/../tests/tools/dockerd.sh" >/dev/null
    echo 'FROM debian:bookworm-slim' >"$work/Dockerfile"
    "$here/../tests/tools/base-images.sh" "$work/Dockerfile" >/dev/null
    docker run --rm -v "$out:/package:ro" -v "$here/installed.sh:/installed.sh:ro" debian:bookworm-slim sh /installed.sh
else
    said "only root with a dockerd can try the installation: not tried"
fi
