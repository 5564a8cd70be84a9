//! The binary `haldane`: arguments and wiring.

fn main() {}
