//! The binary as its operator meets it: settings from every source, wrong ones refused, changes kept by CONFIG REWRITE, checkpoints on
//! request, `check`, logs, a clean stop.

#[path = "support/client.rs"]
mod client;

use client::Client;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};
use sutra_protocol::Frame;

/// How long something may take that the server does by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server process with an empty environment but for what is given; killed when dropped.
struct Process {
    child: Child,
    stderr: BufReader<ChildStderr>,
    log: String,
    port: u16,
}

impl Process {
    /// Starts it in `directory` and waits until it serves.
    fn start(directory: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Process {
        let mut child = command(directory, environment, arguments).spawn().expect("the binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("standard error is a pipe"));
        let mut process = Process { child, stderr, log: String::new(), port: 0 };
        loop {
            let before = process.log.len();
            let count = process.stderr.read_line(&mut process.log).expect("the log is text");
            assert!(count > 0, "the server ended: {}", process.log);
            let line = &process.log[before..];
            if line.contains("serving") {
                let (_, port) = line.rsplit_once("127.0.0.1:").expect("an address");
                let digits: String = port.chars().take_while(char::is_ascii_digit).collect();
                process.port = digits.parse().expect("a port");
                return process;
            }
        }
    }

    fn client(&self) -> Client {
        Client::connect(self.port).expect("the server accepts connections")
    }

    /// Stops it and returns its exit code and everything it logged.
    fn stop(mut self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is ours");
        self.ended()
    }

    /// Waits until it ends by itself.
    fn ended(&mut self) -> (Option<i32>, String) {
        let status = self.child.wait().expect("the process ends");
        self.stderr.read_to_string(&mut self.log).expect("the log is text");
        (status.code(), std::mem::take(&mut self.log))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(directory: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sutra-cache"));
    command.env_clear().current_dir(directory).envs([
        ("STORAGE_PORT", "0"),
        ("HTTP_PORT", "off"),
        ("MAX_MEMORY", "64mb"),
    ]);
    command.envs(environment.iter().copied()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end: for what is not to serve.
fn run(directory: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    command(directory, environment, arguments).output().expect("the binary starts")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("temporary directory")
}

/// CONFIG GET of one setting.
fn setting(client: &mut Client, name: &str) -> String {
    let Frame::Array(items) = client.say(&format!("CONFIG GET {name}")) else { panic!("an array") };
    text(items.get(1).unwrap_or_else(|| panic!("no setting {name}")))
}

fn text(frame: &Frame) -> String {
    let Frame::Bulk(bytes) = frame else { panic!("{frame:?} is no text") };
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn info(client: &mut Client) -> BTreeMap<String, String> {
    let text = text(&client.say("INFO everything"));
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name.into(), value.into())).collect()
}

fn ok(client: &mut Client, line: &str) {
    assert_eq!(client.say(line), Frame::Simple("OK".to_owned()), "{line}");
}

#[test]
fn a_wrong_setting_stops_the_start_before_anything_is_touched() {
    let folder = folder();
    std::fs::write(folder.path().join("bad.toml"), "maxclients = 0\n").expect("file");
    std::fs::write(folder.path().join("odd.toml"), "max-clients = 5\n").expect("file");
    let long = "x".repeat(10);
    for (environment, arguments, parts) in [
        (vec![("STORAGE_PORT", "65536")], vec![], vec!["STORAGE_PORT", "65536", "0 to 65535"]),
        (vec![("MAX_MEMORY", "much")], vec![], vec!["MAX_MEMORY", "much", "512mb"]),
        (vec![("EVICTION_POLICY", "fifo")], vec![], vec!["EVICTION_POLICY", "fifo", "allkeys-lru"]),
        (vec![("MMAP_ENABLED", "2")], vec![], vec!["MMAP_ENABLED", "\"2\"", "yes, no"]),
        (vec![("WAL_SYNC_INTERVAL_MS", "soon")], vec![], vec!["WAL_SYNC_INTERVAL_MS", "soon", "off"]),
        (vec![("SUTRA_ROLE", "embedder")], vec![], vec!["SUTRA_ROLE", "embedder", "cache_shard"]),
        (vec![("STORAGE_HOST", "::")], vec![], vec!["STORAGE_HOST", "::", "PROTECTED_MODE"]),
        (vec![("SUTRA_PASSWORD_FILE", "none")], vec![], vec!["SUTRA_PASSWORD_FILE", "none", "cannot be read"]),
        (vec![("SUTRA_CONFIG", "bad.toml")], vec![], vec!["maxclients", "\"0\"", "bad.toml", "from 1"]),
        (vec![], vec!["--config", "odd.toml"], vec!["max-clients", "odd.toml"]),
        (vec![], vec!["--config", "missing.toml"], vec!["missing.toml"]),
        (vec![], vec!["--io-threads", "many"], vec!["--io-threads", "many", "whole number"]),
        (vec![], vec!["--nothing=1"], vec!["--nothing"]),
        (vec![], vec!["serve", long.as_str()], vec![long.as_str(), "--name value"]),
        (vec![], vec!["restore"], vec!["restore", "--help"]),
        (vec![], vec!["check"], vec!["check DIR"]),
    ] {
        let output = run(folder.path(), &environment, &arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{environment:?} {arguments:?}: {message}");
        for part in parts {
            assert!(message.contains(part), "{part:?} is missing in: {message}");
        }
        assert_eq!(message.lines().count(), 1, "one sentence: {message}");
        assert!(!folder.path().join("data").exists());
    }
}

#[test]
fn help_and_version_name_what_there_is() {
    let folder = folder();
    let help = run(folder.path(), &[], &["--help"]);
    let text = String::from_utf8_lossy(&help.stdout);
    assert_eq!(help.status.code(), Some(0));
    for part in ["check DIR", "--maxmemory", "MAX_MEMORY", "--wal-sync-interval-ms", "STORAGE_PORT"] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    let version = run(folder.path(), &[], &["--version"]);
    assert_eq!(String::from_utf8_lossy(&version.stdout), concat!("sutra-cache ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn every_source_reaches_the_server_and_the_later_wins() {
    let folder = folder();
    let file = "timeout = 1000\nmaxclients = 1001\nslowlog-max-len = 1002\nstorage_path = \"elsewhere\"\n";
    std::fs::write(folder.path().join("sutra-cache.toml"), file).expect("file");
    let environment = [("SUTRA_MAXCLIENTS", "2001"), ("SUTRA_SLOWLOG_MAX_LEN", "2002"), ("MAX_CONCEPTS", "50")];
    let server = Process::start(folder.path(), &environment, &["--slowlog-max-len", "3002"]);
    let mut client = server.client();
    assert_eq!(setting(&mut client, "timeout"), "1000");
    assert_eq!(setting(&mut client, "maxclients"), "2001");
    assert_eq!(setting(&mut client, "slowlog-max-len"), "3002");
    assert_eq!(setting(&mut client, "maxmemory"), (64 << 20).to_string());
    assert!(folder.path().join("elsewhere/shard.meta").exists());
    for number in 0..500 {
        ok(&mut client, &format!("SET key:{number} v"));
    }
    assert!(matches!(client.say("DBSIZE"), Frame::Integer(1..=50)), "MAX_CONCEPTS bounds the entries");
    assert!(info(&mut client)["config_file"].ends_with("sutra-cache.toml"));
}

#[test]
fn rewrite_keeps_what_config_set_changed_and_the_rest_of_the_file() {
    let folder = folder();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, "# about us\ntimeout = 1000 # long\nappendfsync = \"everysec\"\n").expect("file");
    let arguments = ["--config", path.to_str().expect("text")];
    let environment = [("SUTRA_MAXCLIENTS", "2001")];
    let mut server = Process::start(folder.path(), &environment, &arguments);
    let mut client = server.client();
    ok(&mut client, "CONFIG SET timeout 2000 maxclients 3001");
    ok(&mut client, "CONFIG SET wal-sync-interval-ms 200 maxmemory-policy cost");
    ok(&mut client, "CONFIG REWRITE");
    let written = std::fs::read_to_string(&path).expect("file");
    let expected = "# about us\ntimeout = 2000  # long\nwal-sync-interval-ms = 200\nmaxmemory-policy = \"cost\"\nmaxclients = 3001\n";
    assert_eq!(written, expected);
    assert_eq!(std::fs::read_dir(folder.path()).expect("directory").count(), 2, "no temporary file is left");
    let (code, log) = {
        client.ask(&["SHUTDOWN"]).expect_err("the connection is closed");
        server.ended()
    };
    assert_eq!(code, Some(0));
    assert!(log.contains("maxclients") && log.contains("win at the next start"), "{log}");
    let server = Process::start(folder.path(), &environment, &arguments);
    let mut client = server.client();
    assert_eq!(setting(&mut client, "timeout"), "2000");
    assert_eq!(setting(&mut client, "appendfsync"), "everysec");
    assert_eq!(setting(&mut client, "wal-sync-interval-ms"), "200");
    assert_eq!(setting(&mut client, "maxmemory-policy"), "cost");
    assert_eq!(setting(&mut client, "maxclients"), "2001", "the environment wins over the file");
}

#[test]
fn checkpoints_are_written_on_request_and_the_start_says_what_it_found() {
    let folder = folder();
    let server = Process::start(folder.path(), &[], &[]);
    let mut client = server.client();
    let before = info(&mut client);
    assert_eq!((&*before["sutra_recovery_entries"], &*before["rdb_saves"], &*before["aof_enabled"]), ("0", "0", "1"));
    for number in 0..100 {
        ok(&mut client, &format!("SET key:{number} value"));
    }
    let unsaved: u64 = info(&mut client)["rdb_changes_since_last_save"].parse().expect("a number");
    assert!(unsaved >= 100, "{unsaved}");
    ok(&mut client, "SAVE");
    assert_eq!(info(&mut client)["rdb_saves"], "1");
    assert!(matches!(client.say("LASTSAVE"), Frame::Integer(1_600_000_000..)));
    assert_eq!(client.say("BGSAVE"), Frame::Simple("Background saving started".to_owned()));
    let began = Instant::now();
    while info(&mut client)["rdb_saves"] != "2" {
        assert!(began.elapsed() < PATIENCE, "the checkpoint is never written");
    }
    assert_eq!(client.say("BGREWRITEAOF"), Frame::Simple("Background append only file rewriting started".to_owned()));
    let (code, log) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0));
    assert!(log.contains("stopped"), "{log}");
    let mut server = Process::start(folder.path(), &[], &[]);
    assert!(server.log.contains("recovered") && server.log.contains("entries=100"), "{}", server.log);
    let after = info(&mut server.client());
    assert_eq!((&*after["sutra_recovery_entries"], &*after["sutra_recovery_damages"]), ("100", "0"));
    server.child.kill().expect("the process is ours");
}

#[test]
fn without_a_log_nothing_is_promised_and_nothing_survives() {
    let folder = folder();
    let environment = [("WAL_SYNC_INTERVAL_MS", "off")];
    let server = Process::start(folder.path(), &environment, &[]);
    let mut client = server.client();
    assert_eq!(setting(&mut client, "appendonly"), "no");
    ok(&mut client, "SET k v");
    assert!(matches!(client.say("SAVE"), Frame::Error(_)));
    assert_eq!(info(&mut client)["aof_enabled"], "0");
    assert_eq!(server.stop(Signal::INT).0, Some(0));
    let server = Process::start(folder.path(), &environment, &[]);
    assert_eq!(server.client().say("DBSIZE"), Frame::Integer(0));
}

#[test]
fn check_verifies_a_stopped_servers_directory_and_names_damage() {
    let folder = folder();
    let data = folder.path().join("data");
    let data_text = data.to_str().expect("text");
    let server = Process::start(folder.path(), &[], &[]);
    let mut client = server.client();
    for number in 0..100 {
        let value = format!("{number:03}").repeat(100);
        ok(&mut client, &format!("SET key:{number} {value}"));
    }
    let busy = run(folder.path(), &[], &["check", data_text]);
    let message = String::from_utf8_lossy(&busy.stderr);
    assert!(busy.status.code() == Some(1) && message.contains("in use"), "{message}");
    assert_eq!(client.say("GET key:7"), Frame::Bulk("007".repeat(100).into_bytes()), "undisturbed");
    assert_eq!(server.stop(Signal::TERM).0, Some(0));
    let sound = run(folder.path(), &[], &["check", data_text]);
    let report = String::from_utf8_lossy(&sound.stdout);
    assert!(
        sound.status.code() == Some(0) && report.contains("100 records") && report.ends_with("sound\n"),
        "{report}"
    );
    let segments = std::fs::read_dir(data.join("segments")).expect("directory");
    let mut damaged = false;
    for path in segments.map(|entry| entry.expect("entry").path()) {
        let mut bytes = std::fs::read(&path).expect("segment");
        if let Some(at) = bytes.windows(12).position(|window| window == b"042042042042") {
            bytes[at + 5] ^= 1;
            std::fs::write(&path, bytes).expect("segment");
            damaged = true;
        }
    }
    assert!(damaged, "the value is in a segment");
    let found = run(folder.path(), &[], &["check", data_text]);
    let report = String::from_utf8_lossy(&found.stdout);
    assert_eq!(found.status.code(), Some(1), "{report}");
    assert!(
        report.contains("damage: segments/") && report.contains(".seg at offset ") && report.contains("99 records"),
        "{report}"
    );
    let nowhere = run(folder.path(), &[], &["check", "nowhere"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("nowhere"));
}

#[test]
fn a_password_is_asked_and_the_log_level_changes_while_the_server_runs() {
    let folder = folder();
    std::fs::write(folder.path().join("secret"), "open sesame\n").expect("file");
    let environment = [("SUTRA_PASSWORD_FILE", "secret"), ("SUTRA_STORAGE_MODE", "x"), ("LOG_FORMAT", "json")];
    let server = Process::start(folder.path(), &environment, &[]);
    let mut client = server.client();
    assert!(matches!(client.say("GET k"), Frame::Error(text) if text.starts_with("NOAUTH")));
    assert_eq!(client.ask(&["AUTH", "open sesame"]).expect("answer"), Frame::Simple("OK".to_owned()));
    ok(&mut client, "CONFIG SET timeout 1111");
    ok(&mut client, "CONFIG SET loglevel warning");
    ok(&mut client, "CONFIG SET timeout 2222");
    ok(&mut client, "CONFIG SET rust-log info");
    ok(&mut client, "CONFIG SET timeout 3333");
    ok(&mut client, "CONFIG SET requirepass novel-password");
    let (_, log) = server.stop(Signal::TERM);
    let seen = ["1111", "2222", "3333"].map(|value| log.contains(value));
    assert_eq!(seen, [true, false, true], "{log}");
    assert!(log.contains("SUTRA_STORAGE_MODE"), "{log}");
    assert!(!log.contains("sesame") && !log.contains("novel-password"), "{log}");
    assert!(log.lines().all(|line| line.starts_with("{\"") && line.ends_with('}')), "a JSON object a line: {log}");
}

#[test]
fn what_takes_long_is_remembered_by_slowlog_and_latency() {
    let folder = folder();
    let server =
        Process::start(folder.path(), &[], &["--latency-monitor-threshold", "5", "--slowlog-log-slower-than", "5000"]);
    let mut client = server.client();
    assert_eq!(client.say("LATENCY LATEST"), Frame::Array(Vec::new()));
    ok(&mut client, "DEBUG SLEEP 0.02");
    let Frame::Array(latest) = client.say("LATENCY LATEST") else { panic!("an array") };
    let Some(Frame::Array(event)) = latest.first() else { panic!("an event in {latest:?}") };
    assert_eq!(text(&event[0]), "command");
    assert!(matches!(event[2], Frame::Integer(20..)), "{event:?}");
    assert!(text(&client.say("LATENCY DOCTOR")).contains("command: 1 seconds"));
    assert!(text(&client.say("LATENCY GRAPH command")).starts_with("command - high "));
    let Frame::Array(slow) = client.say("SLOWLOG GET") else { panic!("an array") };
    let Some(Frame::Array(call)) = slow.first() else { panic!("a call in {slow:?}") };
    assert!(matches!(call[2], Frame::Integer(20_000..)), "{call:?}");
    assert_eq!(client.say("LATENCY RESET"), Frame::Integer(1));
}
