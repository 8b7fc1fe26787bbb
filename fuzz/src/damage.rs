//! Damage to files, and checksums made sound again: only so does a fuzzer get behind them.

use crate::input::Input;

/// Changes a file as the input says.
pub fn damage(content: &mut Vec<u8>, input: &mut Input<'_>) {
    let at = input.below(content.len().max(1));
    let room = content.len() - at;
    match input.below(6) {
        0 => {
            let bytes = input.byte() as usize % 16 + 1;
            let bytes = input.bytes(bytes);
            let end = at + bytes.len().min(room);
            content[at..end].copy_from_slice(&bytes[..end - at]);
        }
        1 if room > 0 => content[at] ^= 1 << (input.byte() % 8),
        2 => content.truncate(at),
        3 => {
            let end = at + input.below(1 << 16).min(room);
            content[at..end].fill(0);
        }
        4 if room > 0 => {
            let len = input.below(1 << 13).min(room);
            let to = input.below(content.len() - len + 1);
            content.copy_within(at..at + len, to);
        }
        _ => {
            let bytes = input.byte() as usize;
            content.extend_from_slice(input.bytes(bytes));
        }
    }
}

/// Makes the checksums of a log file sound: its header's and, one after the other, its frames'.
pub fn seal_log(content: &mut [u8]) {
    const HEADER_BYTES: usize = 64;
    const FRAME_BYTES: usize = 20;
    if content.len() < HEADER_BYTES {
        return;
    }
    put_u32(content, 60, crc32fast::hash(&content[..60]));
    let salt = u32_at(content, 12);
    let mut at = HEADER_BYTES;
    while at + FRAME_BYTES <= content.len() {
        let end = at + FRAME_BYTES + u32_at(content, at + 4) as usize;
        // Zeros are the end of the frames.
        if end > content.len() || content[at..at + FRAME_BYTES].iter().all(|byte| *byte == 0) {
            return;
        }
        let mut crc = crc32fast::Hasher::new_with_initial(salt);
        crc.update(&content[at + 4..end]);
        put_u32(content, at, crc.finalize());
        at = end.next_multiple_of(8);
    }
}

/// Makes the checksums of a checkpoint's chunks sound.
pub fn seal_checkpoint(content: &mut [u8]) {
    const HEADER_BYTES: usize = 32;
    const PAGE_BYTES: usize = 4096;
    let mut at = 0;
    while at + HEADER_BYTES <= content.len() {
        let end = at + HEADER_BYTES + u32_at(content, at + 12) as usize;
        if end > content.len() {
            at += PAGE_BYTES;
            continue;
        }
        let crc = crc32fast::hash(&content[at + 12..end]);
        put_u32(content, at + 8, crc);
        at = end.next_multiple_of(PAGE_BYTES);
    }
}

/// Makes a segment's header sound, and the CRC of the record at an offset.
pub fn seal_segment(content: &mut [u8], offsets: &[usize]) {
    if content.len() < 64 {
        return;
    }
    put_u32(content, 60, crc32fast::hash(&content[..60]));
    for &at in offsets {
        if at + 24 > content.len() {
            continue;
        }
        let flags = content[at + 16];
        let key_bytes = if flags & 1 != 0 { u32_at(content, at + 17) as usize } else { usize::from(content[at + 17]) };
        let mut head = 17 + if flags & 1 != 0 { 4 } else { 1 } + if flags & 2 != 0 { 4 } else { 0 };
        let mut annex_bytes = 0;
        if flags & 4 != 0 {
            if at + head + 4 > content.len() {
                continue;
            }
            annex_bytes = u32_at(content, at + head) as usize;
            head += 4;
        }
        let parts = [head, key_bytes, annex_bytes, u32_at(content, at + 12) as usize];
        let end = parts.into_iter().fold(at, usize::saturating_add);
        if end <= content.len() {
            put_u32(content, at + 8, crc32fast::hash(&content[at + 12..end]));
        }
    }
}

fn u32_at(content: &[u8], at: usize) -> u32 {
    content[at..at + 4].iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn put_u32(content: &mut [u8], at: usize, number: u32) {
    content[at..at + 4].copy_from_slice(&number.to_le_bytes());
}
