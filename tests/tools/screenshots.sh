#!/usr/bin/env bash
# Starts the stack on a port and in folders of its own, has pictures made of its pages under load, and stops it: `make screenshots`.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=${CARGO_TARGET_DIR:-target}/test-tools
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PORT=${PORT:-5081} RUN_DIR=$folder/run LOG_DIR=$folder/logs DATA_DIR=$folder/data
export SSE_PUBLISH_TOKEN=token-of-the-pictures SSE_MAX_CONNECTIONS_PER_IP=0
docker/up.sh >"$folder/said" 2>&1 &
stack=$!
trap 'kill "$stack" 2>/dev/null; wait "$stack" || true; rm -rf "$folder"' EXIT
until grep -q '^ready: ' "$folder/said"; do
    kill -0 "$stack" 2>/dev/null || { cat "$folder/said" >&2; exit 1; }
    sleep 0.2
done
picture=$PWD/docs/dashboard.png
pictures=$(realpath "${CARGO_TARGET_DIR:-target}")/screenshots
cd "$tools/node"
ORIGIN=http://localhost:$PORT TOKEN=$SSE_PUBLISH_TOKEN node screenshots.mjs "$picture" "$pictures"
