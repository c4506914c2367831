//! Builds the node program, static and optimised, so that the builder can carry it in itself.
//!
//! Cargo cannot yet depend on another package's binary (artifact dependencies are unstable), so
//! this calls cargo once more, with a target folder of its own: the outer build holds the lock of
//! the common one.

#![allow(clippy::disallowed_types)] // a build script has no sandbox; cargo is all it starts

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    for part in ["node", "node-api", "channel", "kmod", "sandbox"] {
        println!("cargo::rerun-if-changed={}", here.join("..").join(part).display());
    }
    let workspace = here.join("../..").canonicalize()?;
    for file in ["Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(file).display());
    }
    let folder = PathBuf::from(env::var("OUT_DIR")?).join("node");
    let status = Command::new(env::var("CARGO")?)
        .current_dir(&here)
        .args(["build", "--profile", "node", "--locked", "--quiet", "--package", "coremax-node"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&folder)
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&workspace, &folder)?)
        .status()?;
    if !status.success() {
        return Err("building coremax-node for the images".into());
    }
    let program = folder.join(TARGET).join("node/coremax-node");
    println!("cargo::rustc-env=COREMAX_NODE={}", program.display());
    Ok(())
}

/// The compiler's flags. Where the sources lie on this machine does not get into the program: the same sources make the
/// same image.
fn flags(workspace: &Path, target: &Path) -> Result<String, Box<dyn Error>> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    // Of several that match, the last counts.
    let folders = [
        (workspace.to_owned(), "/coremax"),
        (cargo.ok_or("neither CARGO_HOME nor HOME is set")?, "/cargo"),
        (target.to_owned(), "/target"),
    ];
    let remap = folders.map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    let flags = ["-C", "target-feature=+crt-static", "-C", "strip=symbols"].map(str::to_owned);
    Ok([&flags[..], &remap].concat().join("\u{1f}"))
}
