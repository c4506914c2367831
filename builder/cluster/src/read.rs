//! The roster's text: TOML in, [`Roster`] out.

use std::{ops::Range, sync::Arc};

use coremax_node_api::roster::{Roster, Step};
use coremax_toml_text::{Place, Source, what_is_wrong};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::mistake::{Mistake, Mistakes};

/// Reads a roster. `name` is what messages call the text, a path as a rule.
///
/// # Errors
/// Everything that is wrong with it, each with its place: unknown keys, values of a wrong type or form, and, where
/// there are none of these, whatever no cluster can be made of.
pub fn read(name: &str, text: &str) -> Result<Roster, Mistakes> {
    let source = Arc::new(Source::new(name, text.to_owned()));
    let place = |span: Range<usize>| Place::new(Arc::clone(&source), span);
    let of_text = |error: &toml::de::Error| {
        Mistake::of_text(what_is_wrong(error.message()), place(error.span().unwrap_or(0..0)))
    };
    let root = DeTable::parse(text).map_err(|error| of_text(&error))?;
    let (roster, found) = coremax_toml_text::read::<Roster>(root.clone());
    Mistakes::none_of(found.iter().map(of_text).collect())?;
    let empty = || Mistake::of_text(what_is_wrong("the text says nothing"), place(0..0));
    let roster = roster.ok_or_else(empty)?;
    let at = |way: &[Step]| place(span(root.get_ref(), way));
    let of_rules = |fault: coremax_node_api::roster::Fault| {
        let (here, first) = (at(&fault.at), fault.first.as_deref().map(at));
        Mistake::of_rules(fault, here, first)
    };
    let faults: Vec<_> = roster.faults().into_iter().map(of_rules).collect();
    Mistakes::none_of(faults)?;
    Ok(roster)
}

/// Where the value at the end of `way` stands; as far as the way leads, where it does not lead to its end.
fn span(root: &DeTable<'_>, way: &[Step]) -> Range<usize> {
    let Some((Step::Key(key), mut rest)) = way.split_first() else { return 0..0 };
    let Some(mut value) = root.get(*key) else { return 0..0 };
    let mut span = value.span();
    while let Some((step, after)) = rest.split_first() {
        match inner(value, *step) {
            Some(next) => value = next,
            None => break,
        }
        // A list of tables in double brackets has no place of its own.
        span = value.span();
        rest = after;
    }
    span
}

fn inner<'a, 'b>(value: &'a Spanned<DeValue<'b>>, step: Step) -> Option<&'a Spanned<DeValue<'b>>> {
    match (value.get_ref(), step) {
        (DeValue::Table(table), Step::Key(key)) => table.get(key),
        (DeValue::Array(array), Step::Item(number)) => array.get(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::new::{New, Preset};

    fn text() -> String {
        let new = New { preset: Preset::Kubernetes, ..New::default() };
        new.text([7; 16]).unwrap().replace("00:00:5e:00:53:", "52:54:00:00:00:")
    }

    /// What is wrong after a change, with its place.
    fn complaints(text: &str, from: &str, to: &str) -> Vec<String> {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from} is not in the text");
        let mistakes = read("c.toml", &changed).unwrap_err();
        let told = mistakes.iter().map(|mistake| {
            format!("{}: {mistake}; {}", mistake.place(), mistake.hint().unwrap_or("-"))
        });
        told.collect()
    }

    #[test]
    fn mistakes_stand_at_their_places() {
        let line =
            |wanted: &str| text().lines().position(|line| line.starts_with(wanted)).unwrap() + 1;
        for (from, to, at, want) in [
            ("epoch = 1", "epoch = 0", (line("epoch"), 9), "the epoch is 0; epochs begin with 1"),
            (
                "epoch = 1",
                "epcoh = 1",
                (line("epoch"), 1),
                "unknown key `epcoh`; did you mean `epoch`?",
            ),
            (
                "vip = \"10.0.0.10\"",
                "vip = \"10.1.0.10\"",
                (line("vip"), 7),
                "no host's address in 10.0.0.0/24",
            ),
            (
                "vip = \"10.0.0.10\"",
                "vip = \"10.0.0.12\"",
                (line("name = \"control-2\"") + 2, 11),
                "has the VIP",
            ),
            (
                "roles = [\"control\"]",
                "roles = [\"controll\"]",
                (line("name = \"control-1\"") + 1, 10),
                "unknown value `controll`",
            ),
            (
                "52:54:00:00:00:02",
                "52:54:00:00:00:01",
                (line("name = \"control-2\"") + 3, 9),
                "is named twice",
            ),
            ("10.0.0.12", "10.0.0.300", (line("name = \"control-2\"") + 2, 11), "IPv4"),
        ] {
            let told = complaints(&text(), from, to);
            let place = format!("c.toml:{}:{}", at.0, at.1);
            assert!(
                told.iter().any(|t| t.starts_with(&place) && t.contains(want)),
                "{place} {want}: {told:?}"
            );
        }
        assert!(read("c.toml", "format = ").is_err());
    }

    /// Three controllers that have two disks each, and a worker whose machine is known by its serial number.
    const SMALL: &str = r#"format = 1
cluster = "3f0c9d7e-5b7b-8f6e-9a40-6d1f6a3c2b10"
epoch = 1
seed = "control-1"
subnet = "10.0.0.0/24"
vip = "10.0.0.10"
[[node]]
name = "control-1"
roles = ["control"]
address = "10.0.0.11"
match = { mac = "52:54:00:00:00:01" }
[[node]]
name = "storage-1"
roles = ["storage"]
address = "10.0.0.12"
match = { mac = "52:54:00:00:00:02" }
osd-disks = ["/dev/disk/by-id/a", "/dev/disk/by-id/b"]
nic = [{ mac = "52:54:00:00:01:02", name = "storage0" }]
[[node]]
name = "worker-1"
roles = ["worker"]
address = "10.0.0.13"
match = { serial = "A1" }
[[node]]
name = "worker-2"
roles = ["worker"]
address = "10.0.0.14"
match = { serial = "A2" }
"#;

    #[test]
    fn each_rule_of_a_cluster_names_its_line() {
        assert!(read("c.toml", SMALL).is_ok());
        for (from, to, at, want) in [
            // addresses
            (
                "10.0.0.13",
                "10.1.0.13",
                "22:11",
                "worker-1's address 10.1.0.13 is no host's in 10.0.0.0/24",
            ),
            (
                "10.0.0.13",
                "10.0.0.255",
                "22:11",
                "worker-1's address 10.0.0.255 is no host's in 10.0.0.0/24",
            ),
            ("10.0.0.13", "10.0.0.12", "22:11", "the address 10.0.0.12 is named twice"),
            (
                "\"10.0.0.0/24\"",
                "\"239.0.0.0/24\"",
                "5:10",
                "no machine has an address in 239.0.0.0/24",
            ),
            // the VIP: in its subnet, and no node's
            (
                "10.0.0.10",
                "10.1.0.10",
                "6:7",
                "the VIP 10.1.0.10 is no host's address in 10.0.0.0/24",
            ),
            ("10.0.0.10", "10.0.0.13", "22:11", "worker-1 has the VIP for its address"),
            // the network that they share
            (
                "10.0.0.10\"",
                "10.0.0.10\"\nmtu = 900",
                "7:7",
                "the MTU is 900, where 1280 to 9216 can be",
            ),
            ("10.0.0.10\"", "10.0.0.10\"\nmtu = 70000", "7:7", "u16"),
            (
                "10.0.0.10\"",
                "10.0.0.10\"\ngateway = \"10.1.0.1\"",
                "7:11",
                "the gateway 10.1.0.1 is no host's address in 10.0.0.0/24",
            ),
            (
                "10.0.0.10\"",
                "10.0.0.10\"\ngateway = \"10.0.0.10\"",
                "7:11",
                "the gateway 10.0.0.10 is the VIP",
            ),
            (
                "10.0.0.10\"",
                "10.0.0.10\"\ngateway = \"10.0.0.13\"",
                "23:11",
                "worker-1 has the gateway's address",
            ),
            (
                "10.0.0.10\"",
                "10.0.0.10\"\ndns = [\"10.0.0.1\", \"10.0.0.1\"]",
                "7:20",
                "the name server 10.0.0.1 is named twice",
            ),
            (
                "10.0.0.10\"",
                "10.0.0.10\"\nregistry = \"127.0.0.1:5000\"",
                "7:12",
                "no machine elsewhere has the address 127.0.0.1",
            ),
            (
                "10.0.0.10\"",
                "10.0.0.10\"\nregistry = \"registry.example\"",
                "7:12",
                "is not a service: write a host and its port",
            ),
            // an odd control plane
            (
                "[\"worker\"]",
                "[\"control\"]",
                "7:1",
                "2 nodes with the role `control`, where a majority needs an odd number",
            ),
            // disks that are named
            (
                "osd-disks = [\"/dev/disk/by-id/a\", \"/dev/disk/by-id/b\"]\n",
                "",
                "14:9",
                "storage-1 has the role `storage`, and no disk for it",
            ),
            ("by-id/b", "by-id/a", "17:35", "storage-1's disk /dev/disk/by-id/a is named twice"),
            (
                "/dev/disk/by-id/b",
                "/dev/sdb",
                "17:35",
                "storage-1's disk \"/dev/sdb\" may be another one after the next boot",
            ),
            ("/dev/disk/by-id/b", "/dev/disk/by-id/CHANGE-ME", "17:35", "is none"),
            // no two rows that mean one machine
            (
                "00:00:02\" }",
                "00:00:01\" }",
                "16:9",
                "the machine with MAC 52:54:00:00:00:01 is named twice",
            ),
            (
                "00:01:02",
                "00:00:01",
                "18:16",
                "the machine with MAC 52:54:00:00:00:01 is named twice",
            ),
            ("\"A2\"", "\" A1\"", "28:9", "the machine with serial number A1 is named twice"),
            // and none that means none
            ("\"A2\"", "\"CHANGE-ME\"", "28:9", "worker-2's serial number \"CHANGE-ME\" is none"),
            (
                "52:54:00:00:01:02",
                "00:00:5e:00:53:01",
                "18:16",
                "00:00:5e:00:53:01 of storage0 is no card's",
            ),
            (
                "name = \"storage0\"",
                "name = \"storage-network-0\"",
                "18:44",
                "the kernel calls no card storage-network-0",
            ),
            ("worker-2", "localhost", "25:8", "a node cannot be called localhost"),
        ] {
            let told = complaints(SMALL, from, to);
            let is_told =
                |line: &&String| line.starts_with(&format!("c.toml:{at}: ")) && line.contains(want);
            assert_eq!(told.iter().filter(is_told).count(), 1, "{at} {want}: {told:#?}");
        }
    }
}
