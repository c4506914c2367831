//! The stanzas of a Packages index.
//!
//! ```text
//! Package: bash
//! Version: 5.2.15-2+b7
//! Architecture: amd64
//! Filename: pool/main/b/bash/bash_5.2.15-2+b7_amd64.deb
//! Size: 1490532
//! SHA256: ...
//! ```
//! See <https://wiki.debian.org/DebianRepository/Format#A.22Packages.22_Indices>. Names, versions and paths become
//! parts of file names later on, and nothing is fetched that no SHA-256 pins: a stanza that does not serve for this is
//! passed over, as if the archive had no such package.

use coremax_fetch::{Digest, Input};

use crate::{
    Error, Package,
    deb822::{Reader, Token},
};

/// What an index offers.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    pub(crate) packages: Vec<Package>,
    /// How many stanzas were passed over, and the first of them.
    pub(crate) passed_over: usize,
    pub(crate) first_passed_over: Option<String>,
}

/// Reads an index. `name` is for messages; `source` and `pin` are put into every package.
pub(crate) fn parse(text: &str, name: &str, source: usize, pin: i32) -> Result<Offer, Error> {
    // Stanzas of Debian's and Ubuntu's indexes have 700 to 900 bytes.
    let packages = Vec::with_capacity(text.len() / 700);
    let mut offer = Offer { packages, ..Offer::default() };
    let mut stanza = Stanza::default();
    let mut reader = Reader::new(text);
    loop {
        let token = reader.next().map_err(|malformed| Error::Malformed {
            name: name.to_owned(),
            line: malformed.line,
            what: "it is not a field".to_owned(),
        })?;
        match token {
            Token::Field(field) => stanza.set(field.name, field.value),
            Token::Paragraph => {
                let package = stanza.name;
                match std::mem::take(&mut stanza).finish(source, pin) {
                    Ok(package) => offer.packages.push(package),
                    Err(what) => offer.pass_over(package, reader.line(), what),
                }
            }
            Token::End => return Ok(offer),
        }
    }
}

/// The package that a .deb's own control file describes, where no index does any more: `known` says what an index adds.
///
/// # Errors
/// What is wrong with the text.
pub fn from_control(control: &str, known: &Input, filename: &str) -> Result<Package, Error> {
    let control = control.trim_end();
    let Input { size, digest, .. } = known;
    let text = format!("{control}\nFilename: {filename}\nSize: {size}\nSHA256: {digest}\n\n");
    let mut offer = parse(&text, &known.name, 0, 0)?;
    let malformed = || Error::Malformed {
        name: known.name.clone(),
        line: 1,
        what: "its control file describes no package".to_owned(),
    };
    offer.packages.pop().ok_or_else(malformed)
}

impl Offer {
    fn pass_over(&mut self, package: &str, line: usize, what: &str) {
        self.passed_over += 1;
        self.first_passed_over.get_or_insert_with(|| {
            let package: String = package.chars().take(80).collect();
            format!("line {line}: {package}: {what}")
        });
    }
}

/// A package in the making: its fields as they stand in the text.
#[derive(Default)]
struct Stanza<'a> {
    name: &'a str,
    version: &'a str,
    architecture: &'a str,
    multi_arch: &'a str,
    essential: &'a str,
    priority: &'a str,
    section: &'a str,
    pre_depends: &'a str,
    depends: &'a str,
    recommends: &'a str,
    suggests: &'a str,
    enhances: &'a str,
    conflicts: &'a str,
    breaks: &'a str,
    provides: &'a str,
    replaces: &'a str,
    filename: &'a str,
    size: &'a str,
    installed_size: &'a str,
    phased: &'a str,
    sha256: &'a str,
}

impl<'a> Stanza<'a> {
    fn set(&mut self, name: &str, value: &'a str) {
        let field = match name {
            "Package" => &mut self.name,
            "Version" => &mut self.version,
            "Architecture" => &mut self.architecture,
            "Multi-Arch" => &mut self.multi_arch,
            "Essential" => &mut self.essential,
            "Priority" => &mut self.priority,
            "Section" => &mut self.section,
            "Pre-Depends" => &mut self.pre_depends,
            "Depends" => &mut self.depends,
            "Recommends" => &mut self.recommends,
            "Suggests" => &mut self.suggests,
            "Enhances" => &mut self.enhances,
            "Conflicts" => &mut self.conflicts,
            "Breaks" => &mut self.breaks,
            "Provides" => &mut self.provides,
            "Replaces" => &mut self.replaces,
            "Filename" => &mut self.filename,
            "Size" => &mut self.size,
            "Installed-Size" => &mut self.installed_size,
            "Phased-Update-Percentage" => &mut self.phased,
            "SHA256" => &mut self.sha256,
            _ => return,
        };
        *field = value;
    }

    fn finish(self, source: usize, pin: i32) -> Result<Package, &'static str> {
        Ok(Package {
            // dpkg takes the underscore too, and third parties use it.
            name: checked(self.name, "+-._", "its name is not a package's")?,
            version: checked(self.version, "+-.~:", "its version is not one")?,
            architecture: checked(self.architecture, "-", "its architecture is not one")?,
            multi_arch: self.multi_arch.to_owned(),
            essential: self.essential == "yes",
            priority: self.priority.to_owned(),
            section: self.section.to_owned(),
            pre_depends: one_line(self.pre_depends),
            depends: one_line(self.depends),
            recommends: one_line(self.recommends),
            suggests: one_line(self.suggests),
            enhances: one_line(self.enhances),
            conflicts: one_line(self.conflicts),
            breaks: one_line(self.breaks),
            provides: one_line(self.provides),
            replaces: one_line(self.replaces),
            filename: checked_path(self.filename).ok_or("its Filename is not a path")?,
            size: self.size.parse().map_err(|_| "its Size is not a number")?,
            installed_size: self.installed_size.parse().unwrap_or(0),
            digest: self.sha256.parse::<Digest>().map_err(|_| "it has no SHA256")?,
            phased: self.phased.parse().ok().map(|percent: u8| percent.min(100)),
            source,
            pin,
        })
    }
}

/// Letters, digits and `more`, beginning with a letter or a digit.
fn checked(text: &str, more: &str, what: &'static str) -> Result<String, &'static str> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || more.as_bytes().contains(&byte);
    match text.bytes().all(good) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        true => Ok(text.to_owned()),
        false => Err(what),
    }
}

/// A path below the archive's root.
fn checked_path(path: &str) -> Option<String> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let good = !path.is_empty()
        && path.bytes().all(|byte| byte.is_ascii_graphic())
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    good.then(|| path.to_owned())
}

/// Relations may be folded over several lines.
fn one_line(text: &str) -> String {
    if text.contains('\n') { text.replace('\n', " ") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stanza(fields: &[(&str, &str)]) -> String {
        let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let mut text = String::new();
        for (name, value) in [
            ("Package", "hello"),
            ("Version", "1:2.10-3~deb12u1+b1"),
            ("Architecture", "amd64"),
            ("Filename", "pool/main/h/hello/hello_2.10-3_amd64.deb"),
            ("Size", "12"),
            ("SHA256", digest),
        ] {
            let value = fields.iter().find(|field| field.0 == name).map_or(value, |field| field.1);
            text += &format!("{name}: {value}\n");
        }
        for (name, value) in fields.iter().filter(|field| {
            field.0.starts_with("X-") || field.0 == "Depends" || field.0.contains("-")
        }) {
            text += &format!("{}: {value}\n", name.trim_start_matches("X-"));
        }
        text + "\n"
    }

    #[test]
    fn fields() {
        let text = stanza(&[
            ("Depends", "libc6 (>= 2.34),\n foo | bar"),
            ("Phased-Update-Percentage", "40"),
            ("Installed-Size", "280"),
            ("X-Essential", "yes"),
        ]) + "\n\n"
            + &stanza(&[("Package", "other")]);
        let packages = parse(&text, "test", 3, 500).unwrap().packages;
        let [hello, other] = &packages[..] else { panic!("{packages:?}") };
        assert_eq!(hello.depends, "libc6 (>= 2.34),  foo | bar");
        assert_eq!((hello.phased, hello.installed_size, hello.size), (Some(40), 280, 12));
        assert!(hello.essential && !other.essential);
        assert_eq!((hello.source, hello.pin, other.phased), (3, 500, None));
        assert_eq!(other.name, "other");
    }

    #[test]
    fn unusable_stanzas_are_passed_over_and_nothing_else() {
        for (field, value, why) in [
            ("Package", "../../etc", "name"),
            ("Package", "", "name"),
            ("Version", "1 2", "version"),
            ("Architecture", "amd64/..", "architecture"),
            ("Filename", "pool/../../etc/passwd", "Filename"),
            ("Filename", "/etc/passwd", "Filename"),
            ("Size", "-1", "Size"),
            ("SHA256", "00", "SHA256"),
            ("SHA256", "", "SHA256"),
        ] {
            let text = stanza(&[]) + &stanza(&[(field, value)]) + &stanza(&[("Package", "after")]);
            let offer = parse(&text, "test", 0, 500).unwrap();
            let names: Vec<_> = offer.packages.iter().map(|p| p.name.as_str()).collect();
            assert_eq!((names, offer.passed_over), (vec!["hello", "after"], 1), "{field}: {value}");
            let first = offer.first_passed_over.unwrap();
            assert!(first.contains(why) && first.starts_with("line 14: "), "{first}");
        }
        let error = parse("Package: a\nbroken\n", "x", 0, 500).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn what_apt_takes_is_taken() {
        for (field, value) in [
            ("Package", "vendor_tool"),
            ("Package", "Vendor"),
            ("Installed-Size", "much"),
            ("Phased-Update-Percentage", "soon"),
        ] {
            let offer = parse(&stanza(&[(field, value)]), "test", 0, 500).unwrap();
            assert_eq!((offer.packages.len(), offer.passed_over), (1, 0), "{field}: {value}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "((Package|Version|Size|SHA256|Filename): ?|[a-f0-9./-]{0,9}|\n|é| ){0,40}") {
            let _ = parse(&text, "x", 0, 500);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse(&String::from_utf8_lossy(&bytes), "x", 0, 500);
        }

        #[test]
        fn what_is_offered_is_pinned_and_climbs_nowhere(
            name in "[a-z._/é-]{0,6}", version in "[0-9:~./ -]{0,6}", path in "[a-z./]{0,12}",
            size in "[0-9-]{0,22}", digest in "[0-9a-f]{62,65}",
        ) {
            let fields = [("Package", &*name), ("Version", &version), ("Filename", &path), ("Size", &size), ("SHA256", &digest)];
            let offer = parse(&stanza(&fields), "x", 0, 500).unwrap();
            prop_assert_eq!(offer.packages.len() + offer.passed_over, 1);
            for package in offer.packages {
                prop_assert!(!package.name.contains('/') && !package.name.starts_with('.'));
                prop_assert!(!package.version.contains('/'));
                prop_assert!(package.filename.split('/').all(|part| !matches!(part, "" | "." | "..")));
                prop_assert_eq!(package.digest.to_string(), digest.clone());
                prop_assert_eq!(size.parse(), Ok(package.size));
            }
        }
    }
}
