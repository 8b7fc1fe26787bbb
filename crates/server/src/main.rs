//! The binary `sutra-cache`.
fn main() {}
