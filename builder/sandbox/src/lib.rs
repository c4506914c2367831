//! Namespaces, mounts and `Cmd`: the only crate that starts a program or holds unsafe code.
//!
//! A build runs as root of a user namespace ([`enter`]), so that it may own files as any user and
//! mount, with no right over the host. Every program then runs in namespaces of its own
//! ([`Sandbox`]): its own processes, mounts and network, on a root made of the trees and folders
//! that were named and nothing else. The kernel takes all of it down when the builder dies,
//! however it dies.
//!
//! The node program has the rest of what must be unsafe here too: [`dm`], [`block`], [`exec`].
//!
//! See user_namespaces(7), mount_namespaces(7), pid_namespaces(7).

pub mod block;
mod cmd;
pub mod dm;
mod error;
mod namespace;
mod overlay;
mod root;
mod signals;
mod spawn;

pub use cmd::{Child, Cmd, Output, exec};
pub use error::Error;
pub use namespace::{enter, is_entered};
pub use overlay::Overlay;
pub use root::Sandbox;
pub use signals::Endings;
