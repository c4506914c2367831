//! The distributions that images can be based on: one row each, and all in which they differ.
//!
//! To add one, add a row, put its keys into `keys/` and pin their fingerprints here. No code asks which distribution it
//! has: it reads the row. What a recipe's packages are called on one of them alone, the recipe says (`[[for]]`).

/// The distributions, in the order in which they are offered.
static DISTRIBUTIONS: &[Distribution] = &[
    Distribution {
        id: "debian-12",
        name: "Debian 12",
        family: Family::Debian,
        codename: "bookworm",
        kernel: "linux-image-amd64",
        is_offered: true,
        suites: &[
            ("bookworm", Side::Main),
            ("bookworm-updates", Side::Main),
            ("bookworm-security", Side::Security),
        ],
        components: &["main"],
        mirrors: None,
        security_is_mirrored: false,
        keys: &[
            Key {
                fingerprint: "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8",
                armored: include_str!("../keys/debian-12-automatic.asc"),
            },
            Key {
                fingerprint: "05AB90340C0C5E797F44A8C8254CF3B5AEC0A8F0",
                armored: include_str!("../keys/debian-12-security.asc"),
            },
            Key {
                fingerprint: "4D64FEC119C2029067D6E791F8D2585B8783D481",
                armored: include_str!("../keys/debian-12-release.asc"),
            },
        ],
        needs_usr_links: true,
        loaders: LOADERS,
    },
    Distribution {
        id: "debian-13",
        name: "Debian 13",
        family: Family::Debian,
        codename: "trixie",
        kernel: "linux-image-amd64",
        // Known, so that a host of it is: nothing was built on it yet.
        is_offered: false,
        suites: &[
            ("trixie", Side::Main),
            ("trixie-updates", Side::Main),
            ("trixie-security", Side::Security),
        ],
        components: &["main"],
        mirrors: None,
        security_is_mirrored: false,
        keys: &[
            Key {
                fingerprint: "04B54C3CDCA79751B16BC6B5225629DF75B188BD",
                armored: include_str!("../keys/debian-13-automatic.asc"),
            },
            Key {
                fingerprint: "5E04A1E3223A19A20706E20F9904613D4CCE68C6",
                armored: include_str!("../keys/debian-13-security.asc"),
            },
            Key {
                fingerprint: "41587F7DB8C774BCCF131416762F67A0B2C39DE4",
                armored: include_str!("../keys/debian-13-release.asc"),
            },
        ],
        needs_usr_links: false,
        loaders: LOADERS,
    },
    Distribution {
        id: "ubuntu-22.04",
        name: "Ubuntu 22.04",
        family: Family::Ubuntu,
        codename: "jammy",
        kernel: "linux-image-generic",
        is_offered: true,
        suites: &[
            ("jammy", Side::Main),
            ("jammy-updates", Side::Main),
            ("jammy-security", Side::Security),
        ],
        components: &["main", "universe"],
        mirrors: Some(("http://archive.ubuntu.com/ubuntu", "http://security.ubuntu.com/ubuntu")),
        security_is_mirrored: true,
        keys: &[Key {
            fingerprint: "F6ECB3762474EDA9D21B7022871920D1991BC93C",
            armored: include_str!("../keys/ubuntu-2018.asc"),
        }],
        needs_usr_links: true,
        loaders: Loaders {
            systemd_boot: "systemd",
            // The release's own package has it by the plain name, its updates by the other.
            shim_files: &[
                "/usr/lib/shim/shimx64.efi.signed.latest",
                "/usr/lib/shim/shimx64.efi.signed",
            ],
            grub_files: &[
                "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
                "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed.latest",
            ],
            manager_files: &["/usr/lib/shim/mmx64.efi"],
            efi_folder: "ubuntu",
            ..LOADERS
        },
    },
];

/// Debian's. Ubuntu names packages alike, but for systemd's, which 22.04 has not split off. Its files add `.latest`, to
/// which a postinst links; Debian's MokManager is signed only where its name says so.
const LOADERS: Loaders = Loaders {
    bios: "grub-pc-bin",
    uefi: "grub-efi-amd64-bin",
    uefi_signed: "grub-efi-amd64-signed",
    shim: "shim-signed",
    systemd_boot: "systemd-boot-efi",
    shim_files: &["/usr/lib/shim/shimx64.efi.signed"],
    grub_files: &["/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"],
    manager_files: &["/usr/lib/shim/mmx64.efi.signed"],
    efi_folder: "debian",
};

/// A base that images can be built on.
#[derive(Debug, PartialEq, Eq)]
pub struct Distribution {
    /// What a recipe calls it: `debian-12`.
    pub id: &'static str,
    /// What people call it: `Debian 12`.
    pub name: &'static str,
    /// Whose archive it lives in.
    pub family: Family,
    /// `bookworm`.
    pub codename: &'static str,
    /// Its own name for its kernel.
    pub kernel: &'static str,
    /// Whether recipes may name it: what was built and booted.
    pub is_offered: bool,
    /// Its suites, and which of the two archives has each.
    pub suites: &'static [(&'static str, Side)],
    /// The components that are used.
    pub components: &'static [&'static str],
    /// Its own main and security archives. `None` means that the host's apt configuration or the user names them.
    pub mirrors: Option<(&'static str, &'static str)>,
    /// Whether a mirror of the main archive has the security suites too.
    pub security_is_mirrored: bool,
    /// Its keys.
    pub keys: &'static [Key],
    /// Whether `/bin`, `/sbin`, `/lib*` must be made links into `/usr` before anything is unpacked; later releases
    /// carry the links in base-files.
    pub needs_usr_links: bool,
    /// Its boot loaders.
    pub loaders: Loaders,
}

/// Whose archive a distribution lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Debian's.
    Debian,
    /// Ubuntu's.
    Ubuntu,
}

/// The two archives of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The archive that every mirror has.
    Main,
    /// The one for security updates.
    Security,
}

/// A key of a distribution.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// The primary key's, in upper-case hex digits.
    pub fingerprint: &'static str,
    /// The key itself.
    pub armored: &'static str,
}

/// The packages that bring a boot loader, and where the signed ones put it: of several paths the first that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaders {
    /// GRUB for BIOS.
    pub bios: &'static str,
    /// GRUB's modules for UEFI.
    pub uefi: &'static str,
    /// GRUB for UEFI, signed.
    pub uefi_signed: &'static str,
    /// The shim that firmware trusts.
    pub shim: &'static str,
    /// systemd's loader and stub, for whoever signs them.
    pub systemd_boot: &'static str,
    /// The signed shim.
    pub shim_files: &'static [&'static str],
    /// The signed GRUB.
    pub grub_files: &'static [&'static str],
    /// The shim's MokManager.
    pub manager_files: &'static [&'static str],
    /// The folder below `EFI/` that the signed GRUB looks for its configuration in.
    pub efi_folder: &'static str,
}

/// All distributions.
pub fn distributions() -> &'static [Distribution] {
    DISTRIBUTIONS
}

/// The distribution that a recipe calls `id`, if there is one.
pub fn distribution(id: &str) -> Option<&'static Distribution> {
    DISTRIBUTIONS.iter().find(|distribution| distribution.id == id)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    use super::*;

    #[test]
    fn rows_are_found_by_their_ids_and_have_all_that_a_build_needs() {
        for row in distributions() {
            assert_eq!(distribution(row.id).unwrap(), row);
            assert_eq!(row.suites[0], (row.codename, Side::Main), "the release comes first");
            assert!(row.suites.iter().any(|(_, side)| *side == Side::Security), "{}", row.id);
            let files = [row.loaders.shim_files, row.loaders.grub_files, row.loaders.manager_files];
            assert!(files.iter().all(|paths| !paths.is_empty()), "{}", row.id);
            assert!(!row.keys.is_empty() && !row.kernel.is_empty(), "{}", row.id);
        }
        assert!(distribution("debian-1").is_none());
    }

    /// Letter by letter, as the archive has it: nobody notices a wrong row where that archive is not at hand.
    #[test]
    fn ubuntu_is_what_it_is() {
        let row = distribution("ubuntu-22.04").unwrap();
        assert_eq!((row.name, row.codename), ("Ubuntu 22.04", "jammy"));
        let suites = row.suites.iter().map(|(name, side)| format!("{name} {side:?}"));
        assert_eq!(
            suites.collect::<Vec<_>>(),
            ["jammy Main", "jammy-updates Main", "jammy-security Security"]
        );
        assert_eq!(row.components, ["main", "universe"]);
        let mirrors = ("http://archive.ubuntu.com/ubuntu", "http://security.ubuntu.com/ubuntu");
        assert_eq!((row.mirrors, row.security_is_mirrored), (Some(mirrors), true));
        let keys: Vec<_> = row.keys.iter().map(|key| key.fingerprint).collect();
        assert_eq!(keys, ["F6ECB3762474EDA9D21B7022871920D1991BC93C"]);
        assert!(row.needs_usr_links && row.is_offered && row.family == Family::Ubuntu);
        assert_eq!(row.kernel, "linux-image-generic");
        let Loaders { bios, uefi, uefi_signed, shim, systemd_boot, .. } = row.loaders;
        assert_eq!(
            [bios, uefi, uefi_signed, shim, systemd_boot],
            [
                "grub-pc-bin",
                "grub-efi-amd64-bin",
                "grub-efi-amd64-signed",
                "shim-signed",
                "systemd"
            ]
        );
        assert_eq!(row.loaders.shim_files[0], "/usr/lib/shim/shimx64.efi.signed.latest");
        let grub = "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed";
        assert_eq!((row.loaders.grub_files[0], row.loaders.efi_folder), (grub, "ubuntu"));
        assert_eq!(row.loaders.manager_files, ["/usr/lib/shim/mmx64.efi"]);
    }

    /// Where the words stand all the same: the end of a file's path, what stands there, and why.
    const ELSEWHERE: [(&str, &str, &str); 7] = [
        (
            "archive/src/host.rs",
            "debian",
            "the host's own apt, which leads to mirrors of Debian alone",
        ),
        ("archive/src/host/debian.rs", "family::debian", "the same"),
        ("archive/src/host/debian.rs", "debian", "the same"),
        ("archive/src/error.rs", "debian", "the same, in words"),
        ("engine/src/resolve.rs", "debian_", "who asks it"),
        ("rootfs/src/configure.rs", "debian_frontend", "debconf's variable on every distribution"),
        ("rootfs/src/deb/ar.rs", "debian-binary", "the format of every package, deb(5)"),
    ];

    #[test]
    fn no_code_but_this_asks_which_distribution_it_has() {
        let builder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let own = ["debian", "ubuntu", "family::"].map(str::to_owned);
        let of_rows = distributions().iter().flat_map(|it| [it.id, it.codename, it.name]);
        let words: BTreeSet<_> = of_rows.map(str::to_lowercase).chain(own).collect();
        let own = Path::new("distribution/src/lib.rs");
        let files = sources(&builder);
        let files: Vec<_> = files.iter().filter(|(path, _)| !path.ends_with(own)).collect();
        assert!(files.len() > 100, "{} files", files.len());
        let of_tests: BTreeSet<_> =
            files.iter().flat_map(|(_, text)| modules_of_tests(text)).collect();
        let is_test = |stem: &String| stem.ends_with("tests") || of_tests.contains(stem);
        let stem = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
        let mut stale: BTreeSet<_> = ELSEWHERE.into();
        for (path, text) in files.into_iter().filter(|(path, _)| !is_test(&stem(path))) {
            for (number, line) in code(text) {
                let mut line = line.to_lowercase();
                for known @ (end, what, _) in ELSEWHERE {
                    if path.ends_with(end) && line.contains(what) {
                        stale.remove(&known);
                        line = line.replace(what, "");
                    }
                }
                let named = words.iter().find(|word| holds(&line, word));
                assert_eq!(named, None, "{}:{number}: {line}", path.display());
            }
        }
        assert!(stale.is_empty(), "they stand there no longer: {stale:?}");
    }

    #[test]
    fn code_is_what_is_neither_comment_nor_test() {
        let text = "one(\"http://a\"); // no\n// no\n#[cfg(test)]\nmod no;\ntwo\n    #[cfg(test)]\n    fn no() {\n\
                    \x20       no\n    }\n#[cfg(test)]\n#[allow(no)]\nmod tests {\n    no\n}\nthree\n";
        let lines: Vec<_> = code(text).map(|(_, line)| line.trim()).collect();
        assert_eq!(lines, ["one(\"http://a\");", "", "two", "three"]);
        assert!(holds("if family::debian", "family::") && !holds("addressfamily::x", "family::"));
    }

    /// Whether a word stands in a line, and is not the end of another.
    fn holds(line: &str, word: &str) -> bool {
        let is_begun = |at: usize| !line[..at].ends_with(|before: char| before.is_alphanumeric());
        line.match_indices(word).any(|(at, _)| is_begun(at))
    }

    /// The lines that are neither comment nor test, numbered.
    fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
        let mut end = None;
        text.lines().enumerate().filter_map(move |(number, line)| {
            let indent = &line[..line.len() - line.trim_start().len()];
            match (&end, line.trim()) {
                (None, "#[cfg(test)]") => end = Some(String::new()),
                (None, _) => {
                    let comment = line.find(" //").unwrap_or(line.len());
                    let is_comment = line.trim_start().starts_with("//");
                    return Some((number + 1, if is_comment { "" } else { &line[..comment] }));
                }
                (Some(close), it) if close.is_empty() => match it {
                    it if it.starts_with("#[") => {}
                    it if it.ends_with('{') => end = Some(format!("{indent}}}")),
                    it if it.ends_with([';', '}', ',']) => end = None,
                    _ => {}
                },
                (Some(close), _) if line == close => end = None,
                _ => {}
            }
            None
        })
    }

    /// All files of Rust below a folder's `src`.
    fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
        let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
        let (folders, files): (Vec<_>, Vec<_>) =
            entries.filter(|path| !path.ends_with("tests")).partition(|path| path.is_dir());
        let files = files.into_iter().filter(|path| path.extension().is_some_and(|it| it == "rs"));
        let read = files.map(|path| (path.clone(), fs::read_to_string(path).unwrap()));
        read.chain(folders.iter().flat_map(|folder| sources(folder))).collect()
    }

    fn modules_of_tests(text: &str) -> impl Iterator<Item = String> {
        let declared = text.split("#[cfg(test)]\nmod ").skip(1);
        declared.filter_map(|rest| {
            Some(rest.split_once(';')?.0.to_owned()).filter(|it| !it.contains(' '))
        })
    }
}
