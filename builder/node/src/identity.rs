//! `coremax-node identify`: which cluster this machine was told to join.
//!
//! What is told, and which place holds, is [`coremax_node_api::identity`]; here is how each place is read. What holds
//! is kept, so that the medium can be taken out again.

pub(crate) mod command_line;
mod media;
mod openstack;
mod places;
mod server;
mod smbios;
mod volume;

use std::{fs, path::Path};

use anyhow::{Context, Result};
use coremax_node_api::{
    identity::{Broken, Choice, Document, Place, Reading, choose, command_line::CommandLine},
    kernel_line,
};

use crate::{durable, paths};

/// Where it is kept: on the data partition, so that a reset that keeps the identity keeps it too.
const KEPT: &str = "/var/lib/coremax/identity.json";

/// Says who told this machine which cluster is its own, and keeps that.
///
/// # Errors
/// Where nobody did, where what is there cannot be used, or where it cannot be kept.
pub(crate) fn identify(as_json: bool) -> Result<()> {
    let mut choice = chosen(&command_line::read(Path::new(kernel_line::FILE)))?;
    choice.ignored.extend(unheard(&choice)?);
    for line in &choice.ignored {
        eprintln!("warning: ignored: {line}");
    }
    println!("{}", if as_json { json(&choice) } else { text(&choice) });
    Ok(())
}

/// The document in this file.
///
/// # Errors
/// Where there is none.
pub(crate) fn read(path: &Path) -> Result<Document> {
    let failed = || format!("reading the identity in {}", path.display());
    let bytes = zeroize::Zeroizing::new(fs::read(path).with_context(failed)?);
    Document::parse(&bytes).with_context(failed)
}

/// What media say otherwise than a machine that has kept its identity, which waits for none of them: this may take as long as
/// a medium does.
///
/// # Errors
/// Where the machine's devices cannot be listed.
pub(crate) fn unheard(choice: &Choice) -> Result<Vec<String>> {
    if choice.place != Place::Kept {
        return Ok(Vec::new());
    }
    Ok(media::seen_again()?.iter().filter_map(|reading| choice.conflict(reading)).collect())
}

/// No place has an identity: somebody will bring one, or mend the words that nobody knows.
#[derive(Debug, thiserror::Error)]
#[error("nobody told this machine its cluster: {}{}", places::TRIED, .unknown.iter().map(|it| format!("; {it}")).collect::<String>())]
pub(crate) struct Untold {
    /// The kernel's command line may have been meant to tell, for people.
    pub(crate) unknown: Vec<String>,
}

/// What holds on this machine, and is kept from now on.
///
/// # Errors
/// As [`identify`].
pub(crate) fn chosen(line: &CommandLine) -> Result<Choice> {
    let found = places::read(Path::new(KEPT), line)?;
    let (readings, rosters): (Vec<_>, Vec<_>) =
        found.into_iter().map(|found| (found.reading, found.roster)).unzip();
    let unknown = command_line::unknown(line);
    let Some(mut choice) = choose(&readings)? else { return Err(Untold { unknown }.into()) };
    choice.ignored.extend(unknown);
    if choice.place != Place::Kept {
        // First: once the identity is kept no roster is looked for any more.
        if let Some(roster) = beside(&choice, &readings, rosters)? {
            keep_roster(&roster, Path::new(paths::ROSTER))?;
        }
        keep(&choice.document, Path::new(KEPT))?;
    }
    Ok(choice)
}

/// The roster that the media of this identity have, the first of them.
fn beside(
    choice: &Choice,
    readings: &[Reading],
    rosters: Vec<places::Roster>,
) -> Result<Option<Vec<u8>>> {
    let agrees = |reading: &Reading| {
        reading.document.as_ref().is_ok_and(|document| document.agrees(&choice.document))
    };
    let of_it = readings.iter().zip(rosters).filter(|(reading, _)| agrees(reading));
    let mut rosters = of_it.filter_map(|(reading, roster)| Some((&reading.at, roster?)));
    let Some((at, roster)) = rosters.next() else { return Ok(None) };
    let roster = roster.with_context(|| format!("reading the roster in {at}"))?;
    Ok(Some(roster))
}

/// Where the operator would put it on a seed. What is there was left by a medium of another cluster, or is the same.
fn keep_roster(roster: &[u8], path: &Path) -> Result<()> {
    durable::replace(path, roster, 0o644)
        .with_context(|| format!("keeping the roster in {}", path.display()))
}

/// What can be done about documents that cannot be followed.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    error.downcast_ref::<Broken>().map(|broken| broken.hint().to_owned())
}

/// Never the key itself.
fn text(choice: &Choice) -> String {
    let Document { cluster, key_id, seeds, .. } = &choice.document;
    let seeds: Vec<_> = seeds.iter().map(ToString::to_string).collect();
    let seeds = if seeds.is_empty() { "none named".to_owned() } else { seeds.join(", ") };
    format!("cluster  {cluster}\nkey      {key_id}\nfrom     {}\nseeds    {seeds}", choice.at)
}

fn json(choice: &Choice) -> String {
    let Document { cluster, key_id, seeds, .. } = &choice.document;
    let (place, at) = (choice.place.to_string(), &choice.at);
    serde_json::json!({
        "cluster": cluster,
        "key-id": key_id,
        "seeds": seeds,
        "place": place,
        "at": at,
        "ignored": choice.ignored,
    })
    .to_string()
}

/// Writes it for root alone, whole or not at all, on the disk when it returns.
fn keep(document: &Document, path: &Path) -> Result<()> {
    let failed = || format!("keeping the identity in {}", path.display());
    durable::replace(path, document.to_text().as_bytes(), 0o600).with_context(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use coremax_node_api::identity::{Key, KeyId};

    use super::*;

    fn document() -> Document {
        let cluster = "3f0c9d7e-5b7b-8f6e-9a40-6d1f6a3c2b10".parse().unwrap();
        Document::new(cluster, KeyId([1; 8]), Key::new([0xab; 32]), vec![[10, 0, 0, 11].into()])
    }

    #[test]
    fn what_is_kept_is_for_root_alone_and_holds_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("coremax/identity.json");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(path.with_file_name(".identity.json.new"), "left by a power cut").unwrap();
        keep(&document(), &path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let kept = Reading::of(Place::Kept, "kept", &fs::read(&path).unwrap());
        assert_eq!(kept.document, Ok(document()));
        assert!(!path.with_file_name(".identity.json.new").exists());
    }

    #[test]
    fn a_roster_lies_beside_any_medium_of_the_identity() {
        let reading = |place, key| {
            let document =
                Document::new(document().cluster, KeyId([1; 8]), Key::new([key; 32]), Vec::new());
            Reading::of(place, "a place", document.to_text().as_bytes())
        };
        let roster = |text: &str| Some(Ok(text.as_bytes().to_vec()));
        let readings =
            [reading(Place::FwCfg, 0xab), reading(Place::Volume, 1), reading(Place::Cidata, 0xab)];
        let choice = choose(&readings).unwrap().unwrap();
        let of = |rosters| beside(&choice, &readings, rosters);
        let other = || roster("of another");
        assert_eq!(of(vec![None, other(), roster("its own")]).unwrap().unwrap(), b"its own");
        assert_eq!(of(vec![None, other(), None]).unwrap(), None);
        let broken = Some(Err(std::io::Error::other("a bad sector")));
        let error = of(vec![None, other(), broken]).unwrap_err();
        assert!(format!("{error:#}").contains("a place: a bad sector"), "{error:#}");
    }

    #[test]
    fn nothing_that_is_said_holds_the_key() {
        let choice = Choice {
            document: document(),
            place: Place::Volume,
            at: "sdb".to_owned(),
            ignored: vec!["sr0 says otherwise".to_owned()],
        };
        for said in [text(&choice), json(&choice)] {
            assert!(said.contains("sdb") && !said.contains("abab"), "{said}");
        }
        assert!(format!("{choice:?}").contains("key: Key(..)"));
    }
}
