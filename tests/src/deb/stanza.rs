//! A control file's fields, in their order.

use std::fmt;

/// A paragraph of `Name: value` lines, with the lines that go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stanza(Vec<(String, String)>);

impl Stanza {
    /// Reads a paragraph.
    pub fn parse(text: &str) -> Self {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            match (line.split_once(':'), fields.last_mut()) {
                (_, Some((_, value))) if line.starts_with([' ', '\t']) => {
                    *value += "\n";
                    *value += line;
                }
                (Some((name, value)), _) => fields.push((name.into(), value.trim().into())),
                (None, _) => {}
            }
        }
        Self(fields)
    }

    /// A field's value; nothing where it is absent.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// The same with this value of a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        match self.0.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.into(), value.into())),
        }
        self
    }

    /// The same without these fields.
    #[must_use]
    pub fn without(mut self, names: &[&str]) -> Self {
        self.0.retain(|(field, _)| !names.contains(&field.as_str()));
        self
    }

    /// The same without the clauses of a relation that begin with this name.
    #[must_use]
    pub fn without_clause(self, field: &str, name: &str) -> Self {
        let is_other = |clause: &&str| clause.split(' ').next() != Some(name);
        let left: Vec<_> = self.get(field).split(", ").filter(is_other).collect();
        let left = left.join(", ");
        if left.is_empty() { self.without(&[field]) } else { self.with(field, &left) }
    }
}

impl fmt::Display for Stanza {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| match value.starts_with('\n') {
            true => writeln!(f, "{name}:{value}"),
            false => writeln!(f, "{name}: {value}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_change_and_their_order_stays() {
        let text = "Package: a\nDepends: b | c, d (>= 1)\nDescription: x\n y\n .\n z\n";
        let stanza = Stanza::parse(text);
        assert_eq!(stanza.to_string(), text);
        let changed =
            stanza.without_clause("Depends", "b").with("Package", "e").with("Origin", "O");
        assert_eq!(
            changed.to_string(),
            "Package: e\nDepends: d (>= 1)\nDescription: x\n y\n .\n z\nOrigin: O\n"
        );
        assert_eq!(changed.without_clause("Depends", "d").get("Depends"), "");
    }
}
