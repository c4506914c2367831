//! The node program: one static binary that an appliance carries.
//!
//! Verbs that are still to come take their place here, each in a module of its own: `identity`,
//! `join`, `update`, `status`.

mod boot_test;
mod gpt;
mod init;

use std::process::ExitCode;

use anyhow::bail;

const USAGE: &str = "\
usage: coremax-node VERB

verbs:
  boot-test   answer a tester over virtio-serial
  init        boot the machine; what /init in an initrd does
  version     print the version
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
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> anyhow::Result<()> {
    match arguments {
        ["boot-test"] => boot_test::run(),
        ["init", arguments @ ..] => init::run(arguments),
        ["version"] => {
            println!("coremax-node {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
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
        for arguments in [&[][..], &["moon"], &["version", "2"]] {
            assert!(run(arguments).is_err(), "{arguments:?}");
        }
    }
}
