//! The tables in double brackets: users, overlays, files, archives, outputs.

use std::{collections::BTreeSet, path::Path};

use super::{
    collect::{Files, keyed_once, values},
    fixed,
};
use crate::{
    error::Error,
    nowhere,
    part::Part,
    recipe::{Archive, Content, File, Overlay, User},
    values::{Format, GroupName, Mode, SourcePath, UserName},
    written::{ArchiveTable, FileTable, Located, UserTable},
};

pub(super) fn users(files: &Files<'_>) -> Result<Vec<User>, Error> {
    let tables: Vec<_> = files.tables(|w| &w.users).collect();
    keyed_once(&tables, "user", |table| Some(&table.name))?;
    keyed_once(&tables, "uid", |table| table.uid.as_ref())?;
    tables.into_iter().map(|(part, table)| user(part, table)).collect()
}

fn user(part: &Part, table: &UserTable) -> Result<User, Error> {
    if table.name.value().as_str() == "root" {
        let message = "user `root` is there already: its keys go into [access]".to_owned();
        return Err(Error::Value { message, at: part.place(&table.name) });
    }
    if let Some(uid) = table.uid.as_ref().filter(|uid| matches!(uid.value(), 0 | &u32::MAX)) {
        let message =
            format!("user id {} is not for a user: 0 is root's, the last means none", uid.value());
        return Err(Error::Value { message, at: part.place(uid) });
    }
    let system = said(&table.system).unwrap_or(false);
    let shell = if system { "/usr/sbin/nologin" } else { "/bin/bash" };
    Ok(User {
        name: table.name.value().clone(),
        uid: said(&table.uid),
        gid: None,
        groups: values(part, "group", &table.groups)?,
        shell: said(&table.shell).unwrap_or_else(|| fixed(shell)),
        ssh_keys: values(part, "key", &table.ssh_keys)?,
        gecos: said(&table.gecos).unwrap_or_else(|| fixed("")),
        system,
    })
}

pub(super) fn overlays(files: &Files<'_>, project: &Path) -> Result<Vec<Overlay>, Error> {
    let tables: Vec<_> = files.tables(|w| &w.overlays).collect();
    keyed_once(&tables, "overlay", |table| Some(&table.from))?;
    let overlay =
        |from: &SourcePath| Overlay { from: from.clone(), source: project.join(from.as_str()) };
    Ok(tables.into_iter().map(|(_, table)| overlay(table.from.value())).collect())
}

pub(super) fn files(files: &Files<'_>, project: &Path) -> Result<Vec<File>, Error> {
    let tables: Vec<_> = files.tables(|w| &w.files).collect();
    keyed_once(&tables, "file", |table| Some(&table.path))?;
    tables.into_iter().map(|(part, table)| file(part, table, project)).collect()
}

fn file(part: &Part, table: &FileTable, project: &Path) -> Result<File, Error> {
    if let Some(message) = nowhere::objection(table.path.value().as_str()) {
        return Err(Error::Value { message, at: part.place(&table.path) });
    }
    Ok(File {
        path: table.path.value().clone(),
        content: content(part, table, project)?,
        mode: said(&table.mode).unwrap_or(Mode::FILE),
        owner: said(&table.owner).unwrap_or_else(|| fixed::<UserName>("root")),
        group: said(&table.group).unwrap_or_else(|| fixed::<GroupName>("root")),
    })
}

fn content(part: &Part, table: &FileTable, project: &Path) -> Result<Content, Error> {
    match (&table.content, &table.from) {
        (Some(text), None) => Ok(Content::Text(text.value().clone())),
        (None, Some(from)) => {
            let from = from.value().clone();
            Ok(Content::Copy { source: project.join(from.as_str()), from })
        }
        (Some(text), Some(from)) => Err(Error::Contradiction {
            what: format!("file `{}` says both `content` and `from`", table.path.value()),
            at: part.place(from),
            first: part.place(text),
        }),
        (None, None) => Err(Error::Value {
            message: format!("file `{}` says neither `content` nor `from`", table.path.value()),
            at: part.place(&table.path),
        }),
    }
}

pub(super) fn archives(files: &Files<'_>, project: &Path) -> Result<Vec<Archive>, Error> {
    let tables: Vec<_> = files.tables(|w| &w.archives).collect();
    keyed_once(&tables, "archive", |table| Some(&table.name))?;
    tables.into_iter().map(|(part, table)| archive(part, table, project)).collect()
}

fn archive(part: &Part, table: &ArchiveTable, project: &Path) -> Result<Archive, Error> {
    let suites = values(part, "suite", table.suites.value())?;
    if suites.is_empty() {
        let message = format!("archive `{}` names no suite", table.name.value());
        return Err(Error::Value { message, at: part.place(&table.suites) });
    }
    let mut components = values(part, "component", &table.components)?;
    if components.is_empty() {
        components.push(fixed("main"));
    }
    let key = said(&table.key);
    Ok(Archive {
        name: table.name.value().clone(),
        mirror: table.mirror.value().clone(),
        suites,
        components,
        key_source: key.as_ref().map(|key| project.join(key.as_str())),
        key,
        pin: said(&table.pin).map(std::num::NonZeroI16::get),
    })
}

/// None where no file names an output.
pub(super) fn outputs(files: &Files<'_>) -> Result<Option<BTreeSet<Format>>, Error> {
    let tables: Vec<_> = files.tables(|w| &w.outputs).collect();
    keyed_once(&tables, "output", |table| Some(&table.format))?;
    let formats: BTreeSet<_> = tables.iter().map(|(_, table)| *table.format.value()).collect();
    Ok((!formats.is_empty()).then_some(formats))
}

fn said<T: Clone>(value: &Option<Located<T>>) -> Option<T> {
    value.as_ref().map(Located::value).cloned()
}
