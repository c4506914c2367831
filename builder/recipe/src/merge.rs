//! Parts and a recipe in, one [`Recipe`] out: every default filled in, nothing named twice, no contradiction.

mod collect;
mod tables;

use std::path::Path;

use crate::{
    error::Error,
    part::Part,
    recipe::{Expect, Kernel, Lock, Mirror, Packages, Recipe, Root, Units, Volume},
    values::{Base, Format, HostName, Locale, PackageName, SecureBoot, TimeZone},
    written::{Located, Written},
};
use collect::{Files, Named, apart};

/// Merges `parts`, in this order, and `recipe`, which has the last word. Relative paths start at `project`;
/// whether they exist is not looked at. `base` takes the place of the recipe's own. Nothing is read.
///
/// # Errors
/// A key that is missing or in the wrong kind of file, a thing named twice, two keys that contradict each other.
pub fn merge(
    recipe: &Part,
    parts: &[Part],
    project: &Path,
    base: Option<Base>,
) -> Result<Recipe, Error> {
    parts.iter().try_for_each(refuse_identity)?;
    let own = &recipe.written;
    let name = required(recipe, "name", &own.name)?;
    let base = base.unwrap_or(*required(recipe, "base", &own.base)?);
    let files = Files::new(parts, recipe);
    files.lists("part", |w| &w.parts)?;

    let kernel = kernel(&files, base)?;
    let packages = packages(&files, base, &kernel.package)?;
    let expect = expect(&files, &packages)?;
    Ok(Recipe {
        name: name.clone(),
        summary: own.summary.as_ref().map(Located::value).cloned().unwrap_or_default(),
        version: own.version.as_ref().map(Located::value).cloned(),
        base,
        hostname: files.last(|w| &w.hostname).unwrap_or_else(|| fixed::<HostName>(name.as_str())),
        timezone: files.last(|w| &w.timezone).unwrap_or_else(|| fixed::<TimeZone>("Etc/UTC")),
        locale: files.last(|w| &w.locale).unwrap_or_else(|| fixed::<Locale>("C.UTF-8")),
        packages,
        kernel,
        root_ssh_keys: files.list("key", |w| &w.access.ssh_keys)?,
        users: tables::users(&files)?,
        overlays: tables::overlays(&files, project)?,
        files: tables::files(&files, project)?,
        units: units(&files)?,
        root: root(&files, project)?,
        data: Volume { size: files.last(|w| &w.data.size) },
        mirror: Mirror {
            archive: files.last(|w| &w.mirror.archive),
            security: files.last(|w| &w.mirror.security),
        },
        archives: tables::archives(&files, project)?,
        lock: Lock {
            snapshot: files.last(|w| &w.lock.snapshot),
            snapshot_security: files.last(|w| &w.lock.snapshot_security),
        },
        outputs: tables::outputs(&files)?.unwrap_or_else(|| [Format::Qcow2].into()),
        expect,
    })
}

/// A part may not say what makes a recipe: its name, its version, its base.
fn refuse_identity(part: &Part) -> Result<(), Error> {
    let Written { name, version, base, .. } = &part.written;
    let places = [
        ("name", name.as_ref().map(|value| part.place(value))),
        ("version", version.as_ref().map(|value| part.place(value))),
        ("base", base.as_ref().map(|value| part.place(value))),
    ];
    match places.into_iter().find_map(|(key, at)| Some((key, at?))) {
        Some((key, at)) => Err(Error::NotInPart { key, at }),
        None => Ok(()),
    }
}

fn required<'a, T>(
    recipe: &Part,
    key: &'static str,
    value: &'a Option<Located<T>>,
) -> Result<&'a T, Error> {
    let missing = || Error::Missing { key, at: recipe.beginning() };
    value.as_ref().map(Located::value).ok_or_else(missing)
}

/// A value from this program's own text.
fn fixed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    #[expect(
        clippy::expect_used,
        reason = "the defaults are constants; a recipe's name is a host name"
    )]
    text.parse().expect("a valid default")
}

fn kernel(files: &Files<'_>, base: Base) -> Result<Kernel, Error> {
    Ok(Kernel {
        package: files
            .last(|w| &w.kernel.package)
            .unwrap_or_else(|| fixed::<PackageName>(base.kernel_package())),
        command_line: files.list("kernel argument", |w| &w.kernel.command_line)?,
        modules: files.last(|w| &w.kernel.modules).unwrap_or_default(),
    })
}

fn packages(files: &Files<'_>, base: Base, kernel: &PackageName) -> Result<Packages, Error> {
    let mut install = files.lists("package", |w| &w.packages.install)?;
    for (part, table) in files.tables(|w| &w.for_base) {
        let listed = collect::distinct(part, "package", &table.install)?;
        install.extend(listed.filter(|_| *table.base.value() == base));
    }
    let exclude = files.lists("package", |w| &w.packages.exclude)?;
    apart(&install, &exclude, |name| format!("package `{name}` is both installed and excluded"))?;
    if let Some(named) = exclude.iter().find(|named| named.value() == kernel) {
        let message = format!("`{kernel}` brings the kernel: it cannot be excluded");
        return Err(Error::Value { message, at: named.place() });
    }

    let mut reasons = std::collections::BTreeMap::new();
    for named in &install {
        reasons.entry(named.value().clone()).or_insert_with(|| named.part.title());
    }
    reasons.entry(kernel.clone()).or_insert_with(|| "kernel".to_owned());
    Ok(Packages {
        install: reasons,
        exclude: exclude.iter().map(Named::cloned).collect(),
        recommends: files.last(|w| &w.packages.recommends).unwrap_or(false),
    })
}

fn root(files: &Files<'_>, project: &Path) -> Result<Root, Error> {
    let verity = files.last_named(|w| &w.root.verity);
    let secure_boot = files.last_named(|w| &w.root.secure_boot);
    if let (Some(verity), Some(secure_boot)) = (&verity, &secure_boot)
        && !*verity.value()
        && *secure_boot.value() == SecureBoot::Sealed
    {
        return Err(Error::Contradiction {
            what: "secure-boot is \"sealed\", and the root is not under dm-verity".to_owned(),
            at: secure_boot.place(),
            first: verity.place(),
        });
    }
    let update_key = files.last(|w| &w.root.update_key);
    Ok(Root {
        verity: verity.is_none_or(|named| *named.value()),
        size: files.last(|w| &w.root.size),
        compression: files.last(|w| &w.root.compression).unwrap_or_default(),
        secure_boot: secure_boot.map(|named| named.cloned()).unwrap_or_default(),
        update_key_source: update_key.as_ref().map(|key| project.join(key.as_str())),
        update_key,
    })
}

fn units(files: &Files<'_>) -> Result<Units, Error> {
    let enable = files.lists("unit", |w| &w.units.enable)?;
    let disable = files.lists("unit", |w| &w.units.disable)?;
    let mask = files.lists("unit", |w| &w.units.mask)?;
    let keep = files.lists("unit", |w| &w.units.keep)?;
    let expected = files.lists("unit", |w| &w.expect.units)?;
    apart(&enable, &disable, |name| format!("unit `{name}` is both enabled and disabled"))?;
    apart(&enable, &mask, |name| format!("unit `{name}` is both enabled and masked"))?;
    apart(&disable, &mask, |name| format!("unit `{name}` is both disabled and masked"))?;
    apart(&disable, &keep, |name| format!("unit `{name}` is both disabled and kept"))?;
    apart(&mask, &keep, |name| format!("unit `{name}` is both masked and kept"))?;
    apart(&mask, &expected, |name| {
        format!("unit `{name}` is masked, and yet expected to be active")
    })?;
    let set = |names: Vec<Named<'_, _>>| names.iter().map(Named::cloned).collect();
    Ok(Units { enable: set(enable), disable: set(disable), mask: set(mask), keep: set(keep) })
}

fn expect(files: &Files<'_>, packages: &Packages) -> Result<Expect, Error> {
    let expected = files.lists("package", |w| &w.expect.packages)?;
    let exclude = files.lists("package", |w| &w.packages.exclude)?;
    apart(&exclude, &expected, |name| format!("package `{name}` is excluded, and yet expected"))?;
    let installed = packages.install.keys().cloned();
    Ok(Expect {
        packages: installed.chain(expected.iter().map(Named::cloned)).collect(),
        files: files.list("file", |w| &w.expect.files)?.into_iter().collect(),
        units: files.list("unit", |w| &w.expect.units)?.into_iter().collect(),
        listens: files.list("port", |w| &w.expect.listens)?.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{error::Mistakes, part::parse, tests::EVERY_KEY};

    const HEAD: &str = "name = \"a\"\nbase = \"debian-12\"\n";

    fn part(name: &str, text: &str) -> Result<Part, Error> {
        parse(name, text).map_err(Mistakes::into_first)
    }

    fn merged(parts: &[&str], recipe: &str) -> Result<Recipe, Error> {
        let files =
            parts.iter().enumerate().map(|(i, text)| part(&format!("parts/{i}.toml"), text));
        let parts: Vec<Part> = files.collect::<Result<_, _>>()?;
        merge(&part("a.toml", recipe)?, &parts, Path::new("/project"), None)
    }

    /// What is wrong, where, and the hint.
    fn wrong(parts: &[&str], recipe: &str) -> String {
        let error = merged(parts, recipe).unwrap_err();
        let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{}: {error}{hint}", error.place().unwrap())
    }

    #[test]
    fn every_key_arrives() {
        insta::assert_json_snapshot!(merged(&[], EVERY_KEY).unwrap());
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        insta::assert_json_snapshot!(merged(&[], HEAD).unwrap());
    }

    #[test]
    fn the_last_scalar_holds_and_lists_are_joined() {
        let parts = [
            "timezone = \"Etc/GMT\"\n[packages]\ninstall = [\"less\", \"bash\"]\n[kernel]\ncommand-line = [\"b\", \"a\"]",
            "timezone = \"Etc/UCT\"\n[packages]\ninstall = [\"less\", \"kmod\"]",
        ];
        let recipe = format!("{HEAD}[kernel]\ncommand-line = [\"c\", \"b\"]");
        let recipe = merged(&parts, &recipe).unwrap();
        assert_eq!(recipe.timezone.as_str(), "Etc/UCT");
        let reasons: Vec<_> =
            recipe.packages.install.iter().map(|(k, v)| format!("{k}: {v}")).collect();
        assert_eq!(
            reasons,
            ["bash: part 0", "kmod: part 1", "less: part 0", "linux-image-amd64: kernel"]
        );
        let arguments: Vec<_> = recipe.kernel.command_line.iter().map(AsRef::as_ref).collect();
        assert_eq!(arguments, ["b", "a", "c"]);
    }

    #[test]
    fn another_base_brings_its_own_kernel_and_packages() {
        let text = format!("{HEAD}[[for]]\nbase = \"debian-12\"\ninstall = [\"usr-is-merged\"]");
        let recipe = parse("a.toml", &text).unwrap();
        let names = |base| {
            let recipe = merge(&recipe, &[], Path::new(""), base).unwrap();
            recipe.packages.install.into_keys().map(|name| name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["linux-image-amd64", "usr-is-merged"]);
        assert_eq!(names(Some("ubuntu-22.04".parse().unwrap())), ["linux-image-generic"]);
    }

    #[test]
    fn a_name_twice_is_an_error_that_shows_both_places() {
        let user = "[[user]]\nname = \"ada\"\n";
        let cases = [
            (wrong(&[], &format!("{HEAD}{user}{user}")), "a.toml:6:8: user `ada` is named twice"),
            (
                wrong(&[user], &format!("{HEAD}{user}")),
                "a.toml:4:8: user `ada` is named twice (the first is at parts/0.toml:2:8)",
            ),
            (
                wrong(&[], &format!("{HEAD}{user}uid = 7\n[[user]]\nname = \"b\"\nuid = 7")),
                "a.toml:8:7: uid `7` is named twice",
            ),
            (
                wrong(&[], &format!("{HEAD}[packages]\ninstall = [\"less\", \"less\"]")),
                "a.toml:4:20: package `less` is named twice",
            ),
            (
                wrong(
                    &[],
                    &format!("{HEAD}[[output]]\nformat = \"raw\"\n[[output]]\nformat = \"raw\""),
                ),
                "a.toml:6:10: output `raw` is named twice",
            ),
            (
                wrong(
                    &[],
                    &format!(
                        "{HEAD}[[file]]\npath = \"/a\"\ncontent = \"\"\n[[file]]\npath = \"/a\"\ncontent = \"\""
                    ),
                ),
                "a.toml:7:8: file `/a` is named twice",
            ),
            (
                wrong(&[], &format!("parts = [\"b\", \"b\"]\n{HEAD}")),
                "a.toml:1:15: part `b` is named twice",
            ),
        ];
        for (got, wanted) in cases {
            assert_eq!(got, wanted);
        }
    }

    #[test]
    fn contradictions_are_errors() {
        let cases = [
            (
                "[packages]\ninstall = [\"nano\"]\nexclude = [\"nano\"]",
                "a.toml:5:12: package `nano` is both installed and excluded",
            ),
            (
                "[packages]\nexclude = [\"linux-image-amd64\"]",
                "a.toml:4:12: `linux-image-amd64` brings the kernel: it cannot be excluded",
            ),
            (
                "[packages]\nexclude = [\"nano\"]\n[expect]\npackages = [\"nano\"]",
                "a.toml:6:13: package `nano` is excluded, and yet expected",
            ),
            (
                "[units]\nenable = [\"a.service\"]\nmask = [\"a.service\"]",
                "a.toml:5:9: unit `a.service` is both enabled and masked",
            ),
            (
                "[units]\nkeep = [\"a.service\"]\nmask = [\"a.service\"]",
                "a.toml:4:9: unit `a.service` is both masked and kept",
            ),
            (
                "[units]\nmask = [\"a.service\"]\n[expect]\nunits = [\"a.service\"]",
                "a.toml:6:10: unit `a.service` is masked, and yet expected to be active",
            ),
            (
                "[root]\nverity = false\nsecure-boot = \"sealed\"",
                "a.toml:5:15: secure-boot is \"sealed\", and the root is not under dm-verity",
            ),
            ("[[file]]\npath = \"/a\"", "a.toml:4:8: file `/a` says neither `content` nor `from`"),
            (
                "[[file]]\npath = \"/a\"\ncontent = \"\"\nfrom = \"b\"",
                "a.toml:6:8: file `/a` says both `content` and `from`",
            ),
            (
                "[[user]]\nname = \"root\"",
                "a.toml:4:8: user `root` is there already: its keys go into [access]",
            ),
            (
                "[[user]]\nname = \"b\"\nuid = 0",
                "a.toml:5:7: user id 0 is not for a user: 0 is root's, the last means none",
            ),
            (
                "[[archive]]\nname = \"b\"\nmirror = \"http://mirror.example\"\nsuites = []",
                "a.toml:6:10: archive `b` names no suite",
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(wrong(&[], &format!("{HEAD}{text}")), wanted);
        }
    }

    #[test]
    fn a_recipe_has_a_name_and_a_base_and_a_part_has_none() {
        assert_eq!(
            wrong(&[], "base = \"debian-12\""),
            "a.toml:1:1: the recipe says no `name` (write name = \"...\")"
        );
        assert_eq!(
            wrong(&[], "name = \"a\""),
            "a.toml:1:1: the recipe says no `base` (write base = \"debian-12\" or base = \"ubuntu-22.04\")"
        );
        let part = "summary = \"b\"\nbase = \"debian-12\"";
        assert_eq!(
            wrong(&[part], HEAD),
            "parts/0.toml:2:8: `base` belongs in a recipe, not in a part"
        );
    }

    fn install() -> impl Strategy<Value = String> {
        let names =
            proptest::sample::subsequence(vec!["bash", "dash", "less", "kmod", "udev"], 0..5);
        let argument = proptest::option::of(0u8..3);
        (names.prop_shuffle(), argument).prop_map(|(names, zone)| {
            let zone = zone.map(|n| format!("timezone = \"Etc/GMT-{n}\"\n")).unwrap_or_default();
            format!("{zone}[packages]\ninstall = {names:?}\n[kernel]\ncommand-line = {names:?}\n")
        })
    }

    proptest! {
        /// A part that names others does what the three do side by side: only their order counts.
        #[test]
        fn merging_is_associative_and_a_part_twice_counts_once(a in install(), b in install(), c in install()) {
            let mut flat = merged(&[&a, &b, &c], HEAD).unwrap();
            let mut again = merged(&[&a, &b, &c, &c], HEAD).unwrap();
            let own = format!("{HEAD}{c}");
            let mut last = merged(&[&a, &b], &own).unwrap();
            for recipe in [&mut flat, &mut again, &mut last] {
                recipe.packages.install.values_mut().for_each(String::clear);
            }
            prop_assert_eq!(&flat, &again);
            prop_assert_eq!(&flat, &last);
        }
    }
}
