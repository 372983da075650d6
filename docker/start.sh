#!/bin/sh
# Checks the whole configuration, then becomes supervisord: a value that makes no sense ends the start here, with its sentence.
# The environment names RUN_DIR, LOG_DIR, DATA_DIR, PORT and who is who (docker/Dockerfile, docker/up.sh).
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)

mkdir -p "$RUN_DIR" "$LOG_DIR"
if [ "$(id -u)" = 0 ]; then
    install -d -o "$SSE_USER" "$DATA_DIR" # also where a mount belongs to root
else
    mkdir -p "$DATA_DIR"
fi

said=$(sse-server check 2>&1) || {
    printf '%s\n' "$said" >&2
    exit 2
}
sse-server nginx --check-port --template "$here/nginx-sse.conf" >/dev/null || exit 2
sh "$here/nginx.sh" -t

exec supervisord -n -c "$here/supervisord.toml"
