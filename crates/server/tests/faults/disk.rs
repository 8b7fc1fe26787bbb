//! A disk that fills up: a small tmpfs in a mount namespace of the test's own, so that nothing is left behind and no privilege is needed.
//!
//! Where the system allows no such namespace the tests say so and prove nothing.

use crate::support::client::Client;
use crate::support::process::Process;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use sutra_protocol::Frame;

/// Tells the inner run of a test that it is in a namespace of its own.
const INSIDE: &str = "SUTRA_TEST_INSIDE_NAMESPACE";
/// What is taken away from the disk, and given back later.
const BALLAST_BYTES: usize = 16 << 20;
/// How long service may take to come back.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_full_disk_refuses_writes_and_serves_reads_until_space_returns() {
    in_namespace("disk::a_full_disk_refuses_writes_and_serves_reads_until_space_returns", |directory| {
        fill_and_free(directory, &[("WAL_SYNC_INTERVAL_MS", "50"), ("EVICTION_POLICY", "noeviction")]);
    });
}

/// Memory is not what is short, so nothing may be evicted to make room on the disk.
#[test]
fn a_full_disk_evicts_nothing() {
    in_namespace("disk::a_full_disk_evicts_nothing", |directory| {
        fill_and_free(directory, &[("EVICTION_POLICY", "lru")]);
    });
}

#[test]
fn a_full_disk_loses_nothing_when_each_reply_waits_for_the_disk() {
    in_namespace("disk::a_full_disk_loses_nothing_when_each_reply_waits_for_the_disk", |directory| {
        fill_and_free(directory, &[("WAL_SYNC_INTERVAL_MS", "0")]);
    });
}

#[test]
fn a_full_disk_loses_nothing_with_payloads_in_the_log() {
    in_namespace("disk::a_full_disk_loses_nothing_with_payloads_in_the_log", |directory| {
        fill_and_free(directory, &[("WAL_SYNC_INTERVAL_MS", "50"), ("MMAP_ENABLED", "false")]);
    });
}

fn fill_and_free(directory: &Path, settings: &[(&str, &str)]) {
    let settings: Vec<_> = [("MAX_MEMORY", "1gb")].into_iter().chain(settings.iter().copied()).collect();
    let ballast = directory.join("ballast");
    std::fs::write(&ballast, vec![1; BALLAST_BYTES]).expect("the disk is empty");
    let data = directory.join("data");
    std::fs::create_dir(&data).expect("the disk is empty");
    let process = Process::start(&data, &settings).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let mut written = Written::default();

    // Until it is full.
    let mut client = process.client();
    let refusal = loop {
        if let Some(refusal) = written.put(&mut client) {
            break refusal;
        }
        assert!(written.entries.len() < 100_000, "the disk does not get full");
    };
    assert!(written.entries.len() > 1000, "full after {} entries: {refusal}", written.entries.len());
    // The connection whose write met the end of the disk may be closed, since its writes are in memory and cannot be made safe.
    let mut client = process.client();
    let refusals = (0..20).map(|_| written.put(&mut client).unwrap_or_default()).collect::<Vec<_>>();
    let is_clear = |refusal: &String| refusal.starts_with("MISCONF") || refusal.to_lowercase().contains("no space");
    assert!(refusals.iter().all(is_clear), "these do not say why: {refusals:?}; first {refusal:?}");
    written.check(&mut client, "while the disk is full");
    assert_eq!(client.say("PING"), Frame::Simple("PONG".to_owned()));

    // A kill now: what was acknowledged is there, even though the disk is still full.
    process.kill();
    let process = Process::start(&data, &settings).unwrap_or_else(|refusal| panic!("on a full disk: {refusal:?}"));
    let mut client = process.client();
    written.check(&mut client, "started on a full disk");

    // Space returns, and with it service.
    std::fs::remove_file(&ballast).expect("the ballast is there");
    let deadline = Instant::now() + PATIENCE;
    let mut client = process.client();
    while let Some(refusal) = written.put(&mut client) {
        assert!(Instant::now() < deadline, "writes are still refused: {refusal}\n{}", process.log_text());
        std::thread::park_timeout(Duration::from_millis(20));
        client = process.client();
    }
    for _ in 0..200 {
        assert_eq!(written.put(&mut client), None, "service that has come back stays");
    }
    written.check(&mut client, "after space returned");
    process.kill();
    let process = Process::start(&data, &settings).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    written.check(&mut process.client(), "after the last kill");
    assert!(!process.log_text().contains("damage"), "{}", process.log_text());
}

/// What was acknowledged, and what may have been carried out besides.
#[derive(Default)]
struct Written {
    entries: BTreeMap<String, Vec<u8>>,
    /// Writes without an answer: each may be there or not.
    open: BTreeMap<String, Vec<u8>>,
    next: usize,
}

impl Written {
    /// Writes one more entry; why it was refused, if it was.
    fn put(&mut self, client: &mut Client) -> Option<String> {
        let key = format!("k{}", self.next);
        let mut value = format!("{key}|").into_bytes();
        value.resize(3000, (self.next % 251) as u8);
        self.next += 1;
        match client.ask(&[b"SET", key.as_bytes(), &value]) {
            Ok(Frame::Simple(_)) => {
                self.entries.insert(key, value);
                None
            }
            Ok(Frame::Error(text)) => {
                // An error promises nothing, not even that it was not carried out.
                self.open.insert(key, value);
                Some(text)
            }
            Ok(other) => panic!("SET answers {other:?}"),
            Err(error) => {
                self.open.insert(key, value);
                Some(error.to_string())
            }
        }
    }

    fn check(&self, client: &mut Client, when: &str) {
        for (key, value) in &self.entries {
            let found = client.say(&format!("GET {key}"));
            assert!(matches!(&found, Frame::Bulk(found) if found == value), "{when}: {key} is lost or wrong");
        }
        for (key, value) in &self.open {
            let found = client.say(&format!("GET {key}"));
            let is_right = found == Frame::Null || matches!(&found, Frame::Bulk(found) if found == value);
            assert!(is_right, "{when}: {key} is wrong");
        }
    }
}

/// Runs `test` with a directory that is a tmpfs of 48 MiB: in a process of its own, which runs the test of this name again.
fn in_namespace(name: &str, test: impl FnOnce(&Path)) {
    if std::env::var_os(INSIDE).is_some() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"])
            .arg(directory.path())
            .status()
            .expect("mount was found by the outer run");
        assert!(mounted.success());
        test(directory.path());
        return;
    }
    let is_possible = Command::new("unshare")
        .args(["-rm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !is_possible {
        eprintln!("SKIPPED {name}: this system gives no mount namespace (unshare -rm)");
        return;
    }
    let inner = Command::new("unshare")
        .arg("-rm")
        .arg(std::env::current_exe().expect("the test knows its binary"))
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare was found");
    let text = String::from_utf8_lossy(&inner.stdout).into_owned() + &String::from_utf8_lossy(&inner.stderr);
    assert!(inner.status.success(), "{text}");
    assert!(text.contains("1 passed"), "the inner run found no test {name}: {text}");
}
