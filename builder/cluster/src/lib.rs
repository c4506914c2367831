//! A cluster as its operator sees it: the roster's text, new ones, the medium that a machine's key comes on, and what is asked
//! of a seed that runs.
//!
//! What a roster is, and its signed form, stand in `coremax_node_api::roster`.

pub mod machine;
pub mod medium;
mod mistake;
pub mod new;
pub mod page;
mod read;
pub mod replace;
pub mod seed;
pub mod sign;
pub mod simulate;

pub use mistake::{Mistake, Mistakes};
pub use read::read;
