//! The first part: one machine from its first boot through an update, a way back, and versions that are refused.

use std::{collections::BTreeMap, fs};

use coremax_tests::{
    Firmware, Outcome, expect,
    guest::{Disk, Guest, Machine},
    mirror::{Fault, Server},
};
use serde_json::Value;

use crate::{
    MOUNT, Stage, blessed,
    builds::{ONE, SICK, TWO},
    equal, falls_back, identity, refuses, says, status, up, update,
};

/// Logs into the machine from itself, as somebody with a key from the second disk, and asks for the name.
fn login(user: &str, key: &str) -> String {
    format!(
        "install -m 600 /mnt/{key} /run/{key} && ssh -q -i /run/{key} -o IdentitiesOnly=yes -o BatchMode=yes \
         -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null {user}@127.0.0.1 id -un"
    )
}

pub(crate) fn new_machine(stage: &Stage) -> Outcome {
    let work = stage.work.join("life");
    let disk = stage.disk(ONE, &work)?;
    let files = stage.files(&[ONE, TWO, SICK], &work)?;
    let disk = Disk::Kept(&disk);
    let machine = Machine::alone(&Firmware::Bios, disk, &files, &work);
    let mut guest = Guest::start_with(&machine, &identity::media(&work)?)?;
    equal(&guest.up()?, &up("a", "1"))?;
    guest.runs(MOUNT)?;
    guest.runs("mkdir -p /var/lib/coremax")?;
    guest.runs("echo kept | tee /var/lib/own /var/lib/coremax/own")?;
    guest.runs("useradd --create-home own && chown own /var/lib/own")?;
    equal(&guest.runs(&login("root", "old"))?, &"root".into())?;
    let said = guest.runs("coremax-node status")?;
    says(&said, &["node 1\n", "slot a  1                 running, blessed", "slot b  empty"])?;
    let trial = guest.run("test -e /run/coremax/trial")?;
    *stage.guest.borrow_mut() = Some(guest);
    expect(!trial.ok, || "a new machine is on trial".into())
}

pub(crate) fn no_newer(stage: &Stage) -> Outcome {
    let mut guest = stage.guest()?;
    let why = "is of version 1, and version 1, which runs, is no older";
    refuses(&mut guest, &ONE.file(), &[why])?;
    says(&guest.runs("coremax-node status")?, &["slot b  empty"])
}

pub(crate) fn good_update(stage: &Stage) -> Outcome {
    let mut guest = stage.guest()?;
    equal(&update(&mut guest, TWO, "2")?, &up("b", "2"))?;
    blessed(&mut guest)?;
    let status = status(&mut guest)?;
    equal(&status["state"], &serde_json::json!({"blessed": "b", "trial": null}))?;
    equal(&status["slots"], &serde_json::json!({"a": "1", "b": "2"}))?;
    equal(&guest.runs("cat /usr/lib/coremax-tests/version")?, &"2".into())?;
    equal(&guest.runs("cat /var/lib/own")?, &"kept".into())
}

pub(crate) fn accounts(stage: &Stage) -> Outcome {
    let mut guest = stage.guest()?;
    guest.runs(MOUNT)?;
    equal(&guest.runs("stat -c %U /var/lib/own")?, &"own".into())?;
    equal(&guest.runs("id -u ada")?, &"1500".into())?;
    for user in ["root", "ada"] {
        equal(&guest.runs(&login(user, "new"))?, &user.to_owned())?;
    }
    for user in ["root", "own"] {
        let did = guest.run(&login(user, if user == "own" { "new" } else { "old" }))?;
        expect(!did.ok, || format!("{user} was let in: {}", did.said))?;
    }
    Ok(())
}

pub(crate) fn rollback(stage: &Stage) -> Outcome {
    let mut guest = stage.guest()?;
    let identity = "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub \
                    /var/lib/coremax/own /var/lib/coremax/identity.json";
    let before = guest.runs(identity)?;
    says(&guest.runs("coremax-node rollback")?, &["to go back to 1 in slot a"])?;
    guest.runs("coremax-node reset --keep-identity")?;
    says(
        &guest.runs("coremax-node status")?,
        &["slot a  1", "on trial, 3 boots left, boots next"],
    )?;
    equal(&guest.restart_until("1")?, &up("a", "1"))?;
    blessed(&mut guest)?;
    equal(&guest.runs(identity)?, &before)?;
    let own = guest.run("test -e /var/lib/own")?;
    expect(!own.ok, || "the reset left data behind".into())?;
    let status = status(&mut guest)?;
    equal(&status["state"]["blessed"], &"a".into())?;
    equal(&status["reset"], &Value::Null)
}

pub(crate) fn unhealthy(stage: &Stage) -> Outcome {
    let mut guest = stage.guest()?;
    falls_back(&mut guest, SICK, &["sick.service", "to go back to 1 in slot a"])
}

pub(crate) fn over_the_network(stage: &Stage) -> Outcome {
    let update = fs::read(stage.update(TWO)?).map_err(|e| e.to_string())?;
    let half = update.len() / 2;
    let server = Server::start(BTreeMap::from([("/node".to_owned(), update)]));
    server.fail("/node", Fault::Cut(1));
    // QEMU has the host's loopback there.
    let url = server.url.replace("127.0.0.1", "10.0.2.2") + "/node";
    let mut guest = stage.guest()?;
    guest.runs("until ip route | grep -q ^default; do sleep 1; done")?;
    let said = guest.runs(&format!("coremax-node update {url}"))?;
    says(&said, &["node 2 is in slot b"])?;
    equal(&server.requests(), &vec!["/node ".to_owned(), format!("/node {half}")])
}
