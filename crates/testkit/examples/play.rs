//! Plays conversation files against the installed redis-server: `cargo run -p sutra-testkit --example play -- FILE…`
//! While a command is being written this tells whether its conversation is right.

use std::io;
use sutra_testkit::conversation::{Conversation, Reference};

fn main() -> io::Result<()> {
    let mut reference = Reference::start()?.ok_or_else(|| io::Error::other("no redis-server installed"))?;
    let mut mismatches = 0;
    for file in std::env::args_os().skip(1) {
        let conversation = Conversation::open(file.as_ref())?;
        reference.reset()?;
        for mismatch in conversation.play(&mut reference) {
            println!("{mismatch}");
            mismatches += 1;
        }
    }
    if mismatches == 0 { Ok(()) } else { Err(io::Error::other(format!("{mismatches} mismatches"))) }
}
