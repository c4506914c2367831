use coremax_node_api::boot_test::{Check, Kind};
use proptest::prelude::*;

use super::*;
use coremax_fetch::Digest;

use crate::{Fault, Outcome, Stage, StageTime, boot::tests::report};

fn boots(evil: &str) -> Vec<Boot> {
    let digest = Digest::of("");
    let mut passed = report("BIOS", digest, Outcome::Passed);
    passed.stages = vec![
        StageTime { stage: Stage::Firmware, began: 0.0, ended: 1.0 },
        StageTime { stage: Stage::Kernel, began: 1.0, ended: 4.0 },
    ];
    passed.checks =
        vec![Check { name: evil.into(), kind: Kind::Unit, ok: true, detail: evil.into() }];
    let fault = Fault {
        stage: Stage::Init,
        what: evil.into(),
        problems: vec![evil.into(), "second".into()],
        hint: Some(evil.into()),
        last_lines: vec![evil.into()],
    };
    let failed = report("UEFI", digest, Outcome::Failed(fault));
    let boot = |report, folder: &str| Boot {
        artefact: "node.qcow2".into(),
        folder: folder.into(),
        report,
    };
    vec![boot(passed, "boot/bios"), boot(failed, "boot/uefi")]
}

fn build(text: &str) -> Build {
    Build {
        recipe: "node".into(),
        version: "2026.11.22".into(),
        summary: text.into(),
        packages: 147,
        artefacts: vec![Made { name: text.into(), size: 1 << 20, sha256: "00".into() }],
        stages: vec![
            BuildStage { name: "fetch".into(), detail: text.into(), wall: 2.0, cpu: Some(1.0) },
            BuildStage { name: "root".into(), detail: text.into(), wall: 4.0, cpu: None },
        ],
        ..Build::default()
    }
}

#[test]
fn nothing_foreign_becomes_markup() {
    let evil = "<script>alert('\"&\x1b[1m')</script>\u{0}]]>";
    let page = html(&build(evil), &boots(evil), &[]).unwrap();
    assert!(!page.contains("<script") && !page.contains('\u{0}') && !page.contains('\x1b'));
    let junit = junit(&build(evil), &boots(evil)).unwrap();
    assert!(!junit.contains("<script") && !junit.contains("]]>") && !junit.contains('\u{0}'));
}

#[test]
fn the_verdict_is_in_the_title() {
    let boots = boots("x");
    let title = |boots: &[Boot]| {
        let page = html(&build("x"), boots, &[]).unwrap();
        let (_, rest) = page.split_once("<title>").unwrap();
        rest.split_once("</title>").unwrap().0.to_owned()
    };
    assert_eq!(title(&boots[..1]), "node 2026.11.22: Boots by BIOS");
    assert_eq!(title(&boots), "node 2026.11.22: Fails by UEFI");
    assert_eq!(title(&[]), "node 2026.11.22: Not booted");
}

#[test]
fn the_page_loads_nothing_and_shows_its_pictures() {
    let page = html(&build("x"), &boots("x"), &[Some(b"png".to_vec()), None]).unwrap();
    assert!(page.contains("src=\"data:image/png;base64,cG5n\""));
    for loading in ["http://", "https://", "<script", "<link", "@import", "url("] {
        assert!(!page.contains(loading), "{loading}");
    }
    assert_eq!(page, html(&build("x"), &boots("x"), &[Some(b"png".to_vec()), None]).unwrap());
}

#[test]
fn junit_counts_what_it_lists() {
    let text = junit(&build("x"), &boots("x")).unwrap();
    let (cases, failures) = (text.matches("<testcase ").count(), text.matches("<failure ").count());
    assert!(text.contains(&format!("tests=\"{cases}\" failures=\"{failures}\"")), "{text}");
    assert_eq!((cases, failures), (3, 1));
}

#[test]
fn json_can_be_read_back() {
    let boots = boots("x");
    let value: serde_json::Value =
        serde_json::from_str(&json(&build("x"), &boots).unwrap()).unwrap();
    let back: Vec<Boot> = serde_json::from_value(value["boots"].clone()).unwrap();
    assert_eq!(back, boots);
}

#[test]
fn three_files_are_written() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &build("x"), &boots("x")).unwrap();
    for name in [HTML, JUNIT, JSON] {
        assert!(folder.path().join(name).is_file(), "{name}");
    }
}

proptest! {
    #[test]
    fn any_text_gives_a_page(text in any::<String>()) {
        html(&build(&text), &boots(&text), &[]).unwrap();
        junit(&build(&text), &boots(&text)).unwrap();
    }
}
