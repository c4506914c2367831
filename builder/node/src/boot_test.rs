//! `boot-test`: the guest's side of a boot test (see [`coremax_node_api::boot_test`]).
//!
//! Greets the tester as early as it can, so that what stalls later has a name; waits until systemd
//! has finished booting; looks at what the tester expects; answers.

mod checks;
mod facts;
mod packages;
mod ports;
pub(crate) mod systemd;
mod wire;

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use coremax_node_api::boot_test::{
    Answer, Check, Expect, FromGuest, Hello, PORT, PROTOCOL, Request, ToGuest,
};

use self::{packages::Packages, wire::Wire};

/// How long something that is only late may take to become right once booting is over, such as
/// a port that a service opens after it said it was ready.
const SETTLE: Duration = Duration::from_secs(20);
/// How often a late thing is looked at again.
const SETTLE_STEP: Duration = Duration::from_millis(500);

/// Serves one tester until it hangs up or powers the machine off.
pub(crate) fn run() -> Result<()> {
    let mut wire = Wire::open(format!("/dev/virtio-ports/{PORT}").as_ref())?;
    wire.say(&hello())?;
    while let Some(message) = wire.hear()? {
        match message {
            Ok(ToGuest::Request(request)) if request.protocol == PROTOCOL => {
                systemd::wait_until_booted(|jobs| wire.say(&FromGuest::Waiting { jobs }))?;
                wire.say(&answer(&request).unwrap_or_else(|error| refusal(&error)))?;
            }
            Ok(ToGuest::Request(request)) => wire.say(&refusal(&other_protocol(&request)))?,
            Ok(ToGuest::PowerOff {}) => return systemd::power_off(),
            Err(error) => wire.say(&refusal(&error))?,
        }
    }
    Ok(())
}

fn hello() -> FromGuest {
    FromGuest::Hello(Hello {
        protocol: PROTOCOL,
        node_version: env!("CARGO_PKG_VERSION").to_owned(),
        stage: systemd::state().unwrap_or_else(|_| "unknown".to_owned()),
    })
}

fn refusal(error: &anyhow::Error) -> FromGuest {
    FromGuest::Refused { reason: format!("{error:#}") }
}

fn other_protocol(request: &Request) -> anyhow::Error {
    anyhow!("this node speaks protocol {PROTOCOL}, the request is of {}", request.protocol)
}

fn answer(request: &Request) -> Result<FromGuest> {
    let installed = Packages::load()?;
    let checks = settled(&request.expect, &installed)?;
    let facts = facts::gather(installed.len());
    Ok(FromGuest::Answer(Box::new(Answer { nonce: request.nonce.to_string(), checks, facts })))
}

/// The checks, made again while some do not hold and there is time left.
fn settled(expect: &Expect, installed: &Packages) -> Result<Vec<Check>> {
    let until = Instant::now() + SETTLE;
    loop {
        let checks = checks::make(expect, installed)?;
        let late = checks.iter().any(|check| !check.ok && checks::may_still_come(check.kind));
        if !late || Instant::now() >= until {
            return Ok(checks);
        }
        std::thread::sleep(SETTLE_STEP);
    }
}
