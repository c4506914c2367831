//! Debian versions, compared as dpkg compares them.
//!
//! A version is `[epoch:]upstream[-revision]`: the epoch a number (0 where absent), the revision
//! all behind the last hyphen. Upstream and revision are compared in alternating runs: of other
//! characters, where `~` sorts before the end, letters before the rest, and of digits, by value.
//! Specification: deb-version(7), <https://manpages.debian.org/bookworm/dpkg-dev/deb-version.7>

use std::cmp::Ordering;

/// How `a` and `b` stand to each other. A total order over all strings, without allocation;
/// versions that differ in spelling only (`1.0` and `0:1.00-0`) are equal.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Parts::of(a), Parts::of(b));
    compare_runs(a.epoch, b.epoch)
        .then_with(|| compare_runs(a.upstream, b.upstream))
        .then_with(|| compare_runs(a.revision, b.revision))
}

/// An absent epoch or revision is empty, and so equal to one of 0.
struct Parts<'a> {
    epoch: &'a [u8],
    upstream: &'a [u8],
    revision: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(version: &'a str) -> Self {
        let bytes = version.as_bytes();
        let colon = bytes.iter().position(|&b| b == b':');
        let (epoch, rest) = match colon {
            Some(at) if bytes[..at].iter().all(u8::is_ascii_digit) => {
                (&bytes[..at], &bytes[at + 1..])
            }
            _ => (&bytes[..0], bytes),
        };
        match rest.iter().rposition(|&b| b == b'-') {
            Some(at) => Self { epoch, upstream: &rest[..at], revision: &rest[at + 1..] },
            None => Self { epoch, upstream: rest, revision: &rest[..0] },
        }
    }
}

fn compare_runs(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (words_a, words_b) = (
            split_run(&mut a, |c| !c.is_ascii_digit()),
            split_run(&mut b, |c| !c.is_ascii_digit()),
        );
        let (number_a, number_b) =
            (split_run(&mut a, u8::is_ascii_digit), split_run(&mut b, u8::is_ascii_digit));
        let order =
            compare_words(words_a, words_b).then_with(|| compare_numbers(number_a, number_b));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn split_run<'a>(text: &mut &'a [u8], belongs: impl Fn(&u8) -> bool) -> &'a [u8] {
    let end = text.iter().position(|c| !belongs(c)).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    run
}

fn compare_words(a: &[u8], b: &[u8]) -> Ordering {
    let weight = |word: &[u8], i: usize| match word.get(i) {
        None => 0,
        Some(b'~') => -1,
        Some(&c) if c.is_ascii_alphabetic() => i32::from(c),
        Some(&c) => i32::from(c) + 256,
    };
    (0..a.len().max(b.len()))
        .map(|i| weight(a, i).cmp(&weight(b, i)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// By value, whatever the length: no number is too large.
fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |n: &[u8]| n.iter().position(|&c| c != b'0').unwrap_or(n.len());
    let (a, b) = (&a[significant(a)..], &b[significant(b)..]);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use coremax_sandbox::{Cmd, Sandbox};
    use proptest::prelude::*;

    use super::*;

    /// Each line ascends; `=` joins versions that are equal.
    const ASCENDING: &[&str] = &[
        "1.0~~ 1.0~~a 1.0~ 1.0=0:1.0=1.0-0=1.00 1.0-1 1.0-1+b1 1.0a 1.0+b1 1.0.1 1.1 1:0.1",
        "2.36-9+deb12u10 2.36-9+deb12u13 2.37-1 10.0",
        "1.2.3-1~bpo12+1 1.2.3-1 1.2.3-1ubuntu1 1.2.3-1ubuntu1.1 1.2.3-2",
        "0=0:0-0 0a 00001=1 99999999999999999998 99999999999999999999",
        "1-1 1-1-1",
        "5.10~rc1-1 5.10-1~exp1 5.10-1",
    ];

    #[test]
    fn table() {
        for line in ASCENDING {
            let groups: Vec<Vec<&str>> = line.split(' ').map(|g| g.split('=').collect()).collect();
            for (i, lower) in groups.iter().enumerate() {
                for (j, upper) in groups.iter().enumerate() {
                    for (a, b) in lower.iter().flat_map(|a| upper.iter().map(move |b| (a, b))) {
                        assert_eq!(compare(a, b), i.cmp(&j), "{a:?} to {b:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn dpkg_agrees() {
        let dpkg = |a: &str, operator: &str, b: &str| {
            Cmd::new("dpkg", &Sandbox::host()).args(["--compare-versions", a, operator, b]).output()
        };
        if dpkg("1", "eq", "1").is_err() {
            return coremax_skip::skip("this host has no dpkg");
        }
        for line in ASCENDING {
            let versions: Vec<&str> = line.split([' ', '=']).collect();
            for pair in versions.windows(2) {
                let operator = match compare(pair[0], pair[1]) {
                    Ordering::Less => "lt",
                    Ordering::Equal => "eq",
                    Ordering::Greater => "gt",
                };
                assert!(
                    dpkg(pair[0], operator, pair[1]).unwrap().status.success(),
                    "{} {operator} {}",
                    pair[0],
                    pair[1]
                );
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(a: Vec<u8>, b: Vec<u8>) {
            let (a, b) = (String::from_utf8_lossy(&a), String::from_utf8_lossy(&b));
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
        }

        #[test]
        fn total_order(a in "[0-9a:.+~é-]{0,8}", b in "[0-9a:.+~é-]{0,8}", c in "[0-9a:.+~é-]{0,8}") {
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le(), "{:?} {:?} {:?}", a, b, c);
            }
        }
    }
}
