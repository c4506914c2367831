//! Kernel modules: their dependencies, aliases and firmware, and which of them an initrd holds.
//!
//! The builder asks what goes into an initrd ([`sets`], [`Index::select`], [`Index::initrd`]); early
//! boot asks what to load and in which order ([`Index::matching`], [`Index::load_order`]). Pure: no
//! I/O, so that each side reads from what it likes.
//!
//! See depmod(8), modules.dep(5) and <https://docs.kernel.org/kbuild/modules.html>.

mod aliases;
mod elf;
mod error;
mod glob;
mod index;
mod initrd;
mod modinfo;
mod name;
pub mod sets;
mod soft;

pub use error::Error;
pub use glob::matches;
pub use index::{Files, Index};
pub use initrd::Initrd;
pub use modinfo::{Modinfo, firmware};
pub use name::{Compression, Name};
