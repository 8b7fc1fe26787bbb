//! Memory limits of a container: a real control group, where this machine allows one to be made.

use crate::support::process::Process;
use crate::web::{get, port_of};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use sutra_protocol::{Frame, encode_request};

const LIMIT_BYTES: u64 = 512 << 20;
/// More than twice the limit.
const STORM_BYTES: usize = 1200 << 20;
const VALUE_BYTES: usize = 64 << 10;

/// A control group with a memory limit, removed when dropped.
struct Group(PathBuf);

impl Group {
    /// `None`: this machine does not let us.
    fn make() -> Option<Group> {
        let name = format!("sutra-cache-test-{}", std::process::id());
        // Version 1 has a hierarchy for memory, version 2 one for everything. Files are never made, only written to: what looks like a
        // hierarchy may be a plain directory.
        for (root, sign, limit) in [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "cgroup.controllers", "memory.max"),
        ] {
            if !Path::new(root).join(sign).exists() {
                continue;
            }
            let group = Group(Path::new(root).join(&name));
            if std::fs::create_dir(&group.0).is_ok() && group.write(limit, &LIMIT_BYTES.to_string()) {
                return Some(group);
            }
        }
        None
    }

    fn write(&self, file: &str, text: &str) -> bool {
        let file = std::fs::OpenOptions::new().write(true).open(self.0.join(file));
        file.and_then(|mut file| file.write_all(text.as_bytes())).is_ok()
    }

    fn number(&self, files: &[&str], field: Option<&str>) -> Option<u64> {
        let text = files.iter().find_map(|file| std::fs::read_to_string(self.0.join(file)).ok())?;
        match field {
            None => text.trim().parse().ok(),
            Some(field) => text.lines().find_map(|line| line.strip_prefix(field)?.trim().parse().ok()),
        }
    }

    /// How many processes were killed for want of memory.
    fn kills(&self) -> Option<u64> {
        self.number(&["memory.events", "memory.oom_control"], Some("oom_kill "))
    }

    fn peak_bytes(&self) -> Option<u64> {
        self.number(&["memory.peak", "memory.max_usage_in_bytes"], None)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..200 {
            if std::fs::remove_dir(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

#[test]
fn under_a_limit_of_512_mib_a_storm_of_writes_evicts_and_is_never_killed() {
    let Some(group) = Group::make() else {
        eprintln!(
            "SKIPPED: no control group with a memory limit can be made here (root and a writable /sys/fs/cgroup are needed)"
        );
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let procs = group.0.join("cgroup.procs");
    // Sync so seldom that only the bounded pace keeps dirty pages few.
    let settings = [("WAL_SYNC_INTERVAL_MS", "3600000"), ("HTTP_PORT", "0"), ("EVICTION_POLICY", "lru")];
    let enter = [("ENTER", procs.to_str().expect("text"))];
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo $$ > \"$ENTER\" && exec \"$0\"", env!("CARGO_BIN_EXE_sutra-cache")]);
    let process = Process::spawn_command(command, folder.path(), &[&settings[..], &enter].concat())
        .wait_until_it_serves()
        .unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let mut client = process.client();
    let value = vec![b'x'; VALUE_BYTES];
    let mut dirty_max = 0;
    for batch in 0..STORM_BYTES / VALUE_BYTES / 32 {
        let mut requests = Vec::new();
        for number in 0..32 {
            encode_request(&[b"SET", format!("k{batch}:{number}").as_bytes(), &value], &mut requests);
        }
        client.send(&requests).expect("it lives");
        for _ in 0..32 {
            assert_eq!(client.receive().expect("it lives"), Frame::Simple("OK".to_owned()));
        }
        if batch % 32 == 0 {
            dirty_max = dirty_max.max(
                group
                    .number(&["memory.stat"], Some("file_dirty "))
                    .or_else(|| group.number(&["memory.stat"], Some("dirty ")))
                    .unwrap_or(0),
            );
        }
    }
    let metrics = get(port_of(&process), "/metrics").body;
    let metric = |name: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
        line.trim().parse().expect("a number")
    };
    let limit = metric("cache_memory_limit_bytes ");
    assert_eq!(metric("cache_memory_available_bytes "), LIMIT_BYTES as f64, "the group's limit is seen");
    assert!(limit >= LIMIT_BYTES as f64 * 0.7 && limit <= LIMIT_BYTES as f64 - (64 << 20) as f64, "{limit}");
    assert!(metric("cache_evictions_total{reason=\"memory\"} ") > 0.0);
    assert_eq!(group.kills().unwrap_or(0), 0);
    eprintln!("peak {} MiB of 512, dirty at most {} MiB", group.peak_bytes().unwrap_or(0) >> 20, dirty_max >> 20);
    process.kill();
}
