//! Two trees, path by path.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, Metadata},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

/// How a path may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// In every way.
    Anything,
    /// In the order of its lines.
    OtherOrder,
    /// In the order of its lines, and in the numbers of accounts that were given dynamically.
    OtherNumbers,
}

type Rule = (&'static str, Allowed, &'static str);

/// What came out.
pub(crate) struct Report {
    pub(crate) compared: usize,
    pub(crate) allowed: usize,
    pub(crate) differences: Vec<String>,
    /// Rules that nothing needed.
    pub(crate) unused: Vec<&'static Rule>,
}

/// All that is compared of a path but its content.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    kind: &'static str,
    mode: u32,
    user: String,
    group: String,
    device: u64,
    target: Option<PathBuf>,
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    hard_links: BTreeSet<PathBuf>,
}

/// Compares the trees, with what may differ taken out.
pub(crate) fn compare(theirs: &Path, ours: &Path, rules: &'static [Rule]) -> Report {
    let (their_tree, our_tree) = (read(theirs), read(ours));
    let paths: BTreeSet<&PathBuf> = their_tree.keys().chain(our_tree.keys()).collect();
    let mut used = BTreeSet::new();
    let (mut allowed, mut differences) = (0, Vec::new());
    for path in &paths {
        let shown = Path::new("/").join(path);
        let Some((difference, is_content)) = (match (their_tree.get(*path), our_tree.get(*path)) {
            (Some(_), None) => Some(("missing here".to_owned(), false)),
            (None, Some(_)) => Some(("missing in mmdebstrap's".to_owned(), false)),
            (Some(theirs), Some(ours)) if theirs != ours => {
                Some((format!("{theirs:?} there, {ours:?} here"), false))
            }
            (Some(facts), _) if facts.kind == "file" => same_content(theirs, ours, path)
                .map(|same| (!same).then(|| ("other content".to_owned(), true)))
                .expect("files can be read"),
            _ => None,
        }) else {
            continue;
        };
        let rule = rules.iter().position(|(pattern, how, _)| {
            matches(pattern, &shown.to_string_lossy())
                && (*how == Allowed::Anything
                    || is_content && same_lines(&theirs.join(path), &ours.join(path), *how))
        });
        match rule {
            Some(rule) => {
                used.insert(rule);
                allowed += 1;
            }
            None => differences.push(format!("{}: {difference}", shown.display())),
        }
    }
    let unused = rules.iter().enumerate().filter(|(number, _)| !used.contains(number));
    let unused = unused.map(|(_, rule)| rule).collect();
    Report { compared: paths.len(), allowed, differences, unused }
}

fn read(root: &Path) -> BTreeMap<PathBuf, Facts> {
    let names = Names { users: names(root, "passwd"), groups: names(root, "group") };
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    let mut links: HashMap<u64, BTreeSet<PathBuf>> = HashMap::new();
    for (path, metadata) in found.iter().filter(|(_, m)| !m.is_dir() && m.nlink() > 1) {
        links.entry(metadata.ino()).or_default().insert(path.clone());
    }
    found
        .into_iter()
        .map(|(path, m)| (path.clone(), facts(root, &path, &m, &names, &links)))
        .collect()
}

fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Metadata>) {
    let metadata = fs::symlink_metadata(folder).expect("the tree can be read");
    found.insert(folder.strip_prefix(root).expect("below it").to_owned(), metadata);
    for entry in fs::read_dir(folder).expect("the tree can be read") {
        let entry = entry.expect("the tree can be read");
        let metadata = entry.metadata().expect("the tree can be read");
        let path = entry.path();
        if metadata.is_dir() {
            walk(root, &path, found);
        } else {
            found.insert(path.strip_prefix(root).expect("below it").to_owned(), metadata);
        }
    }
}

/// Names of a tree's users and groups by number, for the numbers may differ.
struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

fn names(root: &Path, file: &str) -> HashMap<u32, String> {
    let text = fs::read_to_string(root.join("etc").join(file)).expect("the tree has accounts");
    let rows = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((fields.nth(1)?.parse().ok()?, name))
    });
    rows.collect()
}

fn facts(
    root: &Path,
    path: &Path,
    metadata: &Metadata,
    names: &Names,
    links: &HashMap<u64, BTreeSet<PathBuf>>,
) -> Facts {
    let kind = metadata.file_type();
    let name = |names: &HashMap<u32, String>, id: u32| {
        names.get(&id).cloned().unwrap_or_else(|| id.to_string())
    };
    Facts {
        kind: match kind {
            _ if kind.is_dir() => "folder",
            _ if kind.is_file() => "file",
            _ if kind.is_symlink() => "link",
            _ if kind.is_char_device() || kind.is_block_device() => "device",
            _ => "other",
        },
        mode: metadata.mode() & 0o7777,
        user: name(&names.users, metadata.uid()),
        group: name(&names.groups, metadata.gid()),
        device: metadata.rdev(),
        target: fs::read_link(root.join(path)).ok(),
        attributes: attributes(&root.join(path)).expect("attributes can be read"),
        hard_links: links.get(&metadata.ino()).cloned().unwrap_or_default(),
    }
}

fn attributes(path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut list = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut list[..])?;
    let names = list[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let values = names.map(|name| {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        value.truncate(length);
        Ok((name.to_owned(), value))
    });
    values.collect()
}

fn same_content(theirs: &Path, ours: &Path, path: &Path) -> io::Result<bool> {
    let (theirs, ours) = (theirs.join(path), ours.join(path));
    if fs::metadata(&theirs)?.len() != fs::metadata(&ours)?.len() {
        return Ok(false);
    }
    Ok(fs::read(theirs)? == fs::read(ours)?)
}

/// Whether two files have the same lines, but for what may differ.
fn same_lines(theirs: &Path, ours: &Path, how: Allowed) -> bool {
    let lines = |path: &Path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(|line| plain(line, how)).collect();
        lines.sort();
        lines
    };
    lines(theirs) == lines(ours)
}

/// A line without the numbers that may be others: a dynamic uid or gid, its third or fourth field.
fn plain(line: &str, how: Allowed) -> String {
    if how != Allowed::OtherNumbers {
        return line.to_owned();
    }
    let number = |(place, field): (usize, &str)| match field.parse::<u32>() {
        Ok(100..1000) if place == 2 || place == 3 => "*".to_owned(),
        _ => field.to_owned(),
    };
    line.split(':').enumerate().map(number).collect::<Vec<_>>().join(":")
}

fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((begin, end)) => {
            path.len() >= begin.len() + end.len() && path.starts_with(begin) && path.ends_with(end)
        }
    }
}
