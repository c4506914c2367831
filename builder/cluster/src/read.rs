//! The roster's text: TOML in, [`Roster`] out.

use std::{ops::Range, sync::Arc};

use coremax_node_api::roster::{Roster, Step};
use coremax_toml_text::{Place, Source, what_is_wrong};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::mistake::{Mistake, Mistakes};

/// Reads a roster. `name` is what messages call the text, a path as a rule.
///
/// # Errors
/// Everything that is wrong with it, each with its place: unknown keys, values of a wrong type or form, and, where
/// there are none of these, whatever no cluster can be made of.
pub fn read(name: &str, text: &str) -> Result<Roster, Mistakes> {
    let source = Arc::new(Source::new(name, text.to_owned()));
    let place = |span: Range<usize>| Place::new(Arc::clone(&source), span);
    let of_text = |error: &toml::de::Error| {
        Mistake::of_text(what_is_wrong(error.message()), place(error.span().unwrap_or(0..0)))
    };
    let root = DeTable::parse(text).map_err(|error| of_text(&error))?;
    let (roster, found) = coremax_toml_text::read::<Roster>(root.clone());
    Mistakes::none_of(found.iter().map(of_text).collect())?;
    let empty = || Mistake::of_text(what_is_wrong("the text says nothing"), place(0..0));
    let roster = roster.ok_or_else(empty)?;
    let at = |way: &[Step]| place(span(root.get_ref(), way));
    let of_rules = |fault: coremax_node_api::roster::Fault| {
        let (here, first) = (at(&fault.at), fault.first.as_deref().map(at));
        Mistake::of_rules(fault, here, first)
    };
    let faults: Vec<_> = roster.faults().into_iter().map(of_rules).collect();
    Mistakes::none_of(faults)?;
    Ok(roster)
}

/// Where the value at the end of `way` stands; as far as the way leads, where it does not lead to its end.
fn span(root: &DeTable<'_>, way: &[Step]) -> Range<usize> {
    let Some((Step::Key(key), mut rest)) = way.split_first() else { return 0..0 };
    let Some(mut value) = root.get(*key) else { return 0..0 };
    let mut span = value.span();
    while let Some((step, after)) = rest.split_first() {
        match inner(value, *step) {
            Some(next) => value = next,
            None => break,
        }
        // A list of tables in double brackets has no place of its own.
        span = value.span();
        rest = after;
    }
    span
}

fn inner<'a, 'b>(value: &'a Spanned<DeValue<'b>>, step: Step) -> Option<&'a Spanned<DeValue<'b>>> {
    match (value.get_ref(), step) {
        (DeValue::Table(table), Step::Key(key)) => table.get(key),
        (DeValue::Array(array), Step::Item(number)) => array.get(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::new::{New, Preset};

    fn text() -> String {
        let new = New { preset: Preset::Kubernetes, ..New::default() };
        new.text([7; 16]).unwrap().replace("00:00:5e:00:53:", "52:54:00:00:00:")
    }

    /// What is wrong after a change, with its place.
    fn complaints(from: &str, to: &str) -> Vec<String> {
        let changed = text().replacen(from, to, 1);
        assert_ne!(changed, text(), "{from} is not in the text");
        let mistakes = read("c.toml", &changed).unwrap_err();
        let told = mistakes.iter().map(|mistake| {
            format!("{}: {mistake}; {}", mistake.place(), mistake.hint().unwrap_or("-"))
        });
        told.collect()
    }

    #[test]
    fn mistakes_stand_at_their_places() {
        let line =
            |wanted: &str| text().lines().position(|line| line.starts_with(wanted)).unwrap() + 1;
        for (from, to, at, want) in [
            ("epoch = 1", "epoch = 0", (line("epoch"), 9), "the epoch is 0; epochs begin with 1"),
            (
                "epoch = 1",
                "epcoh = 1",
                (line("epoch"), 1),
                "unknown key `epcoh`; did you mean `epoch`?",
            ),
            (
                "vip = \"10.0.0.10\"",
                "vip = \"10.1.0.10\"",
                (line("vip"), 7),
                "no host's address in 10.0.0.0/24",
            ),
            (
                "vip = \"10.0.0.10\"",
                "vip = \"10.0.0.12\"",
                (line("name = \"control-2\"") + 2, 11),
                "has the VIP",
            ),
            (
                "roles = [\"control\"]",
                "roles = [\"controll\"]",
                (line("name = \"control-1\"") + 1, 10),
                "unknown value `controll`",
            ),
            (
                "52:54:00:00:00:02",
                "52:54:00:00:00:01",
                (line("name = \"control-2\"") + 3, 9),
                "is named twice",
            ),
            ("10.0.0.12", "10.0.0.300", (line("name = \"control-2\"") + 2, 11), "IPv4"),
        ] {
            let told = complaints(from, to);
            let place = format!("c.toml:{}:{}", at.0, at.1);
            assert!(
                told.iter().any(|t| t.starts_with(&place) && t.contains(want)),
                "{place} {want}: {told:?}"
            );
        }
        assert!(read("c.toml", "format = ").is_err());
    }
}
