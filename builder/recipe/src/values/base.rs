//! The distributions that a recipe may name.

use std::{fmt, str::FromStr, sync::LazyLock};

use coremax_distribution::distributions;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Value, json};

use super::{BadValue, words::word};

/// A distribution that images are built from: a row of the table that recipes may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Base {
    id: &'static str,
    kernel: &'static str,
}

static ALL: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let offered = distributions().iter().filter(|row| row.is_offered);
    offered.map(|row| Base { id: row.id, kernel: row.kernel }).collect()
});
static IDS: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| ALL.iter().map(|base| base.as_str()).collect());

impl Base {
    /// Every base, in the order people are shown them.
    pub fn all() -> &'static [Self] {
        &ALL
    }

    /// The word a recipe says.
    pub const fn as_str(self) -> &'static str {
        self.id
    }

    /// The distribution's own name for its kernel of this architecture.
    pub const fn kernel_package(self) -> &'static str {
        self.kernel
    }
}

impl FromStr for Base {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        word(text, "a base", Self::all())
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Base {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Base {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Base;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a base")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Base, E> {
        text.parse().map_err(|_| E::unknown_variant(text, &IDS))
    }
}

impl JsonSchema for Base {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Base".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let offered = distributions().iter().filter(|row| row.is_offered);
        let choice = |name: &str, id: &str| json!({ "const": id, "description": format!("{name}."), "type": "string" });
        let choices: Vec<Value> = offered.map(|row| choice(row.name, row.id)).collect();
        json_schema!({
            "description": "A distribution that images are built from.",
            "oneOf": choices,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_may_name_what_is_offered_and_nothing_else() {
        for row in distributions() {
            let base = row.id.parse::<Base>();
            assert_eq!(base.is_ok(), row.is_offered, "{}", row.id);
            let Ok(base) = base else { continue };
            assert_eq!((base.as_str(), base.kernel_package()), (row.id, row.kernel));
            assert_eq!(serde_json::to_value(base).unwrap(), base.as_str());
            assert_eq!(serde_json::from_value::<Base>(json!(row.id)).unwrap(), base);
        }
        let error = "debian-1".parse::<Base>().unwrap_err().to_string();
        assert_eq!(error, "`debian-1` is not a base: write debian-12 or ubuntu-22.04");
    }
}
