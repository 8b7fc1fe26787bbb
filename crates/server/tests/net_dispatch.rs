//! Dispatch in process: which check wins, what MULTI queues, what WATCH notices, what is counted.

use std::sync::atomic::Ordering;
use sutra_cache::clock::Clock;
use sutra_cache::dispatch::{Outcome, dispatch};
use sutra_cache::server::Server;
use sutra_cache::session::Session;
use sutra_cache::settings::Settings;
use sutra_cache::table::table;
use sutra_protocol::Output;
use sutra_shard::Shard;

fn server() -> Server {
    Server::new(
        Settings { io_threads: 1, ..Settings::default() },
        Shard::in_memory(&sutra_shard::Limits::default(), 7).expect("the default limits allow a shard"),
        Clock::manual(1_700_000_000_000),
    )
}

/// The reply to a line of words.
fn play(server: &Server, session: &mut Session, line: &str) -> String {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let mut output = Output::new();
    assert_eq!(dispatch(server, session, &args, &mut output), Outcome::Done);
    String::from_utf8(output.chunks().flatten().copied().collect()).expect("text")
}

#[test]
fn an_unknown_command_is_named_with_its_first_arguments() {
    let server = server();
    let mut session = Session::new(&server);
    let mut ask = |line: &str| play(&server, &mut session, line);
    assert_eq!(ask("foo"), "-ERR unknown command 'foo', with args beginning with: \r\n");
    assert_eq!(ask("foo a b"), "-ERR unknown command 'foo', with args beginning with: 'a' 'b' \r\n");
    let long = "x".repeat(200);
    let cut = "x".repeat(128);
    assert_eq!(
        ask(&format!("{long} {long} b")),
        format!("-ERR unknown command '{cut}', with args beginning with: '{cut}' \r\n")
    );
    assert_eq!(ask("a\r\nb"), "-ERR unknown command 'a  b', with args beginning with: \r\n");
    assert_eq!(ask("CLIENT foo"), "-ERR unknown subcommand 'foo'. Try CLIENT HELP.\r\n");
}

#[test]
fn too_few_and_too_many_arguments_are_refused_in_any_case_of_the_name() {
    let server = server();
    let mut session = Session::new(&server);
    for (line, name) in
        [("GET", "get"), ("gEt a b", "get"), ("PING a b", "ping"), ("client", "client"), ("CLIENT ID x", "client|id")]
    {
        let expected = format!("-ERR wrong number of arguments for '{name}' command\r\n");
        assert_eq!(play(&server, &mut session, line), expected);
    }
    assert_eq!(play(&server, &mut session, "ping"), "+PONG\r\n");
    assert_eq!(play(&server, &mut session, "PING hi"), "$2\r\nhi\r\n");
}

#[test]
fn without_the_password_only_the_handshake_is_answered() {
    let server = server();
    server.settings.set_password(Some(b"secret"));
    let mut session = Session::new(&server);
    let mut ask = |line: &str| play(&server, &mut session, line);
    assert_eq!(ask("GET a"), "-NOAUTH Authentication required.\r\n");
    assert_eq!(ask("GET"), "-ERR wrong number of arguments for 'get' command\r\n");
    assert!(ask("nosuch").starts_with("-ERR unknown command"));
    assert!(ask("HELLO 3").starts_with("-NOAUTH HELLO must be called with the client already authenticated"));
    assert_eq!(ask("AUTH wrong"), "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    assert_eq!(ask("AUTH nobody secret"), "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    assert_eq!(ask("AUTH a b c"), "-ERR syntax error\r\n");
    assert_eq!(ask("AUTH secret"), "+OK\r\n");
    assert_eq!(ask("GET a"), "$-1\r\n");
    assert_eq!(ask("RESET"), "+RESET\r\n");
    assert_eq!(ask("GET a"), "-NOAUTH Authentication required.\r\n");
    assert!(ask("HELLO 3 AUTH default secret SETNAME me").starts_with("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n"));
    assert_eq!(ask("CLIENT GETNAME"), "$2\r\nme\r\n");
    assert_eq!(ask("GET a"), "_\r\n");
}

#[test]
fn hello_answers_in_the_protocol_it_chooses() {
    let server = server();
    let mut session = Session::new(&server);
    let mut ask = |line: &str| play(&server, &mut session, line);
    assert!(ask("HELLO").starts_with("*14\r\n"));
    assert!(ask("HELLO 3").starts_with("%7\r\n"));
    assert!(ask("HELLO").starts_with("%7\r\n"));
    assert!(ask("HELLO 2").starts_with("*14\r\n"));
    assert_eq!(ask("HELLO 4"), "-NOPROTO unsupported protocol version\r\n");
    assert_eq!(ask("HELLO x"), "-ERR Protocol version is not an integer or out of range\r\n");
    assert_eq!(ask("HELLO 3 AUTH a"), "-ERR Syntax error in HELLO option 'AUTH'\r\n");
    assert!(ask("HELLO").starts_with("*14\r\n"), "a refused HELLO changes nothing");
}

#[test]
fn commands_after_multi_are_queued_and_run_by_exec() {
    let server = server();
    let mut session = Session::new(&server);
    let mut ask = |line: &str| play(&server, &mut session, line);
    assert_eq!(ask("EXEC"), "-ERR EXEC without MULTI\r\n");
    assert_eq!(ask("DISCARD"), "-ERR DISCARD without MULTI\r\n");
    assert_eq!(ask("MULTI"), "+OK\r\n");
    assert_eq!(ask("MULTI"), "-ERR MULTI calls can not be nested\r\n");
    assert_eq!(ask("ECHO 1"), "+QUEUED\r\n");
    assert_eq!(ask("SELECT 99"), "+QUEUED\r\n");
    assert_eq!(ask("GET k"), "+QUEUED\r\n");
    assert_eq!(ask("EXEC"), "*3\r\n$1\r\n1\r\n-ERR DB index is out of range\r\n$-1\r\n");
    assert_eq!(ask("MULTI"), "+OK\r\n");
    assert_eq!(ask("EXEC"), "*0\r\n");
    assert_eq!(ask("MULTI"), "+OK\r\n");
    assert_eq!(ask("ECHO 1"), "+QUEUED\r\n");
    assert_eq!(ask("DISCARD"), "+OK\r\n");
    assert_eq!(ask("ECHO 1"), "$1\r\n1\r\n");
}

#[test]
fn a_refused_command_spoils_the_transaction() {
    let server = server();
    let mut session = Session::new(&server);
    let mut ask = |line: &str| play(&server, &mut session, line);
    ask("MULTI");
    assert!(ask("nosuch").starts_with("-ERR unknown command"));
    assert_eq!(ask("ECHO 1"), "+QUEUED\r\n");
    assert_eq!(ask("EXEC"), "-EXECABORT Transaction discarded because of previous errors.\r\n");
    ask("MULTI");
    assert_eq!(
        ask("EXEC now"),
        "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n"
    );
    assert_eq!(ask("EXEC"), "-ERR EXEC without MULTI\r\n");
    ask("MULTI");
    assert_eq!(ask("WATCH a"), "-ERR WATCH inside MULTI is not allowed\r\n");
    assert_eq!(ask("EXEC"), "*0\r\n", "a refused WATCH does not spoil it, as in Redis");
}

#[test]
fn exec_does_nothing_when_a_watched_key_was_changed_removed_or_expired() {
    let server = server();
    let mut session = Session::new(&server);
    let mut other = Session::new(&server);
    for (before, meddle) in
        [("SET k 1", "SET k 2"), ("SET k 1", "DEL k"), ("DEL k", "SET k 1"), ("SET k 1 PX 100", "clock")]
    {
        play(&server, &mut other, before);
        assert_eq!(play(&server, &mut session, "WATCH other k"), "+OK\r\n");
        match meddle {
            "clock" => server.clock.advance(100),
            command => drop(play(&server, &mut other, command)),
        }
        assert_eq!(play(&server, &mut session, "MULTI"), "+OK\r\n");
        assert_eq!(play(&server, &mut session, "SET done 1"), "+QUEUED\r\n");
        assert_eq!(play(&server, &mut session, "EXEC"), "*-1\r\n", "{before}, then {meddle}");
        assert_eq!(play(&server, &mut session, "GET done"), "$-1\r\n");
    }
    play(&server, &mut session, "HELLO 3");
    play(&server, &mut session, "WATCH k");
    play(&server, &mut other, "SET k 3");
    play(&server, &mut session, "MULTI");
    assert_eq!(play(&server, &mut session, "EXEC"), "_\r\n");
}

#[test]
fn exec_runs_when_watched_keys_stayed_or_the_watch_was_ended() {
    let server = server();
    let mut session = Session::new(&server);
    let mut other = Session::new(&server);
    play(&server, &mut session, "WATCH k");
    play(&server, &mut other, "SET other 1");
    play(&server, &mut session, "MULTI");
    assert_eq!(play(&server, &mut session, "EXEC"), "*0\r\n");
    for end in ["UNWATCH", "DISCARD", "RESET"] {
        play(&server, &mut session, "WATCH k");
        play(&server, &mut other, "SET k 1");
        play(&server, &mut session, "MULTI");
        if end == "UNWATCH" {
            play(&server, &mut session, "DISCARD");
        }
        play(&server, &mut session, end);
        play(&server, &mut session, "MULTI");
        assert_eq!(play(&server, &mut session, "EXEC"), "*0\r\n", "{end}");
    }
}

#[test]
fn a_closed_gate_refuses_writes_and_lets_reads_pass() {
    let server = server();
    let mut session = Session::new(&server);
    server.gate.set_out_of_memory(true);
    assert_eq!(play(&server, &mut session, "SET k v"), "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    assert_eq!(play(&server, &mut session, "DEL k"), ":0\r\n");
    server.gate.set_out_of_memory(false);
    play(&server, &mut session, "MULTI");
    play(&server, &mut session, "SET k v");
    server.gate.set_out_of_memory(true);
    assert_eq!(
        play(&server, &mut session, "EXEC"),
        "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.\r\n"
    );
    server.gate.set_out_of_memory(false);
    server.gate.set_read_only(Some("disk on fire"));
    assert_eq!(play(&server, &mut session, "DEL k"), "-MISCONF Writes are refused: disk on fire\r\n");
    assert_eq!(play(&server, &mut session, "GET k"), "$-1\r\n");
    server.gate.set_read_only(None);
    assert_eq!(play(&server, &mut session, "SET k v"), "+OK\r\n");
}

#[test]
fn replies_can_be_switched_off_and_skipped() {
    let server = server();
    let mut session = Session::new(&server);
    let mut ask = |line: &str| play(&server, &mut session, line);
    assert_eq!(ask("CLIENT REPLY SKIP"), "");
    assert_eq!(ask("PING"), "");
    assert_eq!(ask("PING"), "+PONG\r\n");
    assert_eq!(ask("CLIENT REPLY OFF"), "");
    assert_eq!(ask("nosuch"), "");
    assert_eq!(ask("CLIENT REPLY SKIP"), "");
    assert_eq!(ask("PING"), "");
    assert_eq!(ask("PING"), "");
    assert_eq!(ask("CLIENT REPLY ON"), "+OK\r\n");
    assert_eq!(ask("PING"), "+PONG\r\n");
}

#[test]
fn a_pause_holds_what_it_says_until_it_ends() {
    let server = server();
    let mut session = Session::new(&server);
    let until_ms = server.clock.now_ms() + 500;
    assert_eq!(play(&server, &mut session, "CLIENT PAUSE 500 WRITE"), "+OK\r\n");
    assert_eq!(play(&server, &mut session, "GET k"), "$-1\r\n");
    let mut output = Output::new();
    let set: &[&[u8]] = &[b"SET", b"k", b"v"];
    assert_eq!(dispatch(&server, &mut session, set, &mut output), Outcome::Paused { until_ms });
    assert!(output.is_empty());
    play(&server, &mut session, "MULTI");
    assert_eq!(play(&server, &mut session, "SET k v"), "+QUEUED\r\n");
    assert_eq!(dispatch(&server, &mut session, &[b"EXEC"], &mut output), Outcome::Paused { until_ms });
    server.clock.advance(500);
    assert_eq!(play(&server, &mut session, "EXEC"), "*1\r\n+OK\r\n");
    assert_eq!(play(&server, &mut session, "CLIENT PAUSE 500"), "+OK\r\n");
    assert_ne!(dispatch(&server, &mut session, &[b"GET", b"k"], &mut output), Outcome::Done);
    assert_eq!(play(&server, &mut session, "CLIENT UNPAUSE"), "+OK\r\n");
    assert_eq!(play(&server, &mut session, "GET k"), "$1\r\nv\r\n");
}

#[test]
fn calls_failures_and_refusals_are_counted_exactly() {
    let server = server();
    let mut session = Session::new(&server);
    for line in ["GET k", "GET k", "GET", "nosuch", "SELECT x", "CLIENT ID", "MULTI", "GET k", "EXEC"] {
        play(&server, &mut session, line);
    }
    let worker = server.worker();
    let count = |name: &str| {
        let counters = &worker.commands[table().find_full_name(name.as_bytes()).expect(name).index];
        (counters.calls.value(), counters.rejected.value(), counters.failed.value())
    };
    assert_eq!(count("get"), (3, 1, 0));
    assert_eq!(count("select"), (1, 0, 1));
    assert_eq!(count("client|id"), (1, 0, 0));
    assert_eq!(count("exec"), (1, 0, 0));
    assert_eq!(server.error_counts().into_iter().collect::<Vec<_>>(), [("ERR".to_owned(), 3)]);
}

#[test]
fn slow_calls_are_logged_with_their_arguments() {
    let server = server();
    let mut session = Session::new(&server);
    server.settings.slowlog_slower_than_us.store(0, Ordering::Relaxed);
    play(&server, &mut session, "GET key");
    play(&server, &mut session, "AUTH secret");
    server.settings.slowlog_slower_than_us.store(-1, Ordering::Relaxed);
    play(&server, &mut session, "GET another");
    let calls = server.slowlog.newest(10);
    assert_eq!(calls.len(), 1, "neither secrets nor anything after it was switched off");
    assert_eq!(calls[0].arguments, [b"GET".to_vec(), b"key".to_vec()]);
}
