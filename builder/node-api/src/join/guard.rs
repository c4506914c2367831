//! The protections of the join, by name, so that a test can take out each and see that the simulator finds it.
//!
//! Without the feature `mutants` they are all on, and cost nothing.

/// A protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Nothing is believed on a channel that is not proven.
    Proof,
    /// A node takes no roster that is older than its own, and gives up no promise to one.
    Epoch,
    /// A node keeps the name that it has.
    Name,
    /// A disk in another machine is not that machine's.
    ForeignDisk,
    /// A node that promised one formation refuses another.
    PromiseKept,
    /// A seed asks every controller's promise before it deploys.
    PromiseAsked,
    /// A seed deploys once.
    Once,
    /// A seed gives one row to one machine.
    Hardware,
    /// What was enrolled in an older generation stays out.
    Generation,
    /// A seed takes nobody new once its window is closed.
    Window,
    /// A pool is sorted once.
    PoolOrder,
    /// Nothing is deployed while clocks are apart.
    Clock,
    /// A clock is set by an answer that came soon.
    RoundTrip,
    /// A node that promised a formation obeys nobody else.
    Authority,
    /// In a pool every row promises.
    WholePool,
    /// Two rosters of one epoch are told apart.
    Digest,
    /// A new roster is prepared for, by those that were prepared already.
    Prepare,
    /// A pool gives one machine one row.
    Candidate,
    /// Nothing is deployed while two nodes that are ready do not reach each other.
    Mesh,
    /// A node that lacks something is not ready.
    Lack,
    /// A node is part of what is formed when a deployment has reached it.
    Reached,
    /// A deployment goes on after a crash.
    Resume,
    /// No roster changes what a row is without saying so.
    Faithful,
    /// The operator's word alone gives no controller's row.
    Approval,
}

impl Guard {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::Proof,
        Self::Epoch,
        Self::Name,
        Self::ForeignDisk,
        Self::PromiseKept,
        Self::PromiseAsked,
        Self::Once,
        Self::Hardware,
        Self::Generation,
        Self::Window,
        Self::PoolOrder,
        Self::Clock,
        Self::RoundTrip,
        Self::Authority,
        Self::WholePool,
        Self::Digest,
        Self::Prepare,
        Self::Candidate,
        Self::Mesh,
        Self::Lack,
        Self::Reached,
        Self::Resume,
        Self::Faithful,
        Self::Approval,
    ];
}

/// Which protections are on: all.
#[cfg(not(feature = "mutants"))]
#[derive(Debug, Clone, Copy, Default)]
pub struct Guards;

#[cfg(not(feature = "mutants"))]
impl Guards {
    pub(super) const fn on(self, _: Guard) -> bool {
        true
    }
}

/// Which protections are on: all, but one in a test.
#[cfg(feature = "mutants")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Guards(Option<Guard>);

#[cfg(feature = "mutants")]
impl Guards {
    /// All but this one.
    pub const fn without(guard: Guard) -> Self {
        Self(Some(guard))
    }

    pub(super) fn on(self, guard: Guard) -> bool {
        self.0 != Some(guard)
    }
}
