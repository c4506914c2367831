use coremax_node_api::roster::Mac;

use super::*;

/// As a person writes it.
const TEXT: &str = r#"# Ours. Ask before you change it.
format = 1
cluster = "3f0c9d7e-5b7b-8f6e-9a40-6d1f6a3c2b10"
epoch = 7          # raised by hand so far
seed = "control-1"
seed-key = "abababababababababababababababababababababababababababababababab"
subnet = "10.0.0.0/24"
vip = "10.0.0.10"

[[node]]           # rack 1
name = "control-1"
roles = ["control"]
address = "10.0.0.11"
match = { mac = "52:54:00:00:00:01" }   # the old one

[[node]]
name = "control-2"
generation = 3     # twice dead
roles = ["control"]
address = "10.0.0.12"
  match.serial = "A2"

[[node]]
name = "control-3"
roles = ["control"]
address = "10.0.0.13"
[node.match]
mac = "52:54:00:00:00:03"   # by its label

[[node]]
name = "worker-1"
roles = ["worker", "storage"]
address = "10.0.0.21"
match = { serial = 'B "1"' }
osd-disks = [
  "/dev/disk/by-id/a", # fast
]
[[node.nic]]
mac = "52:54:00:00:01:04"
name = "storage0"
"#;

fn mac(number: u8) -> Match {
    Match::Mac(Mac::new([2, 0, 0, 0, 0, number]).unwrap())
}

fn replaced(name: &str, machine: Option<&Match>) -> Replaced {
    replace("c.toml", TEXT, &name.parse().unwrap(), machine).unwrap()
}

#[test]
fn what_is_not_changed_stays_as_it_was_written() {
    for (name, machine, want) in [
        (
            "worker-1",
            Some(mac(9)),
            "\
- epoch = 7          # raised by hand so far
+ epoch = 8          # raised by hand so far
- match = { serial = 'B \"1\"' }
+ match = { mac = \"02:00:00:00:00:09\" }
+ generation = 1
",
        ),
        (
            "control-2",
            Some(Match::Serial("C2".into())),
            "\
- epoch = 7          # raised by hand so far
+ epoch = 8          # raised by hand so far
- generation = 3     # twice dead
+ generation = 4     # twice dead
-   match.serial = \"A2\"
+   match.serial = \"C2\"
",
        ),
        (
            "control-3",
            Some(mac(9)),
            "\
- epoch = 7          # raised by hand so far
+ epoch = 8          # raised by hand so far
+ generation = 1
- mac = \"52:54:00:00:00:03\"   # by its label
+ mac = \"02:00:00:00:00:09\"   # by its label
",
        ),
        (
            "control-1",
            None,
            "\
- epoch = 7          # raised by hand so far
+ epoch = 8          # raised by hand so far
- seed-key = \"abababababababababababababababababababababababababababababababab\"
+ generation = 4
",
        ),
    ] {
        let replaced = replaced(name, machine.as_ref());
        let difference = difference(TEXT, &replaced.text);
        let changed: String = difference
            .lines()
            .filter(|line| !line.starts_with("  "))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(changed, want, "{name}:\n{}", replaced.text);
    }
}

/// Whichever row is replaced, and however often, the roster follows the one before, and a seed takes it.
#[test]
fn every_replacement_follows_the_roster_before() {
    for names in [
        &["control-2", "worker-1", "control-2"][..],
        &["control-1", "control-1"],
        &["control-1", "control-2", "control-1", "worker-1"],
        &["worker-1", "control-1", "worker-1"],
    ] {
        let mut text = TEXT.to_owned();
        for (number, name) in names.iter().enumerate() {
            let before = read("c.toml", &text).unwrap();
            let machine = mac(u8::try_from(number).unwrap());
            let replaced =
                replace("c.toml", &text, &name.parse().unwrap(), Some(&machine)).unwrap();
            let after = &replaced.roster;
            assert_eq!(after.unfaithful_to(&before).map(|row| &row.name), None, "{names:?}");
            assert_eq!(after.epoch, before.epoch + 1);
            let row = after.node(&name.parse().unwrap()).unwrap();
            assert_eq!(
                (row.generation, row.matches.as_ref()),
                (replaced.generation, Some(&machine))
            );
            assert!(
                before
                    .nodes
                    .iter()
                    .all(|old| row.generation > old.generation || *name != "control-1")
            );
            assert_eq!(after.seed_key.is_some(), before.seed_key.is_some() && *name != "control-1");
            text = replaced.text;
        }
    }
}

#[test]
fn what_there_is_to_see_to_is_said() {
    let notes = |name, machine: Option<Match>| replaced(name, machine.as_ref()).notes.join("\n");
    assert!(notes("worker-1", Some(mac(9))).contains("osd-disks are those of the machine before"));
    assert!(notes("worker-1", None).contains("means the machine that it meant before"));
    assert_eq!(notes("control-3", Some(mac(9))), "");
    let seed = notes("control-1", Some(mac(9)));
    assert!(seed.contains("make a new medium for it") && seed.contains("seed-key is gone"));
}

#[test]
fn pools_and_rows_on_one_line() {
    let row = |number: u8| {
        format!(
            "{{ name = \"control-{number}\", roles = [\"control\"], address = \"10.0.0.1{number}\" }}"
        )
    };
    let head = &TEXT[..TEXT.find("seed-key").unwrap()];
    let text = format!(
        "{head}mode = \"pool\"\nsubnet = \"10.0.0.0/24\"\nvip = \"10.0.0.10\"\nnode = [{}, {}, {}]\n",
        row(1),
        row(2),
        row(3)
    );
    let name = "control-2".parse().unwrap();
    let replaced = replace("c.toml", &text, &name, None).unwrap();
    let row = replaced.roster.node(&name).unwrap();
    assert_eq!((row.generation, replaced.text.lines().count()), (1, text.lines().count()));
    assert_eq!(replaced.notes, [""; 0]);
    assert!(matches!(replace("c.toml", &text, &name, Some(&mac(9))), Err(Error::Pool)));
}

#[test]
fn what_cannot_be_is_said_and_nothing_comes_of_it() {
    let unformed =
        TEXT.lines().filter(|line| !line.starts_with("seed-key")).collect::<Vec<_>>().join("\n");
    let last = TEXT.replace("generation = 3", "generation = 4294967295");
    let taken = Match::Mac("52:54:00:00:00:01".parse().unwrap());
    for (text, name, machine, want) in [
        (TEXT, "worker-2", mac(9), "c.toml has no node worker-2; it has control-1, control-2"),
        (TEXT, "worker-1", taken, "is named twice"),
        (TEXT, "worker-1", Match::Serial("none".into()), "what a vendor left empty"),
        // control-2 was replaced before: then no controller would be left that the first roster names.
        (&unformed, "control-3", mac(9), "every controller beside the seed was replaced"),
        (&last, "control-2", mac(9), "the roster's numbers are at their end"),
        (&TEXT.replace("epoch = 7", "epoch = 0"), "worker-1", mac(9), "the epoch is 0"),
        ("format = ", "worker-1", mac(9), "c.toml"),
    ] {
        let error = replace("c.toml", text, &name.parse().unwrap(), Some(&machine)).unwrap_err();
        let told = match &error {
            Error::Roster(mistakes) => {
                mistakes.iter().map(|mistake| format!("{}: {mistake}", mistake.place())).collect()
            }
            other => other.to_string(),
        };
        assert!(told.contains(want), "{name}: {told}");
    }
}
