//! Mirrors that lie, cut, stall or are gone.

use std::fs;

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{
    Outcome, coremax, expect,
    mirror::{Archive, Dates, Fault},
    ran,
};

use crate::stage::{Stage, complained, host, went_on};

pub(crate) fn sound(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    let ran = stage.plan(cache.path(), &[]);
    expect(ran.ok, || ran.err.clone())?;
    went_on(&stage.build(cache.path()))
}

pub(crate) fn tampered(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    let mut files = stage.archive.files(Dates::SOUND);
    let release = files.get_mut("/dists/bookworm/InRelease").ok_or("no InRelease")?;
    *release = String::from_utf8_lossy(release).replace("Origin: Test", "Origin: Evil").into();
    stage.server.serve(files);
    let ran = stage.plan(cache.path(), &[]);
    complained(&ran, &["bookworm", "not what"], "tampered")?;
    recovers(stage, &cache)
}

pub(crate) fn other_key(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    stage.server.serve(Archive::new().files(Dates::SOUND));
    let ran = stage.plan(cache.path(), &[]);
    complained(&ran, &["bookworm", "is not one of the keys"], "--key")?;
    recovers(stage, &cache)
}

pub(crate) fn expired(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    // The host's apt may be told not to look.
    let _apt = Apt::configure(stage)?;
    stage.server.serve(stage.archive.files(Dates { age: 48, valid: -24 }));
    let ran = stage.plan(cache.path(), &[]);
    complained(&ran, &["bookworm", "expired on"], "no longer updated")?;
    recovers(stage, &cache)
}

pub(crate) fn older(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    expect(stage.plan(cache.path(), &[]).ok, || "the first plan failed".into())?;
    stage.server.serve(stage.archive.files(Dates { age: 48, ..Dates::SOUND }));
    let ran = stage.plan(cache.path(), &["--refresh"]);
    complained(&ran, &["bookworm", "was served before"], "replays")?;
    recovers(stage, &cache)
}

pub(crate) fn other_index(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    stage.server.fail("bookworm/main/binary-amd64/Packages", Fault::Flip);
    let ran = stage.plan(cache.path(), &[]);
    complained(&ran, &["Packages", "wanted SHA-256"], "middle of an update")?;
    recovers(stage, &cache)
}

pub(crate) fn flipped(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    stage.server.fail("/grub-common.deb", Fault::Flip);
    let ran = stage.build(cache.path());
    complained(&ran, &["grub-common", "wanted SHA-256"], "another mirror")?;
    stage.server.serve(stage.archive.files(Dates::SOUND));
    went_on(&stage.build(cache.path()))?;
    expect(stage.asked("/grub-common.deb") == 1, || "it was not fetched again".into())
}

pub(crate) fn cut(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    stage.server.fail("/grub-common.deb", Fault::Cut(3));
    went_on(&stage.build(cache.path()))?;
    resumed(stage)
}

pub(crate) fn cut_for_good(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    stage.server.fail("/grub-common.deb", Fault::Cut(1000));
    let ran = stage.build(cache.path());
    complained(&ran, &["grub-common.deb", "gave up after"], "check the network")?;
    stage.server.serve(stage.archive.files(Dates::SOUND));
    went_on(&stage.build(cache.path()))
}

pub(crate) fn lacking(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    let mut files = stage.archive.files(Dates::SOUND);
    files.remove("/pool/grub-common.deb").ok_or("no such package")?;
    stage.server.serve(files);
    let ran = stage.build(cache.path());
    complained(&ran, &["grub-common.deb", "the server answers 404"], "name another mirror")?;
    stage.server.serve(stage.archive.files(Dates::SOUND));
    went_on(&stage.build(cache.path()))
}

pub(crate) fn stalled(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    let _apt = Apt::configure(stage)?;
    stage.server.fail("/grub-common.deb", Fault::Stall(1));
    went_on(&stage.build(cache.path()))?;
    resumed(stage)
}

pub(crate) fn silent(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    let _apt = Apt::configure(stage)?;
    stage.server.fail("bookworm/InRelease", Fault::Stall(1000));
    let ran = stage.plan(cache.path(), &[]);
    complained(&ran, &["bookworm", "no data for 1 s", "gave up after"], "check the network")?;
    recovers(stage, &cache)
}

pub(crate) fn gone(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    // Nobody listens at port 1, and the last of the same option counts.
    let ran = stage.plan(cache.path(), &["--security-mirror", "http://127.0.0.1:1/gone"]);
    complained(&ran, &["http://127.0.0.1:1/gone", "gave up after"], "check the network")?;
    recovers(stage, &cache)
}

/// What a third party wrote wrong, and what apt's own file has, in a plan that names its mirror and in cleaning.
pub(crate) fn malformed_apt(stage: &Stage) -> Outcome {
    let cache = stage.sound();
    let _apt = Apt::configure(stage)?;
    let (parts, conf) = (stage.path("apt/sources.list.d"), stage.path("apt/apt.conf"));
    let written = fs::create_dir_all(&parts)
        .and_then(|()| fs::write(parts.join("vendor.list"), "deb [signed-by=/v.gpg http://v x\n"));
    written.map_err(|e| e.to_string())?;
    let planned = stage.plan(cache.path(), &[]);
    fs::remove_dir_all(&parts).and_then(|()| fs::write(&conf, "}")).map_err(|e| e.to_string())?;
    let refused = stage.plan(cache.path(), &[]);
    let clean = Cmd::new(coremax(), &Sandbox::host()).args(["clean", "--cache"]).arg(cache.path());
    let cleaned = ran(clean);
    expect(planned.ok, || planned.err)?;
    complained(&refused, &["apt.conf", "unbalanced"], "mend the file")?;
    expect(cleaned.ok, || cleaned.err)
}

fn resumed(stage: &Stage) -> Outcome {
    let ranged = |request: &String| {
        let (path, from) = request.split_once(' ').unwrap_or_default();
        path.ends_with("/grub-common.deb") && !from.is_empty()
    };
    let requests = stage.server.requests();
    expect(requests.iter().any(ranged), || format!("nothing was resumed: {requests:?}"))
}

/// With the mirror sound again, the same cache does.
fn recovers(stage: &Stage, cache: &tempfile::TempDir) -> Outcome {
    stage.server.serve(stage.archive.files(Dates::SOUND));
    let ran = stage.plan(cache.path(), &[]);
    expect(ran.ok, || format!("the next plan failed:\n{}", ran.err))
}

/// An apt configuration with a short time-out over the host's, until dropped.
struct Apt;

impl Apt {
    fn configure(stage: &Stage) -> Result<Self, String> {
        let folder = stage.path("apt");
        fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        fs::write(folder.join("apt.conf"), "Acquire::http::Timeout \"1\";\n")
            .map_err(|e| e.to_string())?;
        host("mount", &["--bind", &folder.to_string_lossy(), "/etc/apt"]).map(|()| Self)
    }
}

impl Drop for Apt {
    fn drop(&mut self) {
        let _ = host("umount", &["/etc/apt"]);
    }
}
