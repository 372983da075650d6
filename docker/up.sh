#!/bin/sh
# The production stack without Docker, in the foreground: `make up`. Builds it, gets nginx if it is missing, becomes supervisord.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
fail() {
    echo "make up: $*" >&2
    exit 1
}
absolute() {
    case $1 in
        /*) printf '%s' "$1" ;;
        *) printf '%s/%s' "$root" "${1#./}" ;;
    esac
}

PORT=${PORT:-5001}
TLS_PORT=${TLS_PORT:-5443}
# As in docker-compose-sse.yml.
SSE_MAX_CONNECTIONS=${SSE_MAX_CONNECTIONS:-500}
SSE_HISTORY=${SSE_HISTORY:-disk}
RUN_DIR=$(absolute "${RUN_DIR:-run}")
LOG_DIR=$(absolute "${LOG_DIR:-logs}")
DATA_DIR=$(absolute "${DATA_DIR:-data}")
case ${TLS_CERT-} in '' | self-signed) ;; *) TLS_CERT=$(absolute "$TLS_CERT") && export TLS_CERT ;; esac
[ -z "${TLS_KEY-}" ] || { TLS_KEY=$(absolute "$TLS_KEY") && export TLS_KEY; }
# Everything runs as whoever starts it.
SSE_USER=$(id -un)
NGINX_USER=$SSE_USER
SOCKET_OWNER=$SSE_USER:$(id -gn)
PATH=$(absolute "${CARGO_TARGET_DIR:-target}")/release:$PATH:/usr/sbin:/sbin
export PORT TLS_PORT SSE_MAX_CONNECTIONS SSE_HISTORY RUN_DIR LOG_DIR DATA_DIR SSE_USER NGINX_USER SOCKET_OWNER PATH

if ! command -v nginx >/dev/null; then
    command -v apt-get >/dev/null || fail "nginx is missing: install version 1.22 or later with this system's package manager"
    if [ "$(id -u)" = 0 ]; then
        echo "make up: installing Debian's nginx, which is missing"
        "$here/install-nginx.sh" || fail "could not install nginx: run 'apt-get install nginx' and see why"
    elif command -v sudo >/dev/null; then
        echo "make up: installing Debian's nginx, which is missing, with sudo"
        sudo "$here/install-nginx.sh" || fail "could not install nginx: ask an administrator for 'apt-get install nginx'"
    else
        fail "nginx is missing, and only root can install it: run 'apt-get install nginx' as root, then 'make up' again"
    fi
fi

command -v cargo >/dev/null || fail "cargo is missing: install Rust (https://rustup.rs), then 'make up' again"
[ -x "$(absolute "${CARGO_TARGET_DIR:-target}")/release/supervisord" ] || echo "make up: building the programs, which takes a few minutes the first time"
(cd "$root" && cargo build --quiet --release --locked --package sse-server --package supervisor)

exec env READY_URL="http://localhost:$PORT" "$here/start.sh"
