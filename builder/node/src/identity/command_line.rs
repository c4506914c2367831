//! What the kernel's command line says of a cluster, and the server that it names.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use coremax_node_api::{
    guid::Guid,
    identity::{
        LONGEST, Place, Reading,
        command_line::{self, CLUSTER, CommandLine},
    },
    wire::ROSTER_MAX,
};

use super::{
    openstack::Held,
    places::Found,
    server::{Server, shown},
};

/// Where it is, for people.
const AT: &str = "the kernel's command line";

/// What this file says; one that cannot be read is a problem.
pub(crate) fn read(path: &Path) -> CommandLine {
    let mut bytes = Vec::new();
    let most = command_line::LONGEST as u64;
    match File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)) {
        Ok(_) => CommandLine::parse(&String::from_utf8_lossy(&bytes)),
        Err(error) => {
            let problems = vec![format!("reading {}: {error}", path.display())];
            CommandLine { problems, ..CommandLine::default() }
        }
    }
}

/// The document that it names, asked for; nothing where it names none. A server that does not answer yet is broken, and so
/// asked again: somebody has said that the document is there.
pub(super) fn found(line: &CommandLine) -> Option<Found> {
    if let Some(reading) = broken(line) {
        return Some(Found { reading, roster: None });
    }
    let url = line.identity.as_deref()?;
    let reading = match fetch(url, LONGEST) {
        Ok(bytes) => Reading::of(Place::CommandLine, shown(url), &bytes),
        Err(error) => said(shown(url), error.to_string()),
    };
    let roster = line.roster.as_deref().filter(|_| reading.document.is_ok());
    let roster = roster.map(|url| fetch(url, ROSTER_MAX).map(|bytes| bytes.to_vec()));
    Some(Found { reading, roster })
}

/// What it says otherwise than a machine's own identity, for one that has it and asks nobody any more.
pub(super) fn against(line: &CommandLine, own: Guid) -> Option<Reading> {
    let other = line.cluster.filter(|cluster| *cluster != own);
    let other = other.map(|cluster| said(AT, format!("{CLUSTER} says {cluster}")));
    broken(line).or(other)
}

/// Its words that nobody knows, for people.
pub(super) fn unknown(line: &CommandLine) -> Vec<String> {
    line.unknown.iter().map(|word| format!("{AT} has {word}, which nobody knows")).collect()
}

fn broken(line: &CommandLine) -> Option<Reading> {
    (!line.problems.is_empty()).then(|| said(AT, line.problems.join("; ")))
}

fn said(at: &str, why: String) -> Reading {
    Reading { place: Place::CommandLine, at: at.to_owned(), document: Err(why) }
}

fn fetch(url: &str, most: usize) -> Held {
    let bytes = Server::new(is_https(url))?.get(url, most)?;
    match bytes.len() > most {
        true => Err(io::Error::other(format!("{} is longer than {most} bytes", shown(url)))),
        false => Ok(bytes),
    }
}

fn is_https(url: &str) -> bool {
    url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

#[cfg(test)]
mod tests {
    use std::{fs, net::TcpListener};

    use super::{
        super::openstack::{
            service::tests::{ok, service},
            tests::document,
        },
        *,
    };

    #[test]
    fn what_the_server_may_answer() {
        let busy = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let moved =
            "HTTP/1.1 302 Found\r\nlocation: /id\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let (url, asked) = service(vec![
            ("id", ok(&document())),
            ("id?mac=1", ok(&document())),
            ("torn", ok(&document()[..100])),
            ("long", ok(&" ".repeat(LONGEST + 1))),
            ("endless", "HTTP/1.1 200 OK\r\n\r\n".to_owned() + &" ".repeat(3 << 20)),
            (
                "cut",
                "HTTP/1.1 200 OK\r\ncontent-length: 900\r\nconnection: close\r\n\r\n{".to_owned(),
            ),
            ("busy", busy.to_owned()),
            ("moved", moved.to_owned()),
            ("roster", ok("a signed roster")),
        ]);
        let of = |words: &str| found(&CommandLine::parse(&words.replace("URL", &url)));
        for (name, want) in [
            ("id", ""),
            ("id?mac=1", ""),
            ("torn", "it is no identity: line 1"),
            ("long", "/long is longer than 4096 bytes"),
            ("endless", "/endless is longer than 4096 bytes"),
            ("cut", "reading http://"),
            ("busy", "/busy is answered with status 503"),
            ("moved", "/moved is answered with status 302"),
            ("none?token=1", "/none is not there"),
        ] {
            let reading = of(&format!("coremax.identity=URL/{name}")).unwrap().reading;
            let path = name.split('?').next().unwrap();
            assert_eq!((reading.place, reading.at), (Place::CommandLine, format!("{url}/{path}")));
            let why = reading.document.err().unwrap_or_default();
            assert!(why.contains(want) && why.is_empty() == want.is_empty(), "{name}: {why}");
            assert!(!why.contains("token"), "{why}");
        }
        assert!(of("coremax.seed=10.0.0.1").is_none());
        let all = of("coremax.identity=URL/id coremax.roster=URL/roster").unwrap();
        assert_eq!(all.roster.unwrap().unwrap(), b"a signed roster");
        let lacks = of("coremax.identity=URL/id coremax.roster=URL/none").unwrap();
        assert!(lacks.roster.unwrap().is_err(), "it was said to be there");
        let so_far = asked.lock().unwrap().len();
        let refused = of("coremax.identity=URL/id coremax.key=ab").unwrap().reading;
        assert!(refused.document.unwrap_err().starts_with("coremax.key is refused"));
        assert_eq!(asked.lock().unwrap().len(), so_far, "a line that is refused asks nobody");
    }

    #[test]
    fn a_server_that_does_not_answer_is_asked_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/id", listener.local_addr().unwrap());
        drop(listener);
        let line = CommandLine::parse(&format!("coremax.identity={url}?token=secret"));
        let why = found(&line).unwrap().reading.document.unwrap_err();
        assert!(why.starts_with(&format!("asking {url}: ")) && !why.contains("secret"), "{why}");
    }

    #[test]
    fn a_machine_that_has_its_identity_is_told_what_the_line_has_against_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cmdline");
        let (own, other) = (Guid::literal(1), Guid::literal(2));
        for (text, want) in [
            (format!("quiet coremax.identity=http://127.0.0.1:1/ coremax.cluster={own}"), None),
            (format!("coremax.cluster={other}"), Some(format!("coremax.cluster says {other}"))),
            ("coremax.cluster=x".to_owned(), Some("coremax.cluster names no".to_owned())),
        ] {
            fs::write(&path, &text).unwrap();
            let found = against(&read(&path), own).map(|reading| reading.document.unwrap_err());
            assert_eq!(found.is_some(), want.is_some(), "{text}");
            assert!(found.is_none_or(|why| why.starts_with(&want.unwrap())), "{text}");
        }
        fs::write(&path, "coremax.sede=1").unwrap();
        assert_eq!(
            unknown(&read(&path)),
            ["the kernel's command line has coremax.sede, which nobody knows"]
        );
        assert_eq!(read(folder.path()).problems.len(), 1, "a folder cannot be read");
    }
}
