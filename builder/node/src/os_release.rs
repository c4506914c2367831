//! What an image says of itself: <https://www.freedesktop.org/software/systemd/man/os-release.html>.

/// The image's own, not the copy in /etc that somebody may have changed.
pub(crate) const PATH: &str = "/usr/lib/os-release";

/// A field, perhaps in quotes.
pub(crate) fn field(os_release: &str, name: &str) -> Option<String> {
    let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned());
    os_release.lines().find_map(value).map(|value| value.trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let text = "NAME=\"Debian\"\nIMAGE_ID=node\nIMAGE_VERSION='2026.11.22'\nIMAGE_IDX=1\n";
        for (name, want) in [
            ("NAME", Some("Debian")),
            ("IMAGE_ID", Some("node")),
            ("IMAGE_VERSION", Some("2026.11.22")),
            ("IMAGE", None),
        ] {
            assert_eq!(field(text, name).as_deref(), want, "{name}");
        }
    }
}
