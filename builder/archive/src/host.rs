//! What the host's apt is configured to: where Debian is served, and how the network is reached.
//!
//! Read are `etc/apt/sources.list`, `sources.list.d/*.{list,sources}`, `apt.conf.d/*`, `apt.conf`,
//! `auth.conf` and `auth.conf.d/*.conf` below a root. Of the sources only Debian's own archive matters (see the
//! module `debian`), so a file of sources that cannot be read is no error until Debian's archive is missing.

mod auth;
mod conf;
mod debian;
mod mirror_list;
mod sources;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use coremax_fetch::{ProxyRules, TlsRules, Transport};

use crate::{Distribution, Error, Keyring, Side};

pub use auth::parse as parse_auth;
pub use conf::{ConfError, Configuration};
pub use sources::{Entry, SourcesError, parse_deb822, parse_list};

/// A file of apt's configuration is not longer; ours.
const MAX_FILE: u64 = 1 << 20;

/// The host's apt configuration, as far as it matters to us.
#[derive(Debug, Clone)]
pub struct Host {
    /// All archives that are switched on.
    pub entries: Vec<Entry>,
    /// Files of archives that cannot be read, each with what is wrong.
    pub unread: Vec<String>,
    /// How the network is reached.
    pub transport: Transport,
    /// Whether expired Release files are refused.
    pub check_valid_until: bool,
    /// Settings that are there and not followed, in words.
    pub ignored: Vec<String>,
    root: PathBuf,
}

impl Host {
    /// A host that configures nothing: for work that no archive is asked for.
    pub fn none() -> Self {
        Self {
            entries: Vec::new(),
            unread: Vec::new(),
            transport: Transport::default(),
            check_valid_until: true,
            ignored: Vec::new(),
            root: PathBuf::new(),
        }
    }
}

/// Reads the host's configuration below `root` (`/`). What is not there is not configured.
///
/// # Errors
/// Where a file that says how the network is reached cannot be read or is malformed.
pub fn load(root: &Path) -> Result<Host, Error> {
    let apt = root.join("etc/apt");
    let configuration = load_configuration(&apt)?;
    let mut transport = transport(&configuration);
    for path in files(&apt, "auth.conf", "auth.conf.d", &["conf"])? {
        transport.logins.extend(parse_auth(&read_allowed(&path)?));
    }
    let (entries, unread) = load_sources(&apt);
    let check = |name| configuration.flag(name).unwrap_or(true);
    Ok(Host {
        entries,
        unread,
        transport,
        check_valid_until: check("Acquire::Check-Valid-Until") && check("Acquire::Check-Date"),
        ignored: ignored(&configuration),
        root: root.to_owned(),
    })
}

impl Host {
    /// The root of the archive that the host gets Debian from, the one with `base`'s suite first. Archives of third
    /// parties, signed by none of `keys` nor Debian's own, do not count.
    ///
    /// # Errors
    /// Where there is none, or only by a method that apt alone has.
    pub fn debian_mirror(&self, base: &Distribution, keys: &Keyring) -> Result<String, Error> {
        let ranked = debian::rank(&self.root, &self.entries, base, keys, Side::Main)?;
        match (self.first_fetchable(&ranked), ranked.first()) {
            (Some(uri), _) => Ok(uri),
            (None, Some(entry)) => Err(Error::Scheme { uri: entry.uri.clone() }),
            (None, None) => Err(self.missing(Side::Main)),
        }
    }

    /// The same for Debian's security archive; `None` where the host has none.
    ///
    /// # Errors
    /// Where a file that cannot be read may hide it.
    pub fn debian_security_mirror(
        &self,
        base: &Distribution,
        keys: &Keyring,
    ) -> Result<Option<String>, Error> {
        let ranked = debian::rank(&self.root, &self.entries, base, keys, Side::Security)?;
        match self.first_fetchable(&ranked) {
            None if !self.unread.is_empty() => Err(self.missing(Side::Security)),
            uri => Ok(uri),
        }
    }

    /// Whether Release files of the archive at `uri` are refused once they have expired.
    pub fn checks_valid_until(&self, uri: &str) -> bool {
        let entry = self.entries.iter().find(|entry| self.served(entry).iter().any(|at| at == uri));
        entry.and_then(|entry| entry.check_valid_until).unwrap_or(self.check_valid_until)
    }

    fn first_fetchable(&self, ranked: &[&Entry]) -> Option<String> {
        ranked.iter().flat_map(|entry| self.served(entry)).find(|uri| is_fetchable(uri))
    }

    /// Where an entry's archive is served: its own address, or those of the list that it names.
    fn served(&self, entry: &Entry) -> Vec<String> {
        match entry.uri.strip_prefix("mirror+file:") {
            Some(list) => {
                let list = read(&self.root.join(list.trim_start_matches('/')));
                list.map(|list| mirror_list::parse(&list)).unwrap_or_default()
            }
            None => vec![entry.uri.clone()],
        }
    }

    fn missing(&self, side: Side) -> Error {
        Error::NoMirror { side, unread: self.unread.clone() }
    }
}

fn is_fetchable(uri: &str) -> bool {
    ["http:", "https:", "file:"].iter().any(|scheme| uri.starts_with(scheme))
}

/// The archives of all files that can be read, and what is wrong with the others.
fn load_sources(apt: &Path) -> (Vec<Entry>, Vec<String>) {
    let paths = files(apt, "sources.list", "sources.list.d", &["list", "sources"]);
    let (mut entries, mut unread) = (Vec::new(), Vec::new());
    for loaded in match paths {
        Ok(paths) => paths.iter().map(|path| load_entries(path)).collect(),
        Err(error) => vec![Err(error)],
    } {
        match loaded {
            Ok(more) => entries.extend(more),
            Err(error) => unread.push(described(&error)),
        }
    }
    (entries, unread)
}

fn load_entries(path: &Path) -> Result<Vec<Entry>, Error> {
    let text = read(path)?;
    let parsed = match path.extension().is_some_and(|extension| extension == "sources") {
        true => parse_deb822(&text),
        false => parse_list(&text),
    };
    parsed.map_err(|source| Error::Sources { path: path.to_owned(), source })
}

/// With its cause, as one line.
fn described(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(", {cause}"));
    error.to_string() + &cause.unwrap_or_default()
}

fn load_configuration(apt: &Path) -> Result<Configuration, Error> {
    let mut configuration = Configuration::default();
    // The main file comes last and wins: apt.conf(5).
    let mut paths = files(apt, "apt.conf", "apt.conf.d", &["conf", ""])?;
    paths.sort_by_key(|path| path.parent() == Some(apt));
    for path in paths {
        let text = read_allowed(&path)?;
        configuration.read(&text).map_err(|source| Error::Conf { path, source })?;
    }
    Ok(configuration)
}

/// What the configuration says of the network, with the environment's proxies where it says nothing.
fn transport(configuration: &Configuration) -> Transport {
    let text = |name: &str| configuration.get(name).filter(|v| !v.is_empty()).map(str::to_owned);
    let hosts =
        |name| configuration.below(name).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let proxies = ProxyRules {
        http: text("Acquire::http::Proxy"),
        https: text("Acquire::https::Proxy"),
        http_hosts: hosts("Acquire::http::Proxy"),
        https_hosts: hosts("Acquire::https::Proxy"),
        ..ProxyRules::from_environment()
    };
    let tls = tls_rules(configuration, "Acquire::https", &TlsRules::default());
    let seconds = text("Acquire::http::Timeout").and_then(|seconds| seconds.parse().ok());
    let stall = seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs);
    let defaults = Transport::default();
    Transport {
        proxies,
        tls_of_host: tls_of_hosts(configuration, &tls),
        tls,
        stall: stall.unwrap_or(defaults.stall),
        ..defaults
    }
}

/// `Acquire::https::HOST::CaInfo` and `::Verify-Peer`.
fn tls_of_hosts(configuration: &Configuration, general: &TlsRules) -> BTreeMap<String, TlsRules> {
    let names = configuration.below("Acquire::https").map(|(name, _)| name);
    let hosts = names.filter_map(|name| {
        name.strip_suffix("::cainfo").or_else(|| name.strip_suffix("::verify-peer"))
    });
    let rules = |host| tls_rules(configuration, &format!("Acquire::https::{host}"), general);
    hosts.map(|host| (host.to_owned(), rules(host))).collect()
}

fn tls_rules(configuration: &Configuration, scope: &str, general: &TlsRules) -> TlsRules {
    let authorities = configuration.get(&format!("{scope}::CaInfo")).filter(|v| !v.is_empty());
    TlsRules {
        authorities: authorities.map(PathBuf::from).or_else(|| general.authorities.clone()),
        verify: configuration.flag(&format!("{scope}::Verify-Peer")).unwrap_or(general.verify),
    }
}

/// Settings that would matter, and cannot be followed without running the host's programs.
fn ignored(configuration: &Configuration) -> Vec<String> {
    let names = [
        "Acquire::http::Proxy-Auto-Detect",
        "Acquire::http::ProxyAutoDetect",
        "Acquire::https::Proxy-Auto-Detect",
        "Acquire::https::SslCert",
    ];
    let set = names.into_iter().filter(|name| configuration.get(name).is_some());
    set.map(|name| format!("{name} is set, which is not supported")).collect()
}

/// The file `name` and those in the folder `parts` that apt would read, in its order.
fn files(apt: &Path, name: &str, parts: &str, extensions: &[&str]) -> Result<Vec<PathBuf>, Error> {
    let mut paths: Vec<_> =
        Some(apt.join(name)).filter(|path| path.is_file()).into_iter().collect();
    let folder = apt.join(parts);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let entries = entries.map_err(|source| Error::Read { path: folder.clone(), source })?;
    let mut names: Vec<_> =
        entries.iter().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    names.retain(|name| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        name.bytes().all(plain) && !name.starts_with('.') && extensions.contains(&extension)
    });
    paths.extend(names.into_iter().map(|name| folder.join(name)).filter(|path| path.is_file()));
    Ok(paths)
}

/// What root alone may read counts as empty: it may hold logins. The archive then asks for one, and the error says so.
fn read_allowed(path: &Path) -> Result<String, Error> {
    match read(path) {
        Err(Error::Read { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            Ok(String::new())
        }
        text => text,
    }
}

fn read(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > MAX_FILE {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    let bytes = fs::read(path).map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn host(files: &[(&str, &str)]) -> Result<Host, Error> {
        let root = tempfile::tempdir().unwrap();
        write(&root.path().join("etc/apt"), files);
        load(root.path())
    }

    /// The main and the security archive that a build of Debian 12 takes, or why it takes none.
    fn mirrors(files: &[(&str, &str)]) -> Result<(String, Option<String>), Error> {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), files);
        let host = load(root.path())?;
        let base = crate::distribution("debian-12").unwrap();
        let keys = crate::keyring_of(base).unwrap();
        Ok((host.debian_mirror(base, &keys)?, host.debian_security_mirror(base, &keys)?))
    }

    const DEBIAN: (&str, &str) = (
        "etc/apt/sources.list.d/debian.sources",
        "Types: deb\nURIs: http://m.example/debian\nSuites: bookworm bookworm-updates\n\
         Components: main contrib\n\n\
         Types: deb\nURIs: http://m.example/security\nSuites: bookworm-security\nComponents: main\n",
    );

    fn is_debians(files: &[(&str, &str)]) {
        let wanted = ("http://m.example/debian".into(), Some("http://m.example/security".into()));
        assert_eq!(mirrors(files).unwrap(), wanted, "{files:?}");
    }

    #[test]
    fn third_parties_are_not_debian() {
        let vendor = crate::distribution("ubuntu-22.04").unwrap().keys[0].armored;
        let key = |armored: &str| {
            armored.lines().fold(String::new(), |text, line| {
                text + "\n " + if line.is_empty() { "." } else { line }
            })
        };
        let fingerprint = "F6ECB3762474EDA9D21B7022871920D1991BC93C";
        let block = format!(
            "Types: deb\nURIs: https://v.example/debian\nSuites: bookworm bookworm-security\n\
                             Components: main\nSigned-By:{}\n",
            key(vendor)
        );
        let by = |keys: &str| {
            format!(
                "deb [signed-by={keys}] https://v.example/debian bookworm main\n\
             deb [arch=amd64 signed-by={keys}] https://v.example/debian bookworm-security main\n"
            )
        };
        let release = |origin: &str| format!("-----BEGIN\n\nOrigin: {origin}\nSuite: stable\n");
        let unsigned = "deb https://v.example/debian bookworm main\ndeb https://v.example/debian bookworm-security main\n";
        let copy = "var/lib/apt/lists/v.example_debian_dists_bookworm_InRelease";
        let of_security = "var/lib/apt/lists/v.example_debian_dists_bookworm-security_Release";
        // apt reads sources.list first, so a vendor there comes before Debian.
        for vendors in [
            &[
                ("etc/apt/sources.list", by("/usr/share/keyrings/v.asc").as_str()),
                ("usr/share/keyrings/v.asc", vendor),
            ][..],
            &[("etc/apt/sources.list", &by("/usr/share/keyrings/gone.gpg"))],
            &[("etc/apt/sources.list", &by(fingerprint))],
            &[("etc/apt/sources.list.d/a.sources", &block)],
            &[
                ("etc/apt/sources.list", unsigned),
                (copy, &release("vendor")),
                (of_security, &release("vendor")),
            ],
            &[(
                "etc/apt/sources.list",
                "deb cdrom:[Debian 12]/ bookworm main\n# deb http://off.example/ sid main\n",
            )],
            &[(
                "etc/apt/sources.list.d/a.list",
                "deb https://docker.example/linux/debian bookworm stable\n",
            )],
            &[(
                "etc/apt/sources.list.d/a.list",
                "deb https://cloud.example/apt cloud-sdk-bookworm main\n",
            )],
            &[("etc/apt/sources.list.d/a.list", "deb https://pg.example/apt bookworm-pgdg main\n")],
            &[(
                "etc/apt/sources.list.d/a.list.save",
                "deb http://old.example/debian bookworm main\n",
            )],
            &[("etc/apt/sources.list", "deb http://archive.example/debian buster main\n")],
        ] {
            is_debians(&[&[DEBIAN], vendors].concat());
        }
    }

    #[test]
    fn debian_is_known_by_its_keys_and_its_origin() {
        let unsigned = ("etc/apt/sources.list", "deb http://v.example/debian bookworm main\n");
        let ours = crate::distribution("debian-13").unwrap().keys[0].armored;
        let release = "Origin: Debian\nLabel: Debian\n";
        let by =
            |keys: &str| format!("deb [signed-by={keys}] http://m.example/debian bookworm main\n");
        let list = "etc/apt/sources.list.d/debian.list";
        for files in [
            &[(list, by("/usr/share/keyrings/debian-archive-keyring.gpg").as_str())][..],
            &[(list, &by("/own.asc")), ("own.asc", ours)],
            &[(list, &by("04B54C3CDCA79751B16BC6B5225629DF75B188BD!"))],
            &[
                (list, "deb http://m.example/debian/ bookworm main"),
                ("var/lib/apt/lists/m.example_debian_dists_bookworm_InRelease", release),
            ],
            &[
                (
                    "etc/apt/sources.list.d/cloud.list",
                    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] mirror+file:///etc/apt/mirrors/debian.list bookworm main",
                ),
                ("etc/apt/mirrors/debian.list", "http://m.example/debian\n"),
            ],
        ] {
            let found = mirrors(&[&[unsigned], files].concat()).unwrap();
            assert_eq!(found.0.trim_end_matches('/'), "http://m.example/debian", "{files:?}");
        }
    }

    #[test]
    fn a_malformed_file_counts_only_where_it_may_hide_the_archive() {
        let broken = (
            "etc/apt/sources.list.d/vendor.list",
            "deb [signed-by=/v.gpg http://v.example/ x main\n",
        );
        is_debians(&[DEBIAN, broken]);
        is_debians(&[DEBIAN, ("etc/apt/sources.list.d/vendor.sources", "nonsense\n")]);
        let main = ("etc/apt/sources.list", "deb http://m.example/debian bookworm main\n");
        for (files, option) in [(&[broken][..], "--mirror"), (&[main, broken], "--security-mirror")]
        {
            let error = mirrors(files).unwrap_err();
            assert!(error.to_string().contains("vendor.list, line 1: the options"), "{error}");
            let hint = error.hint().unwrap();
            assert!(hint.contains("mend that file") && hint.ends_with(option), "{hint}");
        }
        let unread = host(&[("sources.list.d/vendor.list", "deb\n")]).unwrap().unread;
        assert!(unread.len() == 1 && unread[0].contains("vendor.list"), "{unread:?}");
    }

    #[test]
    fn hosts_without_a_usable_archive_get_a_hint() {
        let list = |text| [("etc/apt/sources.list", text)];
        let tor = list("deb tor+http://m.example/debian sid main\n");
        let ubuntu = list("deb http://m.example/ubuntu jammy main\n");
        for (files, scheme) in [(&tor[..], true), (&ubuntu, false), (&[], false)] {
            let error = mirrors(files).unwrap_err();
            assert_eq!(matches!(error, Error::Scheme { .. }), scheme, "{error}");
            assert!(error.hint().unwrap().contains("--mirror"));
        }
        let error = host(&[("apt.conf", "}")]).unwrap_err();
        assert!(matches!(error, Error::Conf { .. }) && error.hint().is_some(), "{error}");
    }

    #[test]
    fn a_listed_mirror_has_the_settings_of_the_entry_that_names_the_list() {
        let root = tempfile::tempdir().unwrap();
        let entry = "deb [check-valid-until=no] mirror+file:/m.list sid main";
        let list = "http://first.example/debian\nhttp://m.example/debian\n";
        write(root.path(), &[("etc/apt/sources.list", entry), ("m.list", list)]);
        let host = load(root.path()).unwrap();
        assert!(!host.checks_valid_until("http://m.example/debian"));
        assert!(host.checks_valid_until("http://other.example/debian"));
    }

    #[test]
    fn network_settings() {
        let host = host(&[
            ("apt.conf.d/10proxy", "Acquire::http::Proxy \"http://first.example:1\";"),
            (
                "apt.conf.d/20tls.conf",
                "Acquire::https { CaInfo \"/own.pem\"; Verify-Peer \"true\";\n\
              lax.example::Verify-Peer \"no\"; Proxy::near.example \"DIRECT\"; };",
            ),
            ("apt.conf.d/30off.bak", "Acquire::http::Proxy \"http://never.example:1\";"),
            (
                "apt.conf.d/99dates",
                "Acquire::Check-Valid-Until \"false\"; Acquire::http::Timeout \"7\";",
            ),
            ("apt.conf", "Acquire::http::Proxy \"http://last.example:2\";"),
            ("auth.conf", "machine a.example login one password x"),
            ("auth.conf.d/b.conf", "machine b.example login two password y"),
            ("sources.list", "deb [check-valid-until=yes] http://m.example/debian sid main"),
        ])
        .unwrap();
        let Transport { proxies, tls, tls_of_host, logins, stall, .. } = &host.transport;
        assert_eq!(proxies.http.as_deref(), Some("http://last.example:2"));
        assert_eq!(proxies.https_hosts["near.example"], "DIRECT");
        assert_eq!(tls.authorities.as_deref(), Some(Path::new("/own.pem")));
        assert!(tls.verify && !tls_of_host["lax.example"].verify);
        assert_eq!(tls_of_host["lax.example"].authorities, tls.authorities);
        assert_eq!(logins.iter().map(|l| l.user.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(*stall, Duration::from_secs(7));
        assert!(!host.check_valid_until && host.checks_valid_until("http://m.example/debian"));
        assert!(!host.checks_valid_until("http://other.example/debian"));
    }
}
