//! Another machine for a row: the change of a roster's text that this is, with all else in it as it was.

use coremax_node_api::roster::{Match, Mode, Name, Roster};
use toml_edit::{DocumentMut, Formatted, InlineTable, Item, TableLike, Value};

use crate::{Mistakes, read};

/// A roster with another machine in a row.
#[derive(Debug)]
pub struct Replaced {
    /// Its text.
    pub text: String,
    /// What it says.
    pub roster: Roster,
    /// The row's new generation.
    pub generation: u32,
    /// What the operator has to see to.
    pub notes: Vec<&'static str>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The roster is wrong before, or would be after.
    #[error(transparent)]
    Roster(#[from] Mistakes),
    /// It has no such row.
    #[error("{file} has no node {name}; it has {}", list(.names))]
    NoRow {
        /// What the text is called.
        file: String,
        /// What was looked for.
        name: Name,
        /// The rows that there are.
        names: Vec<Name>,
    },
    /// In a pool no row names a machine.
    #[error("in a pool no row names its machine: leave out --mac and --serial")]
    Pool,
    /// Neither epoch nor generation can grow for ever.
    #[error("the roster's numbers are at their end")]
    Numbers,
    /// The text is of a shape that TOML allows and this cannot change.
    #[error("{file} is not written as tables of nodes: change {name} in it by hand")]
    Shape {
        /// What the text is called.
        file: String,
        /// The row.
        name: Name,
    },
}

/// The roster `text` for another machine in the row `name`: epoch and generation are raised as a newer roster's have to be,
/// and the row means `machine`, if one is given, and else the one that it meant before, with another disk in it.
///
/// # Errors
/// Every [`Error`]; also where the new one would be wrong.
pub fn replace(
    file: &str,
    text: &str,
    name: &Name,
    machine: Option<&Match>,
) -> Result<Replaced, Error> {
    let before = read(file, text)?;
    let names = || before.nodes.iter().map(|row| row.name.clone()).collect();
    let no_row = || Error::NoRow { file: file.to_owned(), name: name.clone(), names: names() };
    let number = before.nodes.iter().position(|row| row.name == *name).ok_or_else(no_row)?;
    let row = &before.nodes[number];
    if machine.is_some() && before.mode == Mode::Pool {
        return Err(Error::Pool);
    }
    let generation = before.next_generation(row);
    let epoch = before.epoch.checked_add(1).and_then(|epoch| i64::try_from(epoch).ok());
    let epoch = epoch.filter(|_| generation > row.generation).ok_or(Error::Numbers)?;
    let is_seed = before.seed == *name;
    let shape = || Error::Shape { file: file.to_owned(), name: name.clone() };
    let mut document: DocumentMut = text.parse().map_err(|_| shape())?;
    set(document.as_table_mut(), "epoch", epoch.into());
    if is_seed {
        document.remove("seed-key");
    }
    let table = self::row(&mut document, number).ok_or_else(shape)?;
    set(table, "generation", i64::from(generation).into());
    if let Some(machine) = machine {
        mean(table, machine);
    }
    let text = document.to_string();
    let roster = read(file, &text)?;
    let notes = notes(&before, number, machine);
    Ok(Replaced { text, roster, generation, notes })
}

/// What changed: the lines that went and came, each with two that stayed around it.
pub fn difference(before: &str, after: &str) -> String {
    let lines = similar::TextDiff::from_lines(before, after);
    let mut told = String::new();
    for (number, group) in lines.grouped_ops(2).iter().enumerate() {
        told += if number > 0 { "  ...\n" } else { "" };
        for change in group.iter().flat_map(|change| lines.iter_changes(change)) {
            told += &format!("{} {}\n", change.tag(), change.value().trim_end());
        }
    }
    told
}

fn row(document: &mut DocumentMut, number: usize) -> Option<&mut dyn TableLike> {
    match document.get_mut("node")? {
        Item::ArrayOfTables(tables) => tables.get_mut(number).map(|table| table as _),
        Item::Value(Value::Array(values)) => {
            values.get_mut(number)?.as_inline_table_mut().map(|table| table as _)
        }
        _ => None,
    }
}

/// Sets a value; what is written around an old one, a comment behind it, stays.
fn set(table: &mut dyn TableLike, key: &str, mut value: Value) {
    match table.get_mut(key) {
        Some(item) => {
            if let Some(old) = item.as_value() {
                *value.decor_mut() = old.decor().clone();
            }
            *item = Item::Value(value);
        }
        None => drop(table.insert(key, Item::Value(value))),
    }
}

/// Sets which machine a row means, in whatever shape it says that.
fn mean(row: &mut dyn TableLike, machine: &Match) {
    let (key, other, text) = match machine {
        Match::Mac(mac) => ("mac", "serial", mac.to_string()),
        Match::Serial(serial) => ("serial", "mac", serial.clone()),
    };
    let text = Value::String(Formatted::new(text));
    match row.get_mut("match").and_then(Item::as_table_like_mut) {
        Some(table) if table.contains_key(key) => set(table, key, text),
        Some(table) => {
            table.insert(key, Item::Value(text));
            table.remove(other);
        }
        None => {
            let table = InlineTable::from_iter([(key, text)]);
            row.insert("match", Item::Value(table.into()));
        }
    }
}

fn notes(before: &Roster, number: usize, machine: Option<&Match>) -> Vec<&'static str> {
    let row = &before.nodes[number];
    let is_seed = row.name == before.seed;
    let has_parts = !row.nics.is_empty() || !row.osd_disks.is_empty();
    let all = [
        (
            machine.is_some() && has_parts,
            "its nic and osd-disks are those of the machine before: change them where they are others",
        ),
        (
            machine.is_none() && before.mode == Mode::Static,
            "the row means the machine that it meant before: reset that, or name another one with --mac or --serial",
        ),
        (
            is_seed,
            "it is the seed: make a new medium for it once the roster is signed (coremax cluster seed-medium), and throw away \
             those that were made before; the machine before must not run any more",
        ),
        (is_seed && before.seed_key.is_some(), "seed-key is gone: it named the machine before"),
    ];
    all.into_iter().filter(|(is_so, _)| *is_so).map(|(_, note)| note).collect()
}

fn list(names: &[Name]) -> String {
    names.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(", ")
}

#[cfg(test)]
mod tests;
