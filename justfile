# A few verbs; CI calls the same ones. `just` alone lists them.

_default:
    @just --list --unsorted

# Every test of the workspace
test *args:
    cargo test --workspace {{args}}

# Format, lints, documentation, licences, and what a linter cannot say
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo deny check bans licenses sources
    cargo run -q -p xtask -- tidy

# The documentation of every crate
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# The tour of the README
demo *args:
    cargo run --release -- demo {{args}}

# kill -9 in mid-load, fsync failing at awkward moments, and the full counts of the witness's tests
torture:
    GLASSLOG_TORTURE=1 cargo test --release -p glasslog --test it -- --nocapture torture
    GLASSLOG_TORTURE=1 cargo test --release -p glasslog-witness

# Load a running log, and check that nothing is lost
bench url="http://127.0.0.1:2025" *args:
    cargo run --release -- bench {{url}} {{args}}

# Rates of our witness beside litewitness and omniwitness, one after another
bench-witness *args:
    interop/witness-bench.sh {{args}}

# What a quorum of three costs: the same load without witnesses and with three, one after the other
bench-quorum *args:
    benches/quorum.sh {{args}}

# What the index costs: the same load without and with it, then lookups and a start after kill -9
bench-index-log *args:
    benches/index.sh {{args}}

# How fast the verifiable index is, and how much memory and disk it takes, for example: just bench-index 10000000
bench-index *args:
    cargo run --release -p glasslog-index --example rate -- {{args}}

# Round-trip fuzzing of one parser for a while, for example: just fuzz note 60
fuzz target seconds="60":
    cd fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz run {{target}} -- -max_total_time={{seconds}}

# The verifier in JavaScript: types, and its tests in Node
js:
    cd clients/js && npm ci --no-audit --no-fund && npm run -s typecheck && npm test -s

# Everything that CI runs
ci:
    .ci/run
