//! What early boot found and did, which it leaves for the system it starts.

use serde::{Deserialize, Serialize};

/// Where early boot writes its [`State`], as one JSON line.
pub const STATE: &str = "/run/coremax/state.json";

/// A file that is there in a boot on trial, until the version is blessed.
pub const TRIAL: &str = "/run/coremax/trial";

/// What this boot runs from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The root hash, which the root was checked with.
    pub root: String,
    /// The slot that the boot loader named.
    pub slot: Option<String>,
    /// The disk's name in /dev.
    pub disk: String,
    /// What became of the data partition.
    pub data: Data,
}

/// What became of the data partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// Whether changes outlive this boot.
    pub kept: bool,
    /// What is wrong with it, for a person.
    pub problem: Option<String>,
    /// Whether it was made larger.
    pub grown: bool,
    /// Whether its file system was repaired.
    pub repaired: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, encode};

    #[test]
    fn a_state_reads_back() {
        let data = Data { problem: Some("full".into()), ..Data::default() };
        let state = State { root: "ab".into(), slot: None, disk: "vda".into(), data };
        assert_eq!(decode::<State>(&encode(&state).unwrap()).unwrap(), state);
    }
}
