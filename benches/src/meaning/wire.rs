//! Native commands over a connection.

use super::source::Set;
use crate::random::key;
use crate::wire::Client;
use std::io;
use std::ops::Range;
use sutra_protocol::Frame;

/// The space of every measurement over the wire.
pub(super) const SPACE: &[u8] = b"bench";

/// Commands that are sent before their replies are read.
pub(super) const PIPELINE: usize = 64;

/// A reply that has to be OK.
pub(super) fn expect_ok(reply: Frame) -> io::Result<()> {
    if reply == Frame::Simple("OK".into()) { Ok(()) } else { Err(io::Error::other(format!("{reply:.80?}"))) }
}

/// A number of a reply.
pub(super) fn expect_number(reply: Frame) -> io::Result<u64> {
    if let Frame::Integer(number) = reply {
        Ok(number.unsigned_abs())
    } else {
        Err(io::Error::other(format!("{reply:.80?}")))
    }
}

/// Sets rows with their vectors by CACHE.SET, their keys being their values too, `pipeline` at a time.
pub(super) fn load(client: &mut Client, set: &Set, rows: Range<usize>, pipeline: usize) -> io::Result<()> {
    let mut waiting = 0;
    let last = rows.end.saturating_sub(1);
    set.base.each(rows, &mut |row, vector| {
        let name = key(row as u64);
        client.queue(&[b"CACHE.SET", &name, &name, b"IN", SPACE, b"FP32", vector]);
        waiting += 1;
        if waiting == pipeline || row == last {
            client.flush()?;
            for _ in 0..std::mem::take(&mut waiting) {
                client.accepted()?;
            }
        }
        Ok(())
    })
}

/// Sets the same keys and values by SET.
pub(super) fn load_plain(client: &mut Client, rows: Range<usize>) -> io::Result<()> {
    for start in rows.clone().step_by(PIPELINE) {
        let batch = start..(start + PIPELINE).min(rows.end);
        for row in batch.clone() {
            let name = key(row as u64);
            client.queue(&[b"SET", &name, &name]);
        }
        client.flush()?;
        batch.into_iter().try_for_each(|_| client.accepted())?;
    }
    Ok(())
}
