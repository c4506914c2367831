//! Namespaces, mounts and `Cmd`: the only crate that starts a program or holds unsafe code.
//!
//! A build runs as root of a user namespace ([`enter`]), so that it may own files as any user and
//! mount. Every program then runs in namespaces of its own ([`Sandbox`]): its own processes, mounts
//! and network, on a root made of the trees and folders that were named and nothing else. The kernel
//! takes all of it down when the builder dies, however it dies.
//!
//! Started by an ordinary user, nothing here has a right over the host that the user has not. Started
//! by root, root of the build is the host's root as far as files are concerned. A program in a
//! sandbox then owns what it sees, and this keeps it from more: what is not writable is a mount that
//! it cannot change, for it has no capability to mount, and in a namespace where it got one the
//! kernel locks what it had before; so are /proc, with the kernel's settings, and the device nodes;
//! and no link in a tree leads a mount point out of it. [`Sandbox::host`] has none of this.
//!
//! The node program has the rest of what must be unsafe here too: [`dm`], [`block`], [`exec`]; and tests have [`tap`].
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
pub mod tap;

pub use cmd::{Child, Cmd, Output, exec};
pub use error::Error;
pub use namespace::enter;
pub use overlay::Overlay;
pub use root::Sandbox;
pub use signals::Endings;
