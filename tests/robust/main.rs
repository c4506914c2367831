//! What goes wrong around a build, as its user meets it: each fault ends in a message that says what and
//! where, with a hint, and the next build goes on.
//!
//! The mirror is a stand-in (`coremax_tests::mirror`) whose packages are empty, so that a build on it fetches,
//! makes its tools tree and ends. `COREMAX_FULL=1` adds the guests that hang late.

mod disk;
mod hang;
mod host;
mod mirrors;
mod stage;

use std::process::ExitCode;

use coremax_tests::{Sentence, skip_all, tell};

use stage::Stage;

const STORY: &[Sentence<Stage>] = &[
    ("a sound mirror is planned from", mirrors::sound),
    ("a tampered Release is refused", mirrors::tampered),
    ("a Release signed by another key is refused", mirrors::other_key),
    ("an expired Release is refused", mirrors::expired),
    ("a Release older than one seen before is refused", mirrors::older),
    ("an index that is not the signed one is refused", mirrors::other_index),
    ("a package with a flipped byte is refused, and the next build fetches it", mirrors::flipped),
    ("a transfer that is cut is resumed", mirrors::cut),
    ("a mirror that cuts every transfer is given up", mirrors::cut_for_good),
    ("a package that the mirror lacks is named", mirrors::lacking),
    ("a transfer that stalls is resumed", mirrors::stalled),
    ("a mirror that stalls for good is given up", mirrors::silent),
    ("a mirror that is gone is named", mirrors::gone),
    ("apt's malformed files stop only what needs them", mirrors::malformed_apt),
    ("a truncated index and Release in the cache are fetched again", disk::truncated_index),
    ("a truncated package in the cache is fetched again", disk::truncated_package),
    ("a truncated record of a step makes the step again", disk::truncated_record),
    ("a file cut in what a step has made makes the step again", disk::truncated_output),
    ("a disk with too little room is refused before anything starts", disk::too_small),
    (
        "a disk with room for some of it is refused before anything starts",
        disk::nearly_large_enough,
    ),
    ("a disk that fills up while fetching loses nothing", disk::full_while_fetching),
    ("a disk that fills up while unpacking loses nothing", disk::full_while_unpacking),
    ("a read-only cache serves what it has", disk::read_only_serves),
    ("a read-only cache says what it cannot take", disk::read_only_says),
    ("cleaning leaves a running build what it uses", disk::clean_spares),
    ("a full disk can be cleaned", disk::full_is_cleaned),
    ("without user namespaces the setting and its remedy are named", host::no_namespaces),
    ("a guest that hangs in init is named", hang::init),
    ("a guest that hangs in systemd is named", hang::systemd),
    ("a guest that hangs in the node stage is named", hang::node),
];

fn main() -> ExitCode {
    // What is mounted here, such as small disks, is seen by nobody else and goes with this process.
    if let Err(error) = coremax_sandbox::enter() {
        return skip_all(STORY, &error.to_string());
    }
    tell(STORY, &Stage::new())
}
