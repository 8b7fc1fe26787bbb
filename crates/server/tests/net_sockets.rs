//! The server over real sockets: what well-behaved, slow, greedy, silent and hostile clients get.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;
use sutra_cache::clock::Clock;
use sutra_cache::net::{Handle, housekeeping, serve};
use sutra_cache::server::{Server, Stop};
use sutra_cache::settings::Settings;
use sutra_shard::{Limits, Options, Shard};

/// A test that hangs fails instead.
const PATIENCE: Duration = Duration::from_secs(30);
const STARTS_AT_MS: u64 = 1_700_000_000_000;

fn start(change: impl FnOnce(&mut Settings)) -> Handle {
    start_at(change, Clock::manual(STARTS_AT_MS))
}

fn start_at(change: impl FnOnce(&mut Settings), clock: Clock) -> Handle {
    let mut settings = Settings { port: 0, io_threads: 2, ..Settings::default() };
    change(&mut settings);
    let shard = Shard::in_memory(&Limits::default(), 7).expect("the default limits allow a shard");
    serve(Server::new(settings, shard, clock)).expect("a free port")
}

struct Client {
    stream: TcpStream,
}

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket option");
        stream.set_nodelay(true).expect("a socket option");
        Client { stream }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes it");
    }

    /// Reads exactly what is expected.
    fn expect(&mut self, expected: &str) {
        let mut bytes = vec![0; expected.len()];
        self.stream.read_exact(&mut bytes).unwrap_or_else(|error| panic!("waiting for {expected:?}: {error}"));
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }

    /// Sends a line and reads exactly the expected reply.
    fn ask(&mut self, line: &str, expected: &str) {
        self.send(format!("{line}\r\n").as_bytes());
        self.expect(expected);
    }

    /// Everything until the server closes the connection.
    fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            // A connection that is cut with bytes of ours unread is reset.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => bytes,
            Err(error) => panic!("waiting for the end of the connection: {error}"),
        }
    }
}

/// Waits for something that other threads bring about.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "waiting for: {what}");
        std::thread::yield_now();
    }
}

fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[test]
fn a_pipeline_is_answered_in_order() {
    let handle = start(|_| {});
    let mut client = Client::connect(handle.address());
    let (mut requests, mut replies) = (Vec::new(), String::new());
    // More than a turn, and more than a read buffer.
    for number in 0..20_000 {
        let number = number.to_string();
        requests.extend_from_slice(&request(&[b"ECHO", number.as_bytes()]));
        replies.push_str(&format!("${}\r\n{number}\r\n", number.len()));
    }
    let mut writer = client.stream.try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || writer.write_all(&requests).expect("the server takes it"));
    client.expect(&replies);
    sender.join().expect("all sent");
}

#[test]
fn requests_that_arrive_byte_by_byte_are_executed_once_each() {
    let handle = start(|_| {});
    let mut client = Client::connect(handle.address());
    for byte in [request(&[b"SET", b"k", b"1"]), request(&[b"INCR", b"k"]), b"GET k\r\n".to_vec()].concat() {
        client.send(&[byte]);
    }
    client.expect("+OK\r\n:2\r\n$1\r\n2\r\n");
}

#[test]
fn values_larger_than_any_buffer_come_back_as_they_went() {
    let handle = start(|_| {});
    let mut client = Client::connect(handle.address());
    for bytes in [15 * 1024, 16 * 1024, 64 * 1024, 3 << 20] {
        let value: Vec<u8> = (0..bytes).map(|index| (index % 251) as u8).collect();
        client.send(&request(&[b"SET", b"k", &value]));
        client.expect("+OK\r\n");
        client.send(b"GET k\r\nGET k\r\n");
        for _ in 0..2 {
            client.expect(&format!("${bytes}\r\n"));
            let mut got = vec![0; bytes];
            client.stream.read_exact(&mut got).expect("the value");
            assert!(got == value, "{bytes} bytes");
            client.expect("\r\n");
        }
    }
}

#[test]
fn what_is_only_declared_takes_no_memory() {
    let handle = start(|_| {});
    let server = handle.server();
    let mut greedy: Vec<Client> = (0..50).map(|_| Client::connect(handle.address())).collect();
    for client in &mut greedy {
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc");
    }
    let mut list = Client::connect(handle.address());
    list.ask("PING", "+PONG\r\n");
    until("all half requests received", || {
        server.clients.list().iter().filter(|client| client.input_bytes.load(Ordering::Relaxed) > 30).count() == 50
    });
    let bytes = server.clients_bytes();
    assert!(bytes < 50 * 4096, "50 half requests hold {bytes} bytes");
    let mut many = Client::connect(handle.address());
    many.send(b"*1048576\r\n$3\r\nDEL\r\n");
    many.send(b"*1048577\r\n");
    list.ask("PING", "+PONG\r\n");
}

#[test]
fn broken_framing_is_answered_and_ends_the_connection() {
    let handle = start(|_| {});
    for (bytes, expected) in [
        (&b"PING\r\n*x\r\n"[..], "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n:1\r\nPING\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"),
        (b"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"SET 'a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
    ] {
        let mut client = Client::connect(handle.address());
        client.send(bytes);
        assert_eq!(String::from_utf8_lossy(&client.rest()), expected);
    }
    until("all are gone", || handle.server().clients.count() == 0);
}

#[test]
fn the_health_probe_is_answered_and_other_http_is_cut_off() {
    let handle = start(|settings| settings.set_password(Some(b"secret")));
    for (request, expected) in [
        ("GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
        ("HEAD /health HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a b\r\n", ""),
        ("PING\r\nHost: x\r\nPING\r\n", "-NOAUTH Authentication required.\r\n"),
    ] {
        let mut client = Client::connect(handle.address());
        client.send(request.as_bytes());
        let reply = String::from_utf8(client.rest()).expect("text");
        assert!(reply.starts_with(expected) && (!expected.is_empty() || reply.is_empty()), "{request:?}: {reply:?}");
    }
}

#[test]
fn quit_is_answered_and_nothing_after_it_is_executed() {
    let handle = start(|_| {});
    let mut client = Client::connect(handle.address());
    client.send(b"SET a 1\r\nQUIT\r\nSET a 2\r\n");
    assert_eq!(client.rest(), b"+OK\r\n+OK\r\n");
    Client::connect(handle.address()).ask("GET a", "$1\r\n1\r\n");
}

#[test]
fn no_more_than_maxclients_are_served() {
    let handle = start(|settings| settings.maxclients = 2.into());
    let mut first = Client::connect(handle.address());
    let mut second = Client::connect(handle.address());
    first.ask("PING", "+PONG\r\n");
    second.ask("PING", "+PONG\r\n");
    let mut third = Client::connect(handle.address());
    assert_eq!(third.rest(), b"-ERR max number of clients reached\r\n");
    first.ask("QUIT", "+OK\r\n");
    first.rest();
    until("the first is gone", || handle.server().clients.count() == 1);
    Client::connect(handle.address()).ask("PING", "+PONG\r\n");
}

#[test]
fn a_thousand_idle_clients_hold_no_buffers_and_disturb_nobody() {
    let handle = start(|_| {});
    let mut clients: Vec<Client> = (0..1200).map(|_| Client::connect(handle.address())).collect();
    for client in &mut clients {
        client.ask("PING", "+PONG\r\n");
    }
    assert_eq!(handle.server().clients.count(), 1200);
    until("buffers are given back", || handle.server().clients_bytes() == 0);
    clients[600].ask("ECHO hi", "$2\r\nhi\r\n");
    drop(clients);
    until("all are gone", || handle.server().clients.count() == 0);
}

#[test]
fn a_killed_client_is_cut_off_wherever_it_waits() {
    let handle = start(|_| {});
    let mut victim = Client::connect(handle.address());
    victim.ask("CLIENT ID", ":1\r\n");
    victim.send(b"*2\r\n$4\r\nECHO");
    let mut killer = Client::connect(handle.address());
    killer.ask("CLIENT KILL ID 1", ":1\r\n");
    assert_eq!(victim.rest(), b"");
    killer.ask("CLIENT KILL ID 1", ":0\r\n");
    let own = killer.stream.local_addr().expect("an address");
    killer.ask(&format!("CLIENT KILL {own}"), "+OK\r\n");
    assert_eq!(killer.rest(), b"");
}

#[test]
fn paused_clients_wait_and_go_on_when_the_pause_ends() {
    let handle = start(|_| {});
    let mut operator = Client::connect(handle.address());
    let mut writer = Client::connect(handle.address());
    operator.ask("CLIENT PAUSE 100000 WRITE", "+OK\r\n");
    writer.send(b"PING\r\nSET k 1\r\nGET k\r\n");
    writer.expect("+PONG\r\n");
    operator.ask("GET k", "$-1\r\n");
    operator.ask("CLIENT UNPAUSE", "+OK\r\n");
    writer.expect("+OK\r\n$1\r\n1\r\n");
    operator.ask("CLIENT PAUSE 5000", "+OK\r\n");
    writer.send(b"GET k\r\n");
    handle.server().clock.advance(5000);
    writer.expect("$1\r\n1\r\n");
}

#[test]
fn idle_clients_are_closed_after_the_timeout_and_busy_ones_are_not() {
    let handle = start(|settings| settings.timeout_s = 10.into());
    let mut idle = Client::connect(handle.address());
    let mut busy = Client::connect(handle.address());
    idle.ask("PING", "+PONG\r\n");
    handle.server().clock.advance(9_000);
    busy.ask("PING", "+PONG\r\n");
    handle.server().clock.advance(2_000);
    assert_eq!(idle.rest(), b"");
    busy.ask("PING", "+PONG\r\n");
}

/// Asks for more than the system will buffer, and does not read.
fn clog(handle: &Handle) -> Client {
    let mut client = Client::connect(handle.address());
    let value = vec![b'x'; 8 << 20];
    client.send(&request(&[b"SET", b"large", &value]));
    client.expect("+OK\r\n");
    for _ in 0..8 {
        client.send(b"GET large\r\n");
    }
    client
}

#[test]
fn a_client_that_does_not_read_is_not_executed_for() {
    let handle = start(|_| {});
    let _clog = clog(&handle);
    let worker_calls = || handle.server().workers().iter().map(|worker| worker.calls()).sum::<u64>();
    until("replies wait", || {
        handle.server().clients.list().iter().any(|client| client.output_bytes.load(Ordering::Relaxed) > 0)
    });
    let mut other = Client::connect(handle.address());
    other.ask("PING", "+PONG\r\n");
    // Of the eight, the first few at most: a turn ends at a quarter of a mebibyte of replies, and each reply is eight.
    assert!(worker_calls() < 8, "{} calls", worker_calls());
    assert!(handle.server().clients_bytes() < 20 << 20);
}

#[test]
fn slow_readers_are_cut_off_at_the_hard_limit_at_once_and_at_the_soft_limit_in_time() {
    let handle = start(|settings| settings.output_hard_bytes_max = (1 << 20).into());
    let mut client = clog(&handle);
    assert_eq!(client.rest(), b"");
    let handle = start(|settings| {
        settings.output_soft_bytes_max = 1024.into();
        settings.output_soft_seconds = 10.into();
    });
    let _client = clog(&handle);
    until("replies wait over the limit", || {
        handle.server().clients.list().iter().any(|client| client.over_soft_limit_ms.load(Ordering::Relaxed) > 0)
    });
    handle.server().clock.advance(9_000);
    housekeeping::round(handle.server());
    assert_eq!(handle.server().clients.count(), 1);
    handle.server().clock.advance(1_000);
    until("the slow reader is gone", || handle.server().clients.count() == 0);
}

#[test]
fn the_largest_clients_go_when_all_buffers_together_are_too_large() {
    let handle = start(|settings| settings.clients_bytes_max = (4 << 20).into());
    let mut small = Client::connect(handle.address());
    small.send(b"*2\r\n$4\r\nECHO\r\n$2\r\n");
    let mut protected = Client::connect(handle.address());
    protected.ask("CLIENT NO-EVICT ON", "+OK\r\n");
    let mut large = Client::connect(handle.address());
    large.send(b"*2\r\n$4\r\nECHO\r\n$16777216\r\n");
    let block = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while sent < 16 && large.stream.write_all(&block).is_ok() {
        sent += 1;
    }
    assert_eq!(large.rest(), b"");
    small.send(b"hi\r\n");
    small.expect("$2\r\nhi\r\n");
    protected.ask("PING", "+PONG\r\n");
    assert_eq!(handle.server().clients_evicted.load(Ordering::Relaxed), 1);
}

#[test]
fn monitor_shows_what_others_do() {
    let handle = start(|_| {});
    let mut monitor = Client::connect(handle.address());
    let mut other = Client::connect(handle.address());
    monitor.ask("MONITOR", "+OK\r\n");
    other.ask("SELECT 3", "+OK\r\n");
    other.ask("AUTH default x", "+OK\r\n");
    other.send(&request(&[b"ECHO", b"a\r\n\"b"]));
    let address = other.stream.local_addr().expect("an address");
    monitor.expect(&format!("+1700000000.000000 [0 {address}] \"SELECT\" \"3\"\r\n"));
    monitor.expect(&format!("+1700000000.000000 [3 {address}] \"ECHO\" \"a\\r\\n\\\"b\"\r\n"));
    monitor.ask("RESET", "+RESET\r\n");
    other.ask("PING", "$5\r\na\r\n\"b\r\n+PONG\r\n");
}

#[test]
fn a_stop_finishes_what_was_begun_and_closes_everyone() {
    for how in ["SHUTDOWN", "SHUTDOWN NOSAVE", "handle"] {
        let handle = start(|_| {});
        let mut idle = Client::connect(handle.address());
        idle.ask("PING", "+PONG\r\n");
        let mut busy = Client::connect(handle.address());
        let address = handle.address();
        match how {
            "handle" => {
                busy.ask("PING", "+PONG\r\n");
                handle.stop(Stop::Save);
                assert_eq!(busy.rest(), b"");
            }
            command => {
                busy.send(format!("SET k 1\r\nGET k\r\n{command}\r\nGET k\r\n").as_bytes());
                assert_eq!(busy.rest(), b"+OK\r\n$1\r\n1\r\n", "{command}");
                handle.wait();
            }
        }
        assert_eq!(idle.rest(), b"");
        assert!(TcpStream::connect(address).is_err(), "{how}: nobody listens any more");
    }
}

#[test]
fn what_was_acknowledged_before_a_stop_is_there_after_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let open = || Shard::open(&Options::new(directory.path()), STARTS_AT_MS).expect("a directory of our own").0;
    let settings = || Settings { port: 0, io_threads: 2, ..Settings::default() };
    let handle = serve(Server::new(settings(), open(), Clock::manual(STARTS_AT_MS))).expect("a free port");
    let address = handle.address();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                let mut acknowledged = 0;
                loop {
                    let line = format!("INCR counter:{writer}\r\n");
                    let expected = format!(":{}\r\n", acknowledged + 1);
                    let mut reply = vec![0; expected.len()];
                    let answered =
                        client.stream.write_all(line.as_bytes()).and_then(|()| client.stream.read_exact(&mut reply));
                    if answered.is_err() {
                        return acknowledged;
                    }
                    assert_eq!(reply, expected.as_bytes());
                    acknowledged += 1;
                }
            })
        })
        .collect();
    let calls = || handle.server().workers().iter().map(|worker| worker.calls()).sum::<u64>();
    until("the writers are under way", || calls() > 2000);
    handle.stop(Stop::Save);
    let acknowledged: Vec<i64> = writers.into_iter().map(|writer| writer.join().expect("a writer")).collect();
    let handle = serve(Server::new(settings(), open(), Clock::manual(STARTS_AT_MS))).expect("a free port");
    let mut client = Client::connect(handle.address());
    for (writer, acknowledged) in acknowledged.into_iter().enumerate() {
        assert!(acknowledged > 0);
        // A stop sends the replies of what it executed: nothing was done that its client was not told.
        let value = acknowledged.to_string();
        client.ask(&format!("GET counter:{writer}"), &format!("${}\r\n{value}\r\n", value.len()));
    }
}

#[test]
fn a_second_server_cannot_share_the_port() {
    let first = start(|_| {});
    let settings = Settings { port: first.address().port(), ..Settings::default() };
    let shard = Shard::in_memory(&Limits::default(), 7).expect("the default limits allow a shard");
    let error = serve(Server::new(settings, shard, Clock::manual(0))).expect_err("the port is taken");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&first.address().to_string()), "{error}");
}

#[test]
fn writes_of_many_connections_are_all_there_when_they_are_acknowledged() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let open = || {
        let options = Options::new(directory.path());
        Shard::open(&options, STARTS_AT_MS).expect("a fresh directory").0
    };
    let settings = Settings { port: 0, io_threads: 2, sync_interval_ms: 0.into(), ..Settings::default() };
    let handle = serve(Server::new(settings, open(), Clock::manual(STARTS_AT_MS))).expect("a free port");
    let address = handle.address();
    let threads: Vec<_> = (0..8)
        .map(|writer| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                for number in 0..50 {
                    client.ask(&format!("SET {writer}:{number} {number}"), "+OK\r\n");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("all acknowledged"));
    let report = handle.server().shard.persistence();
    assert!(
        report.durable_lsn >= 400,
        "400 writes were acknowledged with the log durable through {}",
        report.durable_lsn
    );
    handle.stop(Stop::NoSave);
    let settings = Settings { port: 0, io_threads: 1, ..Settings::default() };
    let handle = serve(Server::new(settings, open(), Clock::manual(STARTS_AT_MS))).expect("a free port");
    let mut client = Client::connect(handle.address());
    client.ask("DBSIZE", ":400\r\n");
    client.ask("GET 7:49", "$2\r\n49\r\n");
}
