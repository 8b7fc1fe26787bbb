//! Starts that must be refused, and stops that must be clean.

use crate::support::process::{Process, Refusal};
use rustix::process::Signal;
use std::path::Path;
use sutra_protocol::Frame;

fn refused(directory: &Path, settings: &[(&str, &str)]) -> Refusal {
    match Process::start(directory, settings) {
        Ok(_) => panic!("a start with {settings:?} succeeded"),
        Err(refusal) => refusal,
    }
}

fn start(directory: &Path, settings: &[(&str, &str)]) -> Process {
    Process::start(directory, settings).unwrap_or_else(|refusal| panic!("{settings:?}: {refusal:?}"))
}

#[test]
fn a_second_process_on_the_same_directory_is_refused_and_harms_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let first = start(directory.path(), &[]);
    first.client().say("SET k v");
    for settings in [&[][..], &[("MMAP_ENABLED", "false")], &[("WAL_SYNC_INTERVAL_MS", "off")]] {
        let refusal = refused(directory.path(), settings);
        assert_eq!(refusal.code, Some(1));
        let names_directory = refusal.log.contains(&*directory.path().to_string_lossy());
        let names_process = refusal.log.contains(&format!("in use by process {}", first.pid().as_raw_nonzero()));
        assert!(names_directory && names_process, "{}", refusal.log);
    }
    assert_eq!(first.client().say("GET k"), Frame::Bulk(b"v".to_vec()));
    first.kill();
    let next = start(directory.path(), &[]);
    assert_eq!(next.client().say("GET k"), Frame::Bulk(b"v".to_vec()), "a process that was killed holds nothing");
}

#[test]
fn a_port_that_is_taken_stops_the_start() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    let refusal = refused(directory.path(), &[("STORAGE_PORT", &port)]);
    assert_eq!(refusal.code, Some(1));
    assert!(refusal.log.contains(&format!("127.0.0.1:{port}")), "{}", refusal.log);
}

/// The message has to name the variable, its value, and what would be accepted.
#[test]
fn a_wrong_setting_stops_the_start_with_a_message_that_names_it() {
    for (name, value, accepted) in [
        ("STORAGE_PORT", "seventy", "integer"),
        ("STORAGE_PORT", "70000", "65535"),
        ("STORAGE_HOST", "not an address", "address"),
        ("MAX_MEMORY", "much", "memory"),
        ("MAX_MEMORY", "1kb", "8388608"),
        ("MAX_CONCEPTS", "-1", "0"),
        ("EVICTION_POLICY", "oldest", "allkeys-lru"),
        ("MMAP_ENABLED", "maybe", "yes"),
        ("WAL_SYNC_INTERVAL_MS", "sometimes", "off"),
        ("SUTRA_ROLE", "oracle", "cache_shard"),
        ("DEFAULT_TTL_SECONDS", "1h", "integer"),
    ] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let refusal = refused(directory.path(), &[(name, value)]);
        assert_eq!(refusal.code, Some(1), "{name}={value}");
        for text in [name, value, accepted] {
            assert!(refusal.log.contains(text), "{name}={value}: no {text:?} in {}", refusal.log);
        }
        let made = std::fs::read_dir(directory.path()).expect("the directory can be read").count();
        assert_eq!(made, 0, "{name}={value}: a start that is refused leaves the data directory alone");
    }
}

#[test]
fn a_directory_that_cannot_be_made_stops_the_start() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("file");
    std::fs::write(&file, b"").expect("a file");
    let path = file.join("data").to_string_lossy().into_owned();
    let refusal = refused(directory.path(), &[("STORAGE_PATH", &path)]);
    assert_eq!(refusal.code, Some(1));
    assert!(refusal.log.contains(&path), "{}", refusal.log);
}

#[test]
fn a_signal_stops_cleanly_with_everything_there() {
    for signal in [Signal::TERM, Signal::INT] {
        for settings in [
            &[("WAL_SYNC_INTERVAL_MS", "1000")][..],
            &[("WAL_SYNC_INTERVAL_MS", "0")],
            &[("WAL_SYNC_INTERVAL_MS", "100000"), ("MMAP_ENABLED", "false")],
        ] {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let mut process = start(directory.path(), settings);
            let mut client = process.client();
            for number in 0..500 {
                assert_eq!(client.say(&format!("SET k{number} {number} EX 1000")), Frame::Simple("OK".to_owned()));
            }
            client.say("HSET h a 1 b 2");
            client.say("DEL k7");
            let status = process.end(signal);
            assert_eq!(status.code(), Some(0), "{signal:?} {settings:?}");
            assert!(client.receive().is_err(), "the connection is closed");

            let process = start(directory.path(), settings);
            let mut client = process.client();
            assert_eq!(client.say("DBSIZE"), Frame::Integer(500));
            assert_eq!(client.say("GET k499"), Frame::Bulk(b"499".to_vec()));
            assert_eq!(client.say("GET k7"), Frame::Null);
            assert_eq!(client.say("HGET h b"), Frame::Bulk(b"2".to_vec()));
            let log = process.log_text();
            assert!(!log.contains("damage") && !log.contains("cut"), "a clean stop leaves a clean log: {log}");
        }
    }
}

#[test]
fn without_a_log_a_signal_stops_cleanly_too_and_the_next_start_is_empty() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let settings = &[("WAL_SYNC_INTERVAL_MS", "off")];
    let mut process = start(directory.path(), settings);
    assert_eq!(process.client().say("SET k v"), Frame::Simple("OK".to_owned()));
    assert_eq!(process.end(Signal::TERM).code(), Some(0));
    let mut process = start(directory.path(), settings);
    assert_eq!(process.client().say("GET k"), Frame::Null, "what nothing logs does not outlive its process");
    assert_eq!(process.end(Signal::INT).code(), Some(0));
}

#[test]
fn clients_in_the_middle_of_a_pipeline_get_every_reply_of_what_was_carried_out() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut process = start(directory.path(), &[]);
    let mut client = process.client();
    let mut requests = Vec::new();
    for _ in 0..20_000 {
        sutra_protocol::encode_request(&["INCR", "n"], &mut requests);
    }
    let mut replies = 0;
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            // The server stops reading at some point: sending may fail then, which ends the pipeline.
            drop(client.send(&requests));
            while let Ok(Frame::Integer(count)) = client.receive() {
                replies = count;
            }
            replies
        });
        // Some of them have been answered by now, most have not.
        let mut other = process.client();
        while !matches!(other.say("GET n"), Frame::Bulk(count) if count.len() > 2) {}
        assert_eq!(process.end(Signal::TERM).code(), Some(0));
        let acknowledged = reader.join().expect("the reader does not panic");
        let process = start(directory.path(), &[]);
        let Frame::Bulk(count) = process.client().say("GET n") else { panic!("the counter is there") };
        let count: i64 = String::from_utf8_lossy(&count).parse().expect("a number");
        assert!(count >= acknowledged, "{acknowledged} were acknowledged, {count} are there");
    });
}
