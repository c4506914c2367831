//! Recipes: text in, [`Recipe`] out.
//!
//! A recipe is one TOML file that says what an image is, in the operator's words:
//!
//! ```toml
//! name = "node"
//! base = "debian-12"
//! parts = ["server"]            # recipes/parts/server.toml, merged first
//! [packages]
//! install = ["lvm2"]
//! ```
//!
//! A part is a file of the same form without `name`, `version` and `base`. Parts are merged in the order
//! they are named, each after the parts it names itself, the recipe last. A later scalar takes the place
//! of an earlier one; lists of names are joined and keep each name once; tables in double brackets
//! (`[[user]]`, `[[file]]`, ...) are joined, and naming one twice is an error.
//!
//! The form of the text is [TOML 1.0](https://toml.io/en/v1.0.0); the keys stand in `written.rs`,
//! and for editors in `recipes/recipe.schema.json`, which [`schema`] makes from the same types.

mod error;
mod load;
mod merge;
mod nowhere;
mod part;
mod recipe;
mod schema;
mod values;
mod written;

pub use coremax_toml_text::Place;
pub use error::{Error, Mistakes};
pub use load::{load, load_on};
pub use merge::merge;
pub use part::{Part, parse};
pub use recipe::{
    Archive, Content, Expect, File, Kernel, Lock, Mirror, Overlay, Packages, Recipe, Root, Units,
    User, Volume,
};
pub use schema::schema;
pub use values::{
    AbsolutePath, ArchiveName, BadValue, Base, Bytes, ComponentName, Compression, Format, Gecos,
    GroupName, HostName, KernelArgument, Listen, Locale, MirrorUrl, Mode, Modules, PackageName,
    PartName, Protocol, RecipeName, SecureBoot, SourcePath, SshKey, SuiteName, TimeZone, UnitName,
    UserName, Version,
};

#[cfg(test)]
mod tests {
    /// A recipe that says every key there is.
    pub(crate) const EVERY_KEY: &str = r#"
name = "every-key"
summary = "Every key there is"
version = "1.0"
base = "debian-12"
parts = ["base"]
hostname = "n1"
timezone = "Europe/Vienna"
locale = "C.UTF-8"
[packages]
install = ["less", "chrony"]
exclude = ["nano"]
recommends = true
[[for]]
base = "ubuntu-22.04"
install = ["lvm2"]
[kernel]
package = "linux-image-cloud-amd64"
command-line = ["console=tty1", "quiet"]
modules = "cloud"
[access]
ssh-keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ada@desk"]
[[user]]
name = "ada"
uid = 1000
groups = ["adm", "systemd-journal"]
shell = "/bin/bash"
ssh-keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"]
gecos = "Ada"
system = false
[[overlay]]
from = "overlays/a"
[[file]]
path = "/etc/motd"
content = "welcome\n"
mode = "0600"
owner = "ada"
group = "adm"
[[file]]
path = "/usr/local/bin/run"
from = "files/run"
[units]
enable = ["chrony.service"]
disable = ["getty@tty1.service"]
mask = ["systemd-firstboot.service"]
keep = ["dpkg-db-backup.timer"]
[root]
verity = false
size = "2GiB"
compression = "small"
secure-boot = "off"
update-key = "keys/update.pub"
[data]
size = "64MiB"
[mirror]
archive = "http://mirror.example/debian"
security = "http://mirror.example/debian-security"
[[archive]]
name = "ceph"
mirror = "http://mirror.example/ceph"
suites = ["bookworm"]
components = ["main"]
key = "keys/ceph.asc"
pin = 600
[lock]
snapshot = "http://snapshot.example/debian"
snapshot-security = "http://snapshot.example/debian-security"
[[output]]
format = "qcow2"
[[output]]
format = "raw"
[expect]
packages = ["bash"]
files = ["/etc/motd"]
units = ["chrony.service"]
listens = ["udp/123"]
"#;

    /// Whoever adds a key adds it above, where the property tests find it.
    #[test]
    fn every_key_is_every_key() {
        let schema = crate::schema();
        let tables = schema["$defs"].as_object().unwrap().values().chain([&schema]);
        let keys =
            tables.filter_map(|table| table["properties"].as_object()).flat_map(|keys| keys.keys());
        for key in keys {
            let said = [format!("\n{key} = "), format!("[{key}]")];
            assert!(said.iter().any(|form| EVERY_KEY.contains(form)), "{key}");
        }
    }
}
