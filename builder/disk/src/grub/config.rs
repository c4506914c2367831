//! grub.cfg, rendered from data.
//!
//! The configuration is a script in a language like the shell's: words, quotes, `if`, and
//! `menuentry 'title' { … }`. `$root` is the device that GRUB was loaded from, here the ESP, so
//! that a path without a device means a file there.
//! <https://www.gnu.org/software/grub/manual/grub/html_node/Shell_002dlike-scripting.html>

use crate::{Error, Result};

/// What the menu offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Seconds until the first entry is started; 0 shows no menu.
    pub timeout: u32,
    /// The entries; the first is the default.
    pub entries: Vec<Entry>,
}

/// A kernel to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the menu calls it.
    pub title: String,
    /// The kernel's path on the ESP: `/coremax/a/vmlinuz`.
    pub kernel: String,
    /// The initrd's path on the ESP, where there is one.
    pub initrd: Option<String>,
    /// The kernel's arguments. One that holds spaces reaches the kernel as one.
    pub command_line: Vec<String>,
}

/// What is printed on every console, with the entry's title behind it, before a kernel is loaded.
pub const MARKER: &str = "coremax: loading";

/// Renders grub.cfg, for BIOS and UEFI alike.
///
/// Where an entry's kernel has a serial console, GRUB uses that line too. Under UEFI the serial
/// line belongs to the firmware, which shows its console there as it is set up to.
///
/// # Errors
/// Text that GRUB cannot hand on: control characters anywhere, and quotes or backslashes in what
/// becomes the kernel's command line.
pub fn render(config: &Config) -> Result<String> {
    let mut script = String::from("set default=0\n");
    script += &format!("set timeout={}\n", config.timeout);
    let serial = config.entries.iter().find_map(|entry| Serial::of(&entry.command_line));
    script += &serial.map(Serial::render).unwrap_or_default();
    for entry in &config.entries {
        script += &entry.render()?;
    }
    Ok(script)
}

impl Entry {
    fn render(&self) -> Result<String> {
        let title = quote(&self.title)?;
        let announce = quote(&format!("{MARKER} {}", self.title))?;
        let mut linux = format!("linux {}", argument(&self.kernel)?);
        for word in &self.command_line {
            linux += &format!(" {}", argument(word)?);
        }
        let initrd = match &self.initrd {
            Some(path) => format!("\tinitrd {}\n", argument(path)?),
            None => String::new(),
        };
        Ok(format!("menuentry {title} {{\n\techo {announce}\n\t{linux}\n{initrd}}}\n"))
    }
}

/// A serial line, as a kernel's `console=ttyS0,115200n8` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Serial {
    unit: u32,
    speed: u32,
}

impl Serial {
    /// The last one on a command line: the kernel's main console comes last.
    pub(super) fn of(command_line: &[String]) -> Option<Self> {
        command_line.iter().rev().find_map(|word| Self::parse(word))
    }

    fn parse(word: &str) -> Option<Self> {
        let console = word.strip_prefix("console=ttyS")?;
        let (unit, options) = console.split_once(',').unwrap_or((console, ""));
        let digits = options.find(|c: char| !c.is_ascii_digit()).unwrap_or(options.len());
        let speed = match &options[..digits] {
            "" => 115_200,
            digits => digits.parse().ok()?,
        };
        Some(Self { unit: unit.parse().ok()?, speed })
    }

    pub(super) fn render(self) -> String {
        let Self { unit, speed } = self;
        format!(
            "if [ \"$grub_platform\" = pc ]; then\n\
             \tserial --unit={unit} --speed={speed}\n\
             \tterminal_input console serial\n\
             \tterminal_output console serial\n\
             fi\n"
        )
    }
}

/// A word of GRUB's language that stands for `text` and nothing else.
fn quote(text: &str) -> Result<String> {
    if let Some(character) = text.chars().find(|c| c.is_control()) {
        return Err(Error::GrubText { text: text.to_owned(), character });
    }
    // Within single quotes nothing is special, and a single quote cannot be: it stands outside.
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

/// The same for a word that GRUB hands on to a kernel. It writes quotes around one with spaces,
/// which the kernel takes off, but a backslash before each quote and backslash, which it does not.
fn argument(text: &str) -> Result<String> {
    match text.chars().find(|c| "'\"\\".contains(*c)) {
        Some(character) => Err(Error::GrubText { text: text.to_owned(), character }),
        None => quote(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(title: &str, command_line: &[&str]) -> Entry {
        Entry {
            title: title.into(),
            kernel: "/a/vmlinuz".into(),
            initrd: Some("/a/initrd.img".into()),
            command_line: command_line.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_whole_configuration() {
        let first = entry("Debian's node", &["root=PARTUUID=1", "console=ttyS0,115200n8"]);
        let second = Entry { initrd: None, ..entry("b", &[]) };
        let rendered = render(&Config { timeout: 1, entries: vec![first, second] }).unwrap();
        let expected = r#"set default=0
set timeout=1
if [ "$grub_platform" = pc ]; then
	serial --unit=0 --speed=115200
	terminal_input console serial
	terminal_output console serial
fi
menuentry 'Debian'\''s node' {
	echo 'coremax: loading Debian'\''s node'
	linux '/a/vmlinuz' 'root=PARTUUID=1' 'console=ttyS0,115200n8'
	initrd '/a/initrd.img'
}
menuentry 'b' {
	echo 'coremax: loading b'
	linux '/a/vmlinuz'
}
"#;
        assert_eq!(rendered, expected);
    }

    #[test]
    fn serial_consoles() {
        for (words, expected) in [
            (&["quiet"][..], None),
            (&["console=tty1"], None),
            (&["console=ttyS0"], Some((0, 115_200))),
            (&["console=ttyS1,9600", "console=tty0"], Some((1, 9600))),
            (&["console=ttyS0,38400", "console=ttyS2,57600n8r"], Some((2, 57_600))),
            (&["console=ttyS"], None),
            (&["console=ttyS0,99999999999"], None),
        ] {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            let found = Serial::of(&words).map(|serial| (serial.unit, serial.speed));
            assert_eq!(found, expected, "{words:?}");
        }
    }

    #[test]
    fn what_cannot_be_handed_on_is_refused() {
        for bad in ["a\nb", "a\"b", "a'b", r"a\b", "a\u{7f}"] {
            let config = Config { timeout: 0, entries: vec![entry("x", &[bad])] };
            assert!(render(&config).unwrap_err().hint().is_some(), "{bad}");
        }
        assert!(render(&Config { timeout: 0, entries: vec![entry("a\nb", &[])] }).is_err());
    }

    /// What GRUB's lexer makes of a word: the part of its grammar that `quote` uses.
    fn unquote(word: &str) -> String {
        let (mut text, mut within, mut escaped) = (String::new(), false, false);
        for c in word.chars() {
            match c {
                _ if escaped => {
                    text.push(c);
                    escaped = false;
                }
                '\'' => within = !within,
                '\\' if !within => escaped = true,
                _ => {
                    assert!(within, "{c} outside of quotes in {word}");
                    text.push(c);
                }
            }
        }
        assert!(!within && !escaped);
        text
    }

    proptest! {
        #[test]
        fn quoting_comes_undone(text in "\\PC*") {
            prop_assert_eq!(unquote(&quote(&text).unwrap()), text);
        }
    }
}
