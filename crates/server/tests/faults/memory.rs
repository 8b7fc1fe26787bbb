//! What happens at the memory limit.

use crate::support::process::Process;
use sutra_protocol::{Frame, encode_request};

/// Values of which a segment (256 KiB at this limit) holds one: a sum of bytes that would fit does not.
const VALUE_BYTES: usize = 140_000;

#[test]
fn an_mset_that_is_refused_for_want_of_memory_changes_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let settings = &[("MAX_MEMORY", "16mb"), ("EVICTION_POLICY", "noeviction")];
    let process = Process::start(directory.path(), settings).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let mut client = process.client();
    let value = vec![b'x'; VALUE_BYTES];
    let ok = Frame::Simple("OK".to_owned());
    let mut filled = 0;
    while client.ask(&[b"SET", format!("k{filled}").as_bytes(), &value]).expect("an answer") == ok {
        filled += 1;
    }
    let (mut refused, mut done) = (0, 0);
    for round in 0..filled {
        client.say(&format!("DEL k{round}"));
        let names: Vec<String> = (0..8).map(|number| format!("m{round}:{number}")).collect();
        let mut arguments: Vec<&[u8]> = vec![b"MSET"];
        names.iter().for_each(|name| arguments.extend([name.as_bytes(), &value]));
        let mut request = Vec::new();
        encode_request(&arguments, &mut request);
        client.send(&request).expect("the request is sent");
        let answer = client.receive().expect("an answer");
        let there = client.say(&format!("EXISTS {}", names.join(" ")));
        if answer == ok {
            assert_eq!(there, Frame::Integer(8));
            done += 1;
            client.say(&format!("DEL {}", names.join(" ")));
        } else {
            assert!(matches!(&answer, Frame::Error(text) if text.starts_with("OOM ")), "{answer:?}");
            assert_eq!(
                there,
                Frame::Integer(0),
                "after {} deletions: a refused MSET was carried out in part",
                round + 1
            );
            refused += 1;
        }
    }
    assert!(refused > 0 && done > 0, "{refused} were refused, {done} done: this test saw only one side");
}

/// As long as there is something that may be evicted, a cache takes what is written.
#[test]
fn a_cache_that_evicts_refuses_nothing_that_fits() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let settings = &[("MAX_MEMORY", "16mb"), ("EVICTION_POLICY", "lru")];
    let process = Process::start(directory.path(), settings).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    std::thread::scope(|scope| {
        for writer in 0..5 {
            let mut client = process.client();
            scope.spawn(move || {
                for batch in 0..60 {
                    let mut requests = Vec::new();
                    for number in 0..40 {
                        let value = vec![b'x'; [30, 700, 3000, 9000][(batch + number) % 4]];
                        encode_request(
                            &[b"SET", format!("{writer}:{batch}:{number}").as_bytes(), &value],
                            &mut requests,
                        );
                    }
                    client.send(&requests).expect("the requests are sent");
                    for number in 0..40 {
                        let answer = client.receive().expect("an answer");
                        assert_eq!(
                            answer,
                            Frame::Simple("OK".to_owned()),
                            "writer {writer}, batch {batch}, SET {number}"
                        );
                    }
                }
            });
        }
    });
}

/// Room that was seen before the locks were taken may be gone when it is needed, since others write too.
#[test]
fn concurrent_msets_are_carried_out_whole_or_not_at_all() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let settings = &[("MAX_MEMORY", "16mb"), ("EVICTION_POLICY", "lru")];
    let process = Process::start(directory.path(), settings).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    std::thread::scope(|scope| {
        for writer in 0..5 {
            let mut client = process.client();
            scope.spawn(move || {
                for round in 0..150 {
                    let sizes = [1000, 100_000, 30, 160_000, 5000];
                    let names: Vec<String> = (0..5).map(|number| format!("{writer}:{round}:{number}")).collect();
                    let values: Vec<Vec<u8>> = sizes.iter().map(|bytes| vec![b'x'; *bytes]).collect();
                    let mut arguments: Vec<&[u8]> = vec![b"MSET"];
                    names.iter().zip(&values).for_each(|(name, value)| arguments.extend([name.as_bytes(), value]));
                    let answer = client.ask(&arguments).expect("an answer");
                    if matches!(answer, Frame::Error(_)) {
                        let there = client.say(&format!("EXISTS {}", names.join(" ")));
                        assert_eq!(there, Frame::Integer(0), "writer {writer}, round {round}: {answer:?}");
                    }
                }
            });
        }
    });
}

/// Dead bytes are kept within bounds long before the memory limit: that is compaction, and must neither evict nor refuse anything.
#[test]
fn far_below_the_memory_limit_nothing_is_evicted_or_refused_however_much_is_overwritten() {
    for policy in ["lru", "noeviction"] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let settings = &[("MAX_MEMORY", "512mb"), ("EVICTION_POLICY", policy), ("WAL_SYNC_INTERVAL_MS", "50")];
        let process = Process::start(directory.path(), settings).unwrap_or_else(|refusal| panic!("{refusal:?}"));
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let mut client = process.client();
                scope.spawn(move || {
                    for round in 0..400 {
                        let mut requests = Vec::new();
                        for key in 0..50 {
                            let mut value = format!("{round}|").into_bytes();
                            value.resize(100 + (round * 7 + key * 131) % 6000, b'x');
                            encode_request(&[b"SET", format!("{writer}:{key}").as_bytes(), &value], &mut requests);
                        }
                        client.send(&requests).expect("the requests are sent");
                        for key in 0..50 {
                            let answer = client.receive().expect("an answer");
                            assert_eq!(
                                answer,
                                Frame::Simple("OK".to_owned()),
                                "{policy}: round {round} of {writer}:{key}"
                            );
                        }
                    }
                });
            }
        });
        let mut client = process.client();
        assert_eq!(client.say("DBSIZE"), Frame::Integer(200), "{policy}: 200 keys of 3 KB are kept within 512 MB");
        let Frame::Bulk(info) = client.say("INFO stats") else { panic!("INFO answers with text") };
        let info = String::from_utf8_lossy(&info).into_owned();
        assert!(info.contains("evicted_keys:0\r\n"), "{policy}: {info}");
    }
}
