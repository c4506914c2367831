//! Files that are not packed together with others, in mksquashfs's words.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The option that keeps these files out of fragments; none for no file.
///
/// By folders, for each file of the tree is held against all of it. A file in a folder below that has the name of
/// one of these is kept out too. What cannot be said in such an expression is packed as it would be.
pub(super) fn action(files: &[PathBuf]) -> Vec<String> {
    let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        if let (Some(folder), Some(name)) =
            (file.parent().and_then(word), file.file_name().and_then(|name| word(name.as_ref())))
        {
            folders.entry(folder).or_default().push(format!("name({name})"));
        }
    }
    if folders.is_empty() {
        return Vec::new();
    }
    let tests = folders
        .iter()
        .map(|(folder, names)| format!("(subpathname({folder})&&({}))", names.join("||")));
    vec!["-action".to_owned(), format!("no-fragments@{}", tests.collect::<Vec<_>>().join("||"))]
}

/// A path as a pattern that it alone matches, or nearly.
fn word(path: &Path) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+:/@".contains(&byte);
    let text = path.to_str().filter(|text| !text.is_empty() && text.bytes().all(plain))?;
    // An @ would end the action's name.
    Some(text.replace('@', "?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_one_action() {
        assert_eq!(action(&[]), Vec::<String>::new());
        let files =
            ["etc/fstab", "usr/bin/[", "usr/lib/a+b", "top", "etc/a@.service", "etc/a b", "etc/a)"];
        assert_eq!(
            action(&files.map(PathBuf::from)),
            [
                "-action",
                "no-fragments@(subpathname(etc)&&(name(fstab)||name(a?.service)))\
                 ||(subpathname(usr/lib)&&(name(a+b)))"
            ]
        );
    }
}
