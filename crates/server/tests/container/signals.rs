//! Stopping, also as the first process of a container, and while much is going on.

use crate::support::process::Process;
use rustix::process::Signal;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use sutra_protocol::Frame;

/// What a container engine waits before it kills.
const STOP_SECONDS_MAX: Duration = Duration::from_secs(10);

#[test]
fn a_stop_in_a_storm_with_idle_clients_takes_less_than_ten_seconds_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let settings = [("MAX_MEMORY", "256mb"), ("WAL_SYNC_INTERVAL_MS", "5000")];
    let mut process = Process::start(folder.path(), &settings).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let idle: Vec<_> = (0..100).map(|_| process.client()).collect();
    let acknowledged: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(0)).collect();
    let begun = AtomicBool::new(false);
    let took = std::thread::scope(|scope| {
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let mut client = process.client();
            let begun = &begun;
            scope.spawn(move || {
                let value = "x".repeat(2000);
                for number in 1_u64.. {
                    let key = format!("w{writer}:{}", number % 500);
                    let value = format!("{number}:{value}");
                    match client.ask(&["SET", &key, &value]) {
                        Ok(Frame::Simple(_)) => acknowledged.store(number, Ordering::Relaxed),
                        Ok(_) | Err(_) => return,
                    }
                    begun.store(number > 200 || begun.load(Ordering::Relaxed), Ordering::Relaxed);
                }
            });
        }
        while !begun.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let began = Instant::now();
        assert_eq!(process.end(Signal::TERM).code(), Some(0));
        began.elapsed()
    });
    drop(idle);
    assert!(took < STOP_SECONDS_MAX, "{took:?}");
    let log = process.log_text();
    assert!(log.contains("stopped") && !log.contains("ERROR"), "{log}");
    let process = Process::start(folder.path(), &settings).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let mut client = process.client();
    for (writer, acknowledged) in acknowledged.iter().enumerate() {
        let last = acknowledged.load(Ordering::Relaxed);
        for number in last.saturating_sub(499).max(1)..=last {
            let Frame::Bulk(value) = client.say(&format!("GET w{writer}:{}", number % 500)) else {
                panic!("w{writer}:{number} is lost")
            };
            let text = String::from_utf8(value.to_vec()).expect("text");
            let found: u64 = text.split(':').next().and_then(|digits| digits.parse().ok()).expect("a number");
            // The one write that was under way may have been carried out.
            assert!(found == number || found == last + 1, "w{writer}:{number} has {found}");
        }
    }
}

#[test]
fn every_signal_that_ends_a_process_stops_it_cleanly() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP] {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut process = Process::start(folder.path(), &[]).unwrap_or_else(|refusal| panic!("{refusal:?}"));
        process.client().say("SET k v");
        assert_eq!(process.end(signal).code(), Some(0), "{signal:?}");
        assert!(process.log_text().contains("stopped"), "{signal:?}");
    }
}

/// In a namespace of its own, where it is the first process; `None` if this machine does not allow that.
fn as_first_process(script: &str) -> Option<String> {
    let allowed = Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no namespace of processes can be made here (unshare --pid --fork --mount-proc)");
        return None;
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new("timeout")
        .args(["60", "unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", script])
        .env("BINARY", env!("CARGO_BIN_EXE_sutra-cache"))
        .env("STORAGE_PATH", folder.path())
        .env("STORAGE_PORT", "0")
        .env("HTTP_PORT", "off")
        .stdin(Stdio::null())
        .output()
        .expect("unshare starts");
    Some(format!(
        "{}{}exit {:?}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        output.status.code()
    ))
}

#[test]
fn as_the_first_process_of_a_container_it_obeys_signals() {
    // The shell becomes the server, so that it is process 1; its child, which stays behind, sends the signal. A process 1 that does not handle a
    // signal never gets it.
    for signal in ["TERM", "INT", "QUIT", "HUP"] {
        let script = format!(
            "(while ! grep -q worker /proc/1/task/*/comm 2>/dev/null; do :; done; kill -{signal} 1) & exec \"$BINARY\""
        );
        let Some(said) = as_first_process(&script) else { return };
        assert!(said.contains("stopped") && said.ends_with("exit Some(0)"), "{signal}: {said}");
    }
}

#[test]
fn as_the_first_process_of_a_container_it_buries_orphans() {
    // A grandchild whose parent is gone becomes a child of process 1, and a zombie when it ends, unless somebody waits for it.
    let script = "(while ! grep -q worker /proc/1/task/*/comm 2>/dev/null; do :; done
        sh -c 'sleep 0.1 & echo orphan $!' > /tmp/orphan.$$
        orphan=$(cut -d' ' -f2 /tmp/orphan.$$); rm /tmp/orphan.$$
        tries=0; while [ -e /proc/$orphan ] && [ $tries -lt 500 ]; do sleep 0.02; tries=$((tries + 1)); done
        if [ -e /proc/$orphan ]; then echo LEFT; cat /proc/$orphan/status; else echo BURIED; fi
        kill -TERM 1) & exec \"$BINARY\"";
    let Some(said) = as_first_process(script) else { return };
    assert!(said.contains("BURIED") && said.ends_with("exit Some(0)"), "{said}");
}
