//! One recipe file, read and checked by itself.

use std::{path::Path, sync::Arc};

use coremax_toml_text::{Place, Source};
use toml::de::DeTable;

use crate::{
    error::{Error, Mistakes},
    values::PartName,
    written::{Located, Written},
};

/// One file as it was written: a recipe or a part. It still knows where each value stands.
#[derive(Debug)]
pub struct Part {
    source: Arc<Source>,
    pub(crate) written: Written,
}

/// Reads the text of a recipe or part. `name` is what messages call it, a path as a rule. Reads nothing else:
/// parts and files it names are looked for by [`load`](crate::load).
///
/// # Errors
/// Everything that is wrong with the text by itself, with its place: unknown keys, values of a wrong type or form;
/// of the syntax the first mistake alone.
pub fn parse(name: &str, text: &str) -> Result<Part, Mistakes> {
    let (part, found) = parse_what_is_right(name, text);
    Mistakes::none_of(found)?;
    Ok(part)
}

/// As [`parse`], without what is wrong, and what that is.
pub(crate) fn parse_what_is_right(name: &str, text: &str) -> (Part, Vec<Error>) {
    let source = Arc::new(Source::new(name, text.to_owned()));
    let (written, found) = match DeTable::parse(text) {
        Ok(root) => coremax_toml_text::read(root),
        Err(error) => (None, vec![error]),
    };
    let found = found.iter().map(|error| Error::from_toml(error, Arc::clone(&source))).collect();
    (Part { source, written: written.unwrap_or_default() }, found)
}

impl Part {
    /// Where `value`, which is this file's, stands.
    pub(crate) fn place<T>(&self, value: &Located<T>) -> Place {
        Place::new(Arc::clone(&self.source), value.span())
    }

    /// The file's beginning, for what is missing in it.
    pub(crate) fn beginning(&self) -> Place {
        Place::new(Arc::clone(&self.source), 0..0)
    }

    /// What the file is called in reasons: `recipe node`, `part base`. Says no folder, so that a plan is the same
    /// wherever the recipe lies.
    pub(crate) fn title(&self) -> String {
        let stem = Path::new(self.source.name()).file_stem().unwrap_or_default();
        match &self.written.name {
            Some(name) => format!("recipe {}", name.value()),
            None => format!("part {}", stem.to_string_lossy()),
        }
    }

    pub(crate) fn parts(&self) -> &[Located<PartName>] {
        &self.written.parts
    }
}

#[cfg(test)]
mod tests {
    use miette::{GraphicalReportHandler, GraphicalTheme};
    use proptest::{prelude::*, sample::Index};

    use super::*;
    use crate::tests::EVERY_KEY;

    /// The error of a text as a person sees it.
    fn complaint(text: &str) -> String {
        parse("recipes/a.toml", text).unwrap_err().iter().map(rendered).collect()
    }

    fn rendered(error: &Error) -> String {
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
        let mut out = String::new();
        handler.with_width(90).render_report(&mut out, error).unwrap();
        out
    }

    /// Look at the snapshot: it is what people see.
    #[test]
    fn errors_underline_the_place_and_name_the_nearest_right_word() {
        let texts = [
            "name = \"a\"\n\n[pakages]\ninstall = []\n",
            "[kernel]\ncommand_line = []\n",
            "[expect]\nboots = true\n",
            "[[output]]\nformat = \"vhd\"\n",
            "base = \"debian12\"\n",
            "[packages]\ninstall = [\n    \"less\",\n    \"OpenSSH\",\n]\n",
            "[root]\nsize = \"2GB\"\n",
            "[root]\nsize = 2\n",
            "[[file]]\npath = \"/etc/motd/\"\n",
            "[[file]]\npath = \"/etc/motd\"\nmode = 0o644\n",
            "[[user]]\nuid = 1000\n",
            "[[user]]\nname = \"ada\"\nuid = -1\n",
            "[[archive]]\nname = \"ceph\"\npin = 0\n",
            "parts = \"base\"\n",
            "[user]\nname = \"ada\"\n",
            "kernel = \"linux-image-amd64\"\n",
            "[units]\nenable = [\"ssh\"]\n",
            "name = \"a",
            "name = \"a\"\nname = \"b\"\n",
        ];
        let shown: Vec<_> = texts.iter().map(|text| complaint(text)).collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn all_mistakes_are_told_from_the_top_and_none_that_follows_from_another() {
        let text = "nmae = \"a\"\nbase = 3\n[packages]\ninstall = [\"less\", \"Less\", 4]\n\
                    [[user]]\nnam = \"ada\"\nuid = -1\n[[user]]\nuid = 3\n";
        let mistakes = parse("a.toml", text).unwrap_err();
        let places: Vec<_> = mistakes.iter().map(|e| e.place().unwrap().to_string()).collect();
        let wanted = ["1:1", "2:8", "4:20", "4:28", "6:1", "7:7", "8:1"];
        assert_eq!(places, wanted.map(|at| format!("a.toml:{at}")), "{mistakes:?}");
        assert!(mistakes.to_string().ends_with("(and 6 more)"), "{mistakes}");
        let many = format!("[packages]\ninstall = [{}]", "4, ".repeat(100));
        assert!(parse("a.toml", &many).unwrap_err().iter().count() < 30);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_with_a_message(text in "(\\PC|[\\[\\]=\"'\n#.{},]){0,60}") {
            if let Err(mistakes) = parse("a.toml", &text) {
                mistakes.iter().for_each(|error| drop(rendered(error)));
            }
        }

        /// A recipe cut, with pieces swapped and characters put in, as an editor leaves it half-way.
        #[test]
        fn any_change_of_a_recipe_is_read_or_refused_with_a_message(
            from: Index, to: Index, piece in "[a-z\"=\\[\\]\n.0-9é-]{0,6}",
        ) {
            let chars: Vec<char> = EVERY_KEY.chars().collect();
            let (from, to) = (from.index(chars.len()), to.index(chars.len()));
            let mut text: String = chars[..from].iter().collect();
            text.push_str(&piece);
            text.extend(&chars[to..]);
            if let Err(mistakes) = parse("a.toml", &text) {
                mistakes.iter().for_each(|error| drop(rendered(error)));
            }
        }
    }
}
