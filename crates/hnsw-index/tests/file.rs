//! Rows that outlive their process.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;

use sutra_hnsw_index::{Discarded, Encoded, Filter, Metric, Opened, Query, Rows, Side};

const DIMENSION: usize = 11;
const GOLDEN: &str = include_str!("golden/v1.txt");
/// Where the columns of rows of 11 dimensions begin in the file, by the page of the format.
const LIVE: u64 = 4096;
const STAMPS: u64 = LIVE + 512 + 4096 * (2 + 2 + 8 + 8 + 16 + 8 + 8);
const CODES: u64 = STAMPS + 4096 * (8 + 4 + 8 + 2);
const BLOCK: u64 = 512 + 4096 * 138 + 3584;

fn vector(number: u64) -> Vec<u8> {
    let value = |i: u64| (((number * 7 + i * i * 3) % 23) as f32 - 11.0) / 4.0;
    (0..DIMENSION as u64).flat_map(|i| value(i).to_le_bytes()).collect()
}

fn encoded(number: u64) -> Encoded {
    Encoded::new(&vector(number), DIMENSION).unwrap()
}

fn side(number: u64) -> Side {
    Side {
        owner: [number, !number],
        written_ms: 1_760_000_000_000 + number,
        signature: 1 << (number % 64),
        stamp: number,
    }
}

fn fill(path: &Path, count: u64) -> Rows {
    let (rows, opened) = Rows::open(DIMENSION, path, &mut |_, _| unreachable!("nothing is there")).unwrap();
    assert_eq!(opened, Opened::default());
    for number in 0..count {
        assert_eq!(u64::from(rows.insert(Some(&encoded(number)), side(number)).unwrap()), number);
        for _ in 0..number % 3 {
            rows.count_hit(number as u32);
        }
    }
    rows
}

fn reopen(path: &Path) -> (Rows, Opened) {
    Rows::open(DIMENSION, path, &mut |row, side| u64::from(row) == side.stamp).unwrap()
}

/// Every row that is there has the bounds of its vector.
fn assert_sound(rows: &Rows, expected: &[u64]) {
    let query = Query::new(Metric::Cosine, &vector(3), DIMENSION).unwrap();
    let mut seen = Vec::new();
    let _ = rows.range(&query, -1.0, &Filter::default(), &mut |candidate| {
        let similarity = query.similarity(&vector(candidate.side.stamp));
        assert!(candidate.lower <= similarity && similarity <= candidate.upper, "{candidate:?}");
        assert_eq!(candidate.side, side(candidate.side.stamp));
        seen.push(candidate.side.stamp);
        ControlFlow::Continue(())
    });
    assert_eq!(seen, expected);
}

fn change(path: &Path, offset: u64, change: impl Fn(u8) -> u8) {
    let mut content = fs::read(path).unwrap();
    let byte = &mut content[usize::try_from(offset).unwrap()];
    *byte = change(*byte);
    fs::write(path, content).unwrap();
}

#[test]
fn rows_are_taken_over_with_their_hits_and_free_ones_are_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let rows = fill(&path, 5000);
    for row in [7, 4100] {
        rows.remove(row).unwrap();
    }
    rows.replace(8, Some(&encoded(8000)), side(8000)).unwrap();
    rows.update_side(9, |side| side.stamp = 9000);
    drop(rows);
    let (rows, opened) = reopen(&path);
    assert_eq!(opened, Opened { kept: 4996, refused: 2, ..Opened::default() });
    let expected: Vec<u64> = (0..5000).filter(|number| ![7, 8, 9, 4100].contains(number)).collect();
    assert_sound(&rows, &expected);
    assert_eq!((rows.len(), rows.hits(5)), (4996, 2));
    for row in [7, 8, 9, 4100, 5000] {
        assert_eq!(rows.insert(Some(&encoded(row)), side(row)).unwrap(), row as u32);
    }
    assert_eq!(rows.hits(8), 0);
    assert_sound(&rows, &(0..5001).collect::<Vec<_>>());
}

#[test]
fn a_file_is_not_shared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let rows = fill(&path, 1);
    let error = Rows::open(DIMENSION, &path, &mut |_, _| true).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    drop(rows);
    assert_eq!(reopen(&path).1.kept, 1);
}

#[test]
fn a_damaged_byte_costs_its_row() {
    let folder = tempfile::tempdir().unwrap();
    for (offset, lost) in [(STAMPS + 8 * 5, 5), (CODES + 64 * 6 + 3, 6), (LIVE + 512 + 2 * 9, 9)] {
        let path = folder.path().join(offset.to_string());
        drop(fill(&path, 20));
        change(&path, offset, |byte| byte ^ 4);
        let (rows, opened) = reopen(&path);
        assert_eq!(opened, Opened { kept: 19, damaged: 1, ..Opened::default() }, "byte {offset}");
        assert_sound(&rows, &(0..20).filter(|number| *number != lost).collect::<Vec<_>>());
    }
}

#[test]
fn a_freed_row_does_not_come_back_by_its_bit_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let rows = fill(&path, 8);
    rows.remove(2).unwrap();
    drop(rows);
    change(&path, LIVE, |byte| {
        assert_eq!(byte, 0b1111_1011, "the bits of the live rows are there");
        0xFF
    });
    let (rows, opened) = reopen(&path);
    assert_eq!(opened, Opened { kept: 7, damaged: 1, ..Opened::default() });
    assert_sound(&rows, &[0, 1, 3, 4, 5, 6, 7]);
}

#[test]
fn a_file_that_is_no_use_begins_anew_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let discarded = |path: &Path| {
        let (rows, opened) = reopen(path);
        assert_eq!((opened.kept, rows.len()), (0, 0));
        rows.insert(Some(&encoded(0)), side(0)).unwrap();
        drop(rows);
        assert_eq!(reopen(path).1, Opened { kept: 1, ..Opened::default() });
        opened.discarded
    };
    drop(fill(&path, 3));
    change(&path, 13, |byte| byte ^ 1);
    assert_eq!(discarded(&path), Some(Discarded::Damaged));
    fs::write(&path, "short").unwrap();
    assert_eq!(discarded(&path), Some(Discarded::Damaged));
    fs::remove_file(&path).unwrap();
    drop(Rows::open(DIMENSION + 1, &path, &mut |_, _| true).unwrap());
    assert_eq!(discarded(&path), Some(Discarded::OtherDimension(12)));
    let mut content = fs::read(&path).unwrap();
    content[8] = 2;
    let checksum = crc32fast::hash(&content[..28]);
    content[28..32].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, content).unwrap();
    assert_eq!(discarded(&path), Some(Discarded::OtherVersion(2)));
}

#[test]
fn growth_that_was_cut_short_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    drop(fill(&path, 5000));
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(LIVE + BLOCK + BLOCK / 2).unwrap();
    let (rows, opened) = reopen(&path);
    assert_eq!((opened.kept, rows.capacity_rows()), (4096, 4096));
    assert_eq!(rows.insert(Some(&encoded(4096)), side(4096)).unwrap(), 4096);
    assert_sound(&rows, &(0..4097).collect::<Vec<_>>());
    drop(rows);
    assert_eq!(reopen(&path).1.kept, 4097);
}

/// The fixture was written by a script from the page of the format.
#[test]
fn the_format_stays_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (written, given) = (folder.path().join("written"), folder.path().join("given"));
    drop(fill(&written, 70));
    let content = fs::read(&written).unwrap();
    let lines = content.chunks(16).enumerate().filter(|(_, line)| line.iter().any(|byte| *byte != 0));
    let hex = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let dump: String = lines.map(|(at, line)| format!("{:08x} {}\n", at * 16, hex(line))).collect();
    for (ours, golden) in dump.lines().zip(GOLDEN.lines()) {
        assert_eq!(ours, golden);
    }
    assert_eq!(dump.len(), GOLDEN.len());

    let mut content = vec![0; content.len()];
    for line in GOLDEN.lines() {
        let (offset, hex) = line.split_once(' ').unwrap();
        let offset = usize::from_str_radix(offset, 16).unwrap();
        for (index, byte) in content[offset..][..16].iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[index * 2..][..2], 16).unwrap();
        }
    }
    fs::write(&given, content).unwrap();
    let (rows, opened) = reopen(&given);
    assert_eq!(opened, Opened { kept: 70, ..Opened::default() });
    assert_sound(&rows, &(0..70).collect::<Vec<_>>());
    assert_eq!([0, 1, 2, 3].map(|row| rows.hits(row)), [0, 1, 2, 0]);
}
