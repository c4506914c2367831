//! Reading on after a mistake: what is wrong is cut out of the table, and the rest read again.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer, Error};

/// How many mistakes of one file are told. Ours: who has more wants to see these first.
const MOST: usize = 20;

/// What a file says without what is wrong, and what is wrong, from the top. Where that cannot be told from the rest,
/// nothing is read after it, and then the file says nothing.
pub fn read<T: DeserializeOwned>(mut root: Spanned<DeTable<'_>>) -> (Option<T>, Vec<Error>) {
    let mut found: Vec<Error> = Vec::new();
    let mut cuts: Vec<Range<usize>> = Vec::new();
    let written = loop {
        let error = match T::deserialize(Deserializer::from(root.clone())) {
            Ok(written) => break Some(written),
            Err(error) => error,
        };
        let span = error.span();
        // What a table lacks may be the very thing that was cut out of it.
        let follows = error.message().starts_with("missing field")
            && span.as_ref().is_some_and(|span| cuts.contains(span));
        let at = root.span();
        let cut = span.and_then(|span| cut(root.get_mut(), &at, &span));
        if !follows {
            found.push(error);
        }
        match cut {
            Some(table) if found.len() < MOST => cuts.push(table),
            _ => break None,
        }
    };
    found.sort_by_key(|error| error.span().map(|span| span.start));
    (written, found)
}

/// Takes the innermost key or value at `span` out of a table that stands at `at`; where the table that had it stands.
fn cut(table: &mut DeTable<'_>, at: &Range<usize>, span: &Range<usize>) -> Option<Range<usize>> {
    let mut values = table.iter_mut().map(|(_, value)| value);
    if let Some(inner) = values.find_map(|value| cut_value(value, at, span)) {
        return Some(inner);
    }
    let here = |(key, value): &(&Spanned<_>, &Spanned<DeValue<'_>>)| {
        key.span() == *span || value.span() == *span
    };
    let key = table.iter().find(here).map(|(key, _)| key.clone())?;
    table.remove(&key);
    Some(at.clone())
}

fn cut_value(
    value: &mut Spanned<DeValue<'_>>,
    at: &Range<usize>,
    span: &Range<usize>,
) -> Option<Range<usize>> {
    let own = value.span();
    match value.get_mut() {
        DeValue::Table(table) => cut(table, &own, span),
        DeValue::Array(array) => {
            if let Some(inner) = array.iter_mut().find_map(|value| cut_value(value, &own, span)) {
                return Some(inner);
            }
            let before = array.len();
            let all = std::mem::replace(array, DeArray::new());
            *array = all.into_iter().filter(|value| value.span() != *span).collect();
            (array.len() < before).then(|| at.clone())
        }
        _ => None,
    }
}
