#!/usr/bin/env bash
# Starts a Docker daemon for the tests if none answers, and waits until it does.
#   tests/tools/dockerd.sh          the daemon stays; its log and pid are under $DOCKERD_DIR
set -euo pipefail

state=${DOCKERD_DIR:-/tmp/sse-dockerd}
data_root=${DOCKERD_DATA_ROOT:-/var/lib/docker-sse}
seconds_max=${DOCKERD_SECONDS_MAX:-60}

answers() { timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null; }
fail() { echo "dockerd.sh: $*" >&2; exit 1; }

command -v docker >/dev/null || fail "there is no docker command: apt-get install docker.io"
mkdir -p "$state"
exec 9>"$state/lock"
flock -w "$seconds_max" 9 || fail "another dockerd.sh has been starting a daemon for $seconds_max s"
if version=$(answers); then
    echo "dockerd.sh: a daemon answers already ($version)"
    exit 0
fi
[ -z "${DOCKER_HOST-}" ] || fail "DOCKER_HOST is $DOCKER_HOST, and no daemon answers there"
command -v dockerd >/dev/null || fail "no daemon answers and there is no dockerd to start: apt-get install docker.io"
[ "$(id -u)" = 0 ] || fail "no daemon answers, and only root can start one"

log=$state/dockerd.log
setsid dockerd --data-root "$data_root" --pidfile "$state/dockerd.pid" >"$log" 2>&1 </dev/null 9>&- &
daemon=$!
deadline=$((SECONDS + seconds_max))
until version=$(answers); do
    if ! kill -0 "$daemon" 2>/dev/null; then
        tail -n 20 "$log" >&2
        fail "dockerd ended at once; the end of $log is above"
    fi
    if [ "$SECONDS" -ge "$deadline" ]; then
        tail -n 20 "$log" >&2
        kill "$daemon" 2>/dev/null || true
        fail "dockerd did not answer within $seconds_max s; the end of $log is above"
    fi
    sleep 0.2
done
echo "dockerd.sh: started ($version), data in $data_root, log in $log"
