#!/usr/bin/env bash
# Runs the fuzz targets one after the other: `fuzz.sh RUNS SECONDS [TARGET…]`, each bound for each target, an empty one being none.
# What it learns is kept in target/fuzz, so that the next run begins there; what breaks a promise too, and then it fails.
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${1-} seconds=${2-}
shift $(($# < 2 ? $# : 2))
[ -n "$runs$seconds" ] || seconds=60
host=$(rustc -vV | sed -n 's/^host: //p')
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(basename -s .rs fuzz/fuzz_targets/*.rs)

# What `cargo fuzz` sets, but for the address sanitizer: the code is safe Rust, and without it a stable compiler does.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
CARGO_TARGET_DIR=target/fuzz/build nice cargo build --release --locked --quiet --manifest-path fuzz/Cargo.toml --target "$host"

table="target\texecutions\tper second\tcoverage\tcorpus\tcrashes\n"
total=0 crashed=0 n=0
for target in "${targets[@]}"; do
    n=$((n + 1))
    learnt=target/fuzz/corpus/$target found=target/fuzz/crashes/$target log=target/fuzz/$target.log
    mkdir -p "$learnt" "$found"
    printf '%s fuzz %s (%s of %s)\n' "$(date +%T)" "$target" "$n" "${#targets[@]}" >&2
    code=0
    nice "target/fuzz/build/$host/release/$target" -runs="${runs:--1}" -max_total_time="${seconds:-0}" -max_len=4096 \
        -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$found/" \
        "$learnt" "fuzz/corpus/$target" >"$log" 2>&1 || code=$?
    field() { sed -n "s/^stat::$1: *//p" "$log"; }
    executions=$(field number_of_executed_units)
    covered=$(grep -oE 'cov: [0-9]+' "$log" | tail -n 1 | cut -d' ' -f2 || true)
    if [ "$code" != 0 ]; then
        crashed=$((crashed + 1))
        grep -aE -m 3 'panicked|ERROR|Test unit' -A 2 "$log" >&2 || tail -n 20 "$log" >&2
    fi
    total=$((total + ${executions:-0}))
    table+="$target\t${executions:-?}\t$(field average_exec_per_sec)\t${covered:-?}\t$(find "$learnt" -type f | wc -l)"
    table+="\t$(find "$found" -type f | wc -l)\n"
done
printf '%b' "$table" | expand -t 18
echo "$total executions; crashes are in target/fuzz/crashes, one a file"
[ "$crashed" = 0 ]
