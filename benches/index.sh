#!/usr/bin/env bash
# What the index costs: the same load on a log without it and on one with it, one after the other on fresh directories that
# first take ENTRIES in batches (each has three keys, two of them new); then lookups, and a start after kill -9.
#
#   benches/index.sh [SECONDS] [CONNECTIONS] [ENTRIES]      20 s, 256 connections, 500,000 entries
#
# Prints what `glasslog bench` says. GLASSLOG=BINARY, else the release build of this workspace; DIR for the data.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
seconds=${1:-20} connections=${2:-256} entries=${3:-500000}
glasslog=${GLASSLOG:-${CARGO_TARGET_DIR:-$here/../target}/release/glasslog}
[ -x "$glasslog" ] || (cd "$here/.." && cargo build --release --locked --bin glasslog)
base=$(mktemp -d "${DIR:-/var/tmp}/index.XXXXXX")
pid=
finish() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$base"
}
trap finish EXIT

# start NAME ARGS...: runs a log, waits for its first lines, leaves its URL in $url and its vkey in $vkey.
start() {
    local name=$1
    shift
    "$glasslog" serve --dir "$base/$name" --entry-schema conda-1 "$@" --listen 127.0.0.1:0 >"$base/$name.out" 2>>"$base/$name.err" &
    pid=$!
    for _ in $(seq 1200); do
        grep -q 'vkey ' "$base/$name.out" && break
        sleep 0.05
    done
    url=$(sed -n 's/^listening on //p' "$base/$name.out" | head -n 1)
    vkey=$(awk '$1 == "vkey" { print $2; exit }' "$base/$name.out")
}

memory() {
    awk '/^(RssAnon|VmHWM)/ { print $1, $2 / 1000, "MB" }' "/proc/$pid/status"
}

# The index may lag behind what is public: lookups wait until it does not.
index_is_ready() {
    until curl -fs "$url/vindex/lookup?kind=repo&key=conda%2Fnone" >/dev/null; do sleep 0.1; done
}

measure() {
    echo "== $1: $entries entries before, in batches"
    "$glasslog" bench "$url" --vkey "$vkey" --connections 4 --batch 1000 --seed 1 --sample 100 --entries "$entries" --duration 600
    echo "== $1, closed loop"
    "$glasslog" bench "$url" --vkey "$vkey" --connections "$connections" --duration "$seconds" --disk "$base"
    memory
}

start off --vindex-enabled false
measure "no index"
kill "$pid"
wait "$pid" || true
rm -rf "$base/off"

start on
measure "index"
index_is_ready
echo "== lookups with proof"
"$glasslog" bench "$url" --lookups "$entries" --seed 1 --connections 64 --duration "$seconds"
curl -fs "$url/vindex/stats"
echo
du -sb "$base/on/index" "$base/on/duplicates" 2>/dev/null || du -sb "$base"/on/*
kill -9 "$pid"
wait "$pid" || true
began=$(date +%s.%N)
start on
until curl -fs "$url/ready" >/dev/null; do sleep 0.02; done
echo "ready $(echo "$(date +%s.%N) - $began" | bc) s after kill -9"
index_is_ready
echo "index ready $(echo "$(date +%s.%N) - $began" | bc) s after kill -9"
