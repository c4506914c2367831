//! The four files, as lines of fields.

use std::{
    collections::{BTreeMap, HashSet},
    ops::RangeInclusive,
    path::Path,
};

use super::{Group, User};
use crate::{
    Error,
    ids::{Ids, moved},
    tree::Tree,
};

/// Numbers for people. Set by Debian Policy 9.2.2.
pub const USERS: RangeInclusive<u32> = 1000..=59_999;
/// Numbers for services. Set by Debian Policy 9.2.2.
pub const SERVICES: RangeInclusive<u32> = 100..=999;
/// The longest name of a user or group. Set by Linux (utmp).
const MAX_NAME_BYTES: usize = 32;
/// A password that nothing matches. Not `!`, which some take for a locked account and then refuse
/// SSH keys as well.
const NO_PASSWORD: &str = "*";
const SECONDS_A_DAY: u64 = 86_400;

/// A file of lines of fields between colons.
#[derive(Debug, Default)]
struct Table {
    path: &'static str,
    mode: u32,
    group: &'static str,
    rows: Vec<Vec<String>>,
}

/// The accounts of a tree.
#[derive(Debug)]
pub(crate) struct Accounts {
    users: Table,
    user_secrets: Table,
    groups: Table,
    group_secrets: Table,
}

impl Accounts {
    /// Reads those of a tree. Files that are missing are empty.
    pub(crate) fn load(tree: &Tree) -> Result<Self, Error> {
        Ok(Self {
            users: Table::load(tree, "etc/passwd", 0o644, "root")?,
            user_secrets: Table::load(tree, "etc/shadow", 0o640, "shadow")?,
            groups: Table::load(tree, "etc/group", 0o644, "root")?,
            group_secrets: Table::load(tree, "etc/gshadow", 0o640, "shadow")?,
        })
    }

    /// The number of a user.
    pub(crate) fn uid(&self, name: &str) -> Result<u32, Error> {
        let missing = || wrong("looking up the user", name, "the tree has no such user");
        self.users.number(name, 2).ok_or_else(missing)
    }

    /// The number of a group.
    pub(crate) fn gid(&self, name: &str) -> Result<u32, Error> {
        let missing = || wrong("looking up the group", name, "the tree has no such group");
        self.groups.number(name, 2).ok_or_else(missing)
    }

    /// The number of a user's primary group, and the home directory.
    pub(super) fn home(&self, name: &str) -> Option<(u32, &str)> {
        let row = self.users.row(name)?;
        Some((row.get(3)?.parse().ok()?, row.get(5)?))
    }

    /// The numbers of all.
    pub(crate) fn ids(&self) -> Ids {
        let ids = |table: &Table| {
            let numbered = |row: &Vec<String>| Some((row[0].clone(), row.get(2)?.parse().ok()?));
            table.rows.iter().filter_map(numbered).collect()
        };
        Ids { users: ids(&self.users), groups: ids(&self.groups) }
    }

    /// Puts other numbers in the places of these.
    pub(crate) fn renumber(&mut self, users: &BTreeMap<u32, u32>, groups: &BTreeMap<u32, u32>) {
        self.users.renumber(2, users);
        self.users.renumber(3, groups);
        self.groups.renumber(2, groups);
    }

    pub(crate) fn save(&self, tree: &Tree) -> Result<(), Error> {
        for table in [&self.users, &self.user_secrets, &self.groups, &self.group_secrets] {
            table.save(tree, self.groups.number(table.group, 2).unwrap_or(0))?;
        }
        Ok(())
    }

    pub(super) fn add_group(&mut self, group: &Group) -> Result<(), Error> {
        const OPERATION: &str = "creating the group";
        check_name(OPERATION, &group.name)?;
        if let Some(found) = self.groups.number(&group.name, 2) {
            return match group.gid {
                Some(gid) if gid != found => {
                    Err(wrong(OPERATION, &group.name, &format!("the tree has it as {found}")))
                }
                _ => Ok(()),
            };
        }
        let gid = self.groups.free_number(group.gid, group.system, OPERATION, &group.name)?;
        self.groups.push([&group.name, "x", &gid.to_string(), ""]);
        self.group_secrets.push([&group.name, "!", "", ""]);
        Ok(())
    }

    pub(super) fn add_user(&mut self, user: &User, epoch: u64) -> Result<(), Error> {
        const OPERATION: &str = "creating the user";
        check_name(OPERATION, &user.name)?;
        check_fields(user)?;
        if self.users.row(&user.name).is_none() {
            self.add_new_user(user, epoch)?;
        } else {
            self.change_user(user)?;
        }
        for group in &user.groups {
            self.gid(group)?;
            self.groups.add_member(group, &user.name);
            self.group_secrets.add_member(group, &user.name);
        }
        Ok(())
    }

    fn add_new_user(&mut self, user: &User, epoch: u64) -> Result<(), Error> {
        const OPERATION: &str = "creating the user";
        let uid = self.users.free_number(user.uid, user.system, OPERATION, &user.name)?;
        let gid = match &user.group {
            Some(group) => self.gid(group)?,
            None => {
                // The group of a user has its number where that is free.
                let own = || Some(uid).filter(|&gid| !self.groups.has_number(gid));
                let gid = user.gid.or_else(own);
                let group = Group { name: user.name.clone(), gid, system: user.system };
                self.add_group(&group)?;
                self.gid(&user.name)?
            }
        };
        let (default_home, default_shell) = match user.system {
            true => ("/nonexistent".into(), "/usr/sbin/nologin"),
            false => (format!("/home/{}", user.name), "/bin/bash"),
        };
        let text = |path: &Option<std::path::PathBuf>, default: &str| {
            path.as_ref().map_or(default.to_owned(), |path| path.to_string_lossy().into_owned())
        };
        let (home, shell) = (text(&user.home, &default_home), text(&user.shell, default_shell));
        let (uid, gid) = (uid.to_string(), gid.to_string());
        self.users.push([&user.name, "x", &uid, &gid, &user.comment, &home, &shell]);
        let password = user.password.as_deref().unwrap_or(NO_PASSWORD);
        let day = (epoch / SECONDS_A_DAY).to_string();
        self.user_secrets.push([&user.name, password, &day, "0", "99999", "7", "", "", ""]);
        Ok(())
    }

    /// Takes over what is said of a user that the tree has; the rest stays.
    fn change_user(&mut self, user: &User) -> Result<(), Error> {
        const OPERATION: &str = "changing the user";
        let found = self.uid(&user.name)?;
        if user.uid.is_some_and(|uid| uid != found) {
            return Err(wrong(OPERATION, &user.name, &format!("the tree has it as {found}")));
        }
        let gid = user.group.as_deref().map(|group| self.gid(group)).transpose()?;
        let path = |path: &Option<std::path::PathBuf>| {
            path.as_ref().map(|path| path.to_string_lossy().into_owned())
        };
        let changes = [
            (3, gid.map(|gid| gid.to_string())),
            (4, Some(user.comment.clone()).filter(|comment| !comment.is_empty())),
            (5, path(&user.home)),
            (6, path(&user.shell)),
        ];
        for (field, value) in changes {
            self.users.set(&user.name, field, value);
        }
        self.user_secrets.set(&user.name, 1, user.password.clone());
        Ok(())
    }
}

impl Table {
    fn load(
        tree: &Tree,
        path: &'static str,
        mode: u32,
        group: &'static str,
    ) -> Result<Self, Error> {
        let mut table = Self { path, mode, group, rows: Vec::new() };
        if tree.exists(Path::new(path))? {
            let text = String::from_utf8_lossy(&tree.read(Path::new(path))?).into_owned();
            let rows = text.lines().filter(|line| !line.is_empty());
            table.rows = rows.map(|line| line.split(':').map(str::to_owned).collect()).collect();
        }
        Ok(table)
    }

    fn save(&self, tree: &Tree, gid: u32) -> Result<(), Error> {
        let path = Path::new(self.path);
        let text: String = self.rows.iter().map(|row| row.join(":") + "\n").collect();
        tree.write(path, text.as_bytes(), self.mode)?;
        crate::overlay::own(tree, path, 0, gid, Some(self.mode)).map_err(|source| Error::Tree {
            operation: "setting the owner of",
            path: crate::tree::shown(path),
            source,
        })
    }

    fn renumber(&mut self, field: usize, moves: &BTreeMap<u32, u32>) {
        for number in self.rows.iter_mut().filter_map(|row| row.get_mut(field)) {
            if let Ok(from) = number.parse() {
                *number = moved(moves, from).to_string();
            }
        }
    }

    fn row(&self, name: &str) -> Option<&Vec<String>> {
        self.rows.iter().find(|row| row[0] == name)
    }

    fn push<const N: usize>(&mut self, fields: [&str; N]) {
        self.rows.push(fields.map(str::to_owned).to_vec());
    }

    fn set(&mut self, name: &str, field: usize, value: Option<String>) {
        let row = self.rows.iter_mut().find(|row| row[0] == name);
        if let (Some(place), Some(value)) = (row.and_then(|row| row.get_mut(field)), value) {
            *place = value;
        }
    }

    fn add_member(&mut self, group: &str, name: &str) {
        let Some(members) = self.row(group).and_then(|row| row.get(3)).cloned() else { return };
        if members.split(',').all(|member| member != name) {
            let comma = if members.is_empty() { "" } else { "," };
            self.set(group, 3, Some(format!("{members}{comma}{name}")));
        }
    }

    fn number(&self, name: &str, field: usize) -> Option<u32> {
        self.row(name)?.get(field)?.parse().ok()
    }

    fn has_number(&self, number: u32) -> bool {
        self.numbers().contains(&number)
    }

    fn numbers(&self) -> HashSet<u32> {
        self.rows.iter().filter_map(|row| row.get(2)?.parse().ok()).collect()
    }

    /// The number that is asked for, or else the lowest that is free.
    fn free_number(
        &self,
        wanted: Option<u32>,
        system: bool,
        operation: &'static str,
        name: &str,
    ) -> Result<u32, Error> {
        let taken = self.numbers();
        let mut range = if system { SERVICES } else { USERS };
        match wanted {
            Some(number) if taken.contains(&number) => {
                Err(wrong(operation, name, &format!("the number {number} is taken")))
            }
            Some(number) => Ok(number),
            None => range
                .find(|number| !taken.contains(number))
                .ok_or_else(|| wrong(operation, name, "no number is free")),
        }
    }
}

/// A name that every tool accepts; see adduser's NAME_REGEX.
fn check_name(operation: &'static str, name: &str) -> Result<(), Error> {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    let rest = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    if first && rest && name.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    Err(wrong(operation, name, "a name has lower-case letters, digits, _ and -, 32 at most"))
}

/// No field may add another, or a line.
fn check_fields(user: &User) -> Result<(), Error> {
    let paths = [&user.home, &user.shell].into_iter().flatten();
    let mut fields: Vec<_> = paths.map(|path| path.to_string_lossy().into_owned()).collect();
    fields.extend([user.comment.clone(), user.password.clone().unwrap_or_default()]);
    if fields.iter().any(|field| field.contains([':', '\n', '\0'])) {
        let problem = "a colon or line break is in its comment, home, shell or password";
        return Err(wrong("creating the user", &user.name, problem));
    }
    Ok(())
}

fn wrong(operation: &'static str, name: &str, problem: &str) -> Error {
    Error::Account { operation, name: name.to_owned(), problem: problem.to_owned() }
}
