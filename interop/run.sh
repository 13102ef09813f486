#!/usr/bin/env bash
# Lets implementations that are not ours judge a running log, on loopback only.
#
#   interop/run.sh               builds this workspace's glasslog (release) and judges it
#   interop/run.sh BINARY        judges `BINARY serve`
#   interop/run.sh --tessera     judges Tessera's own conformance server: do the judges work?
#
# Needs Go 1.26 and, the first time, the Go module proxy. The closing line is `N passed, N failed`; the exit code is 0
# iff nothing failed. JUDGE_TIMEOUT (seconds, 120) bounds every step, HAMMER_GOAL (5000) is how many leaves hammer adds.
set -euo pipefail

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 64; }
[ $# -le 1 ] || usage
here=$(cd "$(dirname "$0")" && pwd)
subject=${1:-}
if [ -z "$subject" ]; then
    echo "building glasslog"
    (cd "$here/.." && cargo build --quiet --release --locked --bin glasslog)
    subject=${CARGO_TARGET_DIR:-$here/../target}/release/glasslog
fi
timeout_seconds=${JUDGE_TIMEOUT:-120}
hammer_goal=${HAMMER_GOAL:-5000}

work=$(mktemp -d)
server_pid=
passed=0
failed=0

finish() {
    if [ -n "$server_pid" ]; then
        kill -TERM "$server_pid" 2>/dev/null || true
        wait "$server_pid" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT

# check NAME COMMAND...: the command must end with 0 within the timeout.
check() {
    local name=$1
    shift
    local code=0
    within "$@" >"$work/out" 2>&1 || code=$?
    if [ $code -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok      $name: $(tail -n 1 "$work/out")"
    else
        failed=$((failed + 1))
        echo "FAILED  $name (exit code $code)"
        tail -n 20 "$work/out" | sed 's/^/        /'
    fi
}

# within COMMAND...: a function of this script bounds itself.
within() {
    if [ "$(type -t "$1")" = function ]; then "$@"; else timeout "$timeout_seconds" "$@"; fi
}

# stop_server: SIGTERM, and the server's own exit code.
stop_server() {
    kill -TERM "$server_pid"
    timeout "$timeout_seconds" tail --pid="$server_pid" -f /dev/null || return
    wait "$server_pid"
}

# await COMMAND...: until it succeeds, at most 15 s, while the server lives.
await() {
    for _ in $(seq 150); do
        if "$@" >/dev/null 2>&1; then return; fi
        if ! kill -0 "$server_pid" 2>/dev/null; then break; fi
        sleep 0.1
    done
    echo "the server did not come up: $*" >&2
    tail -n 20 "$work/server.out" "$work/server.err" >&2
    exit 5
}

echo "building the judges"
cd "$here"
go build -o "$work/" ./cmd/... \
    github.com/transparency-dev/tessera/internal/hammer github.com/transparency-dev/tessera/cmd/conformance/posix
check "the judges see what is tampered with" go test ./...
cd - >/dev/null

start_glasslog() {
    # Loopback without a proxy in front: no token and no rate limit by default. The first line of stdout says the URL.
    "$subject" serve --dir "$work/log" --listen 127.0.0.1:0 >"$work/server.out" 2>"$work/server.err" &
    server_pid=$!
    await grep -q '^listening on http' "$work/server.out"
    await grep -q 'vkey ' "$work/server.out"
    url=$(sed -n 's/^listening on \(http[^ ]*\)$/\1/p' "$work/server.out" | head -n 1)
    url=${url%/}/
    vkey=$(awk '$1 == "vkey" { print $2; exit }' "$work/server.out")
}

start_tessera() {
    vkey=$("$work/genkey" --out "$work/key" tessera.example/interop)
    port=$("$work/genkey" --free-port)
    "$work/posix" --storage_dir="$work/log" --private_key="$work/key" --listen="127.0.0.1:$port" \
        >"$work/server.out" 2>"$work/server.err" &
    server_pid=$!
    url="http://127.0.0.1:$port/"
}

if [ "$subject" = --tessera ]; then
    start_tessera
    proofs=0
else
    start_glasslog
    proofs=50
fi
echo "judging $url, $vkey"
await curl -fsS -o "$work/checkpoint.0" "${url}checkpoint"

judge=("$work/judge" --url "$url" --vkey "$vkey" --timeout "${timeout_seconds}s")
check "a new log" "${judge[@]}"
check "load" "$work/load" --url "$url" --acks "$work/acks"
curl -fsS -o "$work/checkpoint.1" "${url}checkpoint"
check "sumdb, every entry" "${judge[@]}" --acks "$work/acks" --older "$work/checkpoint.0,$work/checkpoint.1"
check "hammer, $hammer_goal leaves with readers" "$work/hammer" --log_url="$url" --log_public_key="$vkey" \
    --max_write_ops=5000 --num_writers=512 --num_readers_full=4 --num_readers_random=4 --max_read_ops=2000 \
    --leaf_min_size=488 --dup_chance=0.1 --show_ui=false --leaf_write_goal="$hammer_goal" \
    --max_runtime="${timeout_seconds}s"
# Hammer checks neither indices nor inclusion, so the others look once more at what it has made.
check "sumdb, after hammer" "${judge[@]}" --samples 2000 --acks "$work/acks" \
    --older "$work/checkpoint.0,$work/checkpoint.1"
check "tessera fsck" "$work/fsckjudge" --url "$url" --vkey "$vkey" --timeout "${timeout_seconds}s"
check "torchwood, every entry" "$work/torchwoodjudge" --url "$url" --vkey "$vkey" --proofs "$proofs" \
    --timeout "${timeout_seconds}s"

if [ "$subject" != --tessera ]; then
    check "SIGTERM ends it with 0" stop_server
    server_pid=
    # The directory as it lies there, which any static file server may serve.
    check "tessera fsck, of the directory" "$work/fsckjudge" --url "file://$work/log/public" --vkey "$vkey" \
        --timeout "${timeout_seconds}s"
    cp "$work/log/public/checkpoint" "$work/checkpoint.2"
    start_glasslog
    await curl -fsS -o "$work/checkpoint.3" "${url}checkpoint"
    check "sumdb, after a restart" "$work/judge" --url "$url" --vkey "$vkey" --timeout "${timeout_seconds}s" \
        --samples 2000 --acks "$work/acks" --older "$work/checkpoint.0,$work/checkpoint.2,$work/checkpoint.3"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
