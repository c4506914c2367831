//! The JSON Schema that editors check recipes with, made from the types that read them.

use schemars::{Schema, generate::SchemaSettings, transform::transform_subschemas};
use serde_json::{Value, json};

use crate::written::Written;

/// The schema of a recipe file (JSON Schema 2020-12). `recipes/recipe.schema.json` holds it.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(without_null);
    settings.into_generator().into_root_schema_for::<Written>().to_value()
}

/// TOML has no null: a key that may be left out is not one that may be null.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice != &json!({ "type": "null" }));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (key, value) in only {
                schema.insert(key, value);
            }
        }
    }
    transform_subschemas(&mut without_null, schema);
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    /// Run with COREMAX_BLESS=1 to write the file anew.
    #[test]
    fn the_file_beside_the_recipes_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/recipe.schema.json");
        let fresh = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        if env::var_os("COREMAX_BLESS").is_some() {
            fs::write(&path, &fresh).unwrap();
        }
        assert!(
            fs::read_to_string(&path).unwrap_or_default() == fresh,
            "{} is out of date",
            path.display()
        );
    }

    #[test]
    fn no_key_may_be_null_and_no_unknown_key_is_allowed() {
        let text = schema().to_string();
        assert!(!text.contains("\"null\""), "{text}");
        for table in schema()["$defs"].as_object().unwrap().values().chain([&schema()]) {
            if table["type"] == "object" {
                assert_eq!(table["additionalProperties"], false, "{table}");
            }
        }
    }
}
