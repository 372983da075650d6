#!/bin/sh
# Renders nginx's configuration from the environment, has nginx test it, and becomes nginx.
#   nginx.sh        what supervisord runs
#   nginx.sh -t     renders and tests, no more
set -eu

here=$(dirname "$0")
conf=$RUN_DIR/nginx.conf

sse-server nginx --template "$here/nginx-sse.conf" --output "$conf"
if ! said=$(nginx -t -q -c "$conf" 2>&1); then
    printf 'nginx does not accept its configuration %s: %s\n' "$conf" "$said" >&2
    exit 2
fi
[ "${1-}" != -t ] || exit 0
exec nginx -c "$conf"
