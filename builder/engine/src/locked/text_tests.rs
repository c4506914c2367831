//! The text of a lock, written and read, and whatever else somebody makes of it.

#![allow(clippy::unwrap_used)]

use proptest::{collection, prelude::*, sample::Index};

use super::*;

fn package(name: &str) -> Package {
    Package {
        name: Word(name.to_owned()),
        version: Word("1:2.0~rc1-3+b1".to_owned()),
        architecture: Word("amd64".to_owned()),
        suite: "bookworm".to_owned(),
        pool: PoolPath(format!("pool/main/{name}.deb")),
        size: 7,
        installed: 3,
        sha256: Digest::of(name),
        provides: "x (= 1), y".to_owned(),
        trees: [Tree::Image, Tree::Tools].into(),
        why: Some(Why::NeededBy(Word("dpkg".to_owned()))),
    }
}

fn lock() -> Lock {
    Lock {
        recipe: "node".to_owned(),
        base: "debian-12".to_owned(),
        epoch: 1_700_000_000,
        asked: Asked { image: ["a".to_owned()].into(), ..Asked::default() },
        users: [("root".to_owned(), 0), ("_apt".to_owned(), 42)].into(),
        groups: [("root".to_owned(), 0)].into(),
        inputs: [("overlays/node".to_owned(), Digest::of("x"))].into(),
        packages: vec![package("a"), package("b")],
    }
}

/// Each: what of the text is replaced, by what, and what the complaint holds: a place and a word.
#[test]
fn whatever_is_wrong_is_named_with_its_place() {
    let text = lock().to_string();
    assert_eq!(parse("a.lock", &text).unwrap(), lock());
    let line = |what: &str| text.lines().position(|line| line.starts_with(what)).unwrap() + 1;
    let b = Digest::of("b").to_string();
    for (from, to, place, word) in [
        ("format = 1", "format = 2", line("format"), "format 2"),
        ("epoch", "epcoh", line("epoch"), "epcoh"),
        ("size = 7", "size = -7", line("size"), "-7"),
        ("size = 7", "size = \"7\"", line("size"), "string"),
        ("pool/main/a.deb", "../a.deb", line("pool"), "no path in an archive"),
        ("pool/main/a.deb", "/etc/a.deb", line("pool"), "no path in an archive"),
        ("1:2.0~rc1-3+b1", "1/2", line("version"), "no name, version or architecture"),
        (&b, "12", text.lines().count() - 3, "12"),
        ("needed by dpkg", "because", line("why"), "no reason"),
        ("in = [\"image\", ", "in = [\"images\", ", line("in ="), "images"),
        ("in = [\"image\", \"tools\"]", "in = []", line("[[package]]"), "in no tree"),
        ("name = \"b\"", "name = \"a\"", text.lines().count() - 11, "comes twice"),
        ("name = \"a\"", "name = \"c\"", text.lines().count() - 11, "out of order"),
        ("\"_apt\" = 42", "\"_apt\" = 4294967295", line("\"_apt\""), "no number of an account"),
        ("\"_apt\" = 42", "\"_apt\" = 0", line("\"_apt\""), "root's alone"),
        ("\"root\" = 0", "\"root\" = 5", line("\"root\""), "root's alone"),
        ("\"_apt\" = 42", "\"_apt\" = 42\n\"a\" = 42", line("\"_apt\"") + 1, "number of _apt"),
        ("[groups]", "[group]", line("[groups]"), "group"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let error = parse("a.lock", &changed).unwrap_err().to_string();
        let place = format!("a.lock:{place}:");
        assert!(error.starts_with(&place) && error.contains(word), "{to}: {place} {word}: {error}");
    }
}

fn word() -> impl Strategy<Value = Word> {
    "[a-z0-9][a-z0-9+.~:-]{0,8}".prop_map(Word)
}

fn any_package() -> impl Strategy<Value = Package> {
    let why = prop_oneof![
        Just(None),
        Just(Some(Why::Essential)),
        Just(Some(Why::Asked)),
        word().prop_map(|name| Some(Why::NeededBy(name))),
        word().prop_map(|name| Some(Why::RecommendedBy(name))),
    ];
    let trees = collection::btree_set(prop_oneof![Just(Tree::Image), Just(Tree::Machine)], 1..3);
    let numbers = (0..1_u64 << 60, 0..1_u64 << 40);
    (word(), word(), "\\PC{0,12}", "[a-z0-9+.~_-]{1,9}", numbers, trees, why).prop_map(
        |(name, version, text, pool, (size, installed), trees, why)| Package {
            sha256: Digest::of(&text),
            provides: text.clone(),
            suite: text,
            pool: PoolPath(format!("pool/{pool}x")),
            name,
            version,
            size,
            installed,
            trees,
            why,
            ..package("a")
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        text in "\\PC{0,20}",
        names in collection::btree_set("[ -~]{1,6}", 0..4),
        ids in collection::btree_map("[a-z_\"\\\\-]{1,6}", 0..=MAX_ID, 0..5),
        inputs in collection::btree_set("\\PC{1,8}", 0..3),
        packages in collection::vec(any_package(), 0..5),
    ) {
        let mut packages = packages;
        packages.sort_by(|a, b| key(a).cmp(&key(b)));
        packages.dedup_by(|a, b| key(a) == key(b));
        let asked = Asked { image: names.clone(), machine: names, recommends: true, ..Asked::default() };
        let inputs = inputs.into_iter().map(|path| (path.clone(), Digest::of(path))).collect();
        let lock = Lock { recipe: text.clone(), asked, users: ids.clone(), groups: ids, inputs, packages, ..lock() };
        let written = lock.to_string();
        // A lock without packages is none of ours: TOML has no empty table in double brackets.
        prop_assume!(!lock.packages.is_empty());
        prop_assert_eq!(parse("a.lock", &written).map_err(|e| TestCaseError::fail(e.to_string()))?, lock);
    }

    #[test]
    fn any_change_is_read_or_refused_with_its_place(from: Index, to: Index, piece in "[a-z\"=\\[\\]\n.0-9é-]{0,6}") {
        let chars: Vec<char> = lock().to_string().chars().collect();
        let (from, to) = (from.index(chars.len()), to.index(chars.len()));
        let text: String = chars[..from].iter().copied().chain(piece.chars()).chain(chars[to..].iter().copied()).collect();
        if let Err(error) = parse("a.lock", &text) {
            prop_assert!(error.to_string().starts_with("a.lock:"), "{}", error);
        }
    }
}
