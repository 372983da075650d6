#!/bin/sh
# Renders nginx's configuration from the environment, has nginx test it, and becomes nginx.
#   nginx.sh        what supervisord runs
#   nginx.sh -t     renders and tests, no more
set -eu

here=$(dirname "$0")
conf=$RUN_DIR/nginx.conf

sse-server nginx --template "$here/nginx-sse.conf" --output "$conf"
if ! said=$(nginx -t -q -c "$conf" 2>&1); then
    case $said in
        *"key values mismatch"*)
            said="TLS_KEY is \"${TLS_KEY-}\", but it is not the key of the certificate in TLS_CERT, \"${TLS_CERT-}\"" ;;
        *"cannot load certificate key"*)
            said="TLS_KEY is \"${TLS_KEY-}\", but nginx cannot read a private key there" ;;
        *"cannot load certificate"*)
            said="TLS_CERT is \"${TLS_CERT-}\", but nginx cannot read a certificate there" ;;
        *) said="nginx does not accept its configuration $conf: $said" ;;
    esac
    printf '%s\n' "$said" >&2
    exit 2
fi
[ "${1-}" != -t ] || exit 0
# What nginx does not need, no worker of it has in its memory.
unset SSE_PUBLISH_TOKEN LOGIN_CODE SESSION_SECRET_KEY
exec nginx -c "$conf"
