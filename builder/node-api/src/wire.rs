//! What goes over the network at a join: this page is the whole of it, for whoever writes another end.
//!
//! Numbers are big-endian. Three things travel: a beacon and a probe, by UDP, in clear; and a connection, TCP, that a node
//! opens to a seed. All on port [`PORT`] unless told otherwise. Whatever is longer, shorter or other than it stands here is
//! refused, and the connection closed.
//!
//! # Versions
//! There is one number, [`VERSION`]. It is raised with every change of anything on this page that a release has had, and there is no
//! negotiation: ends of different versions do not talk. The first ten bytes of a beacon, a probe, a hello and a reply, and the
//! reply's word [`Word::OtherVersion`], stand where they stand in all versions, so that each end can name both
//! ([`Error::OtherVersion`]).
//!
//! # The beacon
//! One datagram to [`GROUP`] and one to [`GROUP_6`], TTL and hop limit 1, on every interface: [`Beacon`](crate::join::Beacon). It decides nothing: anybody
//! can send one. Who receives tries the address that it comes from, at the port that it names.
//!
//! ```text
//! offset  bytes
//! 0       8      magic, `coremaxB`
//! 8       2      version
//! 10      32     the cluster: SHA-256 of `coremax cluster`, a NUL, and the 16 bytes of its UUID
//! 42      8      the epoch of the seed's roster, for people
//! 50      2      TCP port of the seed, not 0
//! ```
//! 52 bytes, no more and no less; a receiver reads [`BEACON_MAX`] at most.
//!
//! # The probe
//! One datagram, from the address of a row, at the port, to the address of another row, at the same port: [`Probe`]. The IP
//! packet has as many bytes as the roster's MTU and no options, and may not be fragmented (DF). A node that has a row sends
//! one to each other row every few seconds, a few a second, until it is formed. Whoever has one from the address of another
//! row of its own roster, with its own cluster and as long as its own roster says, answers to where it came from; to nobody
//! else, and with no more bytes. An answer counts if it comes from the row that was asked, with the nonce that it was asked
//! with and has not answered yet: packets of that length then pass in both directions.
//!
//! Nobody proves anything by it. Who can read and write on the wire between two nodes can keep them apart, or have them
//! taken for together; a cluster then waits, or is deployed over a network that does not carry it. It decides nothing else.
//!
//! ```text
//! 0       8      magic, `coremaxP`
//! 8       2      version
//! 10      32     the cluster, as in a beacon
//! 42      1      0 asks, 1 answers
//! 43      8      nonce: random, the same again until it is answered, and the same in the answer
//! 51      ...    zeros, so that there are 28 bytes less than the MTU
//! ```
//! Between 1252 and 9188 bytes: [`MTU`](crate::roster::MTU).
//!
//! # The connection
//! A node opens it, or an operator who has the file of a medium (`coremax cluster status`): to a seed both are whoever has
//! the cluster's key. An operator's static key is made for one connection.
//!
//! ```text
//! node -> seed    hello, frame of Noise message 1
//! seed -> node    reply, frame of Noise message 2        or a reply that says why not, and the end
//! node -> seed    frame of Noise message 3
//! node -> seed    report                                  as often as it likes,
//! seed -> node    answer                                  one to each report, in their order
//! ```
//! In place of reports an operator says requests, and hears a response to each, in their order. One connection carries one of
//! both: the first part of its first message says which. A seed keeps four connections of operators at a time, the oldest
//! giving way: they may be long, and nodes' are not.
//!
//! The hello, 50 bytes, in clear:
//! ```text
//! 0       8      magic, `coremaxH`
//! 8       2      version
//! 10      32     the cluster, as in a beacon
//! 42      8      id of the key that the node has
//! ```
//! The reply, 11 bytes, in clear. Any word but 0 is a hint for people: nobody proved anything by it, and nobody acts on it.
//! ```text
//! 0       8      magic, `coremaxR`
//! 8       2      version
//! 10      1      a word: 0 go on, 1 other version, 2 other cluster, 3 unknown key id, 4 bad key
//! ```
//! A frame is a length of 2 bytes, 1 to [`FRAME_MAX`], and as many bytes.
//!
//! ## The handshake
//! [`PATTERN`] (<https://noiseprotocol.org/noise.html>, revision 34), the node is the initiator. The psk is the key of that
//! id, 32 bytes. The prologue is the 50 bytes of the hello and the 16 bytes of the cluster's UUID. Payloads are empty, so
//! that the messages have [`HANDSHAKE`] bytes. Static keys are X25519; the public one is the node's name in all that
//! follows ([`NodeKey`](crate::join::NodeKey)).
//!
//! An id may name a key of one machine, which the seed makes of the cluster's key: its first four bytes are random, the others
//! those that HMAC-SHA256 begins with, by the cluster's key, of `coremax machine's key`, a NUL, `id`, a NUL, the four bytes and
//! four zeros; the key is the HMAC of `coremax machine's key`, a NUL, `key`, a NUL, and the id.
//!
//! The epoch is not in the prologue. Both ends would have to have the same one before they can talk, and the handshake is
//! what a node gets its roster by: a new node has none, and one that was off has an old one. It stands in every report and
//! answer instead, with the roster's digest, and a roster counts by its signature, whoever brings it.
//!
//! ## Messages
//! A report is at most [`REPORT_MAX`] bytes, an answer [`ANSWER_MAX`], a request [`REQUEST_MAX`], a response [`RESPONSE_MAX`]. It is
//! cut into parts of at most [`PART_MAX`] bytes, none empty. Each is one Noise transport message in a frame, whose payload is one
//! byte, 0 for the last part and 1 for all before, or with an operator 2 and 3, and the part. The whole is JSON (RFC 8259) in UTF-8, one object and nothing behind it. Integers are exact to 64 bits. What may be
//! missing may also be `null`; a field that does not stand here, or stands twice, is refused.
//!
//! A report:
//! ```json
//! {"number": 7,                                  // 0 to 2^64 - 1; the answer's is the same
//!  "hardware": {"macs": ["52:54:00:00:00:01"],   // permanent ones, MACS_MAX at most
//!               "serial": "A1",                  // may be missing; SERIAL_MAX bytes at most
//!               "uuid": "4c4c4544-...",          // may be missing
//!               "endorsement": "64 hex digits"}, // may be missing: SHA-256 of the TPM's endorsement key
//!  "held": {"name": "control-1",                 // may be missing: the row that the node has. A host name's label
//!           "generation": 0},                    // 0 to 2^32 - 1
//!  "edition": {"epoch": 1,                       // of its roster, 0 for none
//!              "digest": "64 hex digits"},
//!  "phase": "networked",                         // or blank, identified, discovered, enrolled, timesynced, prepared,
//!                                                // ready, deploying, formed
//!  "wall": 1790000000000,                        // its clock, milliseconds since 1970, -2^63 to 2^63 - 1
//!  "lacks": ["disk"],                            // what keeps it from being ready; or address, registry, image
//!  "unreached": [1, 4],                          // said while it is ready, else none: the rows of its roster, by their
//!                                                // numbers from 0, that it does not reach; NODES_MAX at most
//!  "promise": {"cluster": "3f0c9d7e-...",        // may be missing: a formation
//!              "edition": {"epoch": 1, "digest": "64 hex digits"},
//!              "generation": 0,
//!              "seed": "64 hex digits"},         // the static key of the machine that forms it
//!  "build": {"image": "2026.11.22",              // may be missing, as may all of it: the version of its image
//!            "disks": [{"path": "/dev/disk/by-path/...",   // may be missing: DISKS_MAX at most; PATH_MAX bytes at most
//!                       "bytes": 480103981056}]},
//!  "enrol": {"tls": "64 hex digits",             // may be missing: the keys that it asks certificates for, Ed25519
//!            "ssh": "64 hex digits",
//!            "proof": "128 hex digits",          // see `enrol`
//!            "holds": {"authority": "64 hex digits", "valid": {"from": 0, "until": 0}}}} // may be missing
//! ```
//! An answer:
//! ```json
//! {"number": 7, "verdict": "pending"}
//! {"number": 7, "verdict": {"refused": "window-closed"}} // or bad-key, unknown-hardware, duplicate-hardware, revoked,
//!                                                        // other-name, old-roster, other-roster, two-rows
//! {"number": 7, "verdict": {"member": {
//!     "held": {"name": "control-1", "generation": 0},
//!     "edition": {"epoch": 1, "digest": "64 hex digits"},  // of the seed's roster
//!     "roster": "base64",                                  // may be missing: that roster, signed; ROSTER_MAX bytes at most
//!     "wall": 1790000000000,
//!     "stage": "gathering"}},                              // or {"forming": a formation}, deploying, formed
//!  "gift": {"ca": "base64", "certificate": "base64",       // may be missing; DER, DER_MAX bytes at most each
//!           "ssh_hosts": "64 hex digits", "ssh_users": "64 hex digits",
//!           "ssh_certificate": "ssh-ed25519-cert-v01@openssh.com ...",  // SSH_MAX bytes at most
//!           "valid": {"from": 0, "until": 0}}}             // milliseconds since 1970
//! ```
//! A request. Anybody with the cluster's key may say one; what changes anything counts by the operator's signature.
//! ```json
//! {"ask": "status"}
//! {"ask": {"roster": "base64"}}                            // a signed roster, ROSTER_MAX bytes at most
//! {"ask": {"approve": {
//!     "approval": {"cluster": "3f0c9d7e-...",
//!                  "edition": {"epoch": 1, "digest": "64 hex digits"},  // of the seed's roster, which it says in its status
//!                  "node": "64 hex digits",                // the static key of the machine that waits
//!                  "name": "worker-1"},                    // its row, which is no controller's
//!     "signature": "128 hex digits"}}}                     // Ed25519, by a key that signs rosters: see below
//! ```
//! A response:
//! ```json
//! {"told": {"status": {"format": 1}}}                      // with all that `cluster_status` has beside: a ClusterStatus
//! {"told": "done"}                                         // and on the seed's disk
//! {"told": {"refused": {"why": "the roster is of ...",     // nothing was done; for people
//!                       "hint": "raise the epoch ..."}}}   // may be missing
//! ```
//! A status follows the version rule of [`cluster_status`](crate::cluster_status): of it alone a field that is not known is
//! passed over. What an approval's signature is of: `coremax approval`, a NUL, the 16 bytes of the cluster's UUID, the epoch, the
//! 32 bytes of the digest and of the node's key, and the name. It holds while that roster does, and says the same each time that
//! it is said.

//!
//! # TLS
//! A node that has certificates which hold, and the seed's time (phase `timesynced` or a later one), opens its connection in TLS
//! 1.3 (RFC 8446) instead: no hello, no reply, no Noise. A seed tells by the first byte, [`TLS_RECORD`] or the `c` of a hello's
//! magic. Operators have no certificates and stay with Noise.
//!
//! ```text
//! client         the node; both ends show a certificate, and prove its key
//! ALPN           "coremax/1", ALPN: the version of this page, RFC 7301. Without it the connection is closed
//! SNI            none
//! suites         TLS_CHACHA20_POLY1305_SHA256, TLS_AES_256_GCM_SHA384; X25519; Ed25519
//! tickets        none: no resumption, no early data
//! inside         frames of a length of 2 bytes, 2 to 16368, and as many bytes: a part with its mark (0 or 1) before it, as in a
//!                Noise message's payload; reports and answers as above
//! ```
//! A certificate is by the gift's `ca`, is for both ends of TLS, holds by the clock of who looks at it, and has in its
//! subjectAltName these three and nothing else:
//! ```text
//! dNSName        the name of the row
//! iPAddress      the address of the row, 4 bytes
//! URI            "urn:coremax:node:" and 64 hex digits: the static key that the machine has in Noise, by which both ends know it
//! ```
//! A seed hears a machine whose row, by that key, has exactly that name and that address; of one that was replaced it says
//! `revoked`. All others it closes before it hears what they say. A node takes for its seed who has the name and the address of the
//! roster's `seed` row. Before the other end has proven that it is closed once more than 8 KiB of it were taken.
//!
//! Where somebody took a connection in TLS, and it ends before its first answer, the node says the same report by Noise at once,
//! and for a minute all others: to a seed that was rebuilt, or has no certificate of its own yet. Certificates are given by Noise
//! alone: a node whose own end in ten days, or that has none, opens no TLS, and a seed reads no `enrol` there. A node that is given
//! certificates opens TLS with its next report, and gives up the connection that it had.

mod beacon;
mod hello;
mod message;
mod operator;
mod probe;

pub use beacon::{decode_beacon, encode_beacon};
pub use hello::{HELLO, Hello, REPLY, Reply, Word, prologue};
pub use message::{
    Message, Parts, decode_answer, decode_report, decode_request, decode_response, encode_answer,
    encode_report, encode_request, encode_response,
};
pub use operator::{
    Approval, Ask, NotApproved, Refused, Request, Response, SignedApproval, SignedRoster, Told,
};
pub use probe::{Probe, decode_probe, encode_probe};

use crate::{cluster_status, roster::signed};

/// The version of all that stands on this page.
pub const VERSION: u16 = 1;
/// Where seeds listen (TCP), and beacons go (UDP).
pub const PORT: u16 = 7433;
/// Where beacons go: a group of the local scope, RFC 2365.
pub const GROUP: std::net::Ipv4Addr = std::net::Ipv4Addr::new(239, 255, 67, 77);
/// The same by IPv6: link-local, and not assigned by anybody, RFC 4291, 2.7.
pub const GROUP_6: std::net::Ipv6Addr =
    std::net::Ipv6Addr::new(0xff12, 0, 0, 0, 0x63, 0x6f72, 0x656d, 0x6178);
/// The handshake.
pub const PATTERN: &str = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s";
/// The lengths of its three messages.
pub const HANDSHAKE: [usize; 3] = [48, 96, 64];
/// Bytes of a datagram that may be a beacon, at most. Set by the protocol.
pub const BEACON_MAX: usize = 500;
/// Bytes in a frame, at most. Set by the protocol: Noise allows 65535, and who waits for them has to keep them.
pub const FRAME_MAX: usize = 16 << 10;
/// The first byte of a TLS record that begins a connection, RFC 8446, 5.1: no hello begins with it.
pub const TLS_RECORD: u8 = 0x16;
/// What is spoken inside of TLS, RFC 7301: `coremax/` and [`VERSION`].
pub const ALPN: &[u8] = b"coremax/1";
/// Bytes that Noise adds to a payload.
pub const TAG: usize = 16;
/// Bytes of a part of a message, at most.
pub const PART_MAX: usize = FRAME_MAX - TAG - 1;
/// Bytes of a report, at most. Set by the protocol: with all its MACs, keys, rows and disks it has 19400.
pub const REPORT_MAX: usize = 20 << 10;
/// Bytes of a signed roster, at most: its format's.
pub const ROSTER_MAX: usize = signed::LENGTH_MAX + signed::AROUND;
/// Bytes of an answer, at most. Set by the protocol: a roster in base64, and 9 KiB for the rest, of which the longest gift
/// takes 8.
pub const ANSWER_MAX: usize = ROSTER_MAX.div_ceil(3) * 4 + (9 << 10);
/// Bytes of a request, at most. Set by the protocol: a roster in base64, and what is around it.
pub const REQUEST_MAX: usize = ROSTER_MAX.div_ceil(3) * 4 + 64;
/// Bytes of a response, at most. Set by the protocol: a status, and what is around it.
pub const RESPONSE_MAX: usize = cluster_status::LENGTH_MAX + 64;
/// MACs of a machine, at most. Set by the protocol: a card with virtual functions has 64 or 128.
pub const MACS_MAX: usize = 256;
/// Bytes of a serial number, at most. Set by the protocol.
pub const SERIAL_MAX: usize = 128;

/// Disks of a machine, at most. Set by the protocol: a shelf has 60 or fewer.
pub const DISKS_MAX: usize = 64;
/// Bytes of the path of one of them, at most. Set by the protocol.
pub const PATH_MAX: usize = 128;

/// Where the version stands in a beacon, a probe, a hello and a reply, of every version.
const HEAD: usize = 10;

/// Foreign bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// They begin otherwise than what they should be.
    #[error("this is no {what} of the join")]
    NotOurs {
        /// What they should be.
        what: &'static str,
    },
    /// They are of another version.
    #[error(
        "the {what} is of version {theirs} of the protocol, and this program speaks version {VERSION}"
    )]
    OtherVersion {
        /// What they are.
        what: &'static str,
        /// Their version.
        theirs: u16,
    },
    /// They are too many or too few.
    #[error("a {what} has {length} bytes, where {allowed} are allowed")]
    Length {
        /// What they should be.
        what: &'static str,
        /// How many there are, or are to come.
        length: usize,
        /// How many there may be.
        allowed: usize,
    },
    /// A number stands for nothing.
    #[error("the {what} says {value}, which means nothing")]
    Value {
        /// What holds it.
        what: &'static str,
        /// The number.
        value: u64,
    },
    /// There are too many of something.
    #[error("the {what} has {count} {of}, where {allowed} are allowed")]
    Many {
        /// What holds them.
        what: &'static str,
        /// What they are.
        of: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        allowed: usize,
    },
    /// It is not the JSON that it should be. Never a part of its text.
    #[error("the {what} is none: byte {column}")]
    Json {
        /// What it should be.
        what: &'static str,
        /// Where it stops being one, from 1.
        column: usize,
    },
}

/// Checks the first bytes, as soon as there are enough of them.
fn head(bytes: &[u8], magic: [u8; 8], what: &'static str) -> Result<(), Error> {
    let seen = bytes.len().min(magic.len());
    if bytes[..seen] != magic[..seen] {
        return Err(Error::NotOurs { what });
    }
    match bytes.get(8..HEAD) {
        Some(version) if *version != VERSION.to_be_bytes() => {
            let theirs = u16::from_be_bytes([version[0], version[1]]);
            Err(Error::OtherVersion { what, theirs })
        }
        _ => Ok(()),
    }
}

/// `N` bytes from `at` on, of bytes that are known to be there.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[cfg(test)]
mod tests;
