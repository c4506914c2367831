//! The node program: one static binary that an appliance carries.
//!
//! Verbs that are still to come take their place here, each in a module of its own: `init` (early
//! boot), `identity`, `join`, `update`, `status`.

mod boot_test;

use std::process::ExitCode;

use anyhow::bail;

const USAGE: &str = "\
usage: coremax-node VERB

verbs:
  boot-test   answer a tester over virtio-serial
  version     print the version
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
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
