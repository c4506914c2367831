//! A cluster as its operator sees it: the roster's text, new ones, and the medium that a machine's key comes on.
//!
//! What a roster is, and its signed form, stand in `coremax_node_api::roster`.

pub mod medium;
mod mistake;
pub mod new;
mod read;
pub mod sign;
pub mod simulate;

pub use mistake::{Mistake, Mistakes};
pub use read::read;
