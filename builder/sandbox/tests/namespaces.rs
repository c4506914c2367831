//! What programs see and what is left of them, tried on this kernel with the host's own `/usr` as
//! the tools tree.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    process::ExitCode,
};

use coremax_sandbox::{Cmd, Error, Overlay, Sandbox, enter};
use coremax_skip::skip_test;

type Outcome = Result<(), Box<dyn std::error::Error>>;

type Check = (&'static str, fn(&Path) -> Outcome);

const CHECKS: [Check; 14] = [
    ("the tools tree is read-only and the rest is fresh", tools_are_read_only),
    ("a named folder is writable, another read-only", binds_are_as_asked),
    ("there is no network", no_network),
    ("the program is alone and its orphans die with it", alone),
    ("a failed program says what it said", failure_is_quoted),
    ("a missing program is named", missing_program),
    ("a missing folder is named", missing_folder),
    ("an overlay keeps changes apart", overlay_keeps_apart),
    ("files may belong to any user", any_owner),
    ("what is read-only stays so", read_only_stays),
    ("the kernel's settings and the host's devices stay as they are", host_stays),
    ("no mount point leaves the tree by a link", links_stay_inside),
    ("a missing starting folder is not a missing program", missing_start),
    ("a program's end is known where SIGCHLD was ignored", end_is_known),
];
/// The argument by which [`end_is_known`] starts this program.
const STATUS: &str = "--status-of-three";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(STATUS) {
        return status_of_three();
    }
    if let Err(error) = enter() {
        for (name, _) in CHECKS {
            skip_test(name, format_args!("no user namespaces here: {error}; {:?}", error.hint()));
        }
        println!("0 passed, 0 failed, {} skipped", CHECKS.len());
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (name, check) in CHECKS {
        let folder = tempfile::tempdir().expect("a temporary folder");
        match check(folder.path()) {
            Ok(()) => println!("ok      {name}"),
            Err(error) => {
                failed += 1;
                println!("FAILED  {name}: {error}");
            }
        }
    }
    println!("{} passed, {failed} failed, 0 skipped", CHECKS.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tools() -> Sandbox {
    Sandbox::tools(Path::new("/"))
}

fn shell(sandbox: &Sandbox, script: &str) -> Result<String, Error> {
    let output = Cmd::new("sh", sandbox).args(["-ec", script]).run()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn expect(holds: bool, what: impl std::fmt::Display) -> Outcome {
    if holds { Ok(()) } else { Err(format!("{what}").into()) }
}

fn tools_are_read_only(_: &Path) -> Outcome {
    let said = shell(&tools(), "touch /usr/x 2>&1 || true; touch /tmp/y; ls /tmp /run /dev")?;
    expect(said.contains("Read-only file system"), &said)?;
    expect(said.contains("/tmp:\ny"), &said)?;
    expect(!Path::new("/tmp/y").exists(), "the host's /tmp was written")?;
    shell(&tools(), "echo x > /dev/null; head -c1 /dev/urandom > /dev/shm/z; test -d /proc/self/fd")
        .map(drop)
        .map_err(Into::into)
}

fn binds_are_as_asked(folder: &Path) -> Outcome {
    let (open, closed) = (folder.join("open"), folder.join("closed"));
    fs::create_dir(&open)?;
    fs::create_dir(&closed)?;
    let sandbox = tools().bind(&open).bind_ro(&closed).bind_ro_at(&open, Path::new("/run/as"));
    let script = format!(
        "touch {}/a; if touch {}/b 2>/dev/null; then exit 7; fi; test -e /run/as/a; \
         if touch /run/as/c 2>/dev/null; then exit 8; fi",
        open.display(),
        closed.display()
    );
    shell(&sandbox, &script)?;
    expect(open.join("a").exists(), "the file did not arrive")
}

fn no_network(_: &Path) -> Outcome {
    let devices = shell(&tools(), "tail -n +3 /proc/net/dev | cut -d: -f1")?;
    expect(devices == "lo", devices)
}

fn alone(folder: &Path) -> Outcome {
    let sandbox = tools().bind(folder);
    let pids = shell(&sandbox, "echo /proc/[0-9]*")?;
    expect(pids == "/proc/1 /proc/2", &pids)?;
    let lock = folder.join("held");
    let script =
        format!("setsid flock {0} sleep 1000 & until test -e {0}; do :; done", lock.display());
    shell(&sandbox, &script)?;
    let free = Cmd::new("flock", &Sandbox::host()).arg("-w20").arg(&lock).arg("true").output()?;
    expect(free.status.success(), "an orphan holds its lock still")
}

fn failure_is_quoted(_: &Path) -> Outcome {
    let error = shell(&tools(), "echo oh no >&2; exit 3").expect_err("it fails").to_string();
    expect(error.contains("sh ended with exit status: 3") && error.contains("oh no"), error)
}

fn missing_program(_: &Path) -> Outcome {
    let error = Cmd::new("no-such-program", &tools()).run().expect_err("it is missing");
    expect(matches!(error, Error::Start { .. }), &error)?;
    expect(error.hint().is_some(), "no hint")
}

fn missing_folder(folder: &Path) -> Outcome {
    let sandbox = tools().bind(&folder.join("missing"));
    let error = Cmd::new("true", &sandbox).run().expect_err("it is missing").to_string();
    expect(error.contains("missing"), error)
}

fn overlay_keeps_apart(folder: &Path) -> Outcome {
    let parts = ["lower", "upper", "work", "merged"].map(|name| folder.join(name));
    for part in &parts {
        fs::create_dir(part)?;
    }
    let [lower, upper, work, merged] = &parts;
    fs::write(lower.join("kept"), "1")?;
    fs::write(lower.join("removed"), "1")?;
    let overlay = Overlay::mount(&[lower], upper, work, merged)?;
    shell(
        &tools().bind(overlay.path()),
        &format!("cd {}; rm removed; touch new", merged.display()),
    )?;
    expect(merged.join("kept").exists() && !merged.join("removed").exists(), "not merged")?;
    drop(overlay);
    expect(lower.join("removed").exists() && !lower.join("new").exists(), "lower was changed")?;
    let stack = Overlay::stack(&[upper, lower], merged)?;
    expect(!merged.join("removed").exists() && merged.join("new").exists(), "not stacked")?;
    expect(fs::write(merged.join("no"), "").is_err(), "a stack was written")?;
    drop(stack);
    let whiteout = fs::symlink_metadata(upper.join("removed"))?;
    expect(whiteout.rdev() == 0 && upper.join("new").exists(), "upper lacks the changes")
}

fn any_owner(folder: &Path) -> Outcome {
    let file = folder.join("file");
    fs::write(&file, "")?;
    std::os::unix::fs::chown(&file, Some(33), Some(65534))?;
    let said = shell(&tools().bind_ro(folder), &format!("stat -c %u:%g {}", file.display()))?;
    expect(said == "33:65534", said)
}

fn read_only_stays(folder: &Path) -> Outcome {
    let sandbox = tools().bind_ro(folder);
    let remount = format!("mount -o remount,rw,bind {}", folder.display());
    let touch = format!("touch {}/x", folder.display());
    for attempt in [
        format!("{remount} && {touch}"),
        format!("umount -l {0} && {touch}", folder.display()),
        format!("unshare -Urm sh -c '{remount} && {touch}'"),
        "mount -o remount,rw /proc".to_owned(),
        "mount -t tmpfs none /mnt".to_owned(),
    ] {
        let script = format!("if {attempt}; then exit 7; fi");
        shell(&sandbox, &script).map_err(|error| format!("{attempt}: {error}"))?;
        expect(!folder.join("x").exists(), attempt)?;
    }
    Ok(())
}

fn host_stays(_: &Path) -> Outcome {
    // What is there, so that a sandbox that lets it pass does no harm.
    let setting = fs::read_to_string("/proc/sys/vm/swappiness")?;
    let mode = fs::metadata("/dev/null")?.mode() & 0o7777;
    for attempt in [
        format!("echo {} >/proc/sys/vm/swappiness", setting.trim()),
        "test -w /proc/sysrq-trigger".to_owned(),
        format!("chmod {mode:o} /dev/null"),
    ] {
        shell(&tools(), &format!("if ({attempt}) 2>/dev/null; then exit 7; fi"))
            .map_err(|error| format!("{attempt}: {error}"))?;
    }
    shell(&tools(), "echo >/dev/null; echo >>/dev/full && exit 7 || true").map(drop)?;
    Ok(())
}

/// A tree with the host's programs in it.
fn tree(at: &Path) -> Result<Sandbox, Box<dyn std::error::Error>> {
    fs::create_dir_all(at.join("usr"))?;
    for name in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), at.join(name))?;
    }
    Ok(Sandbox::tree(at).bind_ro_at(Path::new("/usr"), Path::new("/usr")))
}

fn links_stay_inside(folder: &Path) -> Outcome {
    let (root, outside, file) = (folder.join("tree"), folder.join("outside"), folder.join("file"));
    fs::create_dir(&outside)?;
    fs::write(&file, "bound")?;
    let sandbox = tree(&root)?;
    let old = Path::new("/old").join(outside.strip_prefix("/")?);
    symlink(old.join("made"), root.join("file"))?;
    symlink(&old, root.join("folder"))?;
    fs::write(root.join("real"), "covered")?;
    symlink("/real", root.join("alias"))?;
    for sandbox in [
        sandbox.clone().bind_ro_at(&file, Path::new("/file")),
        sandbox.clone().bind_at(folder, Path::new("/folder/made")),
        sandbox.clone().bind_ro_at(&file, Path::new("/folder/made")),
    ] {
        let ran = Cmd::new("true", &sandbox).run();
        expect(matches!(ran, Err(Error::Prepare { .. })), format!("{ran:?}"))?;
        expect(fs::read_dir(&outside)?.next().is_none(), "something was made outside")?;
    }
    let said = shell(&sandbox.bind_ro_at(&file, Path::new("/alias")), "cat /real")?;
    expect(said == "bound" && fs::read(root.join("real"))? == b"covered", said)
}

fn missing_start(_: &Path) -> Outcome {
    for sandbox in [tools(), Sandbox::host()] {
        let error = Cmd::new("true", &sandbox).current_dir("/no/such").run().expect_err("missing");
        expect(matches!(error, Error::Prepare { .. }), &error)?;
        expect(error.to_string().ends_with("starting in /no/such"), &error)?;
    }
    Ok(())
}

fn end_is_known(_: &Path) -> Outcome {
    let this = std::env::current_exe()?;
    let env = Cmd::new("env", &Sandbox::host()).arg("--ignore-signal=CHLD");
    let output = env.arg(this).arg(STATUS);
    let said = String::from_utf8_lossy(&output.run()?.stdout).into_owned();
    expect(said.trim() == "Some(3)", said)
}

fn status_of_three() -> ExitCode {
    enter().expect("it could be entered before");
    let ran = Cmd::new("sh", &tools()).args(["-c", "exit 3"]).output();
    println!("{:?}", ran.expect("it runs").status.code());
    ExitCode::SUCCESS
}
