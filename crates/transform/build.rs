//! Lets cargo watch the built player, which files of one page are made of.

use std::path::Path;

fn main() {
    let folder = "../../web/dist/player";
    // Cargo can only watch what exists. Where the folder cannot be made, the build goes on without watching it.
    if Path::new(folder).exists() || std::fs::create_dir_all(folder).is_ok() {
        println!("cargo::rerun-if-changed={folder}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
