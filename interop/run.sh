#!/usr/bin/env bash
# Lets implementations that are not ours judge a running log, on loopback only.
#
#   interop/run.sh               builds this workspace's glasslog (release) and judges it
#   interop/run.sh BINARY        judges `BINARY serve`
#   interop/run.sh --tessera     judges Tessera's own conformance server: do the judges work?
#
# Needs Go 1.26 and, the first time, the Go module proxy. The closing line is `N passed, N failed`; the exit code is 0
# iff nothing failed. JUDGE_TIMEOUT (seconds, 120) bounds every step, HAMMER_GOAL (5000) is how many leaves hammer adds.
# Witnesses take part, too: torchwood's litewitness, which needs ssh-agent (openssh-client is installed if it can be), and ours.
set -euo pipefail

usage() { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 64; }
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
    stop_witness
    stop_tdevwitness
    stop_ssh_agent
    rm -rf "$work"
}
trap finish EXIT
# shellcheck source=interop/witnesses.sh
. "$here/witnesses.sh"

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

# fails COMMAND...: for check, when the command must end with 1, which is how the programs here say that something is not so.
fails() {
    local code=0
    timeout "$timeout_seconds" "$@" || code=$?
    [ $code -eq 1 ]
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
go build -o "$work/" ./cmd/... filippo.io/torchwood/cmd/litewitness filippo.io/torchwood/cmd/litebastion \
    github.com/transparency-dev/tessera/internal/hammer github.com/transparency-dev/tessera/cmd/conformance/posix
(cd omniwitness && go build -o "$work/" ./cmd/tdevwitness)
# Vectors are read from docs/spec, outside of this module, which the cache of test results does not look at.
check "the judges see what is tampered with" go test -count=1 ./...
cd - >/dev/null

# start_glasslog DIRECTORY [SETTING=VALUE...]
start_glasslog() {
    # Loopback without a proxy in front: no token and no rate limit by default. The first line of stdout says the URL.
    rm -f "$work/server.out"
    env "${@:2}" "$subject" serve --dir "$1" --listen 127.0.0.1:0 >"$work/server.out" 2>"$work/server.err" &
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
    start_glasslog "$work/log"
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
    start_glasslog "$work/log"
    await curl -fsS -o "$work/checkpoint.3" "${url}checkpoint"
    check "sumdb, after a restart" "$work/judge" --url "$url" --vkey "$vkey" --timeout "${timeout_seconds}s" \
        --samples 2000 --acks "$work/acks" --older "$work/checkpoint.0,$work/checkpoint.2,$work/checkpoint.3"
    check "SIGTERM ends it with 0, again" stop_server
    server_pid=
fi

# grew SIZE: the checkpoint covers more.
grew() { [ "$(curl -fsS "${url}checkpoint" | sed -n 2p)" -gt "$1" ]; }

# index_under_load COMMAND...: again and again while entries come, and how often the command found all in order.
index_under_load() {
    local load rounds=0
    "$work/load" --url "$url" --form "$form" --writers 4 --acks "$work/acks.$form" >"$work/load.out" 2>&1 &
    load=$!
    while kill -0 "$load" 2>/dev/null; do
        timeout "$timeout_seconds" "$@" || { wait "$load" || true; return 1; }
        rounds=$((rounds + 1))
    done
    wait "$load" || { cat "$work/load.out"; return 1; }
    echo "load: $rounds times in order meanwhile"
}

# kill_under_load: SIGKILL while entries come; those that were acknowledged are not known then.
kill_under_load() {
    local load size
    size=$(curl -fsS "${url}checkpoint" | sed -n 2p)
    "$work/load" --url "$url" --form "$form" --count 100000 --salt "killed$size" --acks /dev/null >"$work/load.out" 2>&1 &
    load=$!
    await grew $((size + 500))
    kill -KILL "$server_pid"
    wait "$server_pid" 2>/dev/null || true
    wait "$load" && return 1
    echo "killed after index $((size + 500))"
}

# judge_index MAP_FN FORM SETTING: a log with a verifiable index by this map function, entries of the form, and the setting that says so.
judge_index() {
    local map_fn=$1 form=$2 log=$work/index.$2 settings index
    settings=("$3" CHECKPOINT_INTERVAL=20ms)
    mkdir -p "$log"
    start_glasslog "$log" "${settings[@]}"
    index=("$work/indexjudge" --map-fn "$map_fn" --vkey "$vkey" --timeout "${timeout_seconds}s")
    check "index of $map_fn, a new log" "${index[@]}" --url "$url"
    check "index of $map_fn, under load" index_under_load "${index[@]}" --url "$url" --no-flips --lookups 20
    curl -fsS -o "$work/checkpoint.$form" "${url}checkpoint"
    check "index of $map_fn, every anchor" "${index[@]}" --url "$url" --lookups 300
    check "sumdb, a log with anchors" "$work/judge" --url "$url" --vkey "$vkey" --timeout "${timeout_seconds}s" --acks "$work/acks.$form"
    check "tessera fsck, a log with anchors" "$work/fsckjudge" --url "$url" --vkey "$vkey" --timeout "${timeout_seconds}s"
    check "torchwood, a log with anchors" "$work/torchwoodjudge" --url "$url" --vkey "$vkey" --proofs 50 --timeout "${timeout_seconds}s"
    check "SIGTERM ends it with 0, indexed" stop_server
    start_glasslog "$log" "${settings[@]}"
    check "index of $map_fn, after a restart" "${index[@]}" --url "$url" --older "$work/checkpoint.$form"
    check "it is killed under load" kill_under_load
    start_glasslog "$log" "${settings[@]}"
    check "index of $map_fn, after SIGKILL" "${index[@]}" --url "$url" --older "$work/checkpoint.$form"
    check "it is killed under load, once more" kill_under_load
    rm -rf "$log/index"
    start_glasslog "$log" "${settings[@]}"
    check "index of $map_fn, rebuilt" "${index[@]}" --url "$url" --older "$work/checkpoint.$form"
    check "sumdb, what was acknowledged before" "$work/judge" --url "$url" --vkey "$vkey" --timeout "${timeout_seconds}s" \
        --samples 500 --acks "$work/acks.$form" --older "$work/checkpoint.$form"
    check "tessera fsck, after it" "$work/fsckjudge" --url "$url" --vkey "$vkey" --timeout "${timeout_seconds}s"
    check "SIGTERM ends it with 0, rebuilt" stop_server
    server_pid=
}

if [ "$subject" != --tessera ]; then
    judge_index conda-1 conda ENTRY_SCHEMA=conda-1
    judge_index json-field:name json VINDEX_KEY_FIELD=name
fi

# tessera_policy LINE_OF_VKEYS: the policy by which a Tessera log asks the present witness by one of its keys, which Tessera's
# client takes one of (0x04 or 0x06), and torchwood's of type 0x04.
tessera_policy() {
    printf 'log %s\nwitness w %s %s\nquorum w\n' "$tessera_vkey" "$(sed -n "$1p" <<<"$witness_vkeys")" "${witness_url%/}" >"$work/policy.tessera"
}

# judge_tesseras_log NAME: a log of Tessera's that asks a witness, which runs and knows the log as tessera.example/witnessed.
judge_tesseras_log() {
    local flags
    tessera=("$work/tesseralog" --dir "$work/tessera.$1" --private-key "$work/tessera.key" --policy "$work/policy.tessera")
    tessera_cosigned=("$work/cosignjudge" --url "file://$work/tessera.$1/" --vkey "$tessera_vkey")
    mkdir -p "$work/tessera.$1"
    mapfile -t flags < <(cosigner_flags)
    tessera_policy 1
    check "a Tessera log publishes what $1 cosigns" "${tessera[@]}"
    check "its checkpoint, by torchwood's policy and by formats" "${tessera_cosigned[@]}" --policy "$work/policy.tessera" \
        "${flags[@]:0:2}" --min-size 300
}

# load_witness NAME: small counts; witness-bench.sh takes large ones. The witness knows the first 200 logs of witnessload.
load_witness() {
    local witness=$1 flags
    mapfile -t flags < <(cosigner_flags)
    check "$witness under load" "$work/witnessload" --url "$witness_url" --requests 1000 "${flags[@]}"
    check "$witness refreshes" "$work/witnessload" --url "$witness_url" --mode refresh --from 10 --requests 500 "${flags[@]}"
    check "$witness cosigns one of many trees" "$work/witnessload" --url "$witness_url" --mode race --first 100 --rounds 2
}

# restart_litewitness: as it was, on the same port.
restart_litewitness() { start_litewitness "$work/litewitness.d" litewitness.example/interop; }

# judge_litewitness: do the programs work that judge our log and our witness? Without our log or witness.
judge_litewitness() {
    restart_litewitness
    { echo "tessera.example/witnessed=$tessera_vkey"; "$work/witnessload" --print keys --logs 200; } |
        "$work/litewitnessdb" --db "$work/litewitness.d/db" >/dev/null
    judge_tesseras_log litewitness
    load_witness litewitness
    stop_witness INT
}

# judge_our_witness: Tessera's client asks it; transparency-dev/formats verifies both types of cosignature.
judge_our_witness() {
    local logs flags served
    mapfile -t logs < <(echo "tessera.example/witnessed=$tessera_vkey"; "$work/witnessload" --print keys --logs 200)
    start_glasslog_witness "$work/witness" witness.example/interop "${logs[@]}"
    mapfile -t flags < <(cosigner_flags)
    served=("$work/cosignjudge" --vkey "$tessera_vkey" "${flags[@]}")
    judge_tesseras_log "our witness"
    check "what our witness serves of it, both types" "${served[@]}" --witness "$witness_url" --min-size 300
    tessera_policy 2
    check "the Tessera log, by the ML-DSA-44 key" "${tessera[@]}" --rounds 1
    check "its checkpoint, by formats" "${tessera_cosigned[@]}" "${flags[@]:2:2}" --min-size 400
    load_witness "our witness"
    stop_witness
    start_glasslog_witness "$work/witness" witness.example/interop "${logs[@]}"
    tessera_policy 1
    check "the Tessera log, after a restart of our witness" "${tessera[@]}" --rounds 1
    check "what our witness serves, after it" "${served[@]}" --witness "$witness_url" --min-size 500
    stop_witness
}

# judge_our_log_witnessed: litewitness by its Ed25519 key and tdevwitness by its ML-DSA-44 key are the quorum of our log, both of
# them; litewitness is gone for a while, and comes back. The last check wants whatever was acknowledged.
judge_our_log_witnessed() {
    local log=$work/witnessed settings cosigned listed lite_vkey
    mkdir -p "$log"
    "$subject" --quiet key new log.example/witnessed --out "$log/log.key" >"$work/witnessed.vkey"
    listed="log.example/witnessed=$(cat "$work/witnessed.vkey")"
    start_tdevwitness "$work/tdev" tdev.example/interop "$listed"
    local tdev_url=${witness_url%/} tdev_vkey
    tdev_vkey=$(tail -n 1 <<<"$witness_vkeys")
    restart_litewitness
    lite_vkey=$witness_vkeys
    echo "$listed" | "$work/litewitnessdb" --db "$work/litewitness.d/db" >/dev/null
    settings=("EXTERNAL_WITNESSES=lite=${witness_url%/}=$lite_vkey,tdev=$tdev_url=$tdev_vkey" WITNESS_QUORUM=2 WITNESS_TIMEOUT=2)
    start_glasslog "$log" "${settings[@]}"
    printf 'log %s\nwitness w %s\nquorum w\n' "$vkey" "$lite_vkey" >"$work/policy"
    cosigned=("$work/cosignjudge" --vkey "$vkey" --policy "$work/policy" --cosigner "$lite_vkey" --cosigner "$tdev_vkey")
    await "${cosigned[@]}" --url "$url"
    check "two witnesses cosign our new log" "${cosigned[@]}" --url "$url"
    check "load on a log with a quorum" "$work/load" --url "$url" --acks "$work/acks.witnessed"
    check "both cosign it: torchwood's policy, formats" "${cosigned[@]}" --url "$url" --min-size 1960
    check "torchwood, every entry, proofs with a quorum" "$work/torchwoodjudge" --url "$url" --vkey "$vkey" \
        --policy "$work/policy" --proofs 50 --timeout "${timeout_seconds}s"
    curl -fsS -o "$work/checkpoint.w" "${url}checkpoint"
    stop_witness INT
    check "nothing is published without the quorum" fails "$work/load" --url "$url" --count 64 --wait 3s --salt gone --acks "$work/acks.gone"
    check "and /ready says so" without_quorum "$url"
    restart_litewitness
    check "it publishes when litewitness is back" "$work/load" --url "$url" --count 64 --salt back --acks "$work/acks.back"
    check "cosigned, as before" "${cosigned[@]}" --url "$url" --min-size 2064
    check "SIGTERM ends it with 0, cosigned" stop_server
    check "the directory carries the cosignatures" "${cosigned[@]}" --url "file://$log/public/"
    # The same witnesses, from a policy file.
    printf 'log %s\nwitness lite %s %s\nwitness tdev %s %s\ngroup both all lite tdev\nquorum both\n' "$vkey" "$lite_vkey" \
        "${witness_url%/}" "$tdev_vkey" "$tdev_url" >"$work/policy.log"
    start_glasslog "$log" WITNESS_POLICY="$work/policy.log" WITNESS_TIMEOUT=2
    check "load after a restart of the log, with a policy file" "$work/load" --url "$url" --count 64 --salt restarted --acks "$work/acks.restarted"
    check "cosigned after it" "${cosigned[@]}" --url "$url" --fresh 20s
    cat "$work"/acks.{witnessed,gone,back,restarted} >"$work/acks.all"
    check "sumdb, whatever was acknowledged" "$work/judge" --url "$url" --vkey "$vkey" --samples 500 --acks "$work/acks.all" \
        --older "$work/checkpoint.w" --timeout "${timeout_seconds}s"
    check "SIGTERM ends it with 0, once more" stop_server
    server_pid=
    stop_witness INT
    stop_tdevwitness
}

# without_quorum URL: within 15 s, /ready is 200 and says that the quorum is missing, which it says once WITNESS_TIMEOUT has passed.
without_quorum() {
    for _ in $(seq 75); do
        curl -fsS --max-time 10 "${1}ready" >"$work/ready" && grep -o '"quorum": *false' "$work/ready" && return
        sleep 0.2
    done
    cat "$work/ready"
    return 1
}

tessera_vkey=$("$work/genkey" --out "$work/tessera.key" tessera.example/witnessed)
if have_openssh; then
    judge_litewitness
    [ "$subject" = --tessera ] || judge_our_log_witnessed
else
    check "litewitness: openssh-client cannot be installed" false
fi
[ "$subject" = --tessera ] || judge_our_witness

if [ "$subject" != --tessera ]; then
    # The bastion needs certificates that the test makes; an absent one would be skipped, so the line that it passed is looked for.
    through_litebastion() {
        LITEBASTION="$work/litebastion" timeout "$((timeout_seconds * 5))" \
            cargo test --manifest-path "$here/../Cargo.toml" --locked -p glasslog --test it through_litebastion |
            grep -E '^test result: ok\. [1-9]'
    }
    check "a log reaches its quorum through litebastion" through_litebastion
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
