//! Stanzas of Debian control files: one package's fields, in order and as they were written.
//!
//! `Field: value` lines; a line that begins with a blank continues the field before it; an empty
//! line ends the stanza. Names of fields are compared without regard to case.
//!
//! See deb822(5), <https://manpages.debian.org/deb822.5>.

/// The fields of one package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stanza {
    /// Name and value, the value with its continuation lines and without blanks at either end.
    fields: Vec<(String, String)>,
}

impl Stanza {
    /// Reads the first stanza of a text.
    ///
    /// # Errors
    /// The line that is neither a field nor a continuation, or that repeats a field.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut stanza = Self::default();
        let lines = text.lines().skip_while(|line| line.trim().is_empty());
        for line in lines.take_while(|line| !line.trim().is_empty()) {
            stanza.take_line(line)?;
        }
        // As dpkg does: blanks within, such as those that end a first line, are kept.
        for (_, value) in &mut stanza.fields {
            value.truncate(value.trim_end().len());
        }
        Ok(stanza)
    }

    /// Reads all stanzas of a text, such as dpkg's status file.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        text.split("\n\n").filter(|part| !part.trim().is_empty()).map(Self::parse).collect()
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// All fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn take_line(&mut self, line: &str) -> Result<(), String> {
        if line.starts_with([' ', '\t']) {
            let (_, value) =
                self.fields.last_mut().ok_or("it begins with a continuation line".to_owned())?;
            value.push('\n');
            value.push_str(line);
            return Ok(());
        }
        let (name, value) = line.split_once(':').ok_or_else(|| format!("no field: {line:?}"))?;
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(format!("no field: {line:?}"));
        }
        if self.get(name).is_some() {
            return Err(format!("the field {name} comes twice"));
        }
        self.fields.push((name.to_owned(), value.trim_start().to_owned()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_keep_order_and_lines() {
        let text = "Package: a \nDescription: short \n long\n .\n more\n\nPackage: b\n";
        let all = Stanza::parse_all(text).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].get("description"), Some("short \n long\n .\n more"));
        assert_eq!(all[0].get("Package"), Some("a"));
        assert_eq!(all[0].fields().map(|(name, _)| name).collect::<Vec<_>>()[0], "Package");
    }

    #[test]
    fn what_is_no_stanza_is_refused() {
        for text in [" x\n", "no colon\n", "A: 1\na: 2\n", ": x\n", "A b: x\n"] {
            assert!(Stanza::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*|[A-Z:a \n\t]*") {
            let _ = Stanza::parse_all(&text);
        }
    }
}
