//! Files that are not packed together with others, in mksquashfs's words.

use std::path::{Component, Path, PathBuf};

use crate::{Error, Result};

/// The option that keeps the files of these folders out of fragments; none for no folder.
pub(super) fn action(folders: &[PathBuf]) -> Result<Vec<String>> {
    let tests: Vec<_> = folders.iter().map(|folder| test(folder)).collect::<Result<_>>()?;
    match tests.is_empty() {
        true => Ok(Vec::new()),
        false => Ok(vec!["-action".to_owned(), format!("no-fragments@{}", tests.join("||"))]),
    }
}

/// Whether a file is below the folder.
fn test(folder: &Path) -> Result<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let names = folder.components().map(|component| match component {
        // Others would be wildcards, or end the word.
        Component::Normal(name) => name.to_str().filter(|name| name.bytes().all(plain)),
        _ => None,
    });
    let names: Option<Vec<_>> = names.collect();
    match names.filter(|names| !names.is_empty()) {
        Some(names) => Ok(format!("subpathname({})", names.join("/"))),
        None => Err(Error::SquashfsFolder { path: folder.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_become_one_action() {
        assert_eq!(action(&[]).unwrap(), Vec::<String>::new());
        assert_eq!(
            action(&["etc".into(), "usr/lib//udev/".into()]).unwrap(),
            ["-action", "no-fragments@subpathname(etc)||subpathname(usr/lib/udev)"]
        );
        for bad in ["", "/etc", "..", "a/../b", "a*", "a)b", "a b", "\u{fc}"] {
            assert!(action(&[bad.into()]).is_err(), "{bad}");
        }
    }
}
