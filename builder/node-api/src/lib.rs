//! What builder, node and tests say to each other, on a line or on a disk.
//!
//! Types and their text and binary forms only: no I/O, so that each side may read from what it
//! likes.

mod base64_text;
pub mod boot_test;
pub mod cluster_status;
pub mod early_boot;
pub mod enrol;
pub mod env;
pub mod guid;
pub mod hex;
pub mod identity;
pub mod join;
pub mod kernel_line;
mod line;
pub mod reset;
pub mod roster;
pub mod slot;
pub mod squashfs;
pub mod status;
pub mod update;
pub mod verity;
pub mod wire;

pub use line::{Error, LINE_MAX, decode, encode};
