#!/bin/sh
# Checks the whole configuration, then becomes supervisord: a value that makes no sense ends the start here, with its sentence.
# The environment names RUN_DIR, LOG_DIR, DATA_DIR, PORT and who is who (docker/Dockerfile, docker/up.sh). With READY_URL it
# says so once the stack serves.
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
if [ "${TLS_CERT-}" = self-signed ]; then
    sh "$here/self-signed.sh"
fi
sse-server nginx --check-port --template "$here/nginx-sse.conf" >/dev/null || exit 2
sh "$here/nginx.sh" -t

# Nobody's child once this shell has become supervisord, and gone when that one is.
announce() (
    tries=0
    while kill -0 "$1" 2>/dev/null; do
        if sse-server --listen "127.0.0.1:$PORT" healthcheck >/dev/null 2>&1; then
            echo "ready: $READY_URL"
            exit
        fi
        tries=$((tries + 1))
        [ "$tries" -ne 300 ] || echo "not ready yet: $LOG_DIR/supervisord.log and $LOG_DIR/sse-server.error.log say why" >&2
        sleep 0.1
    done
)
if [ -n "${READY_URL-}" ]; then
    (announce $$ &)
fi

exec supervisord -n -c "$here/supervisord.toml"
