//! Every variable of the compose file, by what it does to the running process.

use crate::support::client::Client;
use crate::support::process::Process;
use rustix::process::Signal;
use std::path::Path;
use sutra_protocol::Frame;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn start(directory: &Path, settings: &[(&str, &str)]) -> Process {
    Process::start(directory, settings).unwrap_or_else(|refusal| panic!("{settings:?}: {refusal:?}"))
}

fn refused(settings: &[(&str, &str)]) -> String {
    let folder = folder();
    let refusal = Process::start(folder.path(), settings).err().unwrap_or_else(|| panic!("{settings:?} was accepted"));
    assert_eq!(refusal.code, Some(1), "{settings:?}");
    refusal.log
}

fn info(client: &mut Client, field: &str) -> String {
    let Frame::Bulk(text) = client.say("INFO everything") else { panic!("text") };
    let text = String::from_utf8(text.to_vec()).expect("text");
    let start = format!("{field}:");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {field}")).trim().to_owned()
}

fn ok(client: &mut Client, line: &str) {
    assert_eq!(client.say(line), Frame::Simple("OK".to_owned()), "{line}");
}

/// What TIME says.
fn milliseconds(time: &Frame) -> u64 {
    let Frame::Array(parts) = time else { panic!("{time:?}") };
    let [Frame::Bulk(seconds), Frame::Bulk(microseconds)] = parts.as_slice() else { panic!("{parts:?}") };
    let number = |text: &[u8]| std::str::from_utf8(text).expect("text").parse::<u64>().expect("a number");
    number(seconds) * 1_000 + number(microseconds) / 1_000
}

/// A line with a vector of so many components, all of them 1.
fn with_vector(line: &str, dimension: usize) -> String {
    format!("{line} VALUES {dimension}{}", " 1".repeat(dimension))
}

#[test]
fn the_compose_file_s_environment_starts_a_server_that_obeys_all_of_it() {
    let folder = folder();
    let data = folder.path().join("volume");
    let secret = folder.path().join("password");
    std::fs::write(&secret, "from a file\n").expect("a file");
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port().to_string();
    let settings = [
        ("SUTRA_ROLE", "cache_shard"),
        ("CACHE_MODE", "true"),
        ("STORAGE_PATH", data.to_str().expect("text")),
        ("STORAGE_PORT", &port),
        ("VECTOR_DIMENSION", "768"),
        ("MAX_CONCEPTS", "50"),
        ("EVICTION_POLICY", "lru"),
        ("DEFAULT_TTL_SECONDS", "86400"),
        ("MMAP_ENABLED", "true"),
        ("WAL_SYNC_INTERVAL_MS", "5000"),
        ("RUST_LOG", "warn,sutra_cache::cli=info"),
        ("SUTRA_PASSWORD_FILE", secret.to_str().expect("text")),
        ("SUTRA_STORAGE_MODE", "sharded"),
        ("SUTRA_NUM_SHARDS", "4"),
    ];
    let mut process = start(folder.path(), &settings);
    assert_eq!(process.port().to_string(), port);
    let mut client = process.client();
    assert!(matches!(client.say("GET k"), Frame::Error(text) if text.starts_with("NOAUTH")));
    assert_eq!(client.ask(&["AUTH", "from a file"]).expect("an answer"), Frame::Simple("OK".to_owned()));
    assert!(matches!(client.say(&with_vector("CACHE.SET q v IN text", 768)), Frame::Simple(_)));
    assert!(data.join("shard.meta").exists());
    assert!(data.join("segments").read_dir().expect("a directory").count() > 0, "values are in mapped files");
    let small = client.say(&with_vector("CACHE.SET r v IN text", 256));
    assert!(matches!(&small, Frame::Error(text) if text.contains("768")), "{small:?}");
    let Frame::Integer(ttl) = client.say("TTL q") else { panic!("a number") };
    assert!((86_390..=86_400).contains(&ttl), "{ttl}");
    ok(&mut client, "SET key:0 v");
    // What follows is younger by the clock, which tells milliseconds apart: of the 150 that are evicted, it is the first or second choice
    // of every sample that it is in.
    let written = client.say("TIME");
    while milliseconds(&client.say("TIME")) <= milliseconds(&written) {}
    for number in 1..200 {
        ok(&mut client, &format!("SET key:{number} v"));
    }
    let Frame::Integer(entries) = client.say("DBSIZE") else { panic!("a number") };
    assert!((30..=50).contains(&entries), "{entries}");
    assert_eq!(client.say("GET key:199"), Frame::Bulk(b"v".to_vec()), "what was used last stays");
    assert_eq!(client.say("GET key:0"), Frame::Null, "what was used first is gone");
    assert_eq!(
        client.say("CONFIG GET wal-sync-interval-ms"),
        Frame::Array(vec![Frame::Bulk(b"wal-sync-interval-ms".to_vec()), Frame::Bulk(b"5000".to_vec()),])
    );
    assert_eq!(process.end(Signal::TERM).code(), Some(0));
    let log = process.log_text();
    let unknown: Vec<&str> = log.lines().filter(|line| line.contains("SUTRA_")).collect();
    assert_eq!(unknown.len(), 1, "one line names all: {log}");
    assert!(unknown[0].contains("SUTRA_NUM_SHARDS SUTRA_STORAGE_MODE"), "{log}");
    assert!(!log.contains("from a file"), "{log}");
}

#[test]
fn another_role_and_another_mode_are_refused() {
    for (name, value, accepted) in [
        ("SUTRA_ROLE", "storage", "cache_shard"),
        ("SUTRA_ROLE", "embedder", "cache_shard"),
        ("CACHE_MODE", "false", "yes"),
    ] {
        let log = refused(&[(name, value)]);
        for part in [name, value, accepted] {
            assert!(log.contains(part), "{part} is missing in: {log}");
        }
    }
}

#[test]
fn without_a_default_ttl_entries_stay_and_with_one_plain_commands_are_not_touched() {
    let folder = folder();
    let process = start(folder.path(), &[]);
    let mut client = process.client();
    ok(&mut client, "CACHE.SET k v");
    assert_eq!(client.say("TTL k"), Frame::Integer(-1));
    drop(process);
    let process = start(folder.path(), &[("DEFAULT_TTL_SECONDS", "60")]);
    let mut client = process.client();
    ok(&mut client, "SET plain v");
    assert_eq!(client.say("TTL plain"), Frame::Integer(-1));
}

#[test]
fn the_eviction_policy_decides_what_happens_when_memory_is_full() {
    for (policy, refuses) in [("noeviction", true), ("lru", false)] {
        let folder = folder();
        let process = start(folder.path(), &[("MAX_MEMORY", "8mb"), ("EVICTION_POLICY", policy)]);
        let mut client = process.client();
        let value = "x".repeat(50_000);
        let answers: Vec<Frame> = (0..400).map(|number| client.say(&format!("SET k{number} {value}"))).collect();
        let refused = answers.iter().any(|answer| matches!(answer, Frame::Error(text) if text.starts_with("OOM")));
        assert_eq!(refused, refuses, "{policy}");
        assert_eq!(info(&mut client, "evicted_keys") == "0", refuses, "{policy}");
    }
}

#[test]
fn without_mapped_files_values_are_in_the_log_and_survive_there() {
    let folder = folder();
    let process = start(folder.path(), &[("MMAP_ENABLED", "false")]);
    ok(&mut process.client(), "SET k unmistakable-value");
    let segments = folder.path().join("segments");
    assert!(!segments.exists() || segments.read_dir().expect("a directory").count() == 0);
    process.kill();
    let process = start(folder.path(), &[("MMAP_ENABLED", "false")]);
    assert_eq!(process.client().say("GET k"), Frame::Bulk(b"unmistakable-value".to_vec()));
}

#[test]
fn the_sync_interval_decides_when_a_write_is_durable() {
    let folder = folder();
    let process = start(folder.path(), &[("WAL_SYNC_INTERVAL_MS", "0")]);
    let mut client = process.client();
    ok(&mut client, "SET k v");
    let written: u64 = info(&mut client, "sutra_log_durable_lsn").parse().expect("a number");
    assert!(written > 0, "durable before the reply");
    drop(process);
    let second = tempfile::tempdir().expect("a temporary directory");
    let process = start(second.path(), &[("WAL_SYNC_INTERVAL_MS", "3600000")]);
    let mut client = process.client();
    ok(&mut client, "SET k v");
    assert_eq!(info(&mut client, "sutra_log_durable_lsn"), "0", "the hour is not over");
    process.kill();
    let process = start(second.path(), &[]);
    assert_eq!(
        process.client().say("GET k"),
        Frame::Bulk(b"v".to_vec()),
        "the death of the process alone loses nothing"
    );
}

#[test]
fn the_log_has_the_level_and_the_format_that_were_asked_for_and_shows_no_keys() {
    let folder = folder();
    let mut process = start(
        folder.path(),
        &[
            ("RUST_LOG", "info,sutra_cache::commands=debug"),
            ("LOG_FORMAT", "json"),
            ("SUTRA_SLOWLOG_LOG_SLOWER_THAN", "0"),
        ],
    );
    let mut client = process.client();
    client.say("GET what-somebody-has-asked");
    client.say("CACHE.GET what-somebody-has-asked");
    ok(&mut client, "CONFIG SET loglevel nothing");
    client.say("GET another-key");
    assert_eq!(process.end(Signal::TERM).code(), Some(0));
    let log = process.log_text();
    assert!(!log.contains("what-somebody") && !log.contains("another-key"), "{log}");
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    let misses: Vec<&serde_json::Value> = lines.iter().filter(|line| line["fields"]["message"] == "a miss").collect();
    assert_eq!(misses.len(), 2, "{log}");
    // A key has one name in the log, whatever asked for it.
    assert_eq!(misses[0]["fields"]["key"], misses[1]["fields"]["asked"]);
    assert!(lines.iter().any(|line| line["fields"]["message"] == "a slow call; SLOWLOG GET has more"), "{log}");
    assert!(!lines.iter().any(|line| line["fields"]["message"] == "stopped"), "the level holds until the end");
}
