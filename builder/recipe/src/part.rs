//! One recipe file, read and checked by itself.

use std::{path::Path, sync::Arc};

use crate::{
    error::{Error, Place, Source},
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
/// Whatever is wrong with the text by itself, with its place: syntax, an unknown key, a value of a wrong type
/// or form.
pub fn parse(name: &str, text: &str) -> Result<Part, Error> {
    let source = Arc::new(Source::new(name, text.to_owned()));
    match toml::from_str(text) {
        Ok(written) => Ok(Part { source, written }),
        Err(error) => Err(Error::from_toml(&error, source)),
    }
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
        rendered(&parse("recipes/a.toml", text).unwrap_err())
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

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_with_a_message(text in "(\\PC|[\\[\\]=\"'\n#.{},]){0,60}") {
            if let Err(error) = parse("a.toml", &text) {
                rendered(&error);
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
            if let Err(error) = parse("a.toml", &text) {
                rendered(&error);
            }
        }
    }
}
