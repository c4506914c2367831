//! Builds the node program, static and optimised, so that the builder can carry it in itself.
//!
//! Cargo cannot yet depend on another package's binary (artifact dependencies are unstable), so
//! this calls cargo once more, with a target folder of its own: the outer build holds the lock of
//! the common one.

#![allow(clippy::disallowed_types)] // a build script has no sandbox; cargo is all it starts

use std::{env, error::Error, path::PathBuf, process::Command};

const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    for part in ["node", "node-api", "kmod", "sandbox"] {
        println!("cargo::rerun-if-changed={}", here.join("..").join(part).display());
    }
    println!("cargo::rerun-if-changed={}", here.join("../../Cargo.lock").display());
    let folder = PathBuf::from(env::var("OUT_DIR")?).join("node");
    let status = Command::new(env::var("CARGO")?)
        .current_dir(&here)
        .args(["build", "--release", "--locked", "--quiet", "--package", "coremax-node"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&folder)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env("RUSTFLAGS", "-C target-feature=+crt-static -C strip=symbols")
        .status()?;
    if !status.success() {
        return Err("building coremax-node for the images".into());
    }
    let program = folder.join(TARGET).join("release/coremax-node");
    println!("cargo::rustc-env=COREMAX_NODE={}", program.display());
    Ok(())
}
