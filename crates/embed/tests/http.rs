//! The client of OpenAI-compatible endpoints against a server of its own, which plays a script.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use sutra_embed::{Circuit, EmbedError, Embedder, HttpEmbedder, HttpOptions};

/// What the server does with one connection.
enum Play {
    /// Answers.
    Reply { status: u16, headers: &'static str, body: String },
    /// Closes it without a word.
    Hang,
    /// Keeps it open without a word until the script's owner has the client's error.
    Stall,
}

struct Request {
    head: String,
    body: serde_json::Value,
}

struct Server {
    url: String,
    requests: Receiver<Request>,
    /// Dropped to let a stalled connection go.
    stalled: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Plays one line of the script for each connection, then listens no more.
    fn new(script: Vec<Play>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/v1/embeddings", listener.local_addr().expect("bound"));
        let (request, requests) = channel();
        let (stalled, goes_on) = channel::<()>();
        let thread = std::thread::spawn(move || {
            for play in script {
                let (connection, _) = listener.accept().expect("a client");
                serve(connection, play, &request, &goes_on);
            }
        });
        Server { url, requests, stalled: Some(stalled), thread: Some(thread) }
    }

    fn embedder(&self, change: impl FnOnce(&mut HttpOptions)) -> HttpEmbedder {
        let mut options = HttpOptions {
            model: "tiny".to_owned(),
            backoff_first: Duration::from_millis(2),
            backoff_max: Duration::from_millis(4),
            ..HttpOptions::default()
        };
        change(&mut options);
        HttpEmbedder::new(self.url.parse().expect("an address"), options)
    }

    /// The requests of the whole script. Waits for its end.
    fn requests(mut self) -> Vec<Request> {
        self.stalled = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the script was played");
        }
        self.requests.try_iter().collect()
    }
}

fn serve(connection: TcpStream, play: Play, request: &Sender<Request>, goes_on: &Receiver<()>) {
    let mut reader = BufReader::new(&connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a head") > 0, "the client left");
    }
    let length = head.to_lowercase().split("content-length: ").nth(1).map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().expect("a length")
    });
    let mut body = vec![0; length.expect("the length of the body is told")];
    reader.read_exact(&mut body).expect("a body");
    let body = serde_json::from_slice(&body).expect("the body is JSON");
    request.send(Request { head, body }).expect("the test listens");
    match play {
        Play::Reply { status, headers, body } => {
            let length = body.len();
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n");
            // A client that has seen too much has gone away.
            let _ = (&connection).write_all(head.as_bytes()).and_then(|()| (&connection).write_all(body.as_bytes()));
        }
        Play::Hang => {}
        Play::Stall => drop(goes_on.recv()),
    }
}

fn ok(body: impl Into<String>) -> Play {
    Play::Reply { status: 200, headers: "", body: body.into() }
}

fn status(status: u16) -> Play {
    Play::Reply { status, headers: "", body: String::new() }
}

/// An answer in the order of the texts.
fn answer(vectors: &[[f32; 2]]) -> Play {
    let items = vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| serde_json::json!({ "object": "embedding", "index": index, "embedding": vector }));
    ok(serde_json::json!({ "object": "list", "data": items.collect::<Vec<_>>() }).to_string())
}

fn embed(embedder: &HttpEmbedder, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
    let mut out = vec![vec![9.0]];
    let result = embedder.embed(texts, &mut out);
    assert!(result.is_ok() || out.is_empty(), "an error leaves nothing behind");
    result.map(|()| out)
}

#[test]
fn texts_are_sent_with_model_and_key_and_vectors_come_back() {
    let server = Server::new(vec![answer(&[[3.0, 4.0]])]);
    let embedder = server.embedder(|options| options.api_key = Some("sesame".to_owned()));
    assert_eq!((embedder.name(), embedder.dimension(), embedder.is_immediate()), ("http:tiny", None, false));
    assert_eq!(embed(&embedder, &["hello"]), Ok(vec![vec![0.6, 0.8]]));
    assert_eq!(embedder.dimension(), Some(2));
    let requests = server.requests();
    assert!(requests[0].head.starts_with("POST /v1/embeddings HTTP/1.1\r\n"), "{}", requests[0].head);
    assert!(requests[0].head.to_lowercase().contains("\r\nauthorization: bearer sesame\r\n"));
    assert!(requests[0].head.to_lowercase().contains("\r\ncontent-type: application/json\r\n"));
    let sent = serde_json::json!({ "model": "tiny", "input": ["hello"], "encoding_format": "float" });
    assert_eq!(requests[0].body, sent);
}

#[test]
fn vectors_are_ordered_by_their_index() {
    let body =
        r#"{"data":[{"index":2,"embedding":[0,1]},{"index":0,"embedding":[1,0]},{"index":1,"embedding":[0,-1]}]}"#;
    let server = Server::new(vec![ok(body)]);
    let embedder = server.embedder(|_| {});
    assert_eq!(embed(&embedder, &["a", "b", "c"]), Ok(vec![vec![1.0, 0.0], vec![0.0, -1.0], vec![0.0, 1.0]]));
}

#[test]
fn many_texts_go_in_requests_of_bounded_size() {
    let server = Server::new(vec![
        answer(&[[1.0, 0.0]; 2]),
        answer(&[[0.0, 1.0]; 1]),
        answer(&[[0.0, -1.0]; 1]),
        answer(&[[-1.0, 0.0]; 1]),
    ]);
    let embedder = server.embedder(|options| {
        options.request_texts_max = 2;
        options.request_bytes_max = 10;
    });
    let vectors = embed(&embedder, &["a", "b", "four", "7 bytes", "longer than ten"]).unwrap();
    let expected = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [-1.0, 0.0]];
    assert_eq!(vectors, expected.map(|vector| vector.to_vec()));
    let inputs: Vec<_> = server.requests().into_iter().map(|request| request.body["input"].clone()).collect();
    let expected = serde_json::json!([["a", "b"], ["four"], ["7 bytes"], ["longer than ten"]]);
    assert_eq!(serde_json::Value::from(inputs), expected);
}

#[test]
fn a_wrong_dimension_is_refused_whether_set_or_learned() {
    let server = Server::new(vec![answer(&[[1.0, 0.0]])]);
    let embedder = server.embedder(|options| options.dimension = Some(3));
    assert_eq!(embed(&embedder, &["a"]), Err(EmbedError::WrongDimension { expected: 3, found: 2 }));

    let server = Server::new(vec![answer(&[[1.0, 0.0]]), ok(r#"{"data":[{"index":0,"embedding":[1]}]}"#)]);
    let embedder = server.embedder(|_| {});
    embed(&embedder, &["a"]).unwrap();
    assert_eq!(embed(&embedder, &["a"]), Err(EmbedError::WrongDimension { expected: 2, found: 1 }));
}

#[test]
fn what_fails_for_a_moment_is_asked_again() {
    let server = Server::new(vec![status(429), Play::Hang, status(503), answer(&[[1.0, 0.0]])]);
    let embedder = server.embedder(|_| {});
    assert_eq!(embed(&embedder, &["a"]), Ok(vec![vec![1.0, 0.0]]));
    let stats = embedder.stats();
    assert_eq!((stats.attempts, stats.repeated, stats.failed, stats.turned_away), (4, 3, 3, 0));
    assert_eq!(stats.circuit, Circuit::Closed);
}

#[test]
fn what_is_our_own_mistake_is_not_asked_again() {
    let body = r#"{"error":{"message":"Incorrect API key provided"}}"#.to_owned();
    let server = Server::new(vec![Play::Reply { status: 401, headers: "", body }]);
    let embedder = server.embedder(|_| {});
    let refused = EmbedError::Refused { status: 401, message: "Incorrect API key provided".into() };
    assert_eq!(embed(&embedder, &["a"]), Err(refused));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn attempts_end() {
    let server = Server::new(vec![status(500), status(500), status(502)]);
    let embedder = server.embedder(|options| options.attempts_max = 3);
    assert_eq!(embed(&embedder, &["a"]), Err(EmbedError::Refused { status: 502, message: String::new() }));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn the_wait_that_is_asked_for_is_kept_if_there_is_time() {
    let wait = |headers| Play::Reply { status: 429, headers, body: String::new() };
    let server = Server::new(vec![wait("retry-after: 1\r\n"), answer(&[[1.0, 0.0]])]);
    let embedder = server.embedder(|_| {});
    let begun = Instant::now();
    assert_eq!(embed(&embedder, &["a"]), Ok(vec![vec![1.0, 0.0]]));
    assert!(begun.elapsed() >= Duration::from_secs(1));

    let server = Server::new(vec![wait("retry-after: 3600\r\n")]);
    let embedder = server.embedder(|_| {});
    assert!(matches!(embed(&embedder, &["a"]), Err(EmbedError::Refused { status: 429, .. })));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn an_endpoint_that_keeps_failing_is_left_alone() {
    let server = Server::new(vec![status(500), status(500), status(500)]);
    let embedder = server.embedder(|options| {
        options.attempts_max = 10;
        options.circuit_failures_max = 3;
        options.circuit_open_for = Duration::from_secs(3600);
    });
    // The third failure opens it, which also ends the attempts of this request.
    assert_eq!(embed(&embedder, &["a"]), Err(EmbedError::Refused { status: 500, message: String::new() }));
    assert_eq!((embedder.stats().attempts, embedder.stats().circuit), (3, Circuit::Open));
    assert!(matches!(embed(&embedder, &["a"]), Err(EmbedError::CircuitOpen { .. })));
    assert_eq!(embedder.stats().attempts, 3);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn an_endpoint_that_was_left_alone_is_asked_once_later() {
    let server = Server::new(vec![status(500), status(500), status(500), status(500), answer(&[[1.0, 0.0]])]);
    let embedder = server.embedder(|options| {
        options.attempts_max = 10;
        options.circuit_failures_max = 3;
        options.circuit_open_for = Duration::from_millis(20);
    });
    assert_eq!(embed(&embedder, &["a"]), Err(EmbedError::Refused { status: 500, message: String::new() }));
    let after_the_wait = || loop {
        match embed(&embedder, &["a"]) {
            Err(EmbedError::CircuitOpen { retry_in }) => std::thread::park_timeout(retry_in),
            other => return other,
        }
    };
    // The first probe fails, which opens it again; the second closes it.
    assert!(matches!(after_the_wait(), Err(EmbedError::Refused { status: 500, .. })));
    assert_eq!((embedder.stats().circuit, embedder.stats().circuit_opened), (Circuit::Open, 2));
    assert_eq!(after_the_wait(), Ok(vec![vec![1.0, 0.0]]));
    assert_eq!((embedder.stats().circuit, embedder.stats().attempts), (Circuit::Closed, 5));
    assert_eq!(server.requests().len(), 5);
}

#[test]
fn an_endpoint_that_says_nothing_costs_the_timeout() {
    let server = Server::new(vec![Play::Stall]);
    let timeout = Duration::from_millis(500);
    let embedder = server.embedder(|options| options.timeout = timeout);
    let begun = Instant::now();
    assert_eq!(embed(&embedder, &["a"]), Err(EmbedError::Timeout { after: timeout }));
    assert!(begun.elapsed() >= timeout && begun.elapsed() < Duration::from_secs(20));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn an_endpoint_that_is_not_there_is_told() {
    let server = Server::new(vec![]);
    let embedder = server.embedder(|options| options.attempts_max = 2);
    assert!(server.requests().is_empty());
    assert!(matches!(embed(&embedder, &["a"]), Err(EmbedError::Transport { .. })));
    assert_eq!(embedder.stats().failed, 2);
}

#[test]
fn garbage_and_floods_are_refused() {
    let huge = format!(r#"{{"data":[{{"index":0,"embedding":[{}1]}}]}}"#, "1,".repeat(100_000));
    let script = vec![ok("<html>hello</html>"), ok(r#"{"data":[]}"#), ok(huge)];
    let server = Server::new(script);
    let embedder = server.embedder(|options| options.answer_bytes_max = 10_000);
    for expected in ["expected value", "0 embeddings for 1 texts", "more than 10000 bytes"] {
        match embed(&embedder, &["a"]) {
            Err(EmbedError::BadAnswer { reason }) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn texts_that_cannot_be_sent_are_not_sent() {
    let server = Server::new(vec![]);
    let embedder = server.embedder(|options| options.text_bytes_max = 5);
    let too_long = EmbedError::TextTooLong { index: 1, bytes: 6, bytes_max: 5 };
    assert_eq!(embed(&embedder, &["short", "longer"]), Err(too_long));
    assert_eq!(embed(&embedder, &["short", " "]), Err(EmbedError::NoKnownTokens { index: 1 }));
    assert_eq!(embed(&embedder, &[]), Ok(vec![]));
    assert_eq!(embedder.stats().attempts, 0);
}
