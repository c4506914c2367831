use proptest::prelude::*;

use super::*;

/// One of the files as it becomes, with names that are refused elsewhere.
fn completed_by(kind: &str, own: &[u8], image: &[u8], refused: &[&str]) -> Vec<u8> {
    let kind = KINDS.iter().find(|known| known.name == kind).unwrap();
    let pair = Pair { own: rows(own), image: rows(image) };
    let mut all = match kind.name {
        PASSWD => Refused::of(Some(&pair), None),
        GROUP => Refused::of(None, Some(&pair)),
        _ => Refused::default(),
    };
    let names = refused.iter().map(|name| (name.as_bytes().to_vec(), Vec::new()));
    all.users.extend(names);
    text(&completed(kind, &pair, &all))
}

#[test]
fn what_is_missing_is_added_and_what_is_there_stays() {
    for (kind, own, image, wanted) in [
        ("passwd", "a:x:1:1::/:/bin/zsh\n", "a:x:1:1::/:/bin/sh\n", "a:x:1:1::/:/bin/zsh\n"),
        ("passwd", "a:x:1:1:::\n", "b:x:2:2:::\n", "a:x:1:1:::\nb:x:2:2:::\n"),
        // The machine may have given an account of the image another number.
        ("passwd", "a:x:5:5:::\n", "a:x:1:1:::\n", "a:x:5:5:::\n"),
        ("passwd", "a:x:1:1:::\n", "", "a:x:1:1:::\n"),
        ("group", "g:x:1:me\n", "g:x:1:svc,me\n", "g:x:1:me,svc\n"),
        ("group", "g:x:1:\n", "g:x:1:\n", "g:x:1:\n"),
        ("group", "g:x:1:svc,me\n", "g:x:1:svc\nh:x:2:me\n", "g:x:1:svc,me\nh:x:2:me\n"),
        (
            "shadow",
            "a:$y$own:1::::::\n",
            "a:*:1::::::\nb:*:1::::::\n",
            "a:$y$own:1::::::\nb:*:1::::::\n",
        ),
        ("gshadow", "g:!::me\n", "g:!::svc\n", "g:!::me,svc\n"),
        // What is no row is left as it is.
        ("passwd", "+::::::\n\na:x\n", "a:x:1:1:::\n", "+::::::\n\na:x\n"),
    ] {
        let text = completed_by(kind, own.as_bytes(), image.as_bytes(), &[]);
        assert_eq!(text, wanted.as_bytes(), "{kind}: {own:?} {image:?}");
    }
}

/// The machine's files and the image's, as (name, the machine's, the image's); what becomes of the machine's.
fn complete_in(place: &Path, files: &[(&str, &[u8], &[u8])]) -> (Vec<Vec<u8>>, Outcome) {
    let [own, image] = ["own", "image"].map(|name| place.join(name));
    for (name, mine, theirs) in files {
        for (folder, content) in [(&own, mine), (&image, theirs)] {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join(name), content).unwrap();
        }
    }
    let outcome = complete(&own, &[&image], place);
    (files.iter().map(|(name, ..)| fs::read(own.join(name)).unwrap()).collect(), outcome)
}

#[test]
fn a_number_that_is_taken_keeps_an_account_out() {
    let me = "me:x:1000:1000:::\n";
    let my_shadow = "me:*:::::::\n";
    for (passwd, group, image, image_group, wanted, refused) in [
        // A user's number.
        (
            "local:x:100:100:::\n",
            "",
            "svc:x:100:90:::\n",
            "svc:x:90:\nuse:x:7:svc,me\n",
            "",
            "local",
        ),
        // A group's number, and with it the user of its name.
        (
            "",
            "local:x:998:\n",
            "svc:x:997:998:::\n",
            "svc:x:998:svc\nuse:x:7:svc,me\n",
            "",
            "local",
        ),
        // The same, where the user has another name.
        ("", "local:x:998:\n", "svc:x:997:998:::\n", "all:x:998:\nuse:x:7:svc,me\n", "", "local"),
        // A group that the machine has under another number.
        (
            "",
            "all:x:5:\nlocal:x:998:\n",
            "svc:x:997:998:::\n",
            "all:x:998:\nuse:x:7:svc,me\n",
            "",
            "local",
        ),
        // A group that stays out with its user, and another user in it.
        (
            "local:x:100:100:::\n",
            "",
            "one:x:100:90:::\nsvc:x:101:90:::\n",
            "one:x:90:\nuse:x:7:one,svc,me\n",
            "",
            "local",
        ),
        // Nothing is taken: both have it from an image.
        ("", "svc:x:998:\n", "svc:x:997:998:::\n", "svc:x:998:\nuse:x:7:svc,me\n", "svc", ""),
    ] {
        let place = tempfile::tempdir().unwrap();
        let (passwd, group) = (format!("{me}{passwd}"), format!("me:x:1000:\n{group}"));
        let (files, outcome) = complete_in(
            place.path(),
            &[
                ("passwd", passwd.as_bytes(), image.as_bytes()),
                ("group", group.as_bytes(), image_group.as_bytes()),
                ("shadow", my_shadow.as_bytes(), b"svc:*:::::::\n"),
                ("gshadow", b"me:!::\n", b"use:!::svc,me\n"),
            ],
        );
        let files = files.iter().map(|file| String::from_utf8_lossy(file)).collect::<Vec<_>>();
        let is_in = |file: usize| files[file].contains("svc:") || files[file].contains("svc,");
        assert_eq!([0, 2, 3].map(is_in), [wanted == "svc"; 3], "{files:?}");
        assert!(files[1].contains(if wanted == "svc" {
            "use:x:7:svc,me\n"
        } else {
            "use:x:7:me\n"
        }));
        assert!(files[0].starts_with(&passwd) && files[1].starts_with(&group), "{files:?}");
        let left_out = outcome.refused.contains(&format!("svc (its number is {refused}'s)"));
        assert_eq!(left_out, !refused.is_empty(), "{:?}", outcome.refused);
        assert!(outcome.failed.is_empty());
    }
}

#[test]
fn bytes_that_are_no_text_stay_as_they_are() {
    let place = tempfile::tempdir().unwrap();
    let latin1 = b"me:x:1000:1000:J\xfcrgen::\n";
    let (files, outcome) = complete_in(place.path(), &[("passwd", latin1, b"svc:x:1:1:\xe9::\n")]);
    assert_eq!(files[0], [&latin1[..], b"svc:x:1:1:\xe9::\n"].concat());
    assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
}

#[test]
fn a_file_that_fails_keeps_no_other_back() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("group")).unwrap(); // where the new one would be written
    let (files, outcome) = complete_in(
        place.path(),
        &[("group", b"g:x:1:\n", b"h:x:2:\n"), ("shadow", b"me:*:\n", b"svc:*:\n")],
    );
    assert_eq!(files, [&b"g:x:1:\n"[..], b"me:*:\nsvc:*:\n"]);
    let [error] = &outcome.failed[..] else { panic!("{:?}", outcome.failed) };
    assert!(error.to_string().starts_with("adding the image's accounts to "), "{error}");
}

#[test]
fn files_are_completed_where_the_machine_has_its_own() {
    let place = tempfile::tempdir().unwrap();
    let [own, site, system] = ["own", "site", "system"].map(|name| place.path().join(name));
    for folder in [&own, &site, &system] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(own.join("passwd"), "me:x:1000:1000:::\n").unwrap();
    fs::write(site.join("passwd"), "svc:x:100:100:::\nbad:x:1000:1000:::\n").unwrap();
    fs::write(system.join("passwd"), "old:x:1:1:::\n").unwrap();
    fs::write(own.join("shadow"), "me:*:::::::\n").unwrap();
    fs::set_permissions(own.join("shadow"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(system.join("shadow"), "svc:*:::::::\nbad:*:::::::\n").unwrap();
    fs::write(system.join("group"), "svc:x:100:\n").unwrap();
    fs::write(place.path().join("passwd"), "torn").unwrap();
    for _ in 0..2 {
        let out = complete(&own, &[&site, &system], place.path()).refused;
        assert_eq!(out, ["bad (its number is me's)"]);
        let read = |name: &str| fs::read_to_string(own.join(name)).unwrap();
        assert_eq!(read("passwd"), "me:x:1000:1000:::\nsvc:x:100:100:::\n");
        assert_eq!(read("shadow"), "me:*:::::::\nsvc:*:::::::\n");
        let mode = own.join("shadow").metadata().unwrap().mode();
        assert_eq!(mode & 0o7777, 0o640);
        assert!(!own.join("group").exists() && !place.path().join("passwd").exists());
    }
}

proptest! {
    #[test]
    fn nothing_of_the_machine_is_lost(
        own in "([a-c]:x:[0-3]:[0-3]:\n){0,4}", image in "([a-e]:x:[0-9]:[0-3]:\n){0,4}",
    ) {
        let text = completed_by("passwd", own.as_bytes(), image.as_bytes(), &[]);
        prop_assert!(text.starts_with(own.as_bytes()));
        prop_assert_eq!(&completed_by("passwd", &text, image.as_bytes(), &[]), &text);
    }

    #[test]
    fn foreign_bytes_never_panic(own: Vec<u8>, image: Vec<u8>) {
        KINDS.iter().for_each(|kind| drop(completed_by(kind.name, &own, &image, &[])));
    }
}
