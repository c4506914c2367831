//! Random bytes of the kernel's.

use anyhow::{Context as _, Result, ensure};
use rustix::rand::{GetRandomFlags, getrandom};

/// A number that nobody guesses.
pub(crate) fn number() -> Result<u64> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Fills up to 256 bytes: so many come whole or not at all, getrandom(2) promises.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<()> {
    let length = bytes.len();
    let came = getrandom(bytes, GetRandomFlags::empty());
    let came = came.context("asking the kernel for random bytes")?;
    ensure!(came == length, "the kernel gave {came} random bytes of {length}");
    Ok(())
}
