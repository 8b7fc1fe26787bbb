//! The HTTP port, from before recovery to the end.

use crate::support::process::{Process, Waited};
use crate::web::{ask, get, port_of};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use sutra_protocol::{Frame, encode_request};

const PATIENCE: Duration = Duration::from_secs(60);

fn start(directory: &Path, settings: &[(&str, &str)]) -> (Process, u16) {
    let all: Vec<(&str, &str)> = std::iter::once(("HTTP_PORT", "0")).chain(settings.iter().copied()).collect();
    let process = Process::start(directory, &all).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let port = port_of(&process);
    (process, port)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[test]
fn every_path_answers_what_it_should_and_only_to_its_verb() {
    let folder = folder();
    let (process, port) = start(folder.path(), &[]);
    let mut client = process.client();
    for line in ["SET a 1", "GET a", "GET b", "CACHE.SET k v COST 0.5", "CACHE.GET k"] {
        client.say(line);
    }
    for path in ["/health", "/ready", "/cache/health", "/cache/stats", "/openapi.json"] {
        let answer = get(port, path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains("content-type: application/json") && answer.head.contains("no-store"), "{path}");
        assert!(answer.json().is_object());
        let head = ask(port, &format!("HEAD {path}"), &[]);
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        for verb in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            let refused = ask(port, &format!("{verb} {path}"), &[]);
            assert_eq!(refused.status, 405, "{verb} {path}");
            assert!(refused.head.contains("allow: get, head"));
        }
    }
    assert_eq!(get(port, "/ready").json()["status"], "ready");
    assert_eq!(get(port, "/cache/health").json()["status"], "healthy");
    let stats = get(port, "/cache/stats").json();
    assert_eq!(stats["backend"], "sutra");
    assert_eq!(stats["shard"], format!("127.0.0.1:{}", process.port()));
    assert_eq!((&stats["hits"], &stats["misses"], &stats["total_requests"]), (&2.into(), &1.into(), &3.into()));
    assert_eq!(stats["entries"], 2);
    assert_eq!(stats["cost_saved_usd"], 0.5);
    assert!(
        stats["memory"]["used_bytes"].as_u64().expect("a number")
            < stats["memory"]["limit_bytes"].as_u64().expect("a number")
    );
    let refused = get(port, "/cache/clear");
    assert!(refused.status == 405 && refused.head.contains("allow: post"));
    let unknown = get(port, "/other");
    assert!(unknown.status == 404 && unknown.json()["error"].is_string());
}

#[test]
fn metrics_come_in_the_format_that_is_asked_for() {
    let folder = folder();
    let (process, port) = start(folder.path(), &[]);
    process.client().say("SET a 1");
    let text = get(port, "/metrics");
    assert!(text.head.contains("content-type: text/plain; version=0.0.4"), "{}", text.head);
    assert!(text.body.contains("\ncache_entries 1\n") && text.body.contains("\ncache_ready 1\n"));
    let open = ask(port, "GET /metrics", &["Accept: application/openmetrics-text; version=1.0.0"]);
    assert!(open.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", open.head);
    assert!(open.body.ends_with("# EOF\n"));
}

#[test]
fn clearing_asks_for_the_password_and_is_logged() {
    let folder = folder();
    let (process, port) = start(folder.path(), &[("REDIS_AUTH", "open-sesame")]);
    let mut client = process.client();
    client.say("AUTH open-sesame");
    client.say("SET a 1");
    for headers in [&[][..], &["Authorization: Bearer wrong"], &["Authorization: Basic Ondyb25n"]] {
        let refused = ask(port, "POST /cache/clear", headers);
        assert!(refused.status == 401 && refused.head.contains("www-authenticate: bearer"), "{headers:?}");
    }
    assert_eq!(client.say("DBSIZE"), Frame::Integer(1));
    let cleared = ask(port, "POST /cache/clear", &["Authorization: Bearer open-sesame"]);
    assert_eq!((cleared.status, cleared.json()["entries"].clone()), (200, 1.into()));
    assert_eq!(client.say("DBSIZE"), Frame::Integer(0));
    client.say("SELECT 5");
    client.say("SET b 1");
    // As `curl -u :open-sesame`, with a body that nobody asked for.
    let headers = ["Authorization: Basic Om9wZW4tc2VzYW1l", "Content-Length: 0"];
    assert_eq!(ask(port, "POST /cache/clear", &headers).status, 200);
    assert_eq!(client.say("DBSIZE"), Frame::Integer(0), "all databases");
    assert_eq!(get(port, "/metrics").status, 200, "reading needs no password");
    let log = process.log_text();
    assert!(log.contains("all entries were removed over HTTP") && !log.contains("sesame"), "{log}");
}

#[test]
fn pages_of_others_get_nothing() {
    let folder = folder();
    let (process, port) = start(folder.path(), &[("HTTP_ALLOWED_HOSTS", "cache.example.com")]);
    process.client().say("SET a 1");
    for host in ["Host: evil.example:8888", "Host: 127.0.0.1.nip.io"] {
        assert_eq!(ask(port, "GET /cache/stats", &[host]).status, 403, "{host}");
        assert_eq!(ask(port, "POST /cache/clear", &[host]).status, 403, "{host}");
    }
    assert_eq!(ask(port, "GET /cache/stats", &["Host: cache.example.com"]).status, 200);
    let foreign = ["Host: localhost:8888", "Origin: http://evil.example"];
    assert_eq!(ask(port, "POST /cache/clear", &foreign).status, 403);
    assert_eq!(process.client().say("DBSIZE"), Frame::Integer(1));
}

#[test]
fn it_answers_before_recovery_is_done_and_says_how_far_it_is() {
    let folder = folder();
    let (process, _) = start(folder.path(), &[("MAX_MEMORY", "256mb")]);
    let mut client = process.client();
    // Enough to replay that the start can be watched, in small frames.
    for batch in 0..40 {
        let mut requests = Vec::new();
        for number in 0..2500 {
            encode_request(
                &["SET".to_owned(), format!("key:{}", batch * 2500 + number), "v".to_owned()],
                &mut requests,
            );
        }
        client.send(&requests).expect("sent");
        for _ in 0..2500 {
            assert_eq!(client.receive().expect("an answer"), Frame::Simple("OK".to_owned()));
        }
    }
    process.kill();
    let settings = [("HTTP_PORT", "0"), ("MAX_MEMORY", "256mb")];
    let process = Process::spawn(folder.path(), &settings);
    let port = port_of(&process);
    let began = Instant::now();
    let (mut seen, mut last) = (0, 0);
    loop {
        assert!(began.elapsed() < PATIENCE, "{}", process.log_text());
        assert_eq!(get(port, "/health").status, 200, "it lives all the while");
        let ready = get(port, "/ready");
        if ready.status == 200 {
            assert_eq!(ready.json()["recovery"]["entries"], 100_000);
            break;
        }
        assert_eq!(ready.status, 503);
        let progress = ready.json();
        assert_eq!(progress["status"], "recovering");
        let frames = progress["frames"].as_u64().expect("a number");
        assert!(frames >= last, "it goes forward");
        last = frames;
        if seen == 0 {
            assert_eq!(get(port, "/cache/stats").status, 503);
            let metrics = get(port, "/metrics");
            assert!(metrics.status == 200 && metrics.body.contains("\ncache_ready "), "{}", metrics.body);
        }
        seen += 1;
    }
    assert!(seen > 0, "the start was over before it could be watched");
    assert!(matches!(process.wait_for_line("recovered", PATIENCE), Waited::Line(_)));
}

#[test]
fn a_client_that_sends_nonsense_or_too_much_is_shown_the_door_and_others_are_served() {
    let folder = folder();
    let (process, port) = start(folder.path(), &[]);
    let mut silent: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("accepted")).collect();
    silent[0].write_all(b"GET /hea").expect("sent");
    let long = format!("X-Long: {}", "x".repeat(40_000));
    for (request, headers) in [("GET /health", vec![long.as_str()]), ("GET", vec![]), ("GET /health", vec!["nonsense"])]
    {
        let answer = ask(port, request, &headers);
        assert!((400..500).contains(&answer.status), "{request}: {}", answer.head);
    }
    assert_eq!(get(port, "/health").status, 200);
    // Without an end to its head, a connection beyond the limit is closed; the cache itself never notices.
    let mut flood: Vec<TcpStream> = Vec::new();
    while let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
        flood.push(stream);
        if flood.len() == 100 {
            break;
        }
    }
    let mut closed = 0;
    for stream in &mut flood {
        stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
        closed += usize::from(matches!(stream.read(&mut [0; 8]), Ok(0) | Err(_)));
        if closed > 0 {
            break;
        }
    }
    assert!(closed > 0, "there is a limit");
    assert_eq!(process.client().say("PING"), Frame::Simple("PONG".to_owned()));
    drop((silent, flood));
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < PATIENCE);
    }
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let folder = folder();
    let (_process, port) = start(folder.path(), &[]);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("accepted");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    for _ in 0..3 {
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"}\n") {
            let mut piece = [0; 512];
            let count = stream.read(&mut piece).expect("an answer");
            assert!(count > 0, "the connection stays");
            answer.extend_from_slice(&piece[..count]);
        }
    }
}

#[test]
fn it_can_be_switched_off_and_a_port_that_was_asked_for_must_be_free() {
    let folder = folder();
    let process = Process::start(folder.path(), &[("HTTP_PORT", "off")]).expect("it starts");
    assert!(!process.log_text().contains("HTTP is answered"));
    drop(process);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let refusal = Process::start(folder.path(), &[("HTTP_PORT", &port)]).err().expect("refused");
    assert!(refusal.code == Some(1) && refusal.log.contains("HTTP_PORT") && refusal.log.contains(&port), "{refusal:?}");
    let exposed =
        Process::start(folder.path(), &[("HTTP_PORT", "0"), ("HTTP_HOST", "0.0.0.0")]).err().expect("refused");
    assert!(exposed.log.contains("HTTP_HOST") && exposed.log.contains("PROTECTED_MODE"), "{exposed:?}");
}

/// The binary as a probe: exit code, standard output, standard error.
fn probe(settings: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sutra-cache"))
        .env_clear()
        .envs(settings.iter().copied())
        .arg("health")
        .args(arguments)
        .output()
        .expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_probe_asks_either_port_and_tells_by_its_exit_code() {
    let folder = folder();
    let (mut process, http) = start(folder.path(), &[]);
    let (data, http) = (process.port().to_string(), http.to_string());
    let settings = [
        ("STORAGE_PORT", data.as_str()),
        ("HTTP_PORT", http.as_str()),
        ("STORAGE_HOST", "0.0.0.0"),
        ("PROTECTED_MODE", "no"),
    ];
    let (code, out, error) = probe(&settings, &[]);
    assert_eq!((code, out.as_str(), error.as_str()), (Some(0), "{\"status\":\"healthy\"}\n", ""));
    let (code, out, _) = probe(&settings, &["--ready"]);
    assert!(code == Some(0) && out.contains("\"ready\""), "{out}");
    let stats = format!("http://localhost:{http}/cache/stats");
    assert!(probe(&[], &["--url", &stats]).1.contains("hit_rate"));
    let missing = format!("--url=http://127.0.0.1:{http}/other");
    let (code, _, error) = probe(&[], &[&missing]);
    assert!(code == Some(1) && error.contains("404"), "{error}");
    assert_eq!(probe(&settings, &["--fast"]).0, Some(1));
    process.end(Signal::TERM);
    let (code, _, error) = probe(&settings, &[]);
    assert!(code == Some(1) && error.contains("does not answer"), "{error}");
}
