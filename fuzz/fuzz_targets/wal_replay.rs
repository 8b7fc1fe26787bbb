//! Log files of any content, or sound ones that were damaged. Nothing panics; frames come in order; what was damaged and not made to look
//! sound gives no frame that was never written, unless it is reported as repaired; and what was discarded stays discarded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, OnceLock};
use sutra_fuzz::damage::{damage, seal_log};
use sutra_fuzz::input::Input;
use sutra_testkit::storage::{Faults, SimStorage};
use sutra_wal::{Damage, Log, LogOptions, Lsn, Replay, Storage, Verdict};

const OPTIONS: LogOptions = LogOptions { file_bytes: 1024, buffer_bytes_max: 600, seed: 42 };

#[derive(Default)]
struct Collect {
    frames: Vec<(Lsn, Vec<u8>)>,
    cut_at: Option<Lsn>,
}

impl Replay for Collect {
    fn frame(&mut self, lsn: Lsn, body: &[u8], durable: bool) -> Verdict {
        assert!(self.frames.last().is_none_or(|(last, _)| *last < lsn), "frames come in order");
        if !durable && self.cut_at == Some(lsn) {
            return Verdict::Cut;
        }
        self.frames.push((lsn, body.to_vec()));
        Verdict::Accept
    }

    fn damaged(&mut self, damage: &Damage) {
        assert!(damage.first <= damage.last, "{damage:?}");
    }
}

fn body(lsn: u64) -> Vec<u8> {
    lsn.to_le_bytes().repeat([1, 3, 40][lsn as usize % 3])
}

/// Files of a sound log: 40 frames, of which 30 are known durable.
fn sound() -> &'static [(String, Vec<u8>)] {
    static FILES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let storage = SimStorage::new(1, Faults::default());
        let (log, _) = Log::open(Arc::new(storage.clone()), OPTIONS, Lsn(0), &mut Collect::default()).expect("opens");
        for lsn in 1..=40 {
            log.append(&body(lsn)).expect("appended");
            if lsn % 10 == 0 && lsn < 40 {
                log.sync().expect("synced");
                log.mark_durable(Lsn(lsn));
            }
        }
        log.flush(Lsn(40)).expect("flushed");
        drop(log);
        let left = storage.kill();
        let names = left.list().expect("no fault");
        names.into_iter().filter_map(|name| Some((name.clone(), left.content(&name)?))).collect()
    })
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let flags = input.byte();
    let (forged, from_nothing) = (flags & 1 != 0, flags & 2 != 0);
    let after = Lsn(if flags & 4 != 0 { u64::from(input.byte()) } else { 0 });
    let cut_at = (flags & 8 != 0).then(|| Lsn(u64::from(input.byte())));
    let mut files: Vec<(String, Vec<u8>)> = if from_nothing { Vec::new() } else { sound().to_vec() };
    if from_nothing {
        for number in 1..=1 + u64::from(flags >> 6) {
            let bytes = input.below(4096);
            let mut content = input.bytes(bytes).to_vec();
            content.resize(content.len().max(1024), 0);
            files.push((format!("{number:016}.wal"), content));
        }
    } else {
        for _ in 0..=flags >> 5 {
            let file = input.below(files.len());
            damage(&mut files[file].1, &mut input);
        }
    }
    let storage = SimStorage::new(1, Faults::default());
    for (name, mut content) in files {
        if forged {
            seal_log(&mut content);
        }
        storage.put(&name, content);
    }
    let mut seen = Collect { cut_at, ..Collect::default() };
    let Ok((log, report)) = Log::open(Arc::new(storage.clone()), OPTIONS, after, &mut seen) else { return };
    if !forged && !from_nothing {
        for (lsn, found) in &seen.frames {
            // Several wrong bytes can look like one, with the odds that the page on the format gives; then the frame is reported as repaired.
            let is_guess = report.repaired.iter().any(|repaired| repaired.lsn == Some(*lsn));
            assert!(is_guess || *found == body(lsn.0), "frame {lsn:?}: {found:?}");
        }
    }
    // Forged numbers at the end of the range have no successor.
    if log.last().0 >= 1 << 56 {
        return;
    }
    let next = log.append(b"next").expect("the storage is sound");
    assert_eq!(next, Lsn(log.last().0));
    log.sync().expect("the storage is sound");
    drop(log);
    // The same decisions again, and the new frame behind them.
    let mut again = Collect::default();
    let Ok((_, report)) = Log::open(Arc::new(storage.kill()), OPTIONS, after, &mut again) else {
        panic!("a log that was opened and written opens again");
    };
    assert_eq!(report.last, next);
    seen.frames.push((next, b"next".to_vec()));
    assert_eq!(again.frames, seen.frames);
});
