//! The fuzz targets over their stored inputs, so that what once failed stays mended where no fuzzer runs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;

#[path = "../../../fuzz/src/targets.rs"]
mod targets;

#[test]
fn every_stored_input_passes_its_target() {
    let inputs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/inputs");
    for (name, target) in targets::TARGETS {
        let files = std::fs::read_dir(inputs.join(name)).unwrap().map(|file| file.unwrap().path());
        let files: Vec<_> = files.collect();
        assert!(!files.is_empty(), "{name} has inputs");
        for file in files {
            // Printed only where the target fails.
            println!("{name}: {}", file.display());
            let input = std::fs::read(file).unwrap();
            target(&input);
            // Cut off and flipped, as a cheap neighbourhood of what is stored.
            (0..input.len()).step_by(97).for_each(|length| target(&input[..length]));
            for at in (0..input.len()).step_by(53) {
                let mut flipped = input.clone();
                flipped[at] ^= 1 << (at % 8);
                target(&flipped);
            }
        }
    }
}
