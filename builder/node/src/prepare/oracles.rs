//! What the programs that read these files say of them.

use std::{fs, path::Path};

use coremax_node_api::{
    enrol::{Gift, Public, Request, Secret},
    join::NodeKey,
    roster::Roster,
};
use coremax_sandbox::{Cmd, Sandbox};
use serde_json::{Value, json};

use super::{Facts, File, files, tests};
use crate::authority::Authority;

/// What a program prints; nothing, counted as a skip, where it is not there.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    match Cmd::new(program, &Sandbox::host()).args(arguments).run() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) if error.hint().is_some() => {
            coremax_skip::skip(format_args!("{error}"));
            None
        }
        Err(error) => panic!("{program} {arguments:?}: {error}"),
    }
}

/// The same of a shell in namespaces of its own, with `/made` being `folder`.
fn said_within(folder: &Path, script: &str) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        coremax_skip::skip("mounting over /etc needs root");
        return None;
    }
    let arguments = ["--mount", "--net", "sh", "-euc", script, "sh"];
    said("unshare", &[&arguments[..], &[folder.to_str()?]].concat())
}

fn write(folder: &Path, files: &[File]) {
    for file in files {
        crate::durable::replace(&super::write::within(folder, &file.path), &file.bytes, file.mode)
            .unwrap();
    }
}

/// The files of a row by a real authority.
fn made(row: usize, folder: &Path) -> Vec<File> {
    let files = tests::of(row, 9, &gift(row, Secret::from_seed(&[2; 32]).public(), folder));
    write(folder, &files);
    files
}

fn gift(row: usize, host: Public, folder: &Path) -> Gift {
    let (roster, node) = (tests::roster(), NodeKey([1; 32]));
    let authority = Authority::at(&folder.join("authority"), roster.cluster).unwrap();
    let request = Request::new(roster.cluster, node, &Secret::from_seed(&[1; 32]), host, None);
    authority.gift(&roster.nodes[row], node, &request, 1_800_000_000_000).unwrap().unwrap()
}

#[test]
fn names_are_one_address_each() {
    let folder = tempfile::tempdir().unwrap();
    made(1, folder.path());
    let script = "mount --bind $1/etc/hosts /etc/hosts
        for name in control-1 control-2 1e3; do getent -s files hosts $name; done";
    let Some(answers) = said_within(folder.path(), script) else { return };
    let mut addresses: Vec<_> = answers.lines().filter_map(|line| line.split(' ').next()).collect();
    addresses.dedup();
    assert_eq!(addresses, ["10.0.0.11", "10.0.0.12", "10.0.0.13"], "{answers}");
}

#[test]
fn chrony_takes_its_file() {
    for (row, wanted) in [(0, "allow 10.0.0.0/24"), (1, "server 10.0.0.11 iburst")] {
        let folder = tempfile::tempdir().unwrap();
        made(row, folder.path());
        let path = folder.path().join("etc/chrony/chrony.conf");
        let Some(config) = said("chronyd", &["-p", "-f", path.to_str().unwrap()]) else { return };
        assert!(config.lines().any(|line| line.trim() == wanted), "{config}");
    }
}

#[test]
fn ansible_reads_the_inventory() {
    let folder = tempfile::tempdir().unwrap();
    made(0, folder.path());
    let path = folder.path().join("var/lib/coremax/inventory/cluster.yml");
    let arguments = ["-i", path.to_str().unwrap(), "--list"];
    let Some(answer) = said("ansible-inventory", &arguments) else { return };
    let list: Value = serde_json::from_str(&answer).unwrap();
    let members = |group: &str| list[group].get("hosts").cloned().unwrap_or(json!([]));
    for (group, want) in [
        ("control", json!(["control-1", "control-2"])),
        ("network", json!(["control-1"])),
        ("storage", json!(["control-2"])),
        ("worker", json!(["1e3"])),
        ("compute", json!([])),
    ] {
        assert_eq!(members(group), want, "{group}: {answer}");
    }
    let host = &list["_meta"]["hostvars"]["control-2"];
    assert_eq!(host["ansible_host"], "10.0.0.12");
    assert_eq!(
        host["coremax_osd_disks"],
        json!(["/dev/disk/by-id/nvme-1", "/dev/disk/by-id/nvme-2"])
    );
    assert_eq!((&host["ansible_user"], &host["coremax_vrrp_id"]), (&json!("root"), &json!(40)));
}

/// On a card of the test's own, which has a kind and no permanent MAC: what the match says is said otherwise here. The
/// files as they are stand beside it.
#[test]
fn networkd_gives_the_card_its_address() {
    let networkd = "/lib/systemd/systemd-networkd";
    if !Path::new(networkd).exists() {
        return coremax_skip::skip(format_args!("{networkd} is not here (install systemd)"));
    }
    let folder = tempfile::tempdir().unwrap();
    // An MTU that the card does not have by itself.
    let (gateway, dns) = ("10.0.0.1".parse().ok(), vec!["10.0.0.2".parse().unwrap()]);
    let roster = Roster { mtu: 1400, gateway, dns, ..tests::roster() };
    let gift = gift(1, Secret::from_seed(&[2; 32]).public(), folder.path());
    let card = "52:54:00:00:00:02".parse().unwrap();
    let files = files(&Facts { roster: &roster, own: &roster.nodes[1], card, gift: &gift });
    write(folder.path(), &files);
    stage(folder.path(), files);
    let script = "mount -t tmpfs none /run
        mount --bind $1/etc/systemd/network /etc/systemd/network
        mount -t sysfs -o ro none /sys
        ip link add other type veth peer card address 52:54:00:00:00:02
        ip link set other up
        mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
        chown -R systemd-network: /run/systemd/netif
        SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=debug /lib/systemd/systemd-networkd >$1/log 2>&1 & pid=$!
        for n in $(seq 100); do
            if ip -4 route | grep -q default && grep -q 10.0.0.2 /run/systemd/netif/links/*; then break; fi
            if ! kill -0 $pid; then break; fi
            sleep 0.1
        done
        kill $pid; ip -4 -o addr show dev card; ip -4 route; ip link show card; cat /run/systemd/netif/links/*";
    let Some(told) = said_within(folder.path(), script) else { return };
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    for want in ["inet 10.0.0.12/24", "default via 10.0.0.1 dev card", "mtu 1400", "DNS=10.0.0.2"] {
        assert!(told.contains(want), "{want} in {told}\n{log}");
    }
    no_complaint(&log);
}

#[test]
fn systemd_takes_the_wait_for_the_network() {
    let folder = tempfile::tempdir().unwrap();
    made(1, folder.path());
    if said("systemd-analyze", &["--version"]).is_none() {
        return;
    }
    let unit = "systemd-networkd-wait-online.service";
    let drop_in = format!("etc/systemd/system/{unit}.d/10-coremax.conf");
    let script = format!(
        "mount --bind $1/etc/systemd/system /etc/systemd/system; systemd-analyze verify {unit} 2>&1
        echo Bogus=1 >>/{drop_in}; systemd-analyze verify {unit} 2>&1"
    );
    let Some(text) = said_within(folder.path(), &script) else { return };
    let complaints: Vec<_> = text.lines().filter(|line| line.contains("10-coremax.conf")).collect();
    assert!(matches!(complaints[..], [one] if one.contains("Bogus")), "{text}");
}

/// What [`networkd_gives_the_card_its_address`] does, with udev, which renames a card by its .link file.
#[test]
fn udev_takes_the_name_of_a_card() {
    let folder = tempfile::tempdir().unwrap();
    stage_cards(folder.path());
    if said("udevadm", &["--version"]).is_none() {
        return;
    }
    let script = "mount -t tmpfs none /run
        mount --bind $1/etc/systemd/network /etc/systemd/network
        mount -t sysfs none /sys
        ip link add other type veth peer card address 52:54:00:00:01:02
        SYSTEMD_LOG_LEVEL=debug udevadm test-builtin net_setup_link /sys/class/net/card 2>&1";
    let Some(log) = said_within(folder.path(), script) else { return };
    assert!(log.lines().any(|line| line == "ID_NET_NAME=storage0"), "{log}");
    no_complaint(&log);
}

/// Files for a card that has no permanent MAC, on a network where nobody answers; those that are meant; and one with a
/// setting that nobody has.
fn stage_cards(folder: &Path) {
    stage(folder, made(1, folder));
}

fn stage(folder: &Path, files: Vec<File>) {
    for file in files {
        let text = file.text().replace("Permanent", "").replace("Kind=!*\n", "");
        let text = text.replace("DHCP=yes", "DHCP=no\nIPv6AcceptRA=no");
        let path = super::write::within(folder, &file.path);
        fs::write(path, text).unwrap();
        if file.path.contains("10-coremax-") {
            let as_it_is = file.path.replace("10-coremax-", "20-as-it-is-");
            fs::write(super::write::within(folder, &as_it_is), &file.bytes).unwrap();
        }
    }
    for kind in ["network", "link"] {
        let path = folder.join(format!("etc/systemd/network/30-nobodys.{kind}"));
        fs::write(path, "[Match]\nMACAddress=02:00:00:00:00:99\nBogus=1\n").unwrap();
    }
}

/// Of all settings, the reader does not know the one that nobody has, and says so.
fn no_complaint(log: &str) {
    let is_one = |line: &&str| {
        line.contains("Unknown") || line.contains("/systemd/network/") && line.contains("ignoring")
    };
    let complaints: Vec<_> = log.lines().filter(is_one).collect();
    assert!(
        matches!(complaints[..], [one] if one.contains("30-nobodys.")),
        "{complaints:#?} in {log}"
    );
}
