//! What an operator asks over the network, and a newer roster, whichever way it comes.
//!
//! The roster's file is where the seed's roster is: one that comes by the channel is written there too, once it is in. So the
//! file is never older than what holds, but for a cut between the two, and that is mended at the start.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use coremax_node_api::{
    join::seed,
    wire::{self, Ask, Refused, Response, SignedApproval, Told},
};

use super::Daemon;
use crate::{
    durable,
    events::{Event, tell},
};

impl Daemon {
    /// Hears whoever is at this seat.
    pub(super) fn hear_seat(&mut self, id: u64) -> Result<()> {
        for request in self.driver.hear_seat(id)? {
            let Ok(request) = wire::decode_request(&request) else {
                self.driver.seats.iter_mut().for_each(|seats| seats.close(id));
                break;
            };
            let response = Response { told: self.tell_operator(request.ask)? };
            let response = wire::encode_response(&response).context("writing a response")?;
            self.driver.seats.iter_mut().for_each(|seats| seats.send(id, &response));
        }
        Ok(())
    }

    fn tell_operator(&mut self, ask: Ask) -> Result<Told> {
        match ask {
            Ask::Status => Ok(Told::Status(Box::new(self.status()))),
            Ask::Roster(roster) => self.put_in(&roster.0),
            Ask::Approve(approval) => self.approve(approval),
        }
    }

    /// Takes a roster in that came by the channel.
    fn put_in(&mut self, roster: &Arc<[u8]>) -> Result<Told> {
        let is_in = self.driver.seed.as_ref().is_some_and(|seed| seed.saved().roster == *roster);
        let taken = if is_in { Ok(()) } else { self.take_newer(roster) };
        let told = told(taken)?;
        if told == Told::Done && !is_in {
            self.write_roster();
        }
        Ok(told)
    }

    /// Takes a roster in that is not the one that holds.
    pub(super) fn take_newer(&mut self, roster: &Arc<[u8]>) -> Result<()> {
        let taken = self.driver.step_seed(seed::Input::Roster(Arc::clone(roster)), None);
        if self.is_starting && is_older(&taken) {
            self.write_roster();
            return Ok(());
        }
        taken?;
        tell(Event::RosterPutIn, "took in a newer roster", &[]);
        Ok(())
    }

    /// Puts the roster that holds into its file. The seed has it in any case.
    fn write_roster(&mut self) {
        let Some(seed) = &self.driver.seed else { return };
        let path = &self.roster.path;
        if let Err(error) = durable::replace(path, &seed.saved().roster, 0o644) {
            eprintln!("the roster that holds cannot be written to {}: {error}", path.display());
        }
    }

    fn approve(&mut self, approval: SignedApproval) -> Result<Told> {
        let Some(seed) = &self.driver.seed else { return Ok(refused("this is no seed", None)) };
        let (cluster, edition) = (self.document.cluster, seed.edition());
        let approval = match approval.open(&self.operators, cluster, edition) {
            Ok(approval) => approval,
            Err(error) => return Ok(refused(&error.to_string(), Some(error.hint()))),
        };
        let input = seed::Input::Approve(approval.node, approval.name.clone());
        let told = told(self.driver.step_seed(input, None))?;
        if told == Told::Done {
            eprintln!("the operator gave {} to {}", approval.name, approval.node);
        }
        Ok(told)
    }
}

/// What became of it; an error that is none of the operator's ends the program.
fn told(taken: Result<()>) -> Result<Told> {
    match taken {
        Ok(()) => Ok(Told::Done),
        Err(error) => match error.downcast_ref::<seed::Error>() {
            Some(why) => Ok(refused(&format!("{error:#}"), why.hint())),
            None => Err(error),
        },
    }
}

fn refused(why: &str, hint: Option<&str>) -> Told {
    Told::Refused(Refused { why: why.to_owned(), hint: hint.map(str::to_owned) })
}

fn is_older(taken: &Result<()>) -> bool {
    let why = taken.as_ref().err().and_then(|error| error.downcast_ref::<seed::Error>());
    matches!(why, Some(seed::Error::Older { theirs, ours }) if theirs < ours)
}
