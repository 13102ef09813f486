# shellcheck shell=bash
# Starts witnesses, ours and others, on loopback: run.sh and witness-bench.sh read this file. It expects $work, a directory
# with the programs of this module and for files, and puts each witness's URL (with its final slash) and verifier keys into
# $witness_url and $witness_vkeys (one to a line), and its process into $witness_pid.

witness_url=
witness_vkeys=
witness_pid=
tdevwitness_pid=
ssh_agent_pid=

# await_file PID FILE PATTERN: until the file has such a line, at most 15 s, while the process lives.
await_file() {
    for _ in $(seq 300); do
        if grep -qE "$3" "$2" 2>/dev/null; then return; fi
        if ! kill -0 "$1" 2>/dev/null; then break; fi
        sleep 0.05
    done
    echo "no line like '$3' came in $2:" >&2
    tail -n 20 "$2" >&2
    return 1
}

# have_openssh: litewitness signs through an ssh-agent only.
have_openssh() {
    command -v ssh-agent >/dev/null && command -v ssh-add >/dev/null && return
    if command -v apt-get >/dev/null; then
        echo "installing openssh-client: litewitness signs through ssh-agent"
        apt-get install -y -qq openssh-client >/dev/null 2>&1 ||
            { apt-get update -qq && apt-get install -y -qq openssh-client >/dev/null; } || true
    fi
    command -v ssh-agent >/dev/null && command -v ssh-add >/dev/null
}

# start_ssh_agent DIRECTORY: an agent that holds one new key; its fingerprint is in DIRECTORY/fingerprint.
start_ssh_agent() {
    mkdir -p "$1"
    ssh-keygen -q -t ed25519 -N '' -C litewitness -f "$1/key"
    ssh-keygen -lf "$1/key.pub" | awk '{ print $2 }' >"$1/fingerprint"
    ssh-agent -D -a "$1/agent" >"$1/agent.out" 2>&1 &
    ssh_agent_pid=$!
    for _ in $(seq 100); do
        if SSH_AUTH_SOCK="$1/agent" ssh-add -q "$1/key" 2>/dev/null; then return; fi
        sleep 0.05
    done
    echo "ssh-agent did not come up" >&2
    return 1
}

# start_litewitness DIRECTORY NAME: torchwood's witness; logs are added to DIRECTORY/db with litewitnessdb, also while it runs.
# Started once more on its directory it goes on with the same key, port and database.
start_litewitness() {
    if [ ! -e "$1/port" ]; then
        start_ssh_agent "$1" || return
        "$work/genkey" --free-port >"$1/port"
    fi
    rm -f "$1/err"
    "$work/litewitness" -db "$1/db" -ssh-agent "$1/agent" -key "$(cat "$1/fingerprint")" -name "$2" \
        -listen "127.0.0.1:$(cat "$1/port")" >"$1/out" 2>"$1/err" &
    witness_pid=$!
    await_file "$witness_pid" "$1/err" 'msg="verifier key" vkey=' || return
    witness_vkeys=$(sed -nE 's/.*msg="verifier key" vkey="?([^" ]+)"?$/\1/p' "$1/err" | head -n 1)
    witness_url="http://127.0.0.1:$(cat "$1/port")/"
    await_listener "$witness_pid" "$(cat "$1/port")"
}

# await_listener PID PORT: until something answers there.
await_listener() {
    for _ in $(seq 300); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null; then return; fi
        if ! kill -0 "$1" 2>/dev/null; then break; fi
        sleep 0.05
    done
    echo "nothing listens on port $2" >&2
    return 1
}

# start_omniwitness DIRECTORY NAME LOGS.yaml [--mldsa]: transparency-dev's witness, with a key of type 0x04 and, if asked for, one
# of 0x06. It also follows public logs that are built into it, so it is started only where there is no network but loopback.
start_omniwitness() {
    if [ "$(tail -n +3 /proc/net/dev | grep -vc '^ *lo:')" != 0 ]; then
        echo "omniwitness is started in a network namespace with loopback alone (unshare -n)" >&2
        return 1
    fi
    mkdir -p "$1"
    local port keys=(--private_key_path="$1/ed25519")
    port=$("$work/genkey" --free-port)
    witness_vkeys=$("$work/genkey" --out "$1/ed25519" "$2")
    if [ "${4:-}" = --mldsa ]; then
        witness_vkeys+=$'\n'$("$work/genkey" --mldsa --out "$1/mldsa" "$2")
        keys+=(--private_key_path="$1/mldsa")
    fi
    "$work/omniwitness" --listen="127.0.0.1:$port" --metrics_listen= --db_file="$1/db" "${keys[@]}" --additional_logs="$3" \
        >"$1/out" 2>"$1/err" &
    witness_pid=$!
    witness_url="http://127.0.0.1:$port/"
    await_listener "$witness_pid" "$port"
}

# start_tdevwitness DIRECTORY NAME ORIGIN=VKEY...: transparency-dev's witness without public logs and with its state in memory, beside
# another witness: its process is $tdevwitness_pid.
start_tdevwitness() {
    mkdir -p "$1"
    local log logs=()
    for log in "${@:3}"; do logs+=(--log "$log"); done
    "$work/tdevwitness" --name "$2" "${logs[@]}" >"$1/out" 2>"$1/err" &
    tdevwitness_pid=$!
    said_by "$tdevwitness_pid" "$1/out"
}

# start_glasslog_witness DIRECTORY NAME ORIGIN=VKEY...: ours, of the binary $subject, with a key of each type. The second time it goes on with its key and state.
start_glasslog_witness() {
    mkdir -p "$1"
    if [ ! -e "$1/key" ]; then
        "$work/genkey" --out "$1/ed25519" "$2" >/dev/null
        "$work/genkey" --mldsa --out "$1/mldsa" "$2" >/dev/null
        echo "$(cat "$1/ed25519"),$(cat "$1/mldsa")" >"$1/key"
    fi
    local log logs=()
    for log in "${@:3}"; do logs+=(--log "$log"); done
    rm -f "$1/out"
    # All load comes from one address, so without a limit for each client.
    "$subject" witness --dir "$1" --listen 127.0.0.1:0 --database-url "sqlite:$1/db" --rate-limit-per-second 0 \
        --private-key "$(cat "$1/key")" "${logs[@]}" >"$1/out" 2>"$1/err" &
    witness_pid=$!
    said_by "$witness_pid" "$1/out" || { tail -n 20 "$1/err" >&2; return 1; }
}

# said_by PID FILE: URL and keys as `glasslog witness` and tdevwitness print them.
said_by() {
    await_file "$1" "$2" '^ *vkey ' || return
    witness_url=$(sed -n 's/^listening on \(http[^ ]*\)$/\1/p' "$2" | head -n 1)
    witness_url=${witness_url%/}/
    witness_vkeys=$(awk '$1 == "vkey" { print $2 }' "$2")
}

# cosigner_flags: --cosigner for each key of the witness.
cosigner_flags() {
    local vkey
    for vkey in $witness_vkeys; do printf -- '--cosigner\n%s\n' "$vkey"; done
}

# stop_witness: SIGTERM, or for litewitness, which knows only that one, SIGINT; then its end is awaited.
stop_witness() {
    [ -n "$witness_pid" ] || return 0
    kill -"${1:-TERM}" "$witness_pid" 2>/dev/null || true
    wait "$witness_pid" 2>/dev/null || true
    witness_pid=
}

# stop_tdevwitness: which has no state to be lost.
stop_tdevwitness() {
    [ -n "$tdevwitness_pid" ] || return 0
    kill -TERM "$tdevwitness_pid" 2>/dev/null || true
    wait "$tdevwitness_pid" 2>/dev/null || true
    tdevwitness_pid=
}

# stop_ssh_agent: the one that start_litewitness started.
stop_ssh_agent() {
    [ -n "$ssh_agent_pid" ] || return 0
    kill -TERM "$ssh_agent_pid" 2>/dev/null || true
    wait "$ssh_agent_pid" 2>/dev/null || true
    ssh_agent_pid=
}
