//! What is written, byte for byte, and when.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Result, bail};
use coremax_node_api::{
    enrol::{Der, Gift, Public, Secret, Window},
    roster::{Mac, Nic, Node, Roster},
};

use super::{apply, *};

/// A controller that is the seed, one with a second card, and a worker that is known by its serial number.
pub(crate) fn roster() -> Roster {
    serde_json::from_str(
        r#"{"format": 1, "cluster": "3f0c9d7e-5b7b-8f6e-9a40-6d1f6a3c2b10", "epoch": 3, "seed": "control-1",
        "subnet": "10.0.0.0/24", "vip": "10.0.0.10", "node": [
        {"name": "control-1", "roles": ["control", "network"], "address": "10.0.0.11",
         "match": {"mac": "52:54:00:00:00:01"}},
        {"name": "control-2", "roles": ["control", "storage"], "address": "10.0.0.12",
         "match": {"mac": "52:54:00:00:00:02"}, "nic": [{"mac": "52:54:00:00:01:02", "name": "storage0"}],
         "osd-disks": ["/dev/disk/by-id/nvme-1", "/dev/disk/by-id/nvme-2"]},
        {"name": "1e3", "roles": ["worker"], "address": "10.0.0.13", "match": {"serial": "A1"}}]}"#,
    )
    .unwrap()
}

fn public(number: u8) -> Public {
    Secret::from_seed(&[number; 32]).public()
}

fn gift() -> Gift {
    Gift {
        ca: Der::new(vec![1; 3]).unwrap(),
        certificate: Der::new(vec![2; 3]).unwrap(),
        ssh_hosts: public(3),
        ssh_users: public(4),
        ssh_certificate: "ssh-ed25519-cert-v01@openssh.com AAAA".to_owned().try_into().unwrap(),
        valid: Window::at(0),
    }
}

/// The files of a row, whose address is on the card with this last byte.
pub(super) fn of(row: usize, card: u8, gift: &Gift) -> Vec<File> {
    let roster = roster();
    let card = Mac::new([0x52, 0x54, 0, 0, 0, card]).unwrap();
    files(&Facts { roster: &roster, own: &roster.nodes[row], card, gift })
}

fn text<'a>(files: &'a [File], path: &str) -> Option<&'a str> {
    files
        .iter()
        .find(|file| file.path == path)
        .map(|file| std::str::from_utf8(&file.bytes).unwrap())
}

#[test]
fn names() {
    let files = of(1, 2, &gift());
    assert_eq!(text(&files, "/etc/hostname"), Some("control-2\n"));
    let hosts = text(&files, "/etc/hosts").unwrap();
    assert!(
        hosts.ends_with("\n10.0.0.11 control-1\n10.0.0.12 control-2\n10.0.0.13 1e3\n"),
        "{hosts}"
    );
    assert!(!hosts.contains("127.0.1.1") && !hosts.contains("10.0.0.10"));
}

#[test]
fn cards() {
    let head = "# Written by coremax-node from the cluster's roster; changes are lost.\n";
    let files = of(1, 2, &gift());
    let folder = "/etc/systemd/network/10-coremax-";
    let with =
        |name: &str| text(&files, &format!("{folder}{name}")).map(|text| text.replace(head, ""));
    let card = |mac: &str, link: &str, network: &str| {
        format!(
            "[Match]\nPermanentMACAddress={mac}\nKind=!*\n\n[Link]\n{link}\n\n[Network]\n{network}DHCP=yes\n\n\
             [DHCPv4]\nClientIdentifier=mac\nUseHostname=no\n"
        )
    };
    let want = card("52:54:00:00:00:02", "MTUBytes=1500", "Address=10.0.0.12/24\n");
    assert_eq!(with("api.network").unwrap(), want);
    let want = card("52:54:00:00:01:02", "RequiredForOnline=no", "");
    assert_eq!(with("storage0.network").unwrap(), want);
    let want = "[Match]\nPermanentMACAddress=52:54:00:00:01:02\n\n[Link]\nName=storage0\n";
    assert_eq!(with("storage0.link").unwrap(), want);
    let by_serial = of(2, 9, &gift());
    let api = text(&by_serial, &format!("{folder}api.network")).unwrap();
    assert!(api.contains("PermanentMACAddress=52:54:00:00:00:09\n"), "{api}");
    let root = tempfile::tempdir().unwrap();
    assert_eq!(super::card(root.path()), None);
    let path = within(root.path(), &format!("{folder}api.network"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, api).unwrap();
    assert_eq!(super::card(root.path()), Mac::new([0x52, 0x54, 0, 0, 0, 9]));
}

/// What the roster names is not asked of DHCP, and what it does not name is.
#[test]
fn gateway_and_name_servers() {
    let (gateway, dns) =
        ("10.0.0.1".parse().ok(), ["10.0.0.2", "192.0.2.53"].map(|dns| dns.parse().unwrap()));
    let (named, servers) = ("Gateway=10.0.0.1\n", "DNS=10.0.0.2\nDNS=192.0.2.53\n");
    let asked = "DHCP=yes\n\n[DHCPv4]\nClientIdentifier=mac\nUseHostname=no\n";
    for (gateway, dns, want) in [
        (None, vec![], asked.to_owned()),
        (gateway, vec![], format!("{named}{asked}UseGateway=no\n")),
        (None, dns.to_vec(), format!("{servers}{asked}UseDNS=no\n")),
        (gateway, dns.to_vec(), format!("{named}{servers}DHCP=no\n")),
    ] {
        let roster = Roster { mtu: 9000, gateway, dns, ..roster() };
        let card = Mac::new([0x52, 0x54, 0, 0, 0, 9]).unwrap();
        let gift = gift();
        let files = files(&Facts { roster: &roster, own: &roster.nodes[1], card, gift: &gift });
        let api = text(&files, "/etc/systemd/network/10-coremax-api.network").unwrap();
        let (_, network) =
            api.split_once("\n[Link]\nMTUBytes=9000\n\n[Network]\nAddress=10.0.0.12/24\n").unwrap();
        assert_eq!(network, want);
    }
}

/// A card that has an address by the roster asks nobody for one.
#[test]
fn another_card_has_the_roster_s_address() {
    let mut roster = roster();
    roster.nodes[1].nics[0].address = "10.1.0.12/24".parse().ok();
    let card = Mac::new([0x52, 0x54, 0, 0, 0, 9]).unwrap();
    let gift = gift();
    let files = files(&Facts { roster: &roster, own: &roster.nodes[1], card, gift: &gift });
    let storage = text(&files, "/etc/systemd/network/10-coremax-storage0.network").unwrap();
    assert!(storage.ends_with("\n[Network]\nAddress=10.1.0.12/24\nDHCP=no\n"), "{storage}");
}

#[test]
fn cards_come_before_netplans() {
    let names = of(1, 2, &gift());
    for file in names.iter().filter(|file| file.path.starts_with("/etc/systemd/network/")) {
        let name = file.path.rsplit('/').next().unwrap();
        assert!(name < "10-netplan-ens3.network", "{name}");
    }
}

#[test]
fn clocks() {
    let path = "/etc/chrony/chrony.conf";
    let (seed, other) = (of(0, 1, &gift()), of(1, 2, &gift()));
    let ending = |files: &[File]| {
        text(files, path).unwrap().split_once("leapsectz right/UTC\n").unwrap().1.to_owned()
    };
    let want = "sourcedir /run/chrony-dhcp\nsourcedir /etc/chrony/sources.d\nlocal stratum 10\nallow 10.0.0.0/24\n";
    assert_eq!(ending(&seed), want);
    assert_eq!(ending(&other), "server 10.0.0.11 iburst\n");
}

#[test]
fn trust() {
    let files = of(1, 2, &gift());
    let names = "control-1,10.0.0.11,control-2,10.0.0.12,1e3,10.0.0.13";
    let want = format!("@cert-authority {names} {}\n", public(3).to_ssh());
    assert_eq!(text(&files, "/etc/ssh/ssh_known_hosts"), Some(&*want));
    let want = format!("{}\n", public(4).to_ssh());
    assert_eq!(text(&files, "/etc/ssh/coremax-user-ca.pub"), Some(&*want));
    let config = text(&files, "/etc/ssh/sshd_config.d/05-coremax.conf").unwrap();
    for named in config.lines().filter_map(|line| line.split_once(" /etc/")) {
        let at = |path: &str| files.iter().position(|file| file.path == path);
        let config = at("/etc/ssh/sshd_config.d/05-coremax.conf");
        assert!(at(&format!("/etc/{}", named.1)) < config, "{named:?} is there before it is named");
    }
}

#[test]
fn the_seed_alone_has_an_inventory() {
    let path = "/var/lib/coremax/inventory/cluster.yml";
    assert_eq!(text(&of(1, 2, &gift()), path), None);
    let want = r#"# Written by coremax-node from the cluster's roster; changes are lost.
all:
  vars:
    ansible_user: root
    ansible_python_interpreter: /usr/bin/python3
    ansible_ssh_private_key_file: /var/lib/coremax/authority/deploy
    ansible_ssh_common_args: -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes
    coremax_cluster: "3f0c9d7e-5b7b-8f6e-9a40-6d1f6a3c2b10"
    coremax_epoch: 3
    coremax_seed: "control-1"
    coremax_vip: "10.0.0.10"
    coremax_vrrp_id: 40
  hosts:
    "control-1":
      ansible_host: "10.0.0.11"
    "control-2":
      ansible_host: "10.0.0.12"
      coremax_osd_disks: ["/dev/disk/by-id/nvme-1", "/dev/disk/by-id/nvme-2"]
    "1e3":
      ansible_host: "10.0.0.13"
  children:
    control:
      hosts:
        "control-1": {}
        "control-2": {}
    network:
      hosts:
        "control-1": {}
    compute:
      hosts: {}
    storage:
      hosts:
        "control-2": {}
    monitoring:
      hosts: {}
    worker:
      hosts:
        "1e3": {}
"#;
    assert_eq!(text(&of(0, 1, &gift()), path), Some(want));
}

#[test]
fn the_same_facts_make_the_same_bytes_and_no_two_files_share_a_path() {
    assert_eq!(of(1, 2, &gift()), of(1, 2, &gift()));
    let mut paths: Vec<_> = of(0, 1, &gift()).into_iter().map(|file| file.path).collect();
    let count = paths.len();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), count);
}

/// Prepares a machine below `root`; says who was told.
fn told(root: &Path, roster: &Roster, own: &Node) -> Vec<Reader> {
    let gift = gift();
    let card = Mac::new([0x52, 0x54, 0, 0, 0, 9]).unwrap();
    let mut told = Vec::new();
    let facts = Facts { roster, own, card, gift: &gift };
    let prepared = apply::prepare(root, &facts, &mut |reader, _| {
        told.push(reader);
        Ok(())
    });
    assert_eq!(prepared.unwrap(), Vec::<String>::new());
    told
}

fn modified(root: &Path) -> Vec<(String, std::time::SystemTime)> {
    let all = of(0, 9, &gift()).into_iter().map(|file| file.path);
    let time = |path: &String| fs::metadata(write::within(root, path)).unwrap().modified().unwrap();
    all.map(|path| (path.clone(), time(&path))).collect()
}

#[test]
fn only_what_changed_is_written_and_only_its_readers_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let first = roster();
    let seed = &first.nodes[0];
    let everybody = [Reader::Hostname, Reader::Network, Reader::Clock, Reader::Ssh];
    assert_eq!(told(root, &first, seed), everybody);
    let before = modified(root);
    assert_eq!(told(root, &first, seed), []);
    assert_eq!(modified(root), before);
    fs::write(root.join("etc/hosts"), "127.0.1.1 control-1\n").unwrap();
    let config = root.join("etc/ssh/sshd_config.d/05-coremax.conf");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(told(root, &first, seed), [Reader::Ssh]);
    assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o7777, 0o644);
    let changed = modified(root).iter().zip(&before).filter(|(now, then)| now != then).count();
    assert_eq!(changed, 2);
    assert!(!root.join("run/coremax/prepare").exists());
}

#[test]
fn what_a_newer_roster_has_no_more_goes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut newer = roster();
    newer.nodes[0].nics = vec![Nic {
        mac: Mac::new([2, 0, 0, 0, 0, 7]).unwrap(),
        name: "storage0".parse().unwrap(),
        address: None,
    }];
    told(root, &newer, &newer.nodes[0]);
    let network = root.join("etc/systemd/network");
    fs::write(network.join("80-ethernet.network"), "the image's").unwrap();
    let names = || {
        let entries = fs::read_dir(&network).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names().len(), 4);
    (newer.epoch, newer.seed) = (4, "control-2".parse().unwrap());
    newer.nodes[0].nics.clear();
    assert_eq!(told(root, &newer, &newer.nodes[0]), [Reader::Network, Reader::Clock]);
    assert_eq!(names(), ["10-coremax-api.network", "80-ethernet.network"]);
    assert!(!root.join("var/lib/coremax/inventory/cluster.yml").exists(), "it is the seed no more");
}

#[test]
fn who_was_not_told_is_told_the_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let (roster, gift) = (roster(), gift());
    let card = Mac::new([0x52, 0x54, 0, 0, 0, 9]).unwrap();
    let facts = Facts { roster: &roster, own: &roster.nodes[0], card, gift: &gift };
    let mut refuse = |reader, _: &Facts<'_>| -> Result<()> {
        if reader == Reader::Clock { bail!("it does not start") } else { Ok(()) }
    };
    assert!(apply::prepare(root, &facts, &mut refuse).is_err());
    assert_eq!(told(root, &roster, &roster.nodes[0]), [Reader::Clock, Reader::Ssh]);
    assert_eq!(told(root, &roster, &roster.nodes[0]), []);
}

/// Names and network are written, the clock's file cannot be: as if it had died there.
#[test]
fn who_reads_what_was_written_is_told_though_the_rest_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let (roster, gift) = (roster(), gift());
    let card = Mac::new([0x52, 0x54, 0, 0, 0, 9]).unwrap();
    let facts = Facts { roster: &roster, own: &roster.nodes[0], card, gift: &gift };
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/chrony"), "no folder").unwrap();
    let told_now = apply::prepare(root, &facts, &mut |reader, _| panic!("{reader:?} was told"));
    let error = format!("{:#}", told_now.unwrap_err());
    assert!(error.contains("chrony.conf"), "{error}");
    assert!(root.join("etc/systemd/network/10-coremax-api.network").exists());
    fs::remove_file(root.join("etc/chrony")).unwrap();
    let everybody = [Reader::Hostname, Reader::Network, Reader::Clock, Reader::Ssh];
    assert_eq!(told(root, &roster, &roster.nodes[0]), everybody);
}

#[test]
fn a_link_and_what_a_cut_left_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/.hosts.new"), "half").unwrap();
    fs::write(root.join("elsewhere"), "somebody's").unwrap();
    std::os::unix::fs::symlink("../elsewhere", root.join("etc/hosts")).unwrap();
    told(root, &roster(), &roster().nodes[0]);
    assert!(root.join("etc/hosts").symlink_metadata().unwrap().is_file());
    assert_eq!(fs::read_to_string(root.join("elsewhere")).unwrap(), "somebody's");
    assert!(!root.join("etc/.hosts.new").exists());
}

#[test]
fn netplans_files_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("etc/netplan")).unwrap();
    fs::write(root.join("etc/netplan/50-cloud-init.yaml"), "").unwrap();
    let (roster, gift) = (roster(), gift());
    let card = Mac::new([0x52, 0x54, 0, 0, 0, 9]).unwrap();
    let facts = Facts { roster: &roster, own: &roster.nodes[0], card, gift: &gift };
    let said = apply::prepare(root, &facts, &mut |_, _| Ok(())).unwrap();
    assert!(said.len() == 1 && said[0].contains("50-cloud-init.yaml"), "{said:?}");
}
