//! The distributions that images can be based on: one row each.
//!
//! To add one, add a row, put its keys into `keys/` and pin their fingerprints here.

use crate::{Error, Keyring};

/// The distributions, in the order in which they are offered.
static DISTRIBUTIONS: &[Distribution] = &[
    Distribution {
        id: "debian-12",
        name: "Debian 12",
        family: Family::Debian,
        codename: "bookworm",
        suites: &[
            ("bookworm", Side::Main),
            ("bookworm-updates", Side::Main),
            ("bookworm-security", Side::Security),
        ],
        components: &["main"],
        mirrors: None,
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
        efi_folder: "debian",
    },
    Distribution {
        id: "debian-13",
        name: "Debian 13",
        family: Family::Debian,
        codename: "trixie",
        suites: &[
            ("trixie", Side::Main),
            ("trixie-updates", Side::Main),
            ("trixie-security", Side::Security),
        ],
        components: &["main"],
        mirrors: None,
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
        efi_folder: "debian",
    },
    Distribution {
        id: "ubuntu-22.04",
        name: "Ubuntu 22.04",
        family: Family::Ubuntu,
        codename: "jammy",
        suites: &[
            ("jammy", Side::Main),
            ("jammy-updates", Side::Main),
            ("jammy-security", Side::Security),
        ],
        components: &["main", "universe"],
        mirrors: Some(("http://archive.ubuntu.com/ubuntu", "http://security.ubuntu.com/ubuntu")),
        keys: &[Key {
            fingerprint: "F6ECB3762474EDA9D21B7022871920D1991BC93C",
            armored: include_str!("../keys/ubuntu-2018.asc"),
        }],
        needs_usr_links: true,
        loaders: Loaders { systemd_boot: "systemd", ..LOADERS },
        efi_folder: "ubuntu",
    },
];

/// Debian and Ubuntu name them alike, but for systemd's, which Ubuntu 22.04 has not split off.
const LOADERS: Loaders = Loaders {
    bios: "grub-pc-bin",
    uefi: "grub-efi-amd64-bin",
    uefi_signed: "grub-efi-amd64-signed",
    shim: "shim-signed",
    systemd_boot: "systemd-boot-efi",
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
    /// Its suites, and which of the two archives has each.
    pub suites: &'static [(&'static str, Side)],
    /// The components that are used.
    pub components: &'static [&'static str],
    /// Its own main and security archives. `None` means that the host's apt configuration or the user names them.
    pub mirrors: Option<(&'static str, &'static str)>,
    /// Its keys.
    pub keys: &'static [Key],
    /// Whether `/bin`, `/sbin`, `/lib*` must be made links into `/usr` before anything is unpacked; later releases
    /// carry the links in base-files.
    pub needs_usr_links: bool,
    /// Its boot loaders.
    pub loaders: Loaders,
    /// The folder below `EFI/` that its signed GRUB looks for its configuration in.
    pub efi_folder: &'static str,
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

/// The packages that bring a boot loader.
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
}

/// Where the two archives of a distribution are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    /// The archive's root.
    pub main: String,
    /// The security archive's root; `None` where there is none, which leaves an image without its updates.
    pub security: Option<String>,
}

/// The distribution that a recipe calls `id`.
///
/// # Errors
/// Lists those that there are.
pub fn distribution(id: &str) -> Result<&'static Distribution, Error> {
    let found = DISTRIBUTIONS.iter().find(|distribution| distribution.id == id);
    found.ok_or_else(|| Error::UnknownDistribution { id: id.to_owned() })
}

/// All distributions.
pub fn distributions() -> &'static [Distribution] {
    DISTRIBUTIONS
}

impl Distribution {
    /// Its keys, each checked to be the pinned one.
    ///
    /// # Errors
    /// Where a file holds another key than it should.
    pub fn keyring(&self) -> Result<Keyring, Error> {
        let keys = self.keys.iter().map(|key| {
            Keyring::parse(key.armored.as_bytes(), self.name)?.pinned(&[key.fingerprint], self.name)
        });
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let joined = keys.into_iter().reduce(|all, key| all.and(&key));
        joined.ok_or_else(|| Error::NoKey { name: self.name.to_owned() })
    }

    /// Its own archives, where it has some that may be used unasked.
    pub fn default_mirrors(&self) -> Option<Mirrors> {
        let (main, security) = self.mirrors?;
        Some(Mirrors { main: main.to_owned(), security: Some(security.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_the_keys_that_it_pins() {
        for distribution in distributions() {
            let pinned: Vec<_> = distribution.keys.iter().map(|key| key.fingerprint).collect();
            assert_eq!(distribution.keyring().unwrap().fingerprints(), pinned);
            assert_eq!(super::distribution(distribution.id).unwrap(), distribution);
        }
    }

    #[test]
    fn an_unknown_one_is_refused_with_a_list() {
        let error = distribution("debian-1").unwrap_err();
        assert!(error.hint().unwrap().contains("debian-12"), "{error}");
    }
}
