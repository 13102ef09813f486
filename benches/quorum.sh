#!/usr/bin/env bash
# What a quorum costs: the same load on a log without witnesses and on one with three of them and a quorum of three, all on
# this machine (the witnesses take their share of it, fsyncs too). One after the other, on fresh directories.
#
#   benches/quorum.sh [SECONDS] [CONNECTIONS] [RATE]      20 s, 256 connections, 10,000/s for the time to publish
#
# Prints what `glasslog bench` says. GLASSLOG=BINARY, else the release build of this workspace; DIR for the data.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
seconds=${1:-20} connections=${2:-256} rate=${3:-10000}
glasslog=${GLASSLOG:-${CARGO_TARGET_DIR:-$here/../target}/release/glasslog}
[ -x "$glasslog" ] || (cd "$here/.." && cargo build --release --locked --bin glasslog)
base=$(mktemp -d "${DIR:-/var/tmp}/quorum.XXXXXX")
pids=()
finish() {
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$base"
}
trap finish EXIT

# start NAME ARGS...: runs a service, waits for its first lines, leaves its URL in $url and its first vkey in $vkey.
start() {
    local name=$1
    shift
    "$glasslog" "$@" --listen 127.0.0.1:0 >"$base/$name.out" 2>"$base/$name.err" &
    pids+=($!)
    for _ in $(seq 200); do
        grep -q 'vkey ' "$base/$name.out" && break
        sleep 0.05
    done
    url=$(sed -n 's/^listening on //p' "$base/$name.out" | head -n 1)
    vkey=$(awk '$1 == "vkey" { print $2; exit }' "$base/$name.out")
}

measure() {
    local title=$1
    until curl -fs "$url/ready" >/dev/null; do sleep 0.1; done
    echo "== $title, closed loop"
    "$glasslog" bench "$url" --vkey "$vkey" --connections "$connections" --duration "$seconds" --disk "$base"
    echo "== $title, $rate/s offered"
    "$glasslog" bench "$url" --vkey "$vkey" --connections 64 --rate "$rate" --duration "$seconds"
}

stop_log() {
    kill "${pids[-1]}"
    wait "${pids[-1]}" || true
    unset 'pids[-1]'
}

start alone serve --dir "$base/alone" --entry-schema conda-1
measure "no witnesses"
stop_log

"$glasslog" key new bench.example/quorum --out "$base/log/log.key" >"$base/vkey" 2>/dev/null
external=
for n in 1 2 3; do
    start "w$n" witness --dir "$base/w$n" --log "bench.example/quorum=$(cat "$base/vkey")" --rate-limit-per-second 0
    external+=${external:+,}w$n=$url=$vkey
    # Both kinds of signature, as a witness makes them by default.
    external+=,w$n=$url=$(awk '$1 == "vkey" { print $2 }' "$base/w$n.out" | tail -n 1)
done
start log serve --dir "$base/log" --entry-schema conda-1 --external-witnesses "$external" --witness-quorum 3
measure "three witnesses, quorum three"
curl -fs "$url/metrics" | grep -E 'witness_(answers|latency)' || true
