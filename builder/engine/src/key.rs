//! Keys that sign updates, and those that sign what firmware starts: made, and read to sign with.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use coremax_node_api::update::key::{self, PublicKey, SecretKey};
use coremax_recipe::{Recipe, SecureBoot};
use coremax_secure_boot::Signer;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::{hint::mendable, result::SecureBootKey, steps::Signature};

/// A new pair of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// The file of the public half.
    pub public: PathBuf,
    /// Its id, by which messages name it.
    pub id: String,
}

/// Makes a key: the secret half in `file`, for its owner alone, the public one beside it in `file.pub`.
///
/// # Errors
/// Where one of the files is there already; it stays as it is. Where one cannot be written.
pub fn make(file: &Path) -> Result<NewKey> {
    let public = public_half(file);
    if public.exists() {
        return Err(taken(&public));
    }
    let comment = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let secret = SecretKey::from_seed(random()?, comment);
    write_new(file, 0o600, &secret.to_line())?;
    write_new(&public, 0o644, &secret.public().to_line())?;
    Ok(NewKey { public, id: secret.public().id().to_string() })
}

/// Makes a key for Secure Boot: the private half in `file`, for its owner alone, its certificate beside it in `file.crt`.
///
/// # Errors
/// As [`make`].
pub fn make_secure_boot(file: &Path) -> Result<PathBuf> {
    let certificate = beside(file, ".crt");
    if certificate.exists() {
        return Err(taken(&certificate));
    }
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let pair = coremax_secure_boot::key::generate(&name)?;
    write_new(file, 0o600, &pair.key)?;
    write_new(&certificate, 0o644, &pair.certificate)?;
    Ok(certificate)
}

/// What signs the images of this recipe, if it wants that.
pub(crate) fn secure_boot(
    named: Option<&SecureBootKey>,
    recipe: &Recipe,
) -> Result<Option<Signature>> {
    let is_sealed = recipe.root.secure_boot == SecureBoot::Sealed;
    match named {
        None if is_sealed => {
            let why = "the recipe has [root] secure-boot = \"sealed\", and no key is named to sign the image with";
            let hint = "make one with `coremax key new --secure-boot secure-boot.key`, and build with \
                --secure-boot-key secure-boot.key --secure-boot-cert secure-boot.key.crt";
            Err(mendable(why.to_owned(), hint.to_owned()))
        }
        Some(_) if !is_sealed => {
            let why =
                "a key for Secure Boot is named, and the recipe signs nothing with it".to_owned();
            Err(mendable(why, "write [root] secure-boot = \"sealed\", or name no key".to_owned()))
        }
        None => Ok(None),
        Some(SecureBootKey { key, certificate }) => {
            let read = |file: &Path| {
                fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
            };
            let (secret, public) = (read(key)?, read(certificate)?);
            let signer = Signer::load(&secret, &public).with_context(|| {
                format!("signing with {} and {}", key.display(), certificate.display())
            })?;
            let certificate = coremax_secure_boot::key::certificate_der(&public)?;
            Ok(Some(Signature { signer: Arc::new(signer), certificate }))
        }
    }
}

/// The secret key in `file`.
///
/// # Errors
/// Where there is none, with a hint how to make one.
pub fn read(file: &Path) -> Result<SecretKey> {
    let text = fs::read_to_string(file)
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => mendable(
                format!("there is no key {}", file.display()),
                format!("make one with `coremax key new {}`", file.display()),
            ),
            _ => error.into(),
        })
        .with_context(|| format!("reading the key {}", file.display()))?;
    key::parse_secret(&text).with_context(|| format!("reading {}", file.display()))
}

/// The key in `file`, if the nodes of this recipe believe what it signs.
pub(crate) fn load(file: &Path, recipe: &Recipe) -> Result<SecretKey> {
    let key = read(file)?;
    if !recipe.root.verity {
        let why = "an update is made of a sealed root, and this one is not".to_owned();
        return Err(mendable(why, "leave out --sign-key, or [root] verity = false".to_owned()));
    }
    if !believed(recipe)?.iter().any(|public| public.id() == key.public().id()) {
        let why = format!("no node of {} would believe the key {}", recipe.name, file.display());
        let public = public_half(file);
        let hint = format!("name its public half in the recipe: [root] update-key = {public:?}");
        return Err(mendable(why, hint));
    }
    Ok(key)
}

/// The keys whose updates the nodes of a recipe believe.
pub(crate) fn believed(recipe: &Recipe) -> Result<Vec<PublicKey>> {
    let Some(source) = &recipe.root.update_key_source else { return Ok(Vec::new()) };
    let read = || -> Result<_> { Ok(key::parse_public(&fs::read_to_string(source)?)?) };
    read().with_context(|| format!("reading the update key {}", source.display()))
}

fn public_half(file: &Path) -> PathBuf {
    beside(file, ".pub")
}

fn beside(file: &Path, extension: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(extension);
    name.into()
}

/// Bytes that nobody can guess, 256 at most.
///
/// # Errors
/// Where the kernel has none.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    // As many bytes come whole or not at all: getrandom(2) promises it up to 256.
    getrandom(&mut bytes, GetRandomFlags::empty()).context("asking the kernel for random bytes")?;
    Ok(bytes)
}

fn write_new(file: &Path, mode: u32, text: &str) -> Result<()> {
    let write = || -> io::Result<()> {
        let mut new = OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()
    };
    write().map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => taken(file),
        _ => anyhow::Error::from(error).context(format!("writing the key {}", file.display())),
    })
}

fn taken(file: &Path) -> anyhow::Error {
    let hint = "name another file: what is signed with a key that is gone cannot be updated again";
    mendable(format!("{} is there already", file.display()), hint.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_its_secret_is_its_owner_s() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("update.key");
        let made = make(&file).unwrap();
        assert_eq!(made.public, folder.path().join("update.key.pub"));
        let secret = fs::read_to_string(&file).unwrap();
        let public = fs::read_to_string(&made.public).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let key = key::parse_secret(&secret).unwrap();
        assert_eq!(key::parse_public(&public).unwrap(), [key.public()]);
        assert_eq!(key.public().id().to_string(), made.id);

        for gone in [&file, &made.public] {
            fs::remove_file(gone).unwrap();
            assert!(make(&file).unwrap_err().to_string().contains("already"));
            fs::write(gone, if gone == &file { &secret } else { &public }).unwrap();
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), secret);
        assert_eq!(fs::read_to_string(&made.public).unwrap(), public);
    }

    #[test]
    fn only_a_key_that_nodes_believe_signs() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = |root: &str| {
            let text = format!("name = \"a\"\nbase = \"debian-12\"\n[root]\n{root}");
            let path = folder.path().join("a.toml");
            fs::write(&path, text).unwrap();
            coremax_recipe::load(&path).unwrap()
        };
        for name in ["one", "two"] {
            make(&folder.path().join(name)).unwrap();
        }
        let one = folder.path().join("one");
        for (root, key, want) in [
            ("update-key = \"one.pub\"", "one", None),
            ("update-key = \"two.pub\"", "one", Some("would believe")),
            ("", "one", Some("would believe")),
            ("verity = false", "one", Some("sealed root")),
            ("update-key = \"one.pub\"", "three", Some("coremax key new")),
            ("update-key = \"one.pub\"", "one.pub", Some("secret key")),
        ] {
            let result = load(&folder.path().join(key), &recipe(root));
            let said =
                result.err().map(|e| format!("{e:#} {}", crate::hint(&e).unwrap_or_default()));
            match (said, want) {
                (None, None) => {}
                (Some(said), Some(want)) => assert!(said.contains(want), "{root} {key}: {said}"),
                (said, _) => panic!("{root} {key}: {said:?}"),
            }
        }
        assert!(one.exists());
    }
}
