#!/usr/bin/env bash
# Counts the instructions of one delivery: what a longer run of examples/delivery.rs takes more than a shorter one, in the
# kernel excluded. `callgrind.sh list` prints in which functions they are.
set -euo pipefail
cd "$(dirname "$0")/../.."
members=100 short=50 long=150
if ! command -v valgrind >/dev/null; then
    echo "instructions of one delivery: not counted: no valgrind"
    exit 0
fi
cargo build --release --locked --quiet --package sse-server --example delivery
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
program=${CARGO_TARGET_DIR:-target}/release/examples/delivery

count() { # ROUNDS
    if ! valgrind --tool=callgrind --callgrind-out-file="$folder/$1" "$program" "$1" $members >"$folder/said" 2>&1; then
        cat "$folder/said" >&2
        return 1
    fi
    sed -n 's/.*Collected : //p' "$folder/said"
}
less=$(count $short)
more=$(count $long)
deliveries=$(((long - short) * members))
echo "instructions of one delivery: $(((more - less) / deliveries)) in user space ($members members, a $((more - less)) more in $((long - short)) rounds)"
[ "${1-}" = list ] || exit 0

# A function's own instructions, in the shorter and in the longer run.
own() { callgrind_annotate --threshold=100 "$folder/$1" | sed -nE 's/^ *([0-9,]+) \(.*\)  (.*)$/\1\t\2/p' | tr -d ,; }
awk -F'\t' -v deliveries=$deliveries '
    NR == FNR { before[$2] += $1; next }
    { more[$2] += $1 }
    END { for (name in more) printf "%8.1f  %s\n", (more[name] - before[name]) / deliveries, name }
' <(own $short) <(own $long) | sort -rn | sed -nE '1,40p' | sed -E 's/ \[[^]]*\]$//; s/\?\?\?://'
