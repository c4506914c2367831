//! What a machine says of itself that has the cluster's key, and lies.

use std::collections::BTreeSet;

use coremax_node_api::join::{Edition, Formation, NodeKey, Phase, Report, Stage};

use super::{
    rng::Rng,
    world::{CLUSTER, World},
};

/// The lies of a run; the hardware is another machine's always.
#[derive(Debug, Clone, Default)]
pub(super) struct Lies {
    phase: Option<Phase>,
    promise: Promise,
    reach: Reach,
    /// Milliseconds that it says its clock is ahead.
    ahead: i64,
}

#[derive(Debug, Clone, Copy, Default)]
enum Promise {
    /// What it promised.
    #[default]
    True,
    /// Whatever is asked, by whoever asks.
    Any,
    /// To a seed that there is not.
    Nobodys,
    /// None, ever.
    None,
}

#[derive(Debug, Clone, Copy, Default)]
enum Reach {
    #[default]
    True,
    All,
    /// Nobody, and rows that there are not.
    None,
}

impl Lies {
    /// Half of the liars are as good a node as any, but for what they promise.
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let phase = match rng.range(0, 4) {
            0 => None,
            1 | 2 => Some(Phase::Ready),
            _ => Some(Phase::ALL[rng.index(Phase::ALL.len())]),
        };
        let promise = match rng.range(0, 6) {
            0 => Promise::True,
            1 => Promise::Nobodys,
            2 => Promise::None,
            _ => Promise::Any,
        };
        let reach = match rng.range(0, 4) {
            0 => Reach::True,
            1 => Reach::None,
            _ => Reach::All,
        };
        let ahead = [0, 0, 0, 0, 3_600_000, i64::MAX, i64::MIN][rng.index(7)];
        Self { phase, promise, reach, ahead }
    }
}

impl World {
    /// Makes a report to a seed a liar's.
    pub(super) fn lie(&self, to: usize, report: &mut Report) {
        report.hardware = self.machines[self.weather.victim].hardware.clone();
        report.phase = self.lies.phase.unwrap_or(report.phase);
        report.wall = report.wall.saturating_add(self.lies.ahead);
        match self.lies.promise {
            Promise::True => {}
            Promise::Any => report.promise = self.asked_by(to),
            Promise::Nobodys => report.promise = Some(NOBODYS),
            Promise::None => report.promise = None,
        }
        match self.lies.reach {
            Reach::True => {}
            Reach::All => report.unreached.clear(),
            Reach::None => report.unreached = (0..=u8::MAX).collect::<BTreeSet<_>>(),
        }
    }

    /// What a seed wants promised now.
    fn asked_by(&self, number: usize) -> Option<Formation> {
        let machine = self.machines.get(number)?;
        match machine.seed.as_ref()?.stage_at(machine.now(self.time)) {
            Stage::Gathering => None,
            Stage::Forming(formation) | Stage::Deploying(formation) | Stage::Formed(formation) => {
                Some(formation)
            }
        }
    }
}

const NOBODYS: Formation = Formation {
    cluster: CLUSTER,
    edition: Edition { epoch: u64::MAX, digest: [7; 32] },
    generation: u32::MAX,
    seed: NodeKey([7; 32]),
};
