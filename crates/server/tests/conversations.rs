//! Plays every file of `tests/conversations` against dispatch in process, against our server's socket one byte at a time, and
//! against the machine's redis-server, if there is one: the files state what Redis does, so all three must agree.
//!
//! `CONVERSATION=hset cargo test -p sutra-cache --test conversations` plays only the files whose name contains the word.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use sutra_cache::clock::Clock;
use sutra_cache::dispatch::dispatch;
use sutra_cache::net::{self, Handle};
use sutra_cache::server::Server;
use sutra_cache::session::Session;
use sutra_cache::settings::Settings;
use sutra_protocol::{Decoder, Limits, Output};
use sutra_shard::Shard;
use sutra_testkit::conversation::{ByteByByte, Conversation, Mismatch, Peer, Redis, Reference};

/// When the manual clock starts: November 2023. Absolute times in conversations lie before 2001 or in 2100.
const STARTS_AT_MS: u64 = 1_700_000_000_000;

/// How long a reply may take on a socket; only a conversation that expects more replies than come waits so long.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn conversations_hold_in_process() {
    play_all(|conversation| Ok(conversation.play(&mut InProcess::new())));
}

#[test]
fn conversations_hold_on_a_socket_whose_bytes_come_one_by_one() {
    play_all(|conversation| Ok(conversation.play(&mut OnSocket::new()?)));
}

#[test]
fn conversations_hold_on_the_reference_server() {
    let Some(mut reference) = Reference::start().unwrap() else { return };
    play_all(|conversation| {
        reference.reset()?;
        Ok(conversation.play(&mut reference))
    });
}

fn play_all(mut play: impl FnMut(&Conversation) -> io::Result<Vec<Mismatch>>) {
    let mut mismatches = Vec::new();
    for file in files() {
        let conversation = Conversation::open(&file).expect("every file is a conversation");
        mismatches.extend(play(&conversation).expect("a peer to play against").iter().map(ToString::to_string));
    }
    assert!(mismatches.is_empty(), "{} mismatches\n{}", mismatches.len(), mismatches.join("\n"));
}

fn files() -> Vec<PathBuf> {
    let wanted = std::env::var("CONVERSATION").unwrap_or_default();
    // Relative, so that messages name files as an editor in the package finds them.
    let directory = std::fs::read_dir("tests/conversations").expect("the package's directory");
    let mut files: Vec<PathBuf> = directory.map(|entry| entry.expect("a readable directory").path()).collect();
    files.retain(|file| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        file.extension().is_some_and(|extension| extension == "resp") && name.contains(&wanted)
    });
    files.sort();
    assert!(!files.is_empty(), "no conversation named {wanted}");
    files
}

/// A server of its own for each conversation.
fn server() -> Server {
    Server::new(
        Settings { port: 0, io_threads: 1, ..Settings::default() },
        Shard::in_memory(&sutra_shard::Limits::default(), 7).expect("the default limits allow a shard"),
        Clock::manual(STARTS_AT_MS),
    )
}

/// Dispatch without a socket: a session and a decoder for each connection.
struct InProcess {
    server: Server,
    connections: BTreeMap<u32, (Session, Decoder, Output)>,
}

impl InProcess {
    fn new() -> InProcess {
        InProcess { server: server(), connections: BTreeMap::new() }
    }
}

impl Peer for InProcess {
    fn send(&mut self, connection: u32, request: &[u8]) -> io::Result<()> {
        let (session, decoder, output) = self
            .connections
            .entry(connection)
            .or_insert_with(|| (Session::new(&self.server), Decoder::new(), Output::new()));
        let consumed = decoder.decode(request, &Limits::default(), true).map_err(io::Error::other)?;
        assert_eq!(consumed, Some(request.len()), "a conversation sends whole requests");
        let arguments: Vec<&[u8]> = decoder.arguments(request).iter().collect();
        dispatch(&self.server, session, &arguments, output);
        Ok(())
    }

    fn receive(&mut self, connection: u32) -> io::Result<Vec<u8>> {
        let (session, _, output) = self.connections.get_mut(&connection).ok_or(io::ErrorKind::NotConnected)?;
        session.take_mail(output);
        let bytes: Vec<u8> = output.chunks().flatten().copied().collect();
        output.clear();
        if bytes.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
    }

    fn advance(&mut self, milliseconds: u64) -> bool {
        self.server.clock.advance(milliseconds);
        true
    }

    fn reference_version(&self) -> Option<Redis> {
        None
    }
}

/// Our server on a port of its own.
struct OnSocket {
    handle: Handle,
    connections: ByteByByte,
}

impl OnSocket {
    fn new() -> io::Result<OnSocket> {
        let handle = net::serve(server())?;
        let connections = ByteByByte::to(handle.address(), PATIENCE);
        Ok(OnSocket { handle, connections })
    }
}

impl Peer for OnSocket {
    fn send(&mut self, connection: u32, request: &[u8]) -> io::Result<()> {
        self.connections.send(connection, request)
    }

    fn receive(&mut self, connection: u32) -> io::Result<Vec<u8>> {
        self.connections.receive(connection)
    }

    fn advance(&mut self, milliseconds: u64) -> bool {
        self.handle.server().clock.advance(milliseconds);
        true
    }

    fn reference_version(&self) -> Option<Redis> {
        None
    }
}
