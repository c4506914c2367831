//! The node program: one static binary that an appliance carries.

mod authority;
mod boot_test;
mod clock;
mod cluster_status;
mod deploy;
mod download;
mod durable;
mod events;
mod gpt;
mod identity;
mod init;
mod join;
mod lock;
mod os_release;
mod own;
mod paths;
mod prepare;
mod random;
mod update;
mod verbs;

use std::process::ExitCode;

use anyhow::bail;
use coremax_node_api::reset::Reset;

use cluster_status::phases;

const USAGE: &str = "\
usage: coremax-node VERB

verbs:
  boot-test                 answer a tester over virtio-serial
  update FILE|URL           write an update to the other slot, to be tried at
                            the next boot
  status [--json]           say which versions are in the slots, and what boots
                            next
  status --watch            show how far this machine is on its way into its
                            cluster, as it changes
  console                   show the same on a console of its own; Enter there
                            logs in
  bless [--when-healthy]    keep the running version: it is healthy
  rollback                  go back to the other version at the next boot
  reset [--keep-identity]   clear the data at the next boot
  identify [--json]         say which cluster this machine was told to join, and
                            by what, and keep it
  join [FLAGS]              become a node of that cluster, and stay one: the
                            daemon of every machine
  network, discover, enrol, time, prepare, ready, formed
                            each returns once the join has come through that
                            phase, and says what came of it, and meanwhile what
                            it waits for; with --now it fails where it has not.
                            For units that need a name, a clock or a cluster:
                            coremax-node@ready.service and the like
  init                      boot the machine; what /init in an initrd does
  version                   print the version
";

fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let result = match &*all {
        // The kernel starts an initrd's program by this name, and gives it what it did not know.
        ["/init", arguments @ ..] => init::run(arguments),
        [_, arguments @ ..] => run(arguments),
        [] => run(&[]),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if let Some(hint) = verbs::hint(&error).or_else(|| identity::hint(&error)) {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> anyhow::Result<()> {
    match arguments {
        ["boot-test"] => boot_test::run(),
        ["init", arguments @ ..] => init::run(arguments),
        ["update", from] => verbs::update(from),
        ["status"] => verbs::status(false),
        ["status", "--json"] => verbs::status(true),
        ["status", "--watch"] => cluster_status::watch(),
        ["console"] => cluster_status::console::console(),
        ["identify"] => identity::identify(false),
        ["identify", "--json"] => identity::identify(true),
        ["join", "--help" | "-h"] => {
            print!("{}", join::USAGE);
            Ok(())
        }
        ["join", arguments @ ..] => join::join(arguments),
        ["bless"] => verbs::bless(),
        ["bless", "--when-healthy"] => verbs::bless_when_healthy(),
        ["rollback"] => verbs::roll_back(),
        ["reset"] => verbs::reset(Reset::All),
        ["reset", "--keep-identity"] => verbs::reset(Reset::KeepIdentity),
        ["version"] => {
            println!("coremax-node {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        [verb, flags @ ..] if let (Some(phase), [] | ["--now"]) = (phases::of(verb), flags) => {
            phases::through(phase, !flags.is_empty())
        }
        [] => bail!("no verb given\n{USAGE}"),
        [verb, ..] => bail!("no such verb or arguments: {verb}\n{USAGE}"),
    }
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn what_is_no_verb_is_refused() {
        for arguments in [
            &[][..],
            &["moon"],
            &["version", "2"],
            &["update"],
            &["reset", "all"],
            &["ready", "moon"],
            &["ready", "--now", "--now"],
        ] {
            assert!(run(arguments).is_err(), "{arguments:?}");
        }
    }
}
