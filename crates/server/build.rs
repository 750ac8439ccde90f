//! Lets cargo watch the two folders that are embedded, so that a rebuilt web app or a fetched posthog-js is picked up.

use std::path::Path;

fn main() {
    for folder in ["../../web/dist", "posthog-js/dist"] {
        // Cargo can only watch what exists. Where the folder cannot be made, the build goes on without watching it.
        if Path::new(folder).exists() || std::fs::create_dir_all(folder).is_ok() {
            println!("cargo::rerun-if-changed={folder}");
        }
    }
    println!("cargo::rerun-if-changed=posthog-js/version");
    println!("cargo::rerun-if-changed=build.rs");
}
