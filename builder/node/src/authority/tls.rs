//! Mutual TLS by these certificates: rustls, which the node program speaks, with OpenSSL.

use std::{
    fs::{self, File},
    io::Read as _,
    net::Ipv4Addr,
    path::Path,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use coremax_node_api::{enrol::Secret, join::NodeKey};
use coremax_sandbox::{Child, Cmd, Sandbox};
use ureq::{
    Agent,
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig},
};

use super::Authority;
use crate::{own::Own, prepare::tests::roster};

#[test]
fn two_nodes_speak_tls_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, node) = (made(folder.path(), [127, 0, 0, 1]), tempfile::tempdir().unwrap());
    let stranger = made(node.path(), [127, 0, 0, 1]);
    let Some((port, mut server)) = server(folder.path()) else { return };
    let own = Some(identity(folder.path()));
    let foreign = Some(identity(node.path()));
    for (trusts, shows, at, want) in [
        (&ca, &own, "127.0.0.1", true),
        (&stranger, &own, "127.0.0.1", false), // another cluster's authority
        (&ca, &None, "127.0.0.1", false),
        (&ca, &foreign, "127.0.0.1", false),
        (&ca, &own, "localhost", false), // a name that the certificate does not have
    ] {
        let said = ask(&format!("https://{at}:{port}/pong"), trusts, shows.as_ref());
        assert_eq!(said.as_deref().is_ok_and(|text| text == "pong"), want, "{at}: {said:?}");
    }
    server.kill().unwrap();
}

/// Makes a node of this address with its authority in a folder; that authority in PEM.
fn made(folder: &Path, address: impl Into<Ipv4Addr>) -> Vec<u8> {
    let (node, mut row) = (NodeKey([1; 32]), roster().nodes[0].clone());
    row.address = address.into();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let host = Secret::from_seed(&[2; 32]).public().to_ssh();
    fs::write(folder.join("host.pub"), host).unwrap();
    let own =
        Own::at(&folder.join("node.key"), &folder.join("host.pub"), &folder.join("gift")).unwrap();
    let authority = Authority::at(&folder.join("authority"), roster().cluster).unwrap();
    let request = own.request(roster().cluster, node, None);
    let now = i64::try_from(now.as_millis()).unwrap();
    let gift = authority.gift(&row, node, &request, now).unwrap().unwrap();
    fs::write(folder.join("ca.pem"), gift.ca.to_pem()).unwrap();
    fs::write(folder.join("node.pem"), gift.certificate.to_pem()).unwrap();
    fs::write(folder.join("pong"), "pong").unwrap();
    gift.ca.to_pem().into_bytes()
}

/// OpenSSL's own server, as that node; it wants a certificate of the same authority.
fn server(folder: &Path) -> Option<(String, Child)> {
    let arguments = "s_server -accept 127.0.0.1:0 -cert node.pem -key node.key -CAfile ca.pem -Verify 1 \
                     -verify_return_error -WWW";
    let out = folder.join("out");
    let openssl = Cmd::new("openssl", &Sandbox::host()).current_dir(folder);
    let openssl = openssl.args(arguments.split_whitespace());
    let spawned = openssl.stdout_file(File::create(&out).unwrap()).spawn();
    let mut server = match spawned {
        Ok(server) => server,
        Err(error) => {
            coremax_skip::skip(format_args!("{error} (install openssl)"));
            return None;
        }
    };
    loop {
        let said = fs::read_to_string(&out).unwrap();
        if let Some((_, line)) = said.split_once("ACCEPT 127.0.0.1:")
            && let Some((port, _)) = line.split_once('\n')
        {
            return Some((port.to_owned(), server));
        }
        assert!(server.try_wait().unwrap().is_none(), "{said}");
        thread::yield_now();
    }
}

fn identity(folder: &Path) -> ClientCert {
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let certificate = Certificate::from_pem(&read("node.pem")).unwrap();
    ClientCert::new_with_certs(&[certificate], PrivateKey::from_pem(&read("node.key")).unwrap())
}

fn ask(url: &str, trusts: &[u8], shows: Option<&ClientCert>) -> Result<String, ureq::Error> {
    let root = Certificate::from_pem(trusts)?;
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root]));
    let tls = tls.client_cert(shows.cloned()).build();
    let agent = Agent::new_with_config(Agent::config_builder().tls_config(tls).build());
    let mut text = String::new();
    agent.get(url).call()?.body_mut().as_reader().read_to_string(&mut text)?;
    Ok(text)
}
