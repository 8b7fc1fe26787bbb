//! Clients that are many, slow, or mean harm: memory stays bounded and others are served.

use crate::support::client::Client;
use crate::support::process::Process;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use sutra_protocol::{Frame, encode_request};

const MIB: u64 = 1 << 20;
/// Goals: memory under attack, beyond the limit that was set.
const SLACK_BYTES: u64 = 32 * MIB;

/// Resident bytes of the server.
fn rss_bytes(process: &Process) -> u64 {
    let path = format!("/proc/{}/status", process.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(path).expect("the server lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux tells the resident size");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number of KiB");
    kib * 1024
}

fn start(settings: &[(&str, &str)]) -> (tempfile::TempDir, Process) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let process = Process::start(directory.path(), settings).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    (directory, process)
}

/// Raises the limit on open files as far as allowed, for this process and those that it starts; how many connections that leaves.
fn connections_allowed(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 20);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum })
        .expect("up to the hard limit is allowed");
    let allowed = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(500).min(wanted);
    if allowed < wanted {
        eprintln!("only {allowed} of {wanted} connections: the hard limit on open files is {most}");
    }
    allowed
}

/// The longest of some round trips of a client that does nothing wrong.
fn worst_answer(process: &Process) -> Duration {
    let mut client = process.client();
    (0..200)
        .map(|number| {
            let began = Instant::now();
            assert_eq!(client.say(&format!("SET good{number} v")), Frame::Simple("OK".to_owned()));
            assert_eq!(client.say(&format!("GET good{number}")), Frame::Bulk(b"v".to_vec()));
            began.elapsed()
        })
        .max()
        .unwrap_or_default()
}

/// Others are served: nobody waits for seconds, even in a debug build on a busy machine.
fn assert_others_are_served(process: &Process) {
    let worst = worst_answer(process);
    assert!(worst < Duration::from_secs(2), "a well-behaved client waited {worst:?}");
}

#[test]
fn ten_thousand_idle_clients_cost_little_and_disturb_nobody() {
    let count = connections_allowed(10_000).min(9_900);
    let (_directory, process) = start(&[]);
    let before = rss_bytes(&process);
    let mut idle = Vec::new();
    for number in 0..count {
        let mut client = process.client();
        if number % 2 == 0 {
            assert_eq!(client.say("PING"), Frame::Simple("PONG".to_owned()));
        }
        idle.push(client);
    }
    assert_others_are_served(&process);
    let grown = rss_bytes(&process).saturating_sub(before);
    // Redis needs about 17 KiB for each.
    assert!(grown < count as u64 * 8 * 1024 + 8 * MIB, "{count} idle clients cost {grown} bytes");
    let last = idle.last_mut().expect("there are some");
    assert_eq!(last.say("PING"), Frame::Simple("PONG".to_owned()));
}

#[test]
fn declared_lengths_cost_nothing_and_evict_nothing() {
    let (_directory, process) = start(&[("MAX_MEMORY", "64mb")]);
    let mut client = process.client();
    for number in 0..2000 {
        client.say(&format!("SET k{number} v{number}"));
    }
    let before = rss_bytes(&process);
    let declarations: [&[u8]; 5] = [
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nsome of it",
        b"*1048576\r\n$4\r\nMGET\r\n",
        b"*1000000\r\n",
        b"*2\r\n$536870912\r\n",
    ];
    let mut attackers = Vec::new();
    for number in 0..500 {
        let mut attacker = process.client();
        attacker.send(declarations[number % declarations.len()]).expect("a small request is sent");
        attackers.push(attacker);
    }
    assert_others_are_served(&process);
    let grown = rss_bytes(&process).saturating_sub(before);
    assert!(grown < SLACK_BYTES, "declarations cost {grown} bytes");
    for number in 0..2000 {
        let found = client.say(&format!("GET k{number}"));
        assert_eq!(found, Frame::Bulk(format!("v{number}").into_bytes()), "declarations evict nothing");
    }
}

/// All clients' buffers together may take a quarter of the memory: beyond it the largest are closed.
#[test]
fn half_sent_requests_take_a_quarter_of_the_memory_at_most() {
    let (_directory, process) = start(&[("MAX_MEMORY", "512mb")]);
    let before = rss_bytes(&process);
    let half = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$104857600\r\n".to_vec(), vec![b'x'; 4 << 20]].concat();
    let mut attackers = Vec::new();
    for _ in 0..100 {
        let mut attacker = process.client();
        // It may be closed in the middle of it: that is the defence.
        drop(attacker.send(&half));
        attackers.push(attacker);
    }
    assert_others_are_served(&process);
    let grown = rss_bytes(&process).saturating_sub(before);
    // A buffer that grows is there twice for a moment.
    assert!(grown < 128 * MIB + 2 * SLACK_BYTES, "400 MiB of half requests cost {grown} bytes");
}

#[test]
fn slow_readers_are_not_read_from_and_cost_little() {
    let (_directory, process) = start(&[("MAX_MEMORY", "64mb")]);
    let mut client = process.client();
    let value = vec![b'x'; 1 << 20];
    assert_eq!(client.ask(&[b"SET", &b"large"[..], &value]).expect("an answer"), Frame::Simple("OK".to_owned()));
    let before = rss_bytes(&process);
    let mut requests = Vec::new();
    for _ in 0..100 {
        encode_request(&["GET", "large"], &mut requests);
    }
    let mut slow: Vec<Client> = (0..50).map(|_| process.client()).collect();
    for client in &mut slow {
        client.send(&requests).expect("requests of 3 KB are sent");
    }
    assert_others_are_served(&process);
    let grown = rss_bytes(&process).saturating_sub(before);
    assert!(grown < 64 * MIB + SLACK_BYTES, "5 GB of replies that nobody reads cost {grown} bytes");
    // Late, but in full.
    for _ in 0..100 {
        assert_eq!(slow[0].receive().expect("a slow reader is served"), Frame::Bulk(value.clone()));
    }
}

#[test]
fn an_endless_line_and_broken_framing_close_only_their_own_connection() {
    let (_directory, process) = start(&[]);
    let endless = vec![b'x'; 1 << 20];
    let broken: [&[u8]; 7] = [
        &endless,
        b"*-5\r\n$1\r\n",
        b"*1\r\n$-7\r\n",
        b"*abc\r\n",
        b"*1\r\n:5\r\n",
        b"*99999999999\r\n",
        b"*1\r\n$99999999999\r\n",
    ];
    let before = rss_bytes(&process);
    let mut bystander = process.client();
    for bytes in broken.iter().cycle().take(70) {
        let mut stream = TcpStream::connect(("127.0.0.1", process.port())).expect("the server accepts");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        drop(std::io::Write::write_all(&mut stream, bytes));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let mut answer = Vec::new();
        // A reset is as good an end as any other.
        drop(stream.read_to_end(&mut answer));
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || text.starts_with("-ERR "), "{text}");
        assert_eq!(bystander.say("PING"), Frame::Simple("PONG".to_owned()));
    }
    let grown = rss_bytes(&process).saturating_sub(before);
    assert!(grown < SLACK_BYTES, "broken framing cost {grown} bytes");
}

#[test]
fn clients_that_vanish_in_the_middle_leave_nothing_behind() {
    let (_directory, process) = start(&[]);
    let mut client = process.client();
    client.say("SET k v");
    let before = rss_bytes(&process);
    for number in 0..2000 {
        let mut vanishing = process.client();
        let bytes: &[u8] = match number % 4 {
            0 => b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nhalf",
            1 => b"MULTI\r\nSET k lost\r\n",
            2 => b"WATCH k\r\nMULTI\r\n",
            _ => b"GET k\r\nGET k\r\n",
        };
        drop(vanishing.send(bytes));
    }
    assert_eq!(client.say("GET k"), Frame::Bulk(b"v".to_vec()), "a transaction without EXEC does nothing");
    assert_others_are_served(&process);
    let grown = rss_bytes(&process).saturating_sub(before);
    assert!(grown < SLACK_BYTES, "2000 clients that are gone hold {grown} bytes");
}
