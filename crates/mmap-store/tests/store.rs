//! What a store promises, on every kind of space.

mod common;

use common::*;
use proptest::prelude::*;
use sutra_mmap_store::format::{ANNEX_BYTES_MAX, CLASSES_MAX, KEY_BYTES_MAX, SEGMENT_HEADER_BYTES};
use sutra_mmap_store::{Damaged, Location, NewRecord, OpenError, Options, SegmentPhase, Store, StoreError};
use sutra_testkit::segments::{SegmentFaults, SimSegments};

fn limited(segments: u64) -> Options {
    Options { limit_bytes: segments * u64::from(SEGMENT_BYTES), ..options() }
}

/// Fills the open segment of class 0 and returns the record that went into the next.
fn fill(store: &Store) -> (Vec<Location>, Location) {
    let first = append(store, b"key", &[1; 20_000]).location;
    let mut same = vec![first];
    loop {
        let next = append(store, b"key", &[1; 20_000]).location;
        if next.segment() != first.segment() {
            return (same, next);
        }
        same.push(next);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 200 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_record_comes_back_as_it_was_stored(
        key in prop::collection::vec(any::<u8>(), 0..600),
        value in prop::collection::vec(any::<u8>(), 0..5000),
        expires_at_ms in prop::option::of(1u64..1 << 48),
        cost in prop::option::of(any::<f32>()),
        annex in prop::option::of(prop::collection::vec(any::<u8>(), 0..900)),
    ) {
        on_every_space(|space, it| {
            let store = open(it, options());
            let annex = annex.as_deref();
            let record = NewRecord { key: &key, value: &value, expires_at_ms, cost, annex };
            let others = [append(&store, b"before", b"1"), store.append(0, &record).unwrap(), append(&store, b"after", b"2")];
            let pin = store.pin();
            let stored = read(&store, &pin, others[1].location);
            assert_eq!((stored.key(), stored.annex(), stored.value()), (&key[..], annex, &value[..]), "{space}");
            assert_eq!(stored.expires_at_ms(), Ok(expires_at_ms));
            assert_eq!(stored.cost().map(f32::to_bits), cost.map(f32::to_bits));
            assert_eq!((stored.bytes(), stored.crc()), (others[1].bytes, others[1].crc));
            assert!(stored.verify() && stored.is_trusted());
            assert_eq!(&stored.shared_value()[..], &value[..]);
            let header = if key.len() < 256 { 18 } else { 21 } + if cost.is_some() { 4 } else { 0 };
            let annexed = annex.map_or(0, |annex| 4 + annex.len());
            assert_eq!(stored.bytes() as usize, (header + annexed + key.len() + value.len()).next_multiple_of(8));
            assert_eq!(read(&store, &pin, others[0].location).key(), b"before");
            assert_eq!(read(&store, &pin, others[2].location).key(), b"after");
        });
    }
}

#[test]
fn expiry_changes_in_place_and_nothing_else_does() {
    on_every_space(|space, it| {
        let store = open(it, options());
        let location = append(&store, b"key", b"value").location;
        let pin = store.pin();
        for expires in [Some(1_760_000_000_000), None, Some(7)] {
            store.set_expiry(&pin, location, expires).unwrap();
            let record = read(&store, &pin, location);
            assert_eq!(record.expires_at_ms(), Ok(expires), "{space}");
            assert!(record.verify() && record.value() == b"value");
        }
        store.set_expiry(&pin, location, Some(0)).unwrap();
        assert_eq!(read(&store, &pin, location).expires_at_ms(), Ok(Some(1)), "long past, and not never");
    });
}

#[test]
fn expiry_is_not_set_where_no_record_begins() {
    let store = open(Box::new(SimSegments::new()), options());
    let location = append(&store, b"key", &[0; 800]).location;
    let pin = store.pin();
    for offset in (0..location.offset_bytes() + 2000).step_by(8).filter(|offset| *offset != location.offset_bytes()) {
        let wrong = Location::new(location.segment(), offset);
        assert_eq!(store.set_expiry(&pin, wrong, Some(1)), Err(Damaged), "offset {offset}");
    }
    assert!(read(&store, &pin, location).verify());
    assert_eq!(store.set_expiry(&pin, Location::new(9, 64), Some(1)), Err(Damaged));
}

#[test]
fn a_location_without_a_record_finds_nothing() {
    on_every_space(|_, it| {
        let store = open(it, options());
        let appended = append(&store, b"key", b"value");
        let pin = store.pin();
        for offset in [0, 8, 56, 64 + appended.bytes, 65536 - 8, 65536, (8 << 20) - 8] {
            assert!(store.record(&pin, Location::new(1, offset)).is_none(), "offset {offset}");
        }
        assert!(store.record(&pin, Location::new(0, 64)).is_none());
        assert!(store.record(&pin, Location::new(u16::MAX, 64)).is_none());
    });
}

#[test]
fn a_large_record_gets_a_segment_of_its_own_which_goes_with_it() {
    on_every_space(|space, it| {
        let store = open(it, options());
        let value = vec![3; 300_000];
        let large = append(&store, b"large", &value);
        assert_eq!(large.location.offset_bytes(), SEGMENT_HEADER_BYTES);
        let state = store.segments().pop().unwrap();
        assert!(state.dedicated && state.phase == SegmentPhase::Sealed && state.capacity_bytes == 303_104, "{space}");
        let shared = store.record(&store.pin(), large.location).unwrap().shared_value();
        store.release(large.location, large.bytes);
        assert!(store.free(state.id) && !store.free(state.id));
        store.release_freed(&[state.id]).unwrap();
        assert!(store.record(&store.pin(), large.location).is_none());
        assert_eq!(store.bytes_mapped(), 303_104, "still mapped for the shared value");
        assert_eq!(shared, value);
        drop(shared);
        eventually(|| store.shrink().is_ok() && store.bytes_mapped() == 0);
    });
}

#[test]
fn a_full_store_refuses_what_needs_a_segment_and_takes_what_does_not() {
    on_every_space(|_, it| {
        let store = open(it, limited(2));
        let (_, last) = fill(&store);
        let refused = loop {
            if let Err(error) = store.append(0, &plain(b"key", &[1; 20_000])) {
                break error;
            }
        };
        let limit = 2 * u64::from(SEGMENT_BYTES);
        assert!(matches!(refused, StoreError::NoRoom { limit_bytes, .. } if limit_bytes == limit), "{refused}");
        assert_eq!(append(&store, b"small", b"fits").location.segment(), last.segment());
        assert!(matches!(store.append(0, &plain(b"key", &[1; 40_000])), Err(StoreError::NoRoom { .. })));
        let destination = store.open_destination(0).unwrap();
        assert!(matches!(store.open_destination(0), Err(StoreError::NoRoom { .. })), "the overdraft is one segment");
        assert_eq!((store.free_bytes(), store.bytes_mapped()), (0, 3 * u64::from(SEGMENT_BYTES)));
        drop(destination);
        store.set_limit_bytes(4 * u64::from(SEGMENT_BYTES));
        append(&store, b"key", &[1; 20_000]);
    });
}

#[test]
fn a_freed_segment_is_used_again_only_when_released_and_unpinned() {
    on_every_space(|space, it| {
        let store = open(it, Options { overdraft_bytes: 0, ..limited(2) });
        let (old, _) = fill(&store);
        let id = old[0].segment();
        assert!(!store.free(id + 1), "an open segment is not freed");
        assert!(store.free(id));
        assert_eq!(phase(&store, id), Some(SegmentPhase::Freed));
        assert!(store.open_destination(0).is_err(), "{space}: what freed it is not durable");
        assert!(store.record(&store.pin(), old[0]).is_some(), "readable until then");

        let pin = store.pin();
        let record = read(&store, &pin, old[0]);
        store.release_freed(&[id]).unwrap();
        store.release_freed(&[id]).unwrap();
        assert!(store.record(&pin, old[0]).is_none());
        assert!(store.open_destination(0).is_err(), "{space}: somebody looks at it");
        assert_eq!((record.key(), record.value()), (&b"key"[..], &[1; 20_000][..]));
        assert_eq!(record.expires_at_ms(), Ok(None));
        assert_eq!(&record.shared_value()[..], record.value());
        drop(pin);

        let mut destination = None;
        eventually(|| store.open_destination(0).is_ok_and(|it| destination.replace(it).is_none()));
        let destination = destination.unwrap();
        assert_eq!(destination.id(), id, "recycled");
        assert_eq!(store.segments()[0].generation, 2);
    });
}

#[test]
fn a_shared_value_keeps_its_segment_from_being_used_again() {
    on_every_space(|space, it| {
        let store = open(it, Options { overdraft_bytes: 0, ..limited(2) });
        let (old, _) = fill(&store);
        let shared = store.record(&store.pin(), old[1]).unwrap().shared_value();
        let id = old[0].segment();
        assert!(store.free(id));
        store.release_freed(&[id]).unwrap();
        for _ in 0..100 {
            assert!(store.open_destination(0).is_err(), "{space}");
        }
        assert_eq!(shared, [1; 20_000][..]);
        drop(shared.slice(5..10));
        drop(shared);
        eventually(|| store.open_destination(0).is_ok());
    });
}

#[test]
fn a_shared_value_outlives_the_store() {
    on_every_space(|_, it| {
        let store = open(it, options());
        let location = append(&store, b"key", b"value").location;
        let shared = store.record(&store.pin(), location).unwrap().shared_value();
        drop(store);
        assert_eq!(shared, b"value"[..]);
    });
}

#[test]
fn survivors_move_with_their_crc_and_expiry() {
    on_every_space(|_, it| {
        let store = open(it, options());
        let record = NewRecord {
            key: &[9; 300],
            value: b"value",
            expires_at_ms: Some(5),
            cost: Some(2.5),
            annex: Some(&[4; 70]),
        };
        let old = store.append(0, &record).unwrap();
        let mut destination = store.open_destination(0).unwrap();
        let pin = store.pin();
        let new = destination.append_copy(&read(&store, &pin, old.location)).unwrap().unwrap();
        assert_eq!((new.bytes, new.crc), (old.bytes, old.crc));
        assert_eq!(new.location.segment(), destination.id());
        let moved = read(&store, &pin, new.location);
        assert!(moved.verify() && moved.key() == [9; 300] && moved.value() == b"value");
        assert_eq!((moved.expires_at_ms(), moved.cost()), (Ok(Some(5)), Some(2.5)));
        assert_eq!(moved.annex(), Some(&[4; 70][..]));
        let mut count = 0;
        while destination.append(&plain(b"key", &[0; 1000])).unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, 63, "and then it is full");
        assert!(destination.room_bytes() < 1024);
        let id = destination.id();
        drop(destination);
        assert_eq!(phase(&store, id), Some(SegmentPhase::Sealed));
    });
}

#[test]
fn classes_and_lanes_have_segments_of_their_own() {
    let store = open(Box::new(SimSegments::new()), Options { classes: 2, lanes: 2, ..options() });
    let [first, second] = [0, 1].map(|class| store.append(class, &plain(b"key", b"value")).unwrap().location);
    assert_ne!(first.segment(), second.segment());
    assert_eq!(store.segments().iter().map(|it| it.class).collect::<Vec<_>>(), [0, 1]);
    store.seal(1);
    assert_eq!(phase(&store, second.segment()), Some(SegmentPhase::Sealed));
    assert_eq!(phase(&store, first.segment()), Some(SegmentPhase::Open));
    let third = store.append(1, &plain(b"key", b"value")).unwrap().location;
    assert!(third.segment() != first.segment() && third.segment() != second.segment());
}

#[test]
fn bytes_are_live_dead_or_free() {
    on_every_space(|_, it| {
        let store = open(it, limited(4));
        assert_eq!((store.live_bytes(), store.dead_bytes(), store.free_bytes()), (0, 0, 4 * 65536));
        let [first, second] = [append(&store, b"a", &[0; 100]), append(&store, b"b", &[0; 1000])];
        assert_eq!((store.live_bytes(), store.dead_bytes()), (u64::from(first.bytes + second.bytes), 0));
        store.release(first.location, first.bytes);
        assert_eq!((store.live_bytes(), store.dead_bytes()), (u64::from(second.bytes), u64::from(first.bytes)));
        assert_eq!((store.bytes_mapped(), store.free_bytes()), (65536, 3 * 65536));
        store.release(second.location, second.bytes + 8);
        assert_eq!(store.live_bytes(), 0, "a count stops at zero");
    });
}

#[test]
fn a_segment_made_ahead_is_the_next_to_be_used() {
    on_every_space(|_, it| {
        let store = open(it, limited(2));
        assert!(store.prefault().unwrap());
        assert!(!store.prefault().unwrap(), "one is enough");
        assert_eq!(
            (phase(&store, 1), store.bytes_mapped(), store.free_bytes()),
            (Some(SegmentPhase::Free), 65536, 2 * 65536)
        );
        assert_eq!(append(&store, b"key", b"value").location.segment(), 1);
        assert!(store.prefault().unwrap());
        store.set_limit_bytes(65536);
        store.seal(0);
        let refused = store.append(0, &plain(b"key", b"value"));
        assert!(matches!(refused, Err(StoreError::NoRoom { .. })), "a free segment beyond the limit is not used");
        eventually(|| store.shrink().is_ok() && store.bytes_mapped() == 65536);
        assert!(!store.prefault().unwrap(), "the limit allows none");
    });
}

#[test]
fn a_large_record_takes_the_place_of_free_segments() {
    let disk = SimSegments::new();
    let store = open(Box::new(disk.clone()), limited(2));
    assert!(store.prefault().unwrap());
    let large = append(&store, b"large", &[0; 100_000]);
    assert_eq!(disk.ids().into_iter().collect::<Vec<_>>(), [large.location.segment()]);
}

#[test]
fn what_was_adopted_is_there_after_opening_again_and_the_rest_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_directory(folder.path());
    let (first, next) = fill(&store);
    let kept = store.append(0, &NewRecord { expires_at_ms: Some(9), ..plain(b"kept", b"value") }).unwrap();
    store.sync().unwrap();
    drop(store);

    let store = open_directory(folder.path());
    let appended = append(&store, b"new", b"while recovering");
    assert!(appended.location.segment() > next.segment(), "nothing found is written yet");
    assert!(store.adopt(kept.location, kept.bytes));
    assert!(
        !store.adopt(Location::new(9, 64), 24)
            && !store.adopt(Location::new(1, 65536 - 8), 24)
            && !store.adopt(Location::new(1, 0), 24)
    );
    store.finish_recovery();
    let states = store.segments();
    assert_eq!((states[1].phase, states[1].live_bytes), (SegmentPhase::Sealed, kept.bytes));
    assert_eq!(states[1].tail_bytes, kept.location.offset_bytes() + kept.bytes);
    {
        let pin = store.pin();
        let record = read(&store, &pin, kept.location);
        assert!(!record.is_trusted() && record.verify() && record.value() == b"value");
        assert_eq!(record.expires_at_ms(), Ok(Some(9)));
        assert!(
            store.record(&pin, first[0]).is_some(),
            "what nobody adopted is there until the log says that it is not wanted"
        );
    }
    assert_eq!(phase(&store, 1), Some(SegmentPhase::Freed));
    store.release_freed(&[1]).unwrap();
    assert!(store.record(&store.pin(), first[0]).is_none());
    assert_eq!(store.verify(kept.location.segment(), &[kept.location]), []);
    store.mark_verified(kept.location.segment());
    assert!(read(&store, &store.pin(), kept.location).is_trusted());
    eventually(|| store.shrink().is_ok() && phase(&store, 1) == Some(SegmentPhase::Free));
    let begun = store.open_destination(0).unwrap();
    assert_eq!((begun.id(), store.segments()[0].generation), (1, 2));
}

#[test]
fn counts_of_a_checkpoint_stand_for_single_adoptions() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_directory(folder.path());
    let appended = append(&store, b"key", b"value");
    let state = store.segments().pop().unwrap();
    drop(store);
    let store = open_directory(folder.path());
    assert!(!store.adopt_segment(1, 8, 65544) && !store.adopt_segment(1, 72, 64) && !store.adopt_segment(2, 8, 80));
    assert!(store.adopt_segment(1, state.live_bytes, state.tail_bytes));
    store.finish_recovery();
    let again = store.segments().pop().unwrap();
    assert_eq!((again.live_bytes, again.tail_bytes), (appended.bytes, 64 + appended.bytes));
}

#[test]
fn segments_of_another_length_are_read_and_go_when_they_are_freed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_directory(folder.path());
    let kept = append(&store, b"key", b"value");
    drop(store);
    let directory = sutra_mmap_store::Directory::open(folder.path()).unwrap();
    let store = open(Box::new(directory), Options { segment_bytes: 2 * SEGMENT_BYTES, ..options() });
    assert!(store.adopt(kept.location, kept.bytes));
    store.finish_recovery();
    assert_eq!(read(&store, &store.pin(), kept.location).value(), b"value");
    assert!(store.free(1));
    store.release_freed(&[1]).unwrap();
    assert!(!folder.path().join("00001.seg").exists());
    eventually(|| store.shrink().is_ok() && store.bytes_mapped() == 0);
}

#[test]
fn what_waits_for_a_sync_is_counted_in_bytes() {
    on_every_space(|space, it| {
        let store = open(it, options());
        store.sync().unwrap();
        let before = store.unsynced_bytes();
        append(&store, b"key", &[1; 20_000]);
        assert!((20_000..21_000).contains(&(store.unsynced_bytes() - before)), "{space}: {}", store.unsynced_bytes());
        store.sync().unwrap();
        assert_eq!(store.unsynced_bytes(), 0, "{space}");
    });
}

#[test]
fn a_failed_sync_is_final() {
    let disk = SimSegments::with_faults(SegmentFaults { fail_sync: Some(2), ..SegmentFaults::default() });
    let store = open(Box::new(disk), options());
    let location = append(&store, b"key", b"value").location;
    store.sync().unwrap();
    store.sync().unwrap();
    append(&store, b"key", b"value");
    assert!(store.failed().is_none() && store.sync().is_err() && store.sync().is_err());
    assert!(matches!(store.append(0, &plain(b"key", b"value")), Err(StoreError::Failed(_))));
    assert!(matches!(store.open_destination(0), Err(StoreError::Failed(_))));
    assert!(store.failed().is_some());
    assert_eq!(read(&store, &store.pin(), location).value(), b"value", "reads go on");
}

#[test]
fn nonsense_is_refused_in_words() {
    let refused = |options| Store::open(Box::new(SimSegments::new()), options).expect_err("refused");
    for segment_bytes in [0, 4096, 65537, (8 << 20) + 4096] {
        assert!(
            matches!(refused(Options { segment_bytes, ..options() }), OpenError::SegmentBytes { found } if found == segment_bytes)
        );
    }
    for classes in [0, CLASSES_MAX + 1] {
        assert!(matches!(refused(Options { classes, ..options() }), OpenError::Classes { .. }));
    }
    if cfg!(not(miri)) {
        let store = open(Box::new(SimSegments::new()), options());
        let key = vec![0; KEY_BYTES_MAX + 1];
        assert!(matches!(store.append(0, &plain(&key, b"")), Err(StoreError::KeyTooLong { .. })));
        assert!(matches!(store.append(0, &plain(b"", &key)), Err(StoreError::ValueTooLong { .. })));
    }
}

#[test]
fn an_annex_may_be_one_mebibyte_long_and_no_byte_more() {
    on_every_space(|space, it| {
        let store = open(it, options());
        let annex = vec![7; ANNEX_BYTES_MAX + 1];
        let longest = NewRecord { annex: Some(&annex[1..]), ..plain(b"key", b"value") };
        let appended = store.append(0, &longest).unwrap();
        assert_eq!(appended.bytes as usize, (18 + 4 + 3 + ANNEX_BYTES_MAX + 5).next_multiple_of(8));
        {
            let pin = store.pin();
            let record = read(&store, &pin, appended.location);
            assert_eq!((record.annex(), record.value()), (Some(&annex[1..]), &b"value"[..]), "{space}");
            assert_eq!(record.shared_value(), b"value"[..]);
        }
        let before = store.live_bytes();
        let refused = store.append(0, &NewRecord { annex: Some(&annex), ..plain(b"key", b"value") }).unwrap_err();
        assert!(matches!(refused, StoreError::AnnexTooLong { bytes } if bytes == annex.len()));
        assert_eq!(refused.to_string(), "annex of 1048577 bytes is longer than 1048576");
        assert_eq!(store.live_bytes(), before, "nothing was stored");
    });
}
