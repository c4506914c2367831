//! The values a recipe is made of, each checked where it is read.
//!
//! Every type here parses from text (`FromStr`), displays as that text, and serialises as its display.
//! Parsing happens inside the TOML reader's visitor, so that an error carries the span of the very value,
//! also of one among many in a list.

mod base;
mod listen;
mod mode;
mod names;
mod size;
mod words;

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserializer, de};

pub use base::Base;
pub use listen::{Listen, Protocol};
pub use mode::Mode;
pub use names::{
    AbsolutePath, ArchiveName, ComponentName, Gecos, GroupName, HostName, KernelArgument, Locale,
    MirrorUrl, PackageName, PartName, RecipeName, SourcePath, SshKey, SuiteName, TimeZone,
    UnitName, UserName, Version,
};
pub use size::Bytes;
pub use words::{Compression, Format, Modules, SecureBoot};

/// A text that is not a value of the kind it stands for. Displays the text, the kind, and the kind's form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {kind}: {form}", shown(.text))]
pub struct BadValue {
    text: String,
    kind: &'static str,
    form: String,
}

impl BadValue {
    fn new(text: &str, kind: &'static str, form: impl Into<String>) -> Self {
        Self { text: text.to_owned(), kind, form: form.into() }
    }
}

/// A foreign text cut to what fits a message, on one line.
fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let mut short: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}

/// What [`text_value`] needs to know of a type: how to call it, and its pattern for the schema.
trait TextValue: FromStr<Err = BadValue> + fmt::Display {
    /// With its article: `a package name`.
    const KIND: &'static str;
    /// The whole text's form, a regular expression without anchors that Rust and JSON Schema read alike.
    const PATTERN: &'static str;
}

/// Reads a value from a string, inside the visitor so that its errors are located.
fn deserialize<'de, T: TextValue, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    struct Visitor<T>(PhantomData<T>);
    impl<T: TextValue> de::Visitor<'_> for Visitor<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} in quotes", T::KIND)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    from.deserialize_str(Visitor(PhantomData))
}

/// Implements serde and schemars for types that are [`TextValue`].
macro_rules! text_value {
    ($($name:ident),+) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $crate::values::deserialize(from)
            }
        }
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                use $crate::values::TextValue;
                schemars::json_schema!({
                    "type": "string",
                    "description": Self::KIND,
                    "pattern": format!("^(?:{})$", Self::PATTERN),
                })
            }
        }
    )+};
}
use text_value;
