#!/usr/bin/env bash
# Fuzzes every target, two at a time: fuzz/run.sh [SECONDS [TARGET...]]
#
# Needs no nightly toolchain: the compiler's coverage pass is switched on by flags that stable takes. New inputs go to
# fuzz/target/found, where the next run begins; an input that fails is kept in fuzz/target/failed.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-30}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(upload block reel foreign staff)

export RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks \
-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-trace-compares \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
target=$(rustc -vV | sed -n 's/^host: //p')
cargo build --release --locked --target "$target"

fuzz() {
    mkdir -p "target/found/$1" target/failed
    REELCASE_FUZZ_TARGET=$1 "target/$target/release/reelcase-fuzz" "target/found/$1" "inputs/$1" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=16384 -artifact_prefix="target/failed/$1-" \
        -dict=words.dict -print_final_stats=1 >"target/$1.log" 2>&1 || { tail -40 "target/$1.log" >&2; return 1; }
    echo "$1: $(sed -n 's/^stat::number_of_executed_units: *//p' "target/$1.log") inputs in $seconds s, none failed"
}

failed=0
for ((at = 0; at < ${#targets[@]}; at += 2)); do
    running=()
    for name in "${targets[@]:at:2}"; do
        fuzz "$name" &
        running+=($!)
    done
    for pid in "${running[@]}"; do wait "$pid" || failed=1; done
done
exit "$failed"
