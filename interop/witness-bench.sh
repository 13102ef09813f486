#!/usr/bin/env bash
# Loads witnesses one after another, and prints a table: ours, torchwood's litewitness, transparency-dev's omniwitness.
#
#   interop/witness-bench.sh             builds this workspace's glasslog (release) and measures `glasslog witness` first
#   interop/witness-bench.sh BINARY      the same with this binary
#   interop/witness-bench.sh --others    measures only the two others
#
# Needs Go 1.26, ssh-agent, and `unshare -n`: everything runs in a network namespace with loopback alone, because omniwitness
# would else follow public logs. REQUESTS (20000) is how many requests a row takes. The load generator runs on the same cores.
set -euo pipefail

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 64; }
[ $# -le 1 ] || usage
here=$(cd "$(dirname "$0")" && pwd)
requests=${REQUESTS:-20000}
# shellcheck source=interop/witnesses.sh
. "$here/witnesses.sh"

# build: all programs, before the network is gone; then this script once more, without it.
build() {
    subject=${1:-}
    if [ -z "$subject" ]; then
        echo "building glasslog"
        (cd "$here/.." && cargo build --quiet --release --locked --bin glasslog)
        subject=${CARGO_TARGET_DIR:-$here/../target}/release/glasslog
    fi
    [ "$subject" = --others ] || subject=$(realpath "$subject")
    have_openssh || { echo "litewitness needs openssh-client" >&2; exit 5; }
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    (cd "$here" && go build -o "$work/" ./cmd/genkey ./cmd/litewitnessdb ./cmd/witnessload filippo.io/torchwood/cmd/litewitness)
    (cd "$here/omniwitness" && go build -o "$work/" github.com/transparency-dev/witness/cmd/omniwitness)
    local isolate=(unshare -n)
    [ "$(id -u)" = 0 ] || isolate=(unshare -rn)
    GLASSLOG_WITNESS_BENCH=$work GLASSLOG_WITNESS_BENCH_SUBJECT=$subject "${isolate[@]}" "$0"
}

# load MODE ARGUMENT...: one row.
load() { "$work/witnessload" --url "$witness_url" --row "$name" --mode "$@"; }

# rows LOGS: all rows of a witness that knows so many logs, and 100 more for the race.
rows() {
    local flags each=$((requests / 100))
    mapfile -t flags < <(cosigner_flags)
    load grow --requests "$requests" "${flags[@]}"
    load refresh --from $each --requests "$requests" "${flags[@]}"
    load grow --from $each --connections 1 --requests $((requests / 10)) "${flags[@]}"
    load grow --from $((each + requests / 1000)) --connections 64 --requests "$requests" "${flags[@]}"
    if [ "$1" -ge 1000 ]; then
        load grow --first 1000 --logs 1000 --requests "$requests" "${flags[@]}"
        load grow --first 1000 --logs 1000 --from $((requests / 1000)) --connections 64 --requests "$requests" "${flags[@]}"
    fi
    "$work/witnessload" --url "$witness_url" --mode race --first 100 --logs 100 --rounds 10 | sed "s/^witnessload/$name/" >>"$work/races"
}

measure_glasslog() {
    local logs
    mapfile -t logs < <("$work/witnessload" --print keys --logs 2000)
    name="glasslog witness, both types"
    start_glasslog_witness "$work/glasslog.2" witness.example/load "${logs[@]}"
    rows 1000
    stop_witness
    name="glasslog witness, Ed25519"
    mkdir "$work/glasslog.1"
    "$work/genkey" --out "$work/glasslog.1/key" witness.example/load >/dev/null
    start_glasslog_witness "$work/glasslog.1" witness.example/load "${logs[@]}"
    rows 1000
    stop_witness
}

measure_litewitness() {
    name="litewitness, Ed25519"
    start_litewitness "$work/litewitness.d" litewitness.example/load
    "$work/witnessload" --print keys --logs 2000 | "$work/litewitnessdb" --db "$work/litewitness.d/db" >/dev/null
    rows 1000
    stop_witness INT
    stop_ssh_agent
}

measure_omniwitness() {
    "$work/witnessload" --print yaml --logs 200 >"$work/logs.yaml"
    name="omniwitness, Ed25519"
    start_omniwitness "$work/omniwitness.1" omniwitness.example/load "$work/logs.yaml"
    rows 200
    stop_witness
    name="omniwitness, both types"
    start_omniwitness "$work/omniwitness.2" omniwitness.example/load "$work/logs.yaml" --mldsa
    rows 200
    stop_witness
}

if [ -z "${GLASSLOG_WITNESS_BENCH:-}" ]; then
    build "$@"
    exit
fi
work=$GLASSLOG_WITNESS_BENCH
subject=$GLASSLOG_WITNESS_BENCH_SUBJECT
trap 'stop_witness; stop_ssh_agent' EXIT
ip link set lo up
echo "$(nproc) cores; append 4 KiB and fdatasync: p50 $("$work/witnessload" --fdatasync "$work") ms; $requests requests a row; each"
echo "request grows one log by 1 (grow) or asks for its present size (refresh); latencies are those of the answers 200, and a request"
echo "that was pushed back (429, 503) comes once more after 2 ms"
echo
echo "| witness | mode | logs | connections | cosigned/s | p50 / p99 / max ms | other answers | bytes of a reply | generator's CPU |"
echo "|---|---|---|---|---|---|---|---|---|"
[ "$subject" = --others ] || measure_glasslog
measure_litewitness
measure_omniwitness
echo
cat "$work/races"
echo "fdatasync afterwards: p50 $("$work/witnessload" --fdatasync "$work") ms"
