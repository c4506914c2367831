//! Plan, run, store: where the domain crates meet.
//!
//! ```text
//! Request -> Recipe -> Plan -> Outputs -> Proof -> result folder
//!     read     resolve,   run     verify    result
//!              plan
//! ```

mod builder;
mod clean;
mod differences;
mod event;
mod files;
mod fingerprint;
mod hint;
mod identity;
pub mod key;
mod lock;
mod locked;
mod locking;
mod packages;
mod places;
mod plan;
mod read;
mod resolve;
mod result;
mod run;
mod space;
mod steps;
mod store;
mod update;
mod usage;
mod vendor;
mod verify;
mod version;
mod why;

pub use builder::{ArchiveSettings, Builder};
pub use clean::Cleaning;
pub use event::{Event, Observer, Unit};
pub use hint::hint;
pub use locked::Changes;
pub use locking::Moving;
pub use plan::{Description, Plan};
pub use read::Request;
pub use result::{Output, SecureBootKey, Testing};
pub use verify::{BootSettings, Console, Firmware};
