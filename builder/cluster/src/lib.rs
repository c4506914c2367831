//! A cluster as its operator sees it: the roster's text, and new ones.
//!
//! What a roster is, and its signed form, stand in `coremax_node_api::roster`.

mod mistake;
pub mod new;
mod read;
pub mod sign;
pub mod simulate;

pub use mistake::{Mistake, Mistakes};
pub use read::read;
