//! The talk between tester and machine, from power-on to power-off.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Instant,
};

use coremax_node_api::boot_test::{
    Answer, Check, FromGuest, Hello, Kind, PROTOCOL, Request, ToGuest,
};
use qapi::qmp::{Event, ShutdownCause};

use super::BootEvent;
use crate::{Deadlines, Fault, Machine, Signal, StageTime, Watcher, wires::Input};

pub(super) struct Exchange<'a> {
    machine: &'a Machine,
    inputs: &'a Receiver<Input>,
    request: &'a Request,
    deadlines: Deadlines,
    watcher: Watcher,
    began: Instant,
    on_event: &'a mut dyn FnMut(&BootEvent),
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        machine: &'a Machine,
        inputs: &'a Receiver<Input>,
        request: &'a Request,
        deadlines: Deadlines,
        on_event: &'a mut dyn FnMut(&BootEvent),
    ) -> Self {
        let watcher = Watcher::new(deadlines.clone());
        let began = Instant::now();
        Self { machine, inputs, request, deadlines, watcher, began, on_event }
    }

    /// Watches the machine until it has answered or has failed to.
    pub(super) fn converse(&mut self) -> Result<Answer, Fault> {
        self.tell(&BootEvent::Stage(self.watcher.stage()));
        loop {
            let left = self.watcher.deadline().saturating_sub(self.began.elapsed());
            // A machine that never pauses must not be able to put off its deadline.
            if left.is_zero() {
                return Err(self.watcher.expire());
            }
            let Ok(input) = self.inputs.recv_timeout(left) else { continue };
            if let Some(answer) = self.take(input)? {
                return Ok(answer);
            }
        }
    }

    /// The stages' times and the seconds in all, up to now.
    pub(super) fn times(&self) -> (Vec<StageTime>, f64) {
        let now = self.began.elapsed();
        (self.watcher.times(now), now.as_secs_f64())
    }

    /// Asks the guest to power off, and says whether it did.
    pub(super) fn power_off(&mut self) -> Check {
        self.tell(&BootEvent::PowerOff);
        self.machine.tell(&ToGuest::PowerOff {});
        let began = Instant::now();
        let until = began + self.deadlines.power_off();
        let off = self.wait_for_power_off(until);
        let seconds = began.elapsed().as_secs_f64();
        let detail = match off {
            true => format!("off after {seconds:.1} s"),
            false => format!("still on after {seconds:.0} s"),
        };
        Check { name: "powers off".into(), kind: Kind::System, ok: off, detail }
    }

    fn wait_for_power_off(&self, until: Instant) -> bool {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            match self.inputs.recv_timeout(left) {
                Ok(Input::Event(event)) if signal(&event) == Some(Signal::PoweredOff) => {
                    return true;
                }
                Ok(Input::Ended) | Err(RecvTimeoutError::Disconnected) => {
                    return false;
                }
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn take(&mut self, input: Input) -> Result<Option<Answer>, Fault> {
        match input {
            Input::Serial(bytes) => self.feed(&Signal::Serial(&bytes))?,
            Input::Debug(bytes) => self.feed(&Signal::Firmware(&bytes))?,
            Input::Event(event) => signal(&event).map_or(Ok(()), |signal| self.feed(&signal))?,
            Input::Ended => self.feed(&Signal::Ended)?,
            Input::Node(Ok(message)) => return self.hear(message),
            Input::Node(Err(why)) => {
                return Err(self
                    .watcher
                    .fault(&format!("the node said what is no message: {why}"), None));
            }
        }
        Ok(None)
    }

    fn hear(&mut self, message: FromGuest) -> Result<Option<Answer>, Fault> {
        match message {
            FromGuest::Hello(hello) => {
                self.feed(&Signal::Hello)?;
                self.greet(&hello)?;
            }
            FromGuest::Waiting { jobs } => {
                self.tell(&BootEvent::Waiting(jobs.clone()));
                self.feed(&Signal::Waiting(jobs))?;
            }
            FromGuest::Refused { reason } => {
                return Err(self.watcher.fault(&format!("the node refused: {reason}"), None));
            }
            FromGuest::Answer(answer) => {
                let hold = answer.checks.iter().filter(|check| check.ok).count();
                self.tell(&BootEvent::Checked { hold, all: answer.checks.len() });
                return Ok(Some(*answer));
            }
        }
        Ok(None)
    }

    fn greet(&mut self, hello: &Hello) -> Result<(), Fault> {
        if hello.protocol != PROTOCOL {
            let what = format!(
                "the image's node program {} speaks protocol {}, this builder {PROTOCOL}",
                hello.node_version, hello.protocol
            );
            let hint = "test an image with the coremax that built it";
            return Err(self.watcher.fault(&what, Some(hint)));
        }
        self.machine.tell(&ToGuest::Request(self.request.clone()));
        Ok(())
    }

    fn feed(&mut self, signal: &Signal<'_>) -> Result<(), Fault> {
        let (before, at) = (self.watcher.stage(), self.began.elapsed());
        let result = self.watcher.feed(at, signal);
        if self.watcher.stage() != before {
            self.tell(&BootEvent::Stage(self.watcher.stage()));
        }
        result
    }

    fn tell(&mut self, event: &BootEvent) {
        (self.on_event)(event);
    }
}

/// What an event of QEMU's means for a boot.
fn signal(event: &Event) -> Option<Signal<'static>> {
    match event {
        Event::SHUTDOWN { data, .. } if data.reason == ShutdownCause::guest_reset => {
            Some(Signal::Reset)
        }
        Event::SHUTDOWN { .. } => Some(Signal::PoweredOff),
        // QEMU says so before it stops.
        Event::BLOCK_IO_ERROR { data, .. } if data.nospace == Some(true) => Some(Signal::DiskFull),
        Event::STOP { .. } => Some(Signal::Stopped),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_events_mean() {
        let block = |nospace| {
            format!(
                r#""BLOCK_IO_ERROR", "data": {{"device": "disk", "operation": "write",
                "action": "stop", "nospace": {nospace}, "reason": "no space left"}}"#
            )
        };
        let shutdown =
            |reason| format!(r#""SHUTDOWN", "data": {{"guest": true, "reason": "{reason}"}}"#);
        for (event, want) in [
            (block(true), Some(Signal::DiskFull)),
            (block(false), None),
            (r#""STOP""#.to_owned(), Some(Signal::Stopped)),
            (shutdown("guest-reset"), Some(Signal::Reset)),
            (shutdown("guest-shutdown"), Some(Signal::PoweredOff)),
            (r#""RESUME""#.to_owned(), None),
        ] {
            let time = r#""timestamp": {"seconds": 1, "microseconds": 1}"#;
            let event = format!(r#"{{"event": {event}, {time}}}"#);
            let parsed: Event = serde_json::from_str(&event).unwrap();
            assert_eq!(signal(&parsed), want, "{event}");
        }
    }
}
