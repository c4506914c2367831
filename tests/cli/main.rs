//! What the command says to people who use it, and to those who misuse it.

mod readers;
mod skips;

use std::fs;

use coremax_tests::{run, run_in};

/// The lines of a recipe, and what the complaint about it must hold.
const BROKEN: [(&str, &[&str]); 6] = [
    ("name = \"x\"\nbase = \"debian-12\"\npackges = 1\n", &["recipe.toml:3:1", "packages"]),
    ("name = \"x\"\nbase = \"debian-13\"\n", &["recipe.toml:2:8", "debian-12"]),
    ("name = \"x\"\nbase = \"debian-12\"\nparts = [\"sever\"]\n", &["recipe.toml:3", "sever"]),
    ("name = \"x\"\nbase = \"debian-12\"\n[packages]\ninstall = 3\n", &["recipe.toml:4:11"]),
    ("name = \"x\"\nbase = \"debian-12\"\n[[overlay]]\nfrom = \"none\"\n", &["recipe.toml:4:8"]),
    ("name = \"x\"\nbase\n", &["recipe.toml:2"]),
];

const VERBS: [&str; 10] =
    ["build", "check", "plan", "lock", "vendor", "test", "run", "clean", "key", "cluster"];

#[test]
fn help_teaches() {
    let ran = run(&["--help"]);
    assert!(ran.ok);
    for word in VERBS.into_iter().chain(["recipes/node.toml"]) {
        assert!(ran.out.contains(word), "--help does not mention {word}");
    }
    for verb in VERBS {
        let ran = run(&[verb, "--help"]);
        assert!(ran.ok, "{verb} --help: {}", ran.err);
        assert!(ran.out.lines().all(|line| line.chars().count() <= 100), "{verb}: long lines");
    }
}

#[test]
fn the_recipes_of_this_repository_are_well_formed() {
    let folder = fs::read_dir(coremax_tests::repository().join("recipes")).unwrap();
    let files = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<_> = files.filter_map(|f| Some(f.strip_suffix(".toml")?.to_owned())).collect();
    for known in ["node", "kubernetes-node", "openstack-controller"] {
        assert!(names.iter().any(|name| name == known), "no recipe {known}");
    }
    let paths: Vec<_> = names.iter().map(|name| format!("recipes/{name}.toml")).collect();
    let arguments: Vec<_> = ["check"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    let ran = run(&arguments);
    assert!(ran.ok, "{}", ran.err);
    for name in names {
        assert!(ran.out.contains(&format!("{name} is well formed")), "{}", ran.out);
    }
}

#[test]
fn a_broken_recipe_is_shown_where_it_breaks() {
    let folder = tempfile::tempdir().unwrap();
    for (text, wanted) in BROKEN {
        fs::write(folder.path().join("recipe.toml"), text).unwrap();
        let ran = run_in(folder.path(), &["check", "recipe.toml"]);
        assert!(!ran.ok, "{text:?} was accepted");
        for part in wanted {
            assert!(ran.err.contains(part), "{text:?}: no {part:?} in:\n{}", ran.err);
        }
    }
}

#[test]
fn every_recipe_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a.toml", "b.toml", "c.toml"];
    for (name, text) in
        names.into_iter().zip([BROKEN[0].0, "name = \"b\"\nbase = \"debian-12\"\n", BROKEN[1].0])
    {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let ran = run_in(folder.path(), &[&["check"][..], &names].concat());
    assert!(!ran.ok && ran.out.contains("b is well formed"), "{}", ran.out);
    for part in ["a.toml:3:1", "c.toml:2:8"] {
        assert!(ran.err.contains(part), "no {part} in:\n{}", ran.err);
    }
}

#[test]
fn the_schema_of_the_repository_is_the_command_s() {
    let ran = run(&["schema"]);
    let stored = coremax_tests::repository().join("recipes/recipe.schema.json");
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(value(&ran.out), value(&fs::read_to_string(stored).unwrap()));
}

#[test]
fn completions_and_man_pages_come_from_the_definitions() {
    assert!(run(&["completions", "bash"]).out.contains("coremax"));
    let folder = tempfile::tempdir().unwrap();
    let ran = run(&["man", folder.path().to_str().unwrap()]);
    assert!(ran.ok, "{}", ran.err);
    for page in ["coremax.1", "coremax-build.1", "coremax-plan.1"] {
        assert!(folder.path().join(page).exists(), "{page} is missing");
    }
}
