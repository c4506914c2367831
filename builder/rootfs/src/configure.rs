//! Configuring what was unpacked: every maintainer script, run by the tree's own dpkg.
//!
//! The order is dpkg's, but for one thing: dpkg runs a package's preinst before it unpacks it, here
//! all preinsts run once everything is unpacked. Packages that need it otherwise were left for
//! dpkg (see [`unpack`](crate::unpack())). Then one `dpkg --configure -a` does the rest.
//!
//! Scripts run in a sandbox on the tree: no network, no way to a running service manager, a fixed
//! environment. Programs that cost much and leave nothing of use in an image are covered by an
//! empty one, as a mount that leaves no trace in the tree; bytecode is compiled [at the end](bytecode).

mod bytecode;
mod order;
mod report;
mod stubs;
mod units;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use coremax_sandbox::{Cmd, Sandbox};

use crate::{Deb, Error, tree::Tree};

use bytecode::Bytecode;
use order::Installed;
use report::Report;
use stubs::Stubs;
use units::Units;

/// How to configure.
#[derive(Debug, Clone)]
pub struct Configure {
    /// `SOURCE_DATE_EPOCH` for the scripts: seconds since 1970.
    pub epoch: u64,
    /// Programs that are not to run, by their paths in the tree. They seem to succeed.
    pub skip: Vec<PathBuf>,
    /// Packages that [`unpack`](crate::unpack()) left for dpkg.
    pub left: Vec<Deb>,
}

/// Programs that are not run unless asked for: an initramfs is made once by whoever wants it, the
/// index of manual pages by a timer, and host keys at first boot, for [`clean`](crate::clean())
/// removes them.
pub const SKIPPED: [&str; 3] =
    ["/usr/sbin/update-initramfs", "/usr/bin/mandb", "/usr/bin/ssh-keygen"];

impl Default for Configure {
    fn default() -> Self {
        Self { epoch: 0, skip: SKIPPED.iter().map(PathBuf::from).collect(), left: Vec::new() }
    }
}

/// How far configuring is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configuring<'a> {
    /// The package that is being configured.
    pub package: &'a str,
    /// Its place, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

/// One configuring, with what all its programs need.
struct Job<'a> {
    tree: Tree,
    options: &'a Configure,
    /// For what is no script.
    plain: Sandbox,
    sandbox: Sandbox,
    bytecode: Option<Bytecode>,
    log_path: &'a Path,
    log: File,
    /// The version of the tree's dpkg.
    dpkg: String,
}

/// Configures all packages of a tree. All output of scripts goes to `log`, a file of the host that
/// is made anew, beside which a few files are kept meanwhile.
///
/// # Errors
/// Where a script fails, with its package and the last of its output.
pub fn configure(
    tree: &Path,
    options: &Configure,
    log: &Path,
    progress: &dyn Fn(Configuring<'_>),
) -> Result<(), Error> {
    let opened = Tree::open(tree)?;
    let packages = order::read(&opened)?;
    let stubs = Stubs::place(&opened, &options.skip, log)?;
    let bytecode = Bytecode::place(&opened, log)?;
    let units = Units::place(&opened, log)?;
    let plain = stubs.cover(Sandbox::tree(tree));
    let job = Job {
        tree: opened,
        options,
        sandbox: for_scripts(plain.clone(), units.as_ref(), bytecode.as_ref()),
        plain,
        bytecode,
        log_path: log,
        log: open_log(log)?,
        dpkg: packages.iter().find(|p| p.name == "dpkg").map_or("", |p| &p.version).to_owned(),
    };
    let configured = job.run(&packages, progress);
    units.iter().for_each(Units::remove);
    job.bytecode.iter().for_each(Bytecode::remove);
    stubs.remove(&job.tree)?;
    configured.and_then(|()| job.check_finished())
}

/// With what answers scripts instead of programs that cost much.
fn for_scripts(sandbox: Sandbox, units: Option<&Units>, bytecode: Option<&Bytecode>) -> Sandbox {
    let sandbox = units.into_iter().fold(sandbox, |sandbox, units| units.cover(sandbox));
    bytecode.into_iter().fold(sandbox, |sandbox, calls| calls.record(sandbox))
}

fn open_log(path: &Path) -> Result<File, Error> {
    let opened = File::create(path).and_then(|_| OpenOptions::new().append(true).open(path));
    opened.map_err(|source| Error::Host { operation: "writing", path: path.into(), source })
}

impl Job<'_> {
    fn run(&self, packages: &[Installed], progress: &dyn Fn(Configuring<'_>)) -> Result<(), Error> {
        let of = packages.len() + self.options.left.len();
        let mut progress = Progress { to: progress, number: 0, of };
        self.run_preinsts(packages)?;
        self.unpack_left()?;
        self.configure_essential(packages, &mut progress)?;
        self.dpkg_configure(&["-a"], &mut progress)?;
        self.compile_bytecode()
    }

    fn compile_bytecode(&self) -> Result<(), Error> {
        let Some(bytecode) = &self.bytecode else { return Ok(()) };
        let command = |program: &str, sandbox: &Sandbox| self.command(program, sandbox);
        let Some(command) = bytecode.carry_out(self.plain.clone(), command)? else { return Ok(()) };
        let begin = "compiling Python's bytecode\n";
        self.note(begin)?;
        command.run().map(drop).map_err(|source| match source {
            coremax_sandbox::Error::Failed { .. } => {
                self.script_failed("the packages", "compiling bytecode", begin)
            }
            source => failed("py3compile", source),
        })
    }

    /// `preinst install` of every package, those that another's preinst counts on first.
    fn run_preinsts(&self, packages: &[Installed]) -> Result<(), Error> {
        for package in order::preinst_order(packages) {
            if self.tree.exists(&package.script("preinst"))? {
                self.run_preinst(package)?;
            }
            if package.name == "base-passwd" {
                self.found_accounts()?;
            }
        }
        Ok(())
    }

    fn run_preinst(&self, package: &Installed) -> Result<(), Error> {
        self.note(&format!("preinst of {}\n", package.name))?;
        let script = Path::new("/").join(package.script("preinst"));
        let result = self
            .command(script, &self.sandbox)?
            .arg("install")
            .env("DPKG_MAINTSCRIPT_PACKAGE", &package.name)
            .env("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1")
            .env("DPKG_MAINTSCRIPT_ARCH", &package.architecture)
            .env("DPKG_MAINTSCRIPT_NAME", "preinst")
            .env("DPKG_MAINTSCRIPT_DEBUG", "0")
            .env("DPKG_RUNNING_VERSION", &self.dpkg)
            .env("DPKG_ADMINDIR", "/var/lib/dpkg")
            .env("DPKG_ROOT", "")
            .run();
        result.map(drop).map_err(|source| match source {
            coremax_sandbox::Error::Failed { .. } => {
                let begin = format!("preinst of {}\n", package.name);
                self.script_failed(&package.name, "the preinst", &begin)
            }
            source => failed(&format!("the preinst of {}", package.name), source),
        })
    }

    /// /etc/passwd and /etc/group where base-passwd's preinst does not make them (before 3.6).
    fn found_accounts(&self) -> Result<(), Error> {
        for name in ["passwd", "group"] {
            let (path, master) = (
                Path::new("etc").join(name),
                PathBuf::from(format!("usr/share/base-passwd/{name}.master")),
            );
            if !self.tree.exists(&path)? && self.tree.exists(&master)? {
                self.tree.write(&path, &self.tree.read(&master)?, 0o644)?;
            }
        }
        Ok(())
    }

    /// Unpacks by dpkg what was left for it. What a package pre-depends on is there, if not yet
    /// configured, which --force-depends lets pass.
    fn unpack_left(&self) -> Result<(), Error> {
        if self.options.left.is_empty() {
            return Ok(());
        }
        // A file that is covered could not be replaced.
        let mut sandbox = self.plain.clone();
        let mut paths = Vec::new();
        for (number, deb) in self.options.left.iter().enumerate() {
            let path = PathBuf::from(format!("/run/packages/{number}.deb"));
            sandbox = sandbox.bind_ro_at(&deb.path, &path);
            paths.push(path);
        }
        let begin = "unpacking by dpkg\n";
        self.note(begin)?;
        let command = self.command("dpkg", &sandbox)?.args(["--force-depends", "--unpack"]);
        command.args(paths).run().map(drop).map_err(|source| match source {
            coremax_sandbox::Error::Failed { .. } => {
                let names: Vec<_> = self.options.left.iter().map(|deb| deb.name.as_str()).collect();
                self.script_failed(&names.join(", "), "unpacking", begin)
            }
            source => failed("dpkg", source),
        })
    }

    /// All others may count on the essential packages without saying so. Those may need each other
    /// in a circle, or a package by a name it provides, which --force-depends lets pass.
    fn configure_essential(
        &self,
        packages: &[Installed],
        progress: &mut Progress<'_>,
    ) -> Result<(), Error> {
        let names = order::essential(packages);
        if names.is_empty() {
            return Ok(());
        }
        let options = ["--force-depends", "--no-triggers"].into_iter();
        let arguments: Vec<_> = options.chain(names.iter().map(String::as_str)).collect();
        self.dpkg_configure(&arguments, progress)
    }

    /// `dpkg --configure` with these arguments.
    fn dpkg_configure(&self, arguments: &[&str], progress: &mut Progress<'_>) -> Result<(), Error> {
        // What dpkg reports goes to a pipe, all that it and the scripts say to the log.
        const SCRIPT: &str = r#"exec dpkg --status-fd 3 "$@" 3>&1 >&2"#;
        let log_failed = |source| self.log_failed(source);
        let (reports, writer) = io::pipe().map_err(log_failed)?;
        let mut dpkg = self
            .command("sh", &self.sandbox)?
            .args(["-c", SCRIPT, "dpkg", "--force-confdef", "--force-confold"])
            .args(["--abort-after=1", "--configure"])
            .args(arguments)
            .stdout_file(File::from(OwnedFd::from(writer)))
            .spawn()
            .map_err(|source| failed("dpkg", source))?;
        let failure = progress.follow(BufReader::new(reports)).map_err(log_failed)?;
        let status = dpkg.wait().map_err(|source| failed("dpkg", source))?;
        match failure {
            _ if status.success() => Ok(()),
            Some((package, message)) => {
                let script = message.strip_prefix("installed ").unwrap_or(&message);
                let script = script.split(" subprocess").next().unwrap_or(script);
                let script = script.replacen(&format!("{package} package"), "the", 1);
                Err(self.script_failed(&package, &script, &format!("Setting up {package}")))
            }
            None => Err(self.script_failed("the packages", "dpkg --configure", "")),
        }
    }

    /// All packages must be installed, none waiting for another's trigger.
    fn check_finished(&self) -> Result<(), Error> {
        let unfinished = order::read_stanzas(&self.tree)?.into_iter().filter_map(|stanza| {
            let state = stanza.get("Status").unwrap_or_default().rsplit(' ').next()?.to_owned();
            let name = stanza.get("Package").unwrap_or_default();
            (state != "installed").then(|| format!("{name} ({state})"))
        });
        let packages: Vec<_> = unfinished.collect();
        if packages.is_empty() {
            return Ok(());
        }
        Err(Error::Unconfigured { packages, log: self.log_path.into() })
    }

    /// A program of the tree, its output going to the log.
    fn command(&self, program: impl AsRef<Path>, sandbox: &Sandbox) -> Result<Cmd, Error> {
        let clone = || self.log.try_clone().map_err(|source| self.log_failed(source));
        Ok(Cmd::new(program.as_ref(), sandbox)
            .stdout_file(clone()?)
            .stderr_file(clone()?)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("DEBCONF_NONINTERACTIVE_SEEN", "true")
            .env("SOURCE_DATE_EPOCH", self.options.epoch.to_string())
            // Else a script leaves bytecode that depends on which module it met first.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir("/"))
    }

    fn note(&self, line: &str) -> Result<(), Error> {
        (&self.log).write_all(line.as_bytes()).map_err(|source| self.log_failed(source))
    }

    fn log_failed(&self, source: io::Error) -> Error {
        Error::Host { operation: "writing", path: self.log_path.into(), source }
    }

    /// The error of a script whose output begins in the log with `begin`.
    fn script_failed(&self, package: &str, script: &str, begin: &str) -> Error {
        let text = fs::read(self.log_path).unwrap_or_default();
        Error::Script {
            package: package.to_owned(),
            script: script.to_owned(),
            output: report::last_lines(&String::from_utf8_lossy(&text), begin),
            log: self.log_path.into(),
        }
    }
}

/// How far all runs of dpkg are together.
struct Progress<'a> {
    to: &'a dyn Fn(Configuring<'_>),
    number: usize,
    of: usize,
}

impl Progress<'_> {
    /// Reads dpkg's reports to their end. Returns the first error with its package.
    fn follow(&mut self, reports: impl BufRead) -> io::Result<Option<(String, String)>> {
        let mut failure = None;
        for line in reports.split(b'\n') {
            match report::parse(&String::from_utf8_lossy(&line?)) {
                Some(Report::Configuring(package)) => {
                    self.number += 1;
                    (self.to)(Configuring { package, number: self.number, of: self.of });
                }
                Some(Report::Failed { package, message }) if failure.is_none() => {
                    failure = Some((package.to_owned(), message.to_owned()));
                }
                _ => {}
            }
        }
        Ok(failure)
    }
}

fn failed(program: &str, source: coremax_sandbox::Error) -> Error {
    Error::Program { program: program.to_owned(), source }
}
