//! One fuzz target, named by `REELCASE_FUZZ_TARGET`. `fuzz/run.sh` builds and starts them.
#![no_main]

use std::sync::LazyLock;

mod targets;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("REELCASE_FUZZ_TARGET").unwrap_or_default();
    let target = targets::TARGETS.iter().find(|(known, _)| *known == name);
    target.unwrap_or_else(|| panic!("REELCASE_FUZZ_TARGET is {name:?}, which is no target")).1
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET(input));
