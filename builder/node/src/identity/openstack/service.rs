//! OpenStack's metadata service: plain HTTP at an address of the link. Whoever answers there is believed because the cloud
//! keeps that address to itself, and nowhere else: a machine whose firmware is not OpenStack's never asks.

use std::{fs, io::ErrorKind, path::Path};

use coremax_node_api::identity::{Place, Reading, openstack::is_openstack};

use super::{super::server::Server, told};

/// Nova's guide, "Metadata service".
const SERVICE: &str = "http://169.254.169.254";
const DMI: &str = "/sys/class/dmi/id";
/// What the service has for this machine; nothing where it is no server of OpenStack's, where nobody answers, which may be
/// otherwise once the network is up, or where it has nothing of ours.
pub(crate) fn reading() -> Option<Reading> {
    is_one(Path::new(DMI)).then(|| at(SERVICE))?
}

fn is_one(dmi: &Path) -> bool {
    let text = |name: &str| fs::read_to_string(dmi.join(name)).unwrap_or_default();
    is_openstack(&text("product_name"), &text("chassis_asset_tag"))
}

fn at(service: &str) -> Option<Reading> {
    let told = Server::new(false).and_then(|server| {
        told(&mut |name, most| match server.get(&format!("{service}/{name}"), most) {
            Err(error) if error.kind() == ErrorKind::NotConnected => {
                Err(ErrorKind::NotFound.into())
            }
            read => read,
        })
    });
    match told {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            let document = Err(error.to_string());
            Some(Reading { place: Place::Metadata, at: service.to_owned(), document })
        }
        Ok(bytes) => Some(Reading::of(Place::Metadata, service, &bytes)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        net::TcpListener,
        sync::{Arc, Mutex},
        thread,
    };

    use coremax_node_api::identity::openstack::{META_DATA, USER_DATA};

    use super::{
        super::tests::{document, meta_data},
        *,
    };

    /// A service that has these files and answers nothing else. Where it is, and what it was asked for.
    pub(crate) fn service(files: Vec<(&'static str, String)>) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
                let path = head[0].split(' ').nth(1).unwrap().to_owned();
                let file = files.iter().find(|(name, _)| path == format!("/{name}"));
                let gone =
                    "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let answer = file.map_or(gone, |(_, answer)| answer);
                heard.lock().unwrap().push(path);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        (url, asked)
    }

    pub(crate) fn ok(body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
    }

    #[test]
    fn what_the_service_may_answer() {
        let (elsewhere, asked_elsewhere) = service(vec![(USER_DATA, ok(&document()))]);
        let moved = format!(
            "HTTP/1.1 302 Found\r\nlocation: {elsewhere}/{USER_DATA}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        let chunks = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
            document().len(),
            document()
        );
        let busy = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned();
        let cut = "HTTP/1.1 200 OK\r\ncontent-length: 900\r\nconnection: close\r\n\r\n{".to_owned();
        let endless = "HTTP/1.1 200 OK\r\n\r\n".to_owned() + &" ".repeat(3 << 20);
        for (files, want) in [
            (vec![], None),
            (vec![(META_DATA, ok("{}")), (USER_DATA, ok("#!/bin/sh\n"))], None),
            (vec![(META_DATA, ok(&meta_data(&document())))], Some("")),
            (vec![(META_DATA, ok("{}")), (USER_DATA, ok(&document()))], Some("")),
            (vec![(USER_DATA, chunks)], Some("")),
            (vec![(USER_DATA, ok(&document()[..100]))], Some("it is no identity: line 1")),
            (vec![(USER_DATA, moved)], Some("user_data is answered with status 302")),
            (vec![(META_DATA, busy)], Some("meta_data.json is answered with status 503")),
            (vec![(USER_DATA, cut)], Some("user_data: ")),
            (vec![(META_DATA, endless)], Some("meta_data.json is longer than 1048576 bytes")),
        ] {
            let (url, _) = service(files);
            let found = at(&url);
            let said = found.map(|reading| {
                assert_eq!((reading.place, &reading.at), (Place::Metadata, &url));
                reading.document.err().unwrap_or_default()
            });
            match (&said, want) {
                (None, None) => {}
                (Some(said), Some("")) => assert_eq!(said, ""),
                (Some(said), Some(want)) => assert!(said.contains(want), "{said}, not {want}"),
                _ => panic!("{said:?}, not {want:?}"),
            }
        }
        assert_eq!(*asked_elsewhere.lock().unwrap(), [""; 0], "it went where it was sent");
    }

    #[test]
    fn where_nobody_answers_there_is_nothing_yet() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        assert_eq!(at(&url), None);
    }

    #[test]
    fn firmware_that_is_not_openstack_s_is_not_asked_for() {
        let dmi = tempfile::tempdir().unwrap();
        assert!(!is_one(dmi.path()));
        fs::write(dmi.path().join("product_name"), "PowerEdge R640\n").unwrap();
        assert!(!is_one(dmi.path()));
        fs::write(dmi.path().join("product_name"), "OpenStack Nova\n").unwrap();
        assert!(is_one(dmi.path()));
    }
}
