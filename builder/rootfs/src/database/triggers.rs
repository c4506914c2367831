//! Who is interested in which trigger.
//!
//! A package's control file `triggers` has lines `interest NAME`, `interest-await NAME`,
//! `interest-noawait NAME` (and `activate*`, which dpkg reads where it needs them). A NAME with a
//! leading slash is a path: all of these stand in `triggers/File`, as `PATH PACKAGE[/noawait]`.
//! Any other NAME has a file of its own with lines `PACKAGE[/noawait]`.

use std::collections::BTreeMap;

use crate::unpack::Package;

/// The files of `triggers/`, by name.
pub(super) fn files(packages: &[Package]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for package in packages {
        let content = package.control.file("triggers").map_or(&[][..], |file| &file.content);
        for line in String::from_utf8_lossy(content).lines() {
            if let Some((name, entry)) = interest(line, &package.record_name()) {
                let file: &mut String = files.entry(name).or_default();
                file.push_str(&entry);
                file.push('\n');
            }
        }
    }
    files
}

/// The file that an interest is noted in, and how.
fn interest(line: &str, package: &str) -> Option<(String, String)> {
    let mut words = line.split('#').next()?.split_whitespace();
    let (directive, name) = (words.next()?, words.next()?);
    let wait = match directive {
        "interest" | "interest-await" => "",
        "interest-noawait" => "/noawait",
        _ => return None,
    };
    if name.starts_with('/') {
        return Some(("File".to_owned(), format!("{name} {package}{wait}")));
    }
    // Policy has names of printable ASCII; a slash would make it a path.
    let plain = name.bytes().all(|b| b.is_ascii_graphic() && b != b'/') && !name.starts_with('.');
    plain.then(|| (name.to_owned(), format!("{package}{wait}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interests_have_their_files() {
        for (line, expected) in [
            ("interest ldconfig", Some(("ldconfig", "p"))),
            ("interest-noawait /usr/lib/x", Some(("File", "/usr/lib/x p/noawait"))),
            ("interest-await update-initramfs # why", Some(("update-initramfs", "p"))),
            ("activate-noawait ldconfig", None),
            ("# interest x", None),
            ("interest ../x", None),
            ("interest", None),
        ] {
            let found = interest(line, "p");
            let found = found.as_ref().map(|(name, entry)| (name.as_str(), entry.as_str()));
            assert_eq!(found, expected, "{line}");
        }
    }
}
