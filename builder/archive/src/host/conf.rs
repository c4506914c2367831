//! apt's configuration language: a tree of named values.
//!
//! ```text
//! Acquire::http::Proxy "http://proxy.example:3128";     // names are joined by ::
//! Acquire { https { CaInfo "/etc/ssl/own.pem"; }; };    # scopes
//! APT::NeverAutoRemove { "^linux-.*"; };                /* lists */
//! #clear Acquire::http;
//! ```
//! See <https://manpages.debian.org/apt.conf.5>. Names are compared without regard to case; later values win.

use std::collections::BTreeMap;

/// Scopes within scopes; ours, far beyond any real file.
const MAX_DEPTH: usize = 64;

/// A configuration, read from one file or several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    /// By full name in lower case. Names of hosts are part of names, so this loses nothing.
    values: BTreeMap<String, String>,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ConfError {
    /// From 1.
    pub line: usize,
    /// What was expected or found.
    pub what: String,
}

impl Configuration {
    /// Reads the text of one file.
    ///
    /// # Errors
    /// Names the line that is not in the language.
    pub fn parse(text: &str) -> Result<Self, ConfError> {
        let mut configuration = Self::default();
        configuration.read(text)?;
        Ok(configuration)
    }

    /// Reads a further file; its values win over those before.
    ///
    /// # Errors
    /// As for [`Configuration::parse`].
    pub fn read(&mut self, text: &str) -> Result<(), ConfError> {
        Parser { tokens: Tokens { rest: text, line: 1 }, scopes: Vec::new(), into: self }.run()
    }

    /// The value of `name`, such as `Acquire::http::Proxy`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    /// `name` as apt reads booleans; `None` where it is unset or neither.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)?.to_ascii_lowercase().as_str() {
            "yes" | "true" | "with" | "on" | "enable" | "1" => Some(true),
            "no" | "false" | "without" | "off" | "disable" | "0" => Some(false),
            _ => None,
        }
    }

    /// The names below `name` (in lower case, what follows included) and their values.
    pub fn below<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let prefix = format!("{}::", name.to_ascii_lowercase());
        let values = self.values.range(prefix.clone()..);
        values.map_while(move |(name, value)| Some((name.strip_prefix(&prefix)?, value.as_str())))
    }

    fn clear(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        let below = format!("{name}::");
        self.values.retain(|other, _| *other != name && !other.starts_with(&below));
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token<'a> {
    /// A name, or a value without quotation marks, which apt takes too.
    Word(&'a str),
    Quoted(&'a str),
    Open,
    Close,
    Semicolon,
    Clear,
    Include,
}

struct Parser<'a, 'c> {
    tokens: Tokens<'a>,
    scopes: Vec<String>,
    into: &'c mut Configuration,
}

impl<'a> Parser<'a, '_> {
    fn run(mut self) -> Result<(), ConfError> {
        while let Some(token) = self.tokens.next()? {
            match token {
                Token::Word(name) => self.entry(name)?,
                Token::Quoted(value) => self.list_item(value)?,
                Token::Semicolon => {}
                Token::Close if self.scopes.pop().is_some() => {}
                Token::Clear => self.clear()?,
                Token::Open if !self.scopes.is_empty() => self.open(String::new())?,
                // Deprecated; other implementations do not have it either.
                Token::Include => self.skip_statement()?,
                Token::Open | Token::Close => return self.tokens.refuse("unbalanced braces"),
            }
        }
        match self.scopes.is_empty() {
            true => Ok(()),
            false => self.tokens.refuse("a scope is not closed"),
        }
    }

    /// `Name "value";`, `Name { ... }` or `Name;`.
    fn entry(&mut self, name: &'a str) -> Result<(), ConfError> {
        match self.tokens.next()? {
            Some(Token::Quoted(value) | Token::Word(value)) => {
                self.set(name, value);
                self.end()
            }
            Some(Token::Open) => self.open(name.to_owned()),
            Some(Token::Semicolon) => Ok(()),
            _ => self.tokens.refuse(format!("{name} has no value")),
        }
    }

    /// `"value";` within a list.
    fn list_item(&mut self, value: &str) -> Result<(), ConfError> {
        let list = self.full_name("");
        let item = self.into.below(&list).count();
        self.into
            .values
            .insert(format!("{}::{item:06}", list.to_ascii_lowercase()), value.to_owned());
        self.end()
    }

    fn set(&mut self, name: &str, value: &str) {
        let name = self.full_name(name).to_ascii_lowercase();
        // An empty last part adds to a list.
        let name = match name.strip_suffix("::") {
            Some(list) => format!("{list}::{:06}", self.into.below(list).count()),
            None => name,
        };
        self.into.values.insert(name, value.to_owned());
    }

    fn open(&mut self, name: String) -> Result<(), ConfError> {
        self.scopes.push(name);
        match self.scopes.len() > MAX_DEPTH {
            true => self.tokens.refuse("too many scopes within each other"),
            false => Ok(()),
        }
    }

    fn clear(&mut self) -> Result<(), ConfError> {
        let Some(Token::Word(name)) = self.tokens.next()? else {
            return self.tokens.refuse("#clear needs a name");
        };
        let name = self.full_name(name);
        self.into.clear(name.trim_end_matches("::"));
        self.end()
    }

    fn end(&mut self) -> Result<(), ConfError> {
        match self.tokens.next()? {
            Some(Token::Semicolon) => Ok(()),
            _ => self.tokens.refuse("a semicolon is missing"),
        }
    }

    fn skip_statement(&mut self) -> Result<(), ConfError> {
        while !matches!(self.tokens.next()?, Some(Token::Semicolon) | None) {}
        Ok(())
    }

    fn full_name(&self, name: &str) -> String {
        let parts = self.scopes.iter().map(String::as_str).chain([name]);
        let joined = parts.filter(|part| !part.is_empty()).collect::<Vec<_>>();
        joined.join("::")
    }
}

struct Tokens<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Result<Option<Token<'a>>, ConfError> {
        self.skip_blank()?;
        let rest = self.rest;
        let token = match rest.as_bytes().first() {
            None => return Ok(None),
            Some(b'{') => Token::Open,
            Some(b'}') => Token::Close,
            Some(b';') => Token::Semicolon,
            Some(b'"') => return self.quoted().map(Some),
            Some(_) => return Ok(Some(self.word())),
        };
        self.take(1);
        Ok(Some(token))
    }

    fn word(&mut self) -> Token<'a> {
        let ends = |c: char| c.is_ascii_whitespace() || "{};\"".contains(c);
        let word = self.take(self.rest.find(ends).unwrap_or(self.rest.len()));
        match word {
            _ if word.eq_ignore_ascii_case("#clear") => Token::Clear,
            _ if word.eq_ignore_ascii_case("#include") => Token::Include,
            _ => Token::Word(word),
        }
    }

    fn quoted(&mut self) -> Result<Token<'a>, ConfError> {
        match self.rest[1..].find(['"', '\n']) {
            Some(end) if self.rest.as_bytes()[end + 1] == b'"' => {
                Ok(Token::Quoted(&self.take(end + 2)[1..=end]))
            }
            _ => self.refuse("a quotation mark is missing"),
        }
    }

    /// Skips space and comments. `#clear` and `#include` are no comments.
    fn skip_blank(&mut self) -> Result<(), ConfError> {
        loop {
            self.take(self.rest.len() - self.rest.trim_start().len());
            let command = |name: &str| {
                let word = self.rest.get(..name.len());
                word.is_some_and(|word| word.eq_ignore_ascii_case(name))
            };
            if self.rest.starts_with("/*") {
                let Some(end) = self.rest.find("*/") else {
                    return self.refuse("a comment is not closed");
                };
                self.take(end + 2);
            } else if self.rest.starts_with("//")
                || self.rest.starts_with('#') && !command("#clear ") && !command("#include ")
            {
                self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else {
                return Ok(());
            }
        }
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn refuse<T>(&self, what: impl Into<String>) -> Result<T, ConfError> {
        Err(ConfError { line: self.line, what: what.into() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_language_of_the_manual_page() {
        let text = r#"
            // A comment; with a semicolon
            Acquire::http::Proxy "http://a.example:1/"; # another
            Acquire /* a third */ {
              HTTPS { CaInfo "/ca.pem"; Proxy::own.example "DIRECT"; };
              Retries 3;
              Languages { "de"; "en"; }
            };
            DPkg::Post-Invoke {"rm -f /x || true // no comment";};
            APT::List:: "first"; APT::List:: "second";
            Gone::Now "1"; Gone "2";
            #clear Gone;
            acquire::HTTP::proxy "http://b.example";
        "#;
        let conf = Configuration::parse(text).unwrap();
        for (name, value) in [
            ("Acquire::http::Proxy", Some("http://b.example")),
            ("acquire::https::cainfo", Some("/ca.pem")),
            ("Acquire::https::Proxy::own.example", Some("DIRECT")),
            ("Acquire::Retries", Some("3")),
            ("Gone", None),
            ("Gone::Now", None),
        ] {
            assert_eq!(conf.get(name), value, "{name}");
        }
        let list = |name| conf.below(name).map(|(_, value)| value).collect::<Vec<_>>();
        assert_eq!(list("Acquire::Languages"), ["de", "en"]);
        assert_eq!(list("APT::List"), ["first", "second"]);
        assert_eq!(list("DPkg::Post-Invoke"), ["rm -f /x || true // no comment"]);
    }

    #[test]
    fn errors_name_the_line() {
        for (text, line) in [
            ("A \"1\";\nB \"2\"\n", 3),
            ("A {\n B \"1\";\n", 3),
            ("}", 1),
            ("A \"x\n\";", 1),
            ("/* never", 1),
            ("A\n}", 2),
        ] {
            assert_eq!(Configuration::parse(text).unwrap_err().line, line, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[A:\"{};#/*é \n]{0,60}|#clear [A:;]*|.*") {
            let _ = Configuration::parse(&text);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Configuration::parse(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn reads_what_is_written(
            values in prop::collection::btree_map("[a-z]{1,5}(::[a-z.-]{1,5}){0,2}", "[ -!#-~]{0,12}", 0..5),
        ) {
            let flat: String = values.iter().map(|(name, value)| format!("{name} \"{value}\";\n")).collect();
            let nested: String = values.iter().map(|(name, value)| {
                let (scope, rest) = name.split_once("::").map_or((name.as_str(), ""), |parts| parts);
                match rest {
                    "" => format!("{scope} \"{value}\"; // why\n"),
                    rest => format!("{scope} {{ /* why */ {rest} \"{value}\"; }};\n"),
                }
            }).collect();
            for text in [flat, nested] {
                prop_assert_eq!(&Configuration::parse(&text).unwrap().values, &values);
            }
        }

        #[test]
        fn deep_scopes_are_refused_not_recursed(depth in 65_usize..2000) {
            let parsed = Configuration::parse(&"A{".repeat(depth));
            prop_assert!(parsed.is_err());
        }
    }
}
