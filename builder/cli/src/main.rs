//! coremax: images that are proven to boot.

fn main() {}
