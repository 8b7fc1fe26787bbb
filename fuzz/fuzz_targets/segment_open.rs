//! Segments of any content, or sound ones that were damaged. Nothing panics or reads outside; a record that verifies and was not forged is
//! one that was written; and the store goes on working.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use sutra_fuzz::damage::{damage, seal_segment};
use sutra_fuzz::input::Input;
use sutra_mmap_store::{Location, NewRecord, Options, Store};
use sutra_testkit::segments::SimSegments;

const SEGMENT_BYTES: u32 = 65536;

fn options() -> Options {
    Options { segment_bytes: SEGMENT_BYTES, overdraft_bytes: u64::from(SEGMENT_BYTES), ..Options::default() }
}

fn value(number: usize) -> Vec<u8> {
    number.to_le_bytes().repeat([1, 10, 300][number % 3])
}

fn annex(number: usize) -> Option<Vec<u8>> {
    (number % 4 > 1).then(|| vec![number as u8; number * 5 % 60])
}

/// A segment's content and the locations of its 20 records.
fn sound() -> &'static (Vec<u8>, Vec<Location>) {
    static SOUND: OnceLock<(Vec<u8>, Vec<Location>)> = OnceLock::new();
    SOUND.get_or_init(|| {
        let disk = SimSegments::new();
        let (store, _) = Store::open(Box::new(disk.clone()), options()).expect("opens");
        let locations = (0..20)
            .map(|number| {
                let (key, value) = (format!("key:{number}"), value(number));
                let expires_at_ms = (number % 2 == 0).then_some(1_800_000_000_000);
                let cost = (number % 3 == 0).then_some(0.5);
                let annex = annex(number);
                let record =
                    NewRecord { key: key.as_bytes(), value: &value, expires_at_ms, cost, annex: annex.as_deref() };
                store.append(0, &record).expect("room").location
            })
            .collect();
        (disk.content(1).expect("a segment"), locations)
    })
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let flags = input.byte();
    let (forged, from_nothing) = (flags & 1 != 0, flags & 2 != 0);
    let (content, locations) = sound();
    let mut content = content.clone();
    let mut asked = locations.clone();
    for _ in 0..flags >> 5 {
        asked.push(Location::new(1, (input.below(1 << 16) & !7) as u32));
    }
    if from_nothing {
        content = input.rest().to_vec();
        content.resize(SEGMENT_BYTES as usize, 0);
    } else {
        for _ in 0..=flags >> 2 & 7 {
            damage(&mut content, &mut input);
        }
    }
    if forged {
        let offsets: Vec<usize> = asked.iter().map(|location| location.offset_bytes() as usize).collect();
        seal_segment(&mut content, &offsets);
    }
    let disk = SimSegments::new();
    disk.set_content(1, content);
    let Ok((store, _)) = Store::open(Box::new(disk), options()) else { return };
    for location in &asked {
        let _ = store.adopt(*location, 64);
    }
    store.finish_recovery();
    let pin = store.pin();
    for (number, location) in asked.iter().enumerate() {
        let Some(record) = store.record(&pin, *location) else { continue };
        // The CRC does not know where the record belongs; the expiry word does.
        let sound = record.verify() && record.expires_at_ms().is_ok();
        let _ = (record.key(), record.annex(), record.value(), record.cost(), record.bytes());
        if sound && !forged && !from_nothing && number < locations.len() {
            assert_eq!(record.key(), format!("key:{number}").as_bytes());
            assert_eq!(record.annex(), annex(number).as_deref());
            assert_eq!(record.value(), value(number));
        }
        let _ = store.set_expiry(&pin, *location, Some(1_900_000_000_000));
    }
    let _ = store.verify(1, &asked);
    let new = NewRecord { key: b"new", value: b"value", expires_at_ms: None, cost: None, annex: Some(b"annex") };
    let appended = store.append(0, &new).expect("room");
    assert_eq!(store.record(&pin, appended.location).map(|record| record.value()), Some(&b"value"[..]));
    assert_eq!(store.record(&pin, appended.location).and_then(|record| record.annex()), Some(&b"annex"[..]));
});
