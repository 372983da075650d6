#!/usr/bin/env bash
# Installs the push servers that ours is measured beside; for `make bench` alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=${CARGO_TARGET_DIR:-target}/test-tools
mkdir -p "$tools"
exec 9>"$tools/lock"
flock 9

say() { echo "bench-push-peers: $*"; }

wanted="gunicorn==23.0.0 eventlet==0.40.3 flask==3.1.2 uvicorn==0.38.0 sse-starlette==3.0.3 starlette==0.50.0"

if [ ! -e /usr/lib/nginx/modules/ngx_nchan_module.so ]; then
    command -v apt-get >/dev/null || { echo "bench-push-peers: nginx's push module is missing and there is no apt-get" >&2; exit 1; }
    [ "$(id -u)" = 0 ] || { echo "bench-push-peers: as root: apt-get install libnginx-mod-nchan" >&2; exit 1; }
    say "installing libnginx-mod-nchan, only to measure beside it"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends libnginx-mod-nchan >/dev/null
fi
if [ "$(cat "$tools/push-peers/wanted" 2>/dev/null)" != "$wanted" ]; then
    say "installing $wanted, only to measure beside them"
    python3 -m venv --clear "$tools/push-peers"
    # shellcheck disable=SC2086 # a list
    "$tools/push-peers/bin/pip" install --quiet --disable-pip-version-check $wanted
    echo "$wanted" >"$tools/push-peers/wanted"
fi
