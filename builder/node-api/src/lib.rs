//! What builder, node and tests say to each other.
//!
//! Types and their text form only: no I/O, so that each side may read from what it likes.

pub mod boot_test;
mod line;

pub use line::{Error, LINE_MAX, decode, encode};
