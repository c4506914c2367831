//! Becoming root of a user namespace.
//!
//! Root maps every id it has to itself. An ordinary user maps its own id to 0 and its range of
//! subuid(5) to 1 and up, which only the privileged helpers newuidmap(1) and newgidmap(1) may
//! write. A mount namespace comes with it, so that nothing mounted later is seen by the host.

use std::{
    fs, io,
    io::{Read, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    mount::{MountPropagationFlags, mount_change},
    process::{Pid, getegid, geteuid, getpid},
};

use crate::Error;

/// Ids that a Debian system uses: 0 to 65534 (nobody).
const IDS_NEEDED: u32 = 65_535;

static ENTERED: AtomicBool = AtomicBool::new(false);

/// Makes this process root of a new user namespace with a mount namespace of its own, and sets
/// the umask to 022. To be called before the first thread is started, once.
///
/// # Errors
/// Where the kernel or the host's settings do not allow it, with a remedy as hint.
pub fn enter() -> Result<(), Error> {
    if ENTERED.load(Ordering::Relaxed) {
        return Ok(());
    }
    let maps = Maps::of_this_user()?;
    unshare_with(&maps)?;
    check_enough("user", &maps.uids)?;
    check_enough("group", &maps.gids)?;
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|e| failed("making mounts private", remedy_for_unshare(), e.into()))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    notice_children();
    ENTERED.store(true, Ordering::Relaxed);
    Ok(())
}

/// Who started this process may have had it ignore SIGCHLD, and then no end of a program can be
/// waited for.
#[allow(unsafe_code)] // signal(2)
fn notice_children() {
    // SAFETY: sets the default action, which runs no code of this process.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// The lines for uid_map and gid_map: id inside, id outside, count.
struct Maps {
    uids: Vec<[u32; 3]>,
    gids: Vec<[u32; 3]>,
}

impl Maps {
    fn of_this_user() -> Result<Self, Error> {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        if uid == 0 {
            let own = |file| own_ids(&fs::read_to_string(file).unwrap_or_default());
            return Ok(Self { uids: own("/proc/self/uid_map"), gids: own("/proc/self/gid_map") });
        }
        let name = user_name(uid);
        Ok(Self {
            uids: vec![[0, uid, 1], subordinate("/etc/subuid", &name, uid)?],
            gids: vec![[0, gid, 1], subordinate("/etc/subgid", &name, uid)?],
        })
    }
}

/// What root can map: all ids it has itself, each to itself.
fn own_ids(map: &str) -> Vec<[u32; 3]> {
    map.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().map(|word| word.parse::<u32>().ok());
            let inside = words.next()??;
            Some([inside, inside, words.nth(1)??])
        })
        .collect()
}

/// Root of a namespace may have few ids, as `unshare -r` gives it one.
fn check_enough(kind: &str, ids: &[[u32; 3]]) -> Result<(), Error> {
    let end_of = |id: u32| {
        let ends = ids.iter().map(|[first, _, count]| (*first, first.saturating_add(*count)));
        ends.filter(|(first, end)| (*first..*end).contains(&id)).map(|(_, end)| end).max()
    };
    let mut mapped = 0;
    while let Some(end) = end_of(mapped) {
        mapped = end;
    }
    if mapped >= IDS_NEEDED {
        return Ok(());
    }
    let remedy = format!(
        "build as an ordinary user with subordinate ids, or give this container or namespace the \
         {kind} ids 0 to {}",
        IDS_NEEDED - 1
    );
    let source = io::Error::other(format!("only {mapped} are mapped without a gap"));
    Err(failed(&format!("counting the {kind} ids"), Some(remedy), source))
}

fn user_name(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let uid = uid.to_string();
    passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&uid.as_str()))
        .map_or(uid.clone(), |fields| fields[0].to_owned())
}

/// The user's range in subuid(5) or subgid(5), as a line that begins at 1.
fn subordinate(file: &str, name: &str, uid: u32) -> Result<[u32; 3], Error> {
    let text = fs::read_to_string(file).unwrap_or_default();
    first_range(&text, name, uid).ok_or_else(|| {
        let remedy = format!(
            "{name} needs {IDS_NEEDED} subordinate ids: sudo usermod --add-subuids 100000-165535 \
             --add-subgids 100000-165535 {name}"
        );
        let source = io::Error::new(io::ErrorKind::NotFound, "no large enough range of ids");
        failed(&format!("looking for {name} in {file}"), Some(remedy), source)
    })
}

fn first_range(text: &str, name: &str, uid: u32) -> Option<[u32; 3]> {
    let uid = uid.to_string();
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let start = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        let ours = owner == name || owner == uid;
        (ours && count >= IDS_NEEDED - 1).then_some([1, start, count])
    })
}

/// Unshares, while a child that stayed outside writes the maps: only it has the right to.
#[allow(unsafe_code)] // fork(2), in a process that has one thread
fn unshare_with(maps: &Maps) -> Result<(), Error> {
    let pipe = || io::pipe().map_err(|e| failed("making a pipe", None, e));
    let (mut unshared, unshared_tx) = pipe()?;
    let (mut mapped, mut mapped_tx) = pipe()?;
    let us = getpid();
    // SAFETY: the caller promises that no other thread runs, so the child's copy of every lock
    // is free and it may do whatever the parent could.
    match unsafe { libc::fork() } {
        -1 => Err(failed("fork", None, io::Error::last_os_error())),
        0 => {
            drop((unshared_tx, mapped));
            let go = unshared.read(&mut [0; 1]).unwrap_or(0) == 1;
            let result = if go { write_maps(us, maps) } else { Ok(()) };
            let _ = mapped_tx.write_all(result.err().unwrap_or_default().as_bytes());
            // SAFETY: _exit(2) ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(0) }
        }
        child => {
            drop((unshared, mapped_tx));
            let result = unshare_here(unshared_tx, &mut mapped);
            // SAFETY: waits for the child just made; the status is not wanted.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            result
        }
    }
}

#[allow(unsafe_code)] // unshare(2)
fn unshare_here(mut go: impl Write, answer: &mut impl Read) -> Result<(), Error> {
    // SAFETY: takes plain flags; the caller has one thread, as CLONE_NEWUSER demands.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) } != 0 {
        // Before the remedy is looked for, which reads files.
        let source = in_words(io::Error::last_os_error());
        return Err(failed("unshare", remedy_for_unshare(), source));
    }
    let mut complaint = String::new();
    go.write_all(b"1")
        .and_then(|()| answer.read_to_string(&mut complaint))
        .map_err(|e| failed("waiting for the id maps", None, e))?;
    if complaint.is_empty() {
        return Ok(());
    }
    let remedy = complaint.contains("newuidmap").then(|| {
        "an ordinary user needs newuidmap and newgidmap: sudo apt-get install uidmap".to_owned()
    });
    Err(failed("writing the id maps", remedy, io::Error::other(complaint)))
}

fn write_maps(pid: Pid, maps: &Maps) -> Result<(), String> {
    let write = match geteuid().is_root() {
        true => write_map_file,
        false => run_map_helper,
    };
    write(pid, "uid", &maps.uids)?;
    write(pid, "gid", &maps.gids)
}

fn write_map_file(pid: Pid, kind: &str, map: &[[u32; 3]]) -> Result<(), String> {
    let lines: String = map.iter().map(|[a, b, n]| format!("{a} {b} {n}\n")).collect();
    let file = format!("/proc/{}/{kind}_map", pid.as_raw_nonzero());
    fs::write(&file, lines).map_err(|e| format!("{file}: {e}"))
}

#[allow(clippy::disallowed_types)] // the one program that must run outside of every sandbox
fn run_map_helper(pid: Pid, kind: &str, map: &[[u32; 3]]) -> Result<(), String> {
    let helper = format!("new{kind}map");
    let status = std::process::Command::new(&helper)
        .arg(pid.as_raw_nonzero().to_string())
        .args(map.iter().flatten().map(u32::to_string))
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("newuidmap or newgidmap refused: {helper}: {status}")),
        Err(error) => Err(format!("{helper} (newuidmap and its twin): {error}")),
    }
}

/// The kernel's number for a limit that is reached is the one for a full disk.
fn in_words(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EUSERS) => {
            io::Error::other("the kernel allows no more user namespaces")
        }
        _ => error,
    }
}

/// Settings that forbid user namespaces, and how to lift each.
const FORBIDDING: [(&str, &str, &str); 3] = [
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "kernel.apparmor_restrict_unprivileged_userns=0",
    ),
];

fn remedy_for_unshare() -> Option<String> {
    remedy_for(|file| fs::read_to_string(file).ok())
}

fn remedy_for(read: impl Fn(&str) -> Option<String>) -> Option<String> {
    let set = |(file, bad, cure): &(&str, &str, &str)| {
        (read(file)?.trim() == *bad).then(|| format!("{file} is {bad}: sudo sysctl {cure}"))
    };
    FORBIDDING.iter().find_map(set).or_else(|| {
        Some(
            "a build needs user namespaces; in a container, allow unshare(2) (with podman or \
             docker: --security-opt seccomp=unconfined)"
                .into(),
        )
    })
}

fn failed(operation: &str, remedy: Option<String>, source: io::Error) -> Error {
    Error::Namespace { operation: operation.to_owned(), remedy, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_that_forbids_is_named_with_its_cure() {
        for (forbidding, bad, cure) in FORBIDDING {
            let read = |file: &str| (file == forbidding).then(|| format!("{bad}\n"));
            assert_eq!(
                remedy_for(read).unwrap(),
                format!("{forbidding} is {bad}: sudo sysctl {cure}")
            );
        }
        assert!(remedy_for(|_| Some("7\n".into())).unwrap().contains("--security-opt"));
        assert!(
            in_words(io::Error::from_raw_os_error(libc::ENOSPC)).to_string().contains("allows")
        );
    }

    #[test]
    fn root_maps_what_it_has() {
        assert_eq!(own_ids("         0          0 4294967295\n"), [[0, 0, 4_294_967_295]]);
        assert_eq!(own_ids("0 1000 1\n1 100000 65536\n"), [[0, 0, 1], [1, 1, 65_536]]);
        assert!(own_ids("junk\n").is_empty());
    }

    #[test]
    fn root_needs_all_ids() {
        for (ids, is_enough) in [
            (vec![[0, 0, u32::MAX]], true),
            (vec![[1, 1, 65_536], [0, 0, 1]], true),
            (vec![[0, 0, 1]], false),
            (vec![[0, 0, 1], [2, 2, 65_536]], false),
            (vec![], false),
        ] {
            let found = check_enough("user", &ids);
            assert_eq!(found.is_ok(), is_enough, "{ids:?}");
            assert!(found.err().is_none_or(|error| error.hint().is_some()));
        }
    }

    #[test]
    fn subordinate_ranges() {
        let table = [
            ("ann:100000:65536\n", Some([1, 100_000, 65_536])),
            ("bob:1:65536\n1000:200000:65536\n", Some([1, 200_000, 65_536])),
            ("ann:100000:1000\n", None),
            ("ann:100000\nann\n", None),
            ("", None),
        ];
        for (text, want) in table {
            assert_eq!(first_range(text, "ann", 1000), want, "{text}");
        }
    }
}
