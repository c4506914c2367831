//! Small universes in a compact notation: `name version [flags] field: value; field: value`.

use coremax_fetch::Digest;

use super::{Request, Unsolvable, resolve, resolve_keeping};
use crate::Package;

/// Each case: a universe, a request and what comes of it, the names chosen or the message.
#[test]
fn choices() {
    let table = [
        ("nothing asked for", "a 1", "", ""),
        ("a dependency", "a 1 depends: b\nb 1\nc 1", "a", "a b"),
        ("the highest version", "a 1\na 1.10\na 1.9", "a", "a=1.10"),
        ("the highest pin before the highest version", "a 1 pin=990\na 2", "a", "a=1"),
        ("a version by name", "a 1\na 2", "a=1", "a=1"),
        ("the first alternative", "a 1 depends: b | c\nb 1\nc 1", "a", "a b"),
        ("an alternative that is there", "a 1 depends: b | c\nb 1\nc 1", "c a", "a c"),
        (
            "an alternative that can be installed",
            "a 1 depends: b | c\nb 1 depends: x\nc 1",
            "a",
            "a c",
        ),
        ("the real package before a provider", "a 1 depends: v\nv 1\np 1 provides: v", "a", "a v"),
        (
            "the provider of highest priority",
            "a 1 depends: v\np 1 provides: v\nq 1 priority=important provides: v\nr 1 provides: v",
            "a",
            "a q",
        ),
        (
            "of equals the one mentioned last",
            "a 1 depends: v, r\np 1 provides: v\nq 1 provides: v\nr 1",
            "a",
            "a q r",
        ),
        (
            "a mention in Suggests",
            "a 1 depends: v; suggests: q\np 1 provides: v\nq 1 provides: v",
            "a",
            "a p",
        ),
        (
            "a provider that is there",
            "a 1 depends: p, v\np 1 provides: v\nq 1 provides: v",
            "a",
            "a p",
        ),
        (
            "a provided version",
            "a 1 depends: v (>= 2)\np 1 provides: v\nq 1 provides: v (= 2)",
            "a",
            "a q",
        ),
        ("the only provider, by the virtual name", "p 1 provides: v", "v", "p"),
        ("a cycle", "a 1 depends: b\nb 1 depends: a", "a", "a b"),
        ("Pre-Depends", "a 1 pre-depends: b\nb 1", "a", "a b"),
        ("no recommendations", "a 1 recommends: b\nb 1", "a", "a"),
        ("recommendations", "a 1 recommends: b, x\nb 1", "+a", "a b"),
        ("a recommendation that conflicts", "a 1 recommends: b\nb 1 conflicts: a", "+a", "a"),
        ("a self-conflict through a provided name", "a 1 provides: v; conflicts: v", "a", "a"),
        ("another architecture is no candidate", "a 1 arch=i386\na 0.9", "a", "a=0.9"),
        ("any needs Multi-Arch: allowed", "a 1 depends: b:any | c\nb 1\nc 1", "a", "a c"),
        ("any, allowed", "a 1 depends: b:any | c\nb 1 ma=allowed\nc 1", "a", "a b"),
        ("an architecture that is ours", "a 1 depends: b:amd64, c:native\nb 1\nc 1", "a", "a b c"),
        ("essential packages", "a 1\ne 1 essential depends: f\nf 1", "!a", "a e f"),
        ("an essential package excluded", "a 1\ne 1 essential", "!a -e", "a"),
        ("an alternative excluded", "a 1 depends: b | c\nb 1\nc 1", "a -b", "a c"),
        (
            "a choice that a later conflict takes back",
            "a 1 depends: b | c, d\nb 1\nc 1\nd 1 conflicts: b",
            "a",
            "a c d",
        ),
        (
            "a choice two steps down",
            "a 1 depends: x, y\nx 1 depends: p | q\ny 1 depends: r\np 1\nq 1\nr 1 breaks: p",
            "a",
            "a q r x y",
        ),
        (
            "exactly the dependency's version, not the candidate",
            "a 1 depends: b (= 1)\nb 1\nb 2",
            "a",
            "nothing provides b (= 1), which a depends on, which was requested",
        ),
    ];
    for (what, universe, request, expected) in table {
        assert_eq!(outcome(universe, request), expected, "{what}");
    }
}

#[test]
fn refusals() {
    let table = [
        ("a 1", "b", "no package is called b"),
        ("p 1 provides: v\nq 1 provides: v", "v", "v is a virtual package, provided by p, q"),
        ("a 1\na 2", "a=3", "a has no version 3"),
        ("a 1\na 2", "a=1 a=2", "a is requested as 1 and as 2"),
        ("a 1", "a -a", "a is requested, and excluded too"),
        ("a 1 pin=-1", "a", "a has no version that may be installed"),
        (
            "a 1 depends: b (>= 2), c\nb 1\nc 1",
            "a",
            "nothing provides b (>= 2), which a depends on, which was requested",
        ),
        (
            "a 1 depends: b\nb 1 depends: c\nc 1 depends: d | e\nd 1 depends: x",
            "a",
            "nothing provides x, which d depends on, which c depends on, which b depends on, which a depends on, which was requested",
        ),
        (
            "e 1 essential depends: x",
            "!",
            "nothing provides x, which e depends on, which is essential",
        ),
        (
            "a 1 conflicts: b\nb 1",
            "a b",
            "a conflicts with b (it names b): a was requested; b was requested",
        ),
        (
            "x 1 depends: a\ny 1 depends: z\nz 1 depends: b\na 1 breaks: b (<< 2)\nb 1",
            "x y",
            "a conflicts with b (it names b (<< 2)): a is needed by x, which was requested; b is needed by z, which is needed by y, which was requested",
        ),
        (
            "a 1 depends: b | c\nb 1\nc 1\nd 1 conflicts: b, c",
            "a d",
            "d conflicts with b (it names b): d was requested; b is needed by a, which was requested",
        ),
        ("a 1 depends: b (>= ", "a", "Depends of a cannot be read"),
    ];
    for (universe, request, expected) in table {
        assert_eq!(outcome(universe, request), expected);
    }
}

/// Neither dependency nor conflict is without a choice: only the search can tell.
#[test]
fn refuted_by_search() {
    let universe = "a 1 depends: p | q\nb 1 depends: r | s\np 1 conflicts: r, s\nq 1 conflicts: r, s\nr 1\ns 1";
    let message = outcome(universe, "a b");
    assert!(message.starts_with("no combination of packages satisfies the request: "), "{message}");
}

#[test]
fn hints() {
    let packages = universe("ceph-common 1\nb 1");
    let hint = |text: &str| resolve(&packages, &request(text)).unwrap_err().hint();
    assert_eq!(
        hint("ceph-comon").unwrap(),
        "did you mean ceph-common? Otherwise add the archive that has it to [[archive]]"
    );
    assert_eq!(hint("entirely-else").unwrap(), "add the archive that has it to [[archive]]");
    assert_eq!(hint("b=2").unwrap(), "the archive has 1");
    let packages = universe("a 1 depends: b (= 1)\nb 1\nb 2");
    let hint = resolve(&packages, &request("a")).unwrap_err().hint();
    assert_eq!(hint.unwrap(), "name b=1 in the request: it is not the candidate");
}

#[test]
fn why() {
    let packages = universe("a 1 depends: b (>= 1) | x\nb 1 recommends: c\nc 1\ne 1 essential");
    let set = resolve(&packages, &request("!+a")).unwrap();
    let names: Vec<_> = set.why("c").iter().map(|s| s.package.name.as_str()).collect();
    assert_eq!(names, ["c", "b", "a"]);
    assert_eq!(
        serde_json::to_string(&set.get("b").unwrap().reason).unwrap(),
        r#"{"dependency-of":{"package":"a","relation":"b (>= 1) | x"}}"#
    );
    assert_eq!(serde_json::to_string(&set.get("e").unwrap().reason).unwrap(), r#""essential""#);
    assert!(set.why("x").is_empty());
}

/// A dependency tells more than a recommendation, even where it is further away.
#[test]
fn why_prefers_dependencies() {
    let packages = universe("a 1 recommends: c; depends: b\nb 1 depends: c\nc 1");
    for text in ["a", "+a"] {
        let set = resolve(&packages, &request(text)).unwrap();
        assert_eq!(set.get("c").unwrap().reason.package(), Some("b"), "{text}");
    }
}

/// Where apt's way fails, the search's answer takes recommendations too, and is always the same.
#[test]
fn searched_answers() {
    let universe = "a 1 depends: p | q; recommends: g\nb 1 depends: r | s\np 1 conflicts: r\nq 1 recommends: h\n\
                    r 1 conflicts: p\ns 1 conflicts: p\ng 1\nh 1 conflicts: q";
    for _ in 0..20 {
        assert_eq!(outcome(universe, "+a b"), "a b g q r");
    }
}

#[test]
fn a_long_chain_is_no_danger() {
    let chain: String = (0..5000).map(|i| format!("p{i} 1 depends: p{}\n", i + 1)).collect();
    let packages = universe(&(chain + "p5000 1"));
    assert_eq!(resolve(&packages, &request("p0")).unwrap().selected.len(), 5001);
}

fn outcome(packages: &str, text: &str) -> String {
    let packages = universe(packages);
    let several = |name: &str| packages.iter().filter(|p| p.name == name).count() > 1;
    match resolve(&packages, &request(text)) {
        Ok(set) => {
            let show = |p: &Package| {
                if several(&p.name) { format!("{}={}", p.name, p.version) } else { p.name.clone() }
            };
            set.selected.iter().map(|s| show(&s.package)).collect::<Vec<_>>().join(" ")
        }
        Err(error @ Unsolvable::Unproven { .. }) => panic!("{error}"),
        Err(error) => error.to_string(),
    }
}

/// `!` in front adds essential packages, `+` recommendations; `-name` excludes.
fn request(text: &str) -> Request {
    let (names, essential) = text.strip_prefix('!').map_or((text, false), |names| (names, true));
    let (names, recommends) = names.strip_prefix('+').map_or((names, false), |names| (names, true));
    let (exclude, install): (Vec<&str>, _) =
        names.split_whitespace().partition(|name| name.starts_with('-'));
    Request {
        install: install.into_iter().map(str::to_owned).collect(),
        exclude: exclude.into_iter().map(|name| name[1..].to_owned()).collect(),
        recommends,
        essential,
        architecture: "amd64".to_owned(),
    }
}

fn universe(text: &str) -> Vec<Package> {
    text.lines().map(package).collect()
}

fn package(line: &str) -> Package {
    let fields_at = [
        "pre-depends:",
        "depends:",
        "recommends:",
        "suggests:",
        "conflicts:",
        "breaks:",
        "provides:",
    ]
    .iter()
    .filter_map(|f| line.find(f))
    .min();
    let (head, fields) = line.split_at(fields_at.unwrap_or(line.len()));
    let field = |name: &str| {
        fields
            .split(';')
            .find_map(|f| f.trim().strip_prefix(name)?.strip_prefix(':'))
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let words: Vec<&str> = head.split_whitespace().collect();
    let flag =
        |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    Package {
        name: words[0].to_owned(),
        version: words[1].to_owned(),
        architecture: flag("arch").unwrap_or("amd64").to_owned(),
        multi_arch: flag("ma").unwrap_or_default().to_owned(),
        essential: words.contains(&"essential"),
        priority: flag("priority").unwrap_or("optional").to_owned(),
        section: String::new(),
        pre_depends: field("pre-depends"),
        depends: field("depends"),
        recommends: field("recommends"),
        suggests: field("suggests"),
        enhances: String::new(),
        conflicts: field("conflicts"),
        breaks: field("breaks"),
        provides: field("provides"),
        replaces: String::new(),
        filename: String::new(),
        size: 0,
        installed_size: 0,
        digest: Digest::of(""),
        phased: None,
        source: 0,
        pin: flag("pin").map_or(500, |pin| pin.parse().unwrap()),
    }
}

#[test]
fn a_virtual_name_is_stood_for_by_its_provider() {
    let of = |request: &str| {
        let universe =
            universe("v1 1\na 1 provides: v, w (= 2)\nb 1 provides: w\nc 1 depends: a, b");
        resolve(&universe, &self::request(request)).unwrap()
    };
    for (request, name, want) in [
        ("v", "v", Some("a")),
        ("v", "a", Some("a")),
        ("v", "x", None),
        ("c", "v", Some("a")),
        ("c", "w", Some("a")),
        ("c b", "w", Some("b")),
        ("v v1", "v1", Some("v1")),
    ] {
        let set = of(request);
        let got = set.standing_for(name).map(|selected| selected.package.name.as_str());
        assert_eq!(got, want, "{name} in {request}");
    }
}

/// What the archive has now, what is locked, what is freed and asked for, and what comes of it.
#[test]
fn what_is_locked_stays_but_for_what_must_move() {
    let table = [
        ("nothing is freed", "a 2\nb 2", "a 1\nb 1", "", "a b", "a=1 b=1"),
        ("one is freed", "a 2\nb 2", "a 1\nb 1", "a", "a b", "a=2 b=1"),
        ("all are freed", "a 2\nb 2", "a 1\nb 1", "a b", "a b", "a=2 b=2"),
        (
            "it needs a newer one",
            "a 2 depends: b (>= 2)\nb 2\nc 2",
            "a 1\nb 1\nc 1",
            "a",
            "a b c",
            "a=2 b=2 c=1",
        ),
        (
            "another says exactly",
            "l 2\nu 2 depends: l (= 2)",
            "l 1\nu 1 depends: l (= 1)",
            "l",
            "u",
            "l=2 u=2",
        ),
        (
            "it breaks what is older",
            "a 2 breaks: b (<< 2)\nb 2\nc 2",
            "a 1\nb 1\nc 1",
            "a",
            "a b c",
            "a=2 b=2 c=1",
        ),
        (
            "what it needs is new",
            "a 2 depends: n\nn 2 breaks: b (<< 2)\nb 2",
            "a 1\nb 1",
            "a",
            "a b",
            "a=2 b=2 n",
        ),
        (
            "in a chain",
            "a 2 depends: b (= 2)\nb 2 depends: c (= 2)\nc 2",
            "a 1\nb 1\nc 1",
            "a",
            "a b c",
            "a=2 b=2 c=2",
        ),
        ("the archive has lost it", "b 2", "a 1 depends: b\nb 1", "", "a", "a=1 b=1"),
        ("asked for anew", "a 2\nn 2 depends: a", "a 1", "", "a n", "a=1 n"),
        ("no longer asked for", "a 2\nb 2", "a 1\nb 1", "", "a", "a=1"),
        (
            "a nearer provider",
            "p 1 provides: v\nq 2 provides: v\na 2 depends: v",
            "q 1 provides: v\na 1 depends: v",
            "a",
            "a",
            "a=2 q=1",
        ),
        ("a removed name is freed", "b 2", "b 1", "zz", "b", "b=1"),
    ];
    for (what, archive, locked, freed, asked, want) in table {
        let freed = freed.split_whitespace().map(str::to_owned).collect();
        let set = resolve_keeping(&universe(archive), &universe(locked), &freed, &request(asked));
        let set = set.unwrap_or_else(|error| panic!("{what}: {error}"));
        let shown: Vec<_> = set
            .selected
            .iter()
            .map(|s| match s.package.name.as_str() {
                "n" => "n".to_owned(),
                name => format!("{name}={}", s.package.version),
            })
            .collect();
        assert_eq!(shown.join(" "), want, "{what}");
    }
    let none = resolve_keeping(
        &universe("a 2 depends: x"),
        &universe("a 1"),
        &["a".to_owned()].into(),
        &request("a"),
    );
    assert!(none.unwrap_err().to_string().contains('x'));
}
