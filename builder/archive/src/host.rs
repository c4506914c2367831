//! What the host's apt is configured to: where Debian is served, and how the network is reached.
//!
//! Read are `etc/apt/sources.list`, `sources.list.d/*.{list,sources}`, `apt.conf.d/*`, `apt.conf`,
//! `auth.conf` and `auth.conf.d/*.conf` below a root. Of the sources only Debian's own archive matters: an
//! entry whose suite is one of Debian's and which has the component `main`, so that third parties, who like to
//! name their suites after Debian's, do not count unless they copy both.

mod auth;
mod conf;
mod sources;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use coremax_fetch::{ProxyRules, TlsRules, Transport};

use crate::{Error, Mirrors};

pub use auth::parse as parse_auth;
pub use conf::{ConfError, Configuration};
pub use sources::{Entry, SourcesError, parse_deb822, parse_list};

/// What Debian's suites are called, without their pockets.
const DEBIAN_SUITES: &[&str] = &[
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
    "sid",
    "buster",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
];
/// A file of apt's configuration is not longer; ours.
const MAX_FILE: u64 = 1 << 20;

/// The host's apt configuration, as far as it matters to us.
#[derive(Debug, Clone)]
pub struct Host {
    /// All archives that are switched on.
    pub entries: Vec<Entry>,
    /// How the network is reached.
    pub transport: Transport,
    /// Whether expired Release files are refused.
    pub check_valid_until: bool,
    /// Settings that are there and not followed, in words.
    pub ignored: Vec<String>,
}

/// Reads the host's configuration below `root` (`/`). What is not there is not configured.
///
/// # Errors
/// Where a file cannot be read or is malformed.
pub fn load(root: &Path) -> Result<Host, Error> {
    let apt = root.join("etc/apt");
    let configuration = load_configuration(&apt)?;
    let mut transport = transport(&configuration);
    for path in files(&apt, "auth.conf", "auth.conf.d", &["conf"])? {
        transport.logins.extend(parse_auth(&read(&path)?));
    }
    let mut entries = Vec::new();
    for path in files(&apt, "sources.list", "sources.list.d", &["list", "sources"])? {
        let text = read(&path)?;
        let parsed = match path.extension().is_some_and(|extension| extension == "sources") {
            true => parse_deb822(&text),
            false => parse_list(&text),
        };
        entries.extend(parsed.map_err(|source| Error::Sources { path, source })?);
    }
    let check = |name| configuration.flag(name).unwrap_or(true);
    Ok(Host {
        entries,
        transport,
        check_valid_until: check("Acquire::Check-Valid-Until") && check("Acquire::Check-Date"),
        ignored: ignored(&configuration),
    })
}

impl Host {
    /// Where the host gets Debian from.
    ///
    /// # Errors
    /// Where it does not, or by a method that only apt has.
    pub fn debian_mirrors(&self) -> Result<Mirrors, Error> {
        let debian = || self.entries.iter().filter(|entry| is_debian(entry));
        let usable = |security: bool| {
            let mut entries = debian().filter(move |entry| is_security(&entry.suite) == security);
            entries.find(|entry| is_fetchable(&entry.uri)).map(|entry| entry.uri.clone())
        };
        match (usable(false), debian().next()) {
            (Some(main), _) => Ok(Mirrors { main, security: usable(true) }),
            (None, Some(entry)) if !is_fetchable(&entry.uri) => {
                Err(Error::Scheme { uri: entry.uri.clone() })
            }
            _ => Err(Error::NoMirror),
        }
    }

    /// Whether Release files of the archive at `uri` are refused once they have expired.
    pub fn checks_valid_until(&self, uri: &str) -> bool {
        let entry = self.entries.iter().find(|entry| entry.uri == uri);
        entry.and_then(|entry| entry.check_valid_until).unwrap_or(self.check_valid_until)
    }
}

fn is_debian(entry: &Entry) -> bool {
    let suite = entry.suite.trim_end_matches("/updates");
    let pockets = ["-proposed-updates", "-updates", "-security", "-backports"];
    let suite = pockets.iter().find_map(|pocket| suite.strip_suffix(pocket)).unwrap_or(suite);
    DEBIAN_SUITES.contains(&suite) && entry.components.iter().any(|name| name == "main")
}

fn is_security(suite: &str) -> bool {
    suite.ends_with("-security") || suite.ends_with("/updates")
}

fn is_fetchable(uri: &str) -> bool {
    ["http:", "https:", "file:"].iter().any(|scheme| uri.starts_with(scheme))
}

fn load_configuration(apt: &Path) -> Result<Configuration, Error> {
    let mut configuration = Configuration::default();
    // The main file comes last and wins: apt.conf(5).
    let mut paths = files(apt, "apt.conf", "apt.conf.d", &["conf", ""])?;
    paths.sort_by_key(|path| path.parent() == Some(apt));
    for path in paths {
        let text = read(&path)?;
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

fn read(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > MAX_FILE {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    let bytes = match fs::read(path) {
        // Logins are readable by root alone; the archive then asks for one, and the error says so.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Vec::new(),
        bytes => bytes.map_err(failed)?,
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> Result<Host, Error> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join("etc/apt").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        load(root.path())
    }

    #[test]
    fn third_parties_are_not_debian() {
        let mirrors = host(&[
            ("sources.list", "deb cdrom:[Debian 12]/ bookworm main\n# deb http://off.example/ sid main\n"),
            ("sources.list.d/a.list", "deb https://docker.example/linux/debian bookworm stable\n"),
            ("sources.list.d/b.list", "deb https://cloud.example/apt cloud-sdk-bookworm main\n"),
            ("sources.list.d/c.list", "deb https://pg.example/apt bookworm-pgdg main\n"),
            ("sources.list.d/d.list.save", "deb http://old.example/debian bookworm main\n"),
            ("sources.list.d/debian.sources", "Types: deb\nURIs: http://m.example/debian\n\
              Suites: trixie trixie-updates\nComponents: main contrib\n\n\
              Types: deb\nURIs: http://m.example/debian-security\nSuites: trixie-security\nComponents: main\n"),
        ])
        .and_then(|host| host.debian_mirrors());
        let wanted = Mirrors {
            main: "http://m.example/debian".into(),
            security: Some("http://m.example/debian-security".into()),
        };
        assert_eq!(mirrors.unwrap(), wanted);
    }

    #[test]
    fn hosts_without_a_usable_archive_get_a_hint() {
        let tor = [("sources.list", "deb tor+http://m.example/debian sid main\n")];
        let ubuntu = [("sources.list", "deb http://m.example/ubuntu jammy main\n")];
        for (files, scheme) in [(&tor[..], true), (&ubuntu, false), (&[], false)] {
            let error = host(files).unwrap().debian_mirrors().unwrap_err();
            assert_eq!(matches!(error, Error::Scheme { .. }), scheme, "{error}");
            assert!(error.hint().unwrap().contains("--mirror"));
        }
        let error = host(&[("sources.list.d/x.list", "deb\n")]).unwrap_err();
        assert!(error.to_string().ends_with("x.list"), "{error}");
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
