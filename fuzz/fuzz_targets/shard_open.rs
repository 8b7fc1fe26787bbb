//! A data directory with damage anywhere: shard.meta, checkpoint, log, segments. Opening never panics. Unless checksums were forged, what is found
//! is part of one state that there was: no wrong value, nothing deleted that came back. And the shard goes on working.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use sutra_fuzz::damage::{damage, seal_checkpoint, seal_log, seal_segment};
use sutra_fuzz::input::Input;
use sutra_fuzz::world::{Image, NOW_MS, State, content, lived_in, options};
use sutra_shard::{Put, Scope};
use sutra_wal::Lsn;

fn lives() -> &'static [(Image, Vec<State>); 4] {
    static LIVES: OnceLock<[(Image, Vec<State>); 4]> = OnceLock::new();
    LIVES.get_or_init(|| {
        [(false, false), (false, true), (true, false), (true, true)].map(|(mapped, with)| lived_in(mapped, with))
    })
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let flags = input.byte();
    let (image, states) = &lives()[usize::from(flags & 3)];
    let forged = flags & 4 != 0;
    let mut image = image.clone();
    for _ in 0..=flags >> 5 {
        let which = input.below(image.files.len() + image.segments.len());
        match image.files.len() {
            files if which < files => {
                let (name, content) = &mut image.files[which];
                damage(content, &mut input);
                if forged && name.ends_with(".wal") {
                    seal_log(content);
                } else if forged && name.starts_with("checkpoint") {
                    seal_checkpoint(content);
                }
            }
            files => {
                let content = &mut image.segments[which - files].1;
                damage(content, &mut input);
                if forged {
                    seal_segment(content, &[64]);
                }
            }
        }
    }
    let options = options(image.mapped);
    let world = image.world();
    let Ok((shard, recovery)) = world.open(&options, NOW_MS) else { return };
    let found = content(&shard, NOW_MS);
    if !forged {
        let is_part = |state: &State| found.iter().all(|(key, value)| state.get(key) == Some(value));
        assert!(states.iter().any(is_part), "{} keys found that were never there together: {recovery:?}", found.len());
    }
    for _ in 0..4 {
        shard.tick(NOW_MS);
    }
    let mut txn = shard.begin(Scope::Key(b"new"), NOW_MS);
    let stored = txn.put(0, b"new", b"value", Put::default()).is_ok();
    let Ok(lsn) = txn.commit() else { return };
    if !stored || shard.flush_log(lsn.unwrap_or(Lsn(0))).is_err() || shard.checkpoint(NOW_MS).is_err() {
        return;
    }
    let before = content(&shard, NOW_MS);
    drop(shard);
    let (shard, _) = world.kill().open(&options, NOW_MS).expect("a shard that wrote a checkpoint opens again");
    let after = content(&shard, NOW_MS);
    assert_eq!(after.get(&b"new"[..]).map(Vec::as_slice), Some(&b"value"[..]));
    if !forged {
        assert_eq!(after, before, "another start changes nothing");
    }
});
