//! Native commands where a conversation file does not reach: tokens and log positions that a reply names, embedders that take their time,
//! connections that end.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use sutra_cache::clients::Signal;
use sutra_cache::clock::Clock;
use sutra_cache::meaning::embedding::Embedding;
use sutra_cache::net::{Handle, serve};
use sutra_cache::server::{Server, Stop};
use sutra_cache::settings::Settings;
use sutra_embed::{EmbedError, Embedder};
use sutra_protocol::Frame;
use sutra_shard::{Limits, Options, Shard};

#[path = "support/client.rs"]
mod client;
use client::Client;

/// A test that hangs fails instead.
const PATIENCE: Duration = Duration::from_secs(30);

/// An embedder behind a network, as far as the server can tell: it answers when the test lets it.
struct Slow {
    begun: Mutex<Sender<String>>,
    release: Mutex<Receiver<Result<Vec<f32>, EmbedError>>>,
}

impl Embedder for Slow {
    fn name(&self) -> &str {
        "http:slow"
    }
    fn dimension(&self) -> Option<usize> {
        None
    }
    fn is_immediate(&self) -> bool {
        false
    }
    fn embed(&self, texts: &[&str], out: &mut Vec<Vec<f32>>) -> Result<(), EmbedError> {
        out.clear();
        for text in texts {
            self.begun.lock().expect("no test panics in here").send((*text).to_owned()).expect("the test listens");
            let answer = self.release.lock().expect("no test panics in here").recv();
            out.push(answer.unwrap_or(Err(EmbedError::Closed))?);
        }
        Ok(())
    }
}

/// What the test sees and does of an embedder.
struct Control {
    begun: Receiver<String>,
    release: Sender<Result<Vec<f32>, EmbedError>>,
}

impl Control {
    fn wait_for(&self, text: &str) {
        assert_eq!(self.begun.recv_timeout(PATIENCE).as_deref(), Ok(text));
    }

    fn answer(&self, vector: &[f32]) {
        self.release.send(Ok(vector.to_vec())).expect("the embedder listens");
    }
}

fn start(change: impl FnOnce(&mut Settings)) -> Handle {
    let mut settings = Settings { port: 0, io_threads: 1, ..Settings::default() };
    change(&mut settings);
    serve(Server::new(settings, shard(), Clock::system())).expect("a free port")
}

fn start_slow() -> (Handle, Control) {
    let ((begin, begun), (release, released)) = (channel(), channel());
    let slow = Slow { begun: Mutex::new(begin), release: Mutex::new(released) };
    let settings = Settings { port: 0, io_threads: 1, background_threads: 1, ..Settings::default() };
    let embedding = Embedding::of(Arc::new(slow)).expect("threads for the embedder");
    let server = Server::new(settings, shard(), Clock::system()).with_embedding(embedding);
    (serve(server).expect("a free port"), Control { begun, release })
}

fn shard() -> Shard {
    Shard::in_memory(&Limits::default(), 7).expect("the default limits allow a shard")
}

fn connect(address: SocketAddr) -> Client {
    Client::connect(address.port()).expect("the server listens")
}

/// The text of a bulk string, or of whatever else came.
fn text(frame: &Frame) -> String {
    if let Frame::Bulk(bytes) = frame { String::from_utf8_lossy(bytes).into_owned() } else { format!("{frame:?}") }
}

fn array(frame: Frame) -> Vec<Frame> {
    let Frame::Array(items) = frame else { panic!("an array, not {frame:?}") };
    items
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waiting for: {what}");
        std::thread::yield_now();
    }
}

/// Whether every connection has been told.
fn has_arrived(server: &Server, signal: Signal) -> bool {
    server.clients.list().iter().all(|client| client.is_signalled(signal))
}

fn lease(client: &mut Client, line: &str) -> String {
    let reply = array(client.say(line));
    assert_eq!(text(&reply[0]), "LEASE");
    text(&reply[1])
}

fn is_error(frame: &Frame, prefix: &str) -> bool {
    matches!(frame, Frame::Error(error) if error.starts_with(prefix))
}

#[test]
fn a_write_with_a_lease_is_let_in_once_and_refused_after_an_invalidation() {
    let handle = start(|_| {});
    let mut client = connect(handle.address());
    let token = lease(&mut client, "CACHE.LEASE k");
    assert_eq!(client.say(&format!("CACHE.SET k v LEASE {token}")), Frame::Simple("OK".into()));
    assert!(is_error(&client.say(&format!("CACHE.SET k w LEASE {token}")), "STALELEASE"));
    for invalidation in ["CACHE.INVALIDATE TAG 1 a", "CACHE.INVALIDATE MATCH j*", "FLUSHALL", "DEL j", "SET j x"] {
        client.say("DEL j");
        let token = lease(&mut client, "CACHE.LEASE j");
        // Each covers what is about to be written, a DEL of what is not there yet included: its sender wants the answer gone.
        client.say(invalidation);
        let reply = client.say(&format!("CACHE.SET j v TAG 1 a LEASE {token}"));
        assert!(is_error(&reply, "STALELEASE"), "{invalidation}: {reply:?}");
        client.say(&format!("CACHE.RELEASE j {token}"));
    }
    // By meaning: the same vector is covered, another is not.
    client.say("CACHE.SPACE CREATE s DIM 2");
    for (vector, stale) in [("1 0", true), ("0 1", false)] {
        let token = lease(&mut client, &format!("CACHE.LOOKUP s VALUES 2 {vector} MIN 0.9 LEASE"));
        client.say("CACHE.INVALIDATE IN s VALUES 2 1 0 MIN 0.9");
        let reply = client.say(&format!("CACHE.SET q v IN s VALUES 2 {vector} LEASE {token}"));
        assert_eq!(is_error(&reply, "STALELEASE"), stale, "{vector}: {reply:?}");
        client.say(&format!("CACHE.RELEASE q {token}"));
    }
}

#[test]
fn a_lease_is_given_back_by_release_and_by_the_end_of_its_connection() {
    let handle = start(|_| {});
    let (mut one, mut other) = (connect(handle.address()), connect(handle.address()));
    let token = lease(&mut one, "CACHE.LEASE k");
    assert_eq!(text(&array(other.say("CACHE.LEASE k"))[0]), "WAIT");
    assert_eq!(other.say(&format!("CACHE.RELEASE k {token}")), Frame::Integer(1));
    lease(&mut one, "CACHE.LEASE k");
    lease(&mut one, "CACHE.LOOKUP s VALUES 2 1 0 MIN 0.9 LEASE");
    drop(one);
    until("the leases have ended", || handle.server().shard.meaning_stats().leases == 0);
    lease(&mut other, "CACHE.LEASE k");
    lease(&mut other, "CACHE.LOOKUP s VALUES 2 1 0 MIN 0.9 LEASE");
}

#[test]
fn an_invalidation_is_taken_back_by_its_log_position() {
    let handle = start(|_| {});
    let mut client = connect(handle.address());
    client.say("CACHE.SET a 1 TAG 1 t EX 1000");
    client.say("CACHE.SET b 2 TAG 1 t IN s VALUES 2 1 0");
    assert_eq!(client.say("CACHE.INVALIDATE TAG 1 t REASON oops"), Frame::Integer(2));
    let line = array(array(client.say("CACHE.LOG 1")).remove(0));
    let Frame::Integer(lsn) = line[1] else { panic!("a log position: {line:?}") };
    assert_eq!(client.say(&format!("CACHE.UNDO {lsn}")), Frame::Integer(2));
    assert_eq!(client.say("CACHE.LOOKUP s VALUES 2 1 0 MIN 0.9"), Frame::Bulk(b"2".to_vec()));
    assert!(matches!(client.say("TTL a"), Frame::Integer(900..)));
    assert!(is_error(&client.say(&format!("CACHE.UNDO {lsn}")), "ERR"));
}

#[test]
fn a_pipeline_keeps_its_order_around_a_text_that_waits_for_the_embedder_and_others_are_served() {
    let (handle, embedder) = start_slow();
    let (mut slow, mut other) = (connect(handle.address()), connect(handle.address()));
    slow.send(b"SET n 1\r\nCACHE.SET k v IN s TEXT hello COST 0.5\r\nGET k\r\nINCR n\r\n").expect("sent");
    assert_eq!(slow.receive().expect("what came before is answered"), Frame::Simple("OK".into()));
    embedder.wait_for("hello");
    // The one thread that serves connections is free; what is behind the text waits for it.
    assert_eq!(other.say("GET n"), Frame::Bulk(b"1".to_vec()));
    assert_eq!(other.say("EXISTS k"), Frame::Integer(0));
    embedder.answer(&[3.0, 4.0]);
    assert_eq!(slow.receive().expect("stored"), Frame::Simple("OK".into()));
    assert_eq!(slow.receive().expect("the value"), Frame::Bulk(b"v".to_vec()));
    assert_eq!(slow.receive().expect("the count"), Frame::Integer(2));
    assert_eq!(other.say("CACHE.LOOKUP s VALUES 2 3 4 MIN 0.99"), Frame::Bulk(b"v".to_vec()));
}

#[test]
fn an_embedder_that_fails_is_an_error_of_that_command_alone() {
    let (handle, embedder) = start_slow();
    let mut client = connect(handle.address());
    client.say("CACHE.SET k v IN s VALUES 2 1 0");
    let reply = client.say("CACHE.LOOKUP s TEXT hello MIN 0.5");
    assert!(is_error(&reply, "ERR space 's' holds vectors that clients have made"), "{reply:?}");
    client.send(b"CACHE.SET k v IN t TEXT hello\r\nPING\r\n").expect("sent");
    embedder.wait_for("hello");
    let open = EmbedError::CircuitOpen { retry_in: Duration::from_millis(1500) };
    embedder.release.send(Err(open)).expect("the embedder listens");
    let reply = client.receive().expect("an error");
    assert!(is_error(&reply, "ERR the embedding endpoint keeps failing"), "{reply:?}");
    assert_eq!(client.receive().expect("served on"), Frame::Simple("PONG".into()));
}

#[test]
fn a_client_that_is_killed_while_it_waits_leaves_nothing_behind() {
    let (handle, embedder) = start_slow();
    let (mut slow, mut other) = (connect(handle.address()), connect(handle.address()));
    let Frame::Integer(id) = slow.say("CLIENT ID") else { panic!("an id") };
    slow.send(b"CACHE.SET k v IN s TEXT hello\r\n").expect("sent");
    embedder.wait_for("hello");
    assert_eq!(other.say(&format!("CLIENT KILL ID {id}")), Frame::Integer(1));
    assert!(slow.receive().is_err(), "the connection is closed");
    until("the client is gone", || handle.server().clients.count() == 1);
    embedder.answer(&[1.0, 0.0]);
    other.send(b"CACHE.SET l v IN s TEXT world\r\n").expect("sent");
    embedder.wait_for("world");
    embedder.answer(&[1.0, 0.0]);
    assert_eq!(other.receive().expect("stored"), Frame::Simple("OK".into()));
    assert_eq!(other.say("EXISTS k l"), Frame::Integer(1));
}

#[test]
fn a_stop_lets_a_command_that_waits_for_the_embedder_be_answered() {
    let (handle, embedder) = start_slow();
    let mut slow = connect(handle.address());
    slow.send(b"CACHE.SET k v IN s TEXT hello\r\nPING\r\n").expect("sent");
    embedder.wait_for("hello");
    let server = Arc::clone(handle.server());
    let stopping = std::thread::spawn(move || handle.stop(Stop::Save));
    // Not merely asked of the server: what a connection begins before the stop has reached it is answered, too.
    until("the stop has reached the connection", || has_arrived(&server, Signal::STOP));
    embedder.answer(&[1.0, 0.0]);
    assert_eq!(slow.receive().expect("answered before the end"), Frame::Simple("OK".into()));
    assert!(slow.receive().is_err(), "nothing after it is executed");
    stopping.join().expect("the server stops");
}

/// The connection was closed with bytes of the client unread, which makes the system reset it: replies on their way are lost.
#[test]
fn a_stop_ends_connections_in_order_even_if_more_was_sent_than_is_answered() {
    let (handle, embedder) = start_slow();
    let mut slow = connect(handle.address());
    slow.send(b"CACHE.SET k v IN s TEXT hello\r\n").expect("sent");
    embedder.wait_for("hello");
    slow.send(&b"PING\r\n".repeat(1_000)).expect("sent");
    let server = Arc::clone(handle.server());
    let stopping = std::thread::spawn(move || handle.stop(Stop::Save));
    until("the stop has reached the connection", || has_arrived(&server, Signal::STOP));
    embedder.answer(&[1.0, 0.0]);
    assert_eq!(slow.receive().expect("answered before the end"), Frame::Simple("OK".into()));
    assert_eq!(slow.receive().expect_err("the end").kind(), std::io::ErrorKind::UnexpectedEof);
    stopping.join().expect("the server stops");
}

#[test]
fn inside_multi_an_embedder_that_takes_its_time_is_refused_and_the_rest_runs() {
    let (handle, _embedder) = start_slow();
    let mut client = connect(handle.address());
    for line in ["MULTI", "CACHE.SET a 1 IN s TEXT hello", "CACHE.SET b 2 IN s VALUES 2 1 0"] {
        client.say(line);
    }
    let replies = array(client.say("EXEC"));
    assert!(is_error(&replies[0], "ERR inside MULTI no embedder can be waited for"), "{replies:?}");
    assert_eq!(replies[1], Frame::Simple("OK".into()));
    assert_eq!(client.say("EXISTS a b"), Frame::Integer(1));
}

#[test]
fn the_default_space_takes_the_dimension_that_was_set_and_no_other() {
    let handle = start(|settings| settings.vector_dimension = 3);
    let mut client = connect(handle.address());
    let refusal = "ERR the vector has 2 dimensions, space 'text' takes 3 (VECTOR_DIMENSION)";
    assert!(is_error(&client.say("CACHE.SET k v IN text VALUES 2 1 0"), refusal));
    assert!(is_error(&client.say("CACHE.SPACE CREATE text DIM 2"), refusal));
    assert!(is_error(&client.say("CACHE.SET k v IN default VALUES 2 1 0"), "ERR the vector has 2 dimensions"));
    assert_eq!(client.say("CACHE.SET k v IN default VALUES 3 1 0 0"), Frame::Simple("OK".into()));
    assert_eq!(client.say("CACHE.SET k v IN text TEXT hello"), Frame::Simple("OK".into()));
    assert!(is_error(&client.say("CACHE.SET k v IN text VALUES 3 1 0 0"), "ERR the vector has 3 dimensions"));
    assert_eq!(client.say("CACHE.SET k v IN other VALUES 2 1 0"), Frame::Simple("OK".into()));
}

#[test]
fn without_an_embedder_texts_are_refused_and_vectors_are_not() {
    let server = Server::new(Settings { port: 0, ..Settings::default() }, shard(), Clock::system());
    let handle = serve(server.with_embedding(Embedding::none())).expect("a free port");
    let mut client = connect(handle.address());
    assert!(is_error(&client.say("CACHE.SET k v IN s TEXT hello"), "ERR TEXT needs an embedder"));
    assert_eq!(client.say("CACHE.SET k v IN s VALUES 2 1 0"), Frame::Simple("OK".into()));
}

#[test]
fn what_native_commands_wrote_is_found_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options::new(directory.path());
    let start = || {
        let (shard, _) = Shard::open(&options, Clock::system().now_ms()).expect("the directory opens");
        serve(Server::new(Settings { port: 0, ..Settings::default() }, shard, Clock::system())).expect("a free port")
    };
    let handle = start();
    let mut client = connect(handle.address());
    client.say("CACHE.SET a 1 IN text TEXT password TAG 1 t META {} COST 0.5");
    client.say("CACHE.SET b 2 IN text TEXT exchange TAG 1 u");
    client.say("CACHE.EMB.MSET m hello abcdefgh");
    assert_eq!(client.say("CACHE.INVALIDATE TAG 1 u"), Frame::Integer(1));
    handle.stop(Stop::NoSave);
    let handle = start();
    let mut client = connect(handle.address());
    assert_eq!(client.say("CACHE.LOOKUP text TEXT password MIN 0.9"), Frame::Bulk(b"1".to_vec()));
    assert_eq!(client.say("CACHE.LOOKUP text TEXT exchange MIN 0.9"), Frame::Null);
    assert_eq!(client.say("CACHE.EMB.MGET m hello"), Frame::Array(vec![Frame::Bulk(b"abcdefgh".to_vec())]));
}
