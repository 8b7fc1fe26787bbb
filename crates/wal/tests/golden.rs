//! The bytes on the disk do not change unnoticed: every version's fixture can be read, and the newest is what is written.
//! A new version adds a fixture and never edits one.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Collect, OPTIONS, open, try_open};
use sutra_testkit::storage::{Faults, SimStorage};
use sutra_wal::Lsn;

const V1: &[u8] = include_bytes!("golden/v1.wal");
const V1_NAME: &str = "0000000000000001.wal";
const BODIES: [&[u8]; 5] = [b"", b"a", b"four", b"the fifth byte pads", &[0xff; 100]];

/// Writes the log that the fixture holds: two frames synced and marked durable, three behind them.
fn write() -> SimStorage {
    let storage = SimStorage::new(1, Faults::default());
    let (log, ..) = open(&storage, 0);
    for (number, body) in BODIES.iter().enumerate() {
        log.append(body).unwrap();
        if number == 1 {
            log.sync().unwrap();
            log.mark_durable(Lsn(2));
        }
    }
    log.sync().unwrap();
    storage
}

#[test]
fn the_fixture_of_version_1_is_read() {
    let storage = SimStorage::new(1, Faults::default());
    storage.put(V1_NAME, V1.to_vec());
    let mut seen = Collect::default();
    let (log, report) = try_open(&storage, 0, &mut seen).unwrap();
    let expected: Vec<_> = (1..).zip(BODIES).map(|(lsn, body)| (lsn, body.to_vec(), lsn <= 2)).collect();
    assert_eq!((seen.frames, report.cut, report.durable), (expected, None, Lsn(2)));
    assert_eq!(log.append(b"next").unwrap(), Lsn(6));
}

#[test]
fn what_is_written_is_the_fixture_of_version_1() {
    let content = write().content(V1_NAME).unwrap();
    assert_eq!(content.len() as u64, OPTIONS.file_bytes);
    let (frames, rest) = content.split_at(V1.len());
    assert_eq!(frames, V1);
    assert!(rest.iter().all(|&byte| byte == 0));
}
