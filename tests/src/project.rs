//! A copy of the repository's recipes, for tests that change one.

use std::{fs, path::Path};

/// A project folder with this repository's recipes, parts and overlays, and `recipes/NAME.toml` made from
/// `recipes/node.toml` by `change`. Gone when dropped.
///
/// # Panics
/// If it cannot be made.
pub fn project(name: &str, change: impl FnOnce(&str) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder for a project");
    for part in ["recipes", "overlays"] {
        copy(&crate::repository().join(part), &folder.path().join(part));
    }
    let recipes = folder.path().join("recipes");
    let node = fs::read_to_string(recipes.join("node.toml")).expect("recipes/node.toml");
    fs::write(recipes.join(format!("{name}.toml")), change(&node)).expect("writing a recipe");
    folder
}

/// Modes are kept: they go into images.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder of the project");
    for entry in fs::read_dir(from).expect("a folder of the repository").flatten() {
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("what it is");
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_symlink() {
            let to = fs::read_link(entry.path()).expect("a link");
            std::os::unix::fs::symlink(to, target).expect("making a link");
        } else {
            fs::copy(entry.path(), target).expect("copying a file");
        }
    }
}
