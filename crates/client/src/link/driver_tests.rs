//! The driver against a shard of the test's own, on a clock of the test's own.

use super::*;
use crate::link::Refused;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::oneshot::Receiver;
use tokio::task::JoinHandle;

const NO_LIMIT: usize = usize::MAX;

/// What an observer was told.
#[derive(Debug, Default)]
struct Told {
    lines: Mutex<Vec<String>>,
}

impl Told {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap()
    }
}

impl Observer for Told {
    fn connected(&self, number: usize) {
        self.lines().push(format!("connected {number}"));
    }
    fn lost(&self, number: usize, cause: &str) {
        self.lines().push(format!("lost {number}: {cause}"));
    }
    fn changed(&self, keys: &mut dyn Iterator<Item = &Bytes>) {
        let keys: Vec<_> = keys.map(|key| key.escape_ascii().to_string()).collect();
        self.lines().push(format!("changed {}", keys.join(" ")));
    }
    fn all_changed(&self) {
        self.lines().push("all changed".to_owned());
    }
}

struct Connection {
    link: Arc<Link>,
    told: Arc<Told>,
    task: JoinHandle<String>,
}

fn config() -> Config {
    Config::new("sutra://127.0.0.1").unwrap().read_timeout(Duration::from_secs(2)).heartbeat(Duration::from_secs(1))
}

/// A driver on this stream; `received` lies in its buffer already.
async fn begin<S>(stream: S, received: &[u8], config: Config) -> Connection
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (link, told) = (Arc::new(Link::default()), Arc::new(Told::default()));
    let task = tokio::spawn({
        let (link, told, received) = (Arc::clone(&link), Arc::clone(&told), BytesMut::from(received));
        async move {
            let opened = Opened { stream, received, decoder: FrameDecoder::new() };
            let mut presence = Presence::new(&link, 0, Some(&*told));
            let cause = drive(&mut presence, opened, &config, &Stats::default()).await;
            presence.end(&cause);
            cause
        }
    });
    while !link.is_open() && !task.is_finished() {
        tokio::task::yield_now().await;
    }
    Connection { link, told, task }
}

impl Connection {
    fn ask(&self, request: &Request) -> Receiver<Result<Reply, Error>> {
        self.link.submit(request, NO_LIMIT).unwrap()
    }
}

fn get(key: &str) -> Request {
    Request::read("GET").arg(key)
}

/// Reads requests until there were so many, as lines of words.
async fn requests(shard: &mut DuplexStream, count: usize) -> Vec<String> {
    let (mut bytes, mut decoder, mut seen) = (BytesMut::new(), FrameDecoder::new(), Vec::new());
    while seen.len() < count {
        match decoder.decode_shared(&mut bytes, &FrameLimits::default()).unwrap() {
            Some(Frame::Array(words)) => {
                let words: Vec<_> = words.into_iter().map(|word| crate::reply::text(word).unwrap()).collect();
                seen.push(words.join(" "));
            }
            Some(other) => panic!("a request that is no array: {other:?}"),
            None => assert!(shard.read_buf(&mut bytes).await.unwrap() > 0, "the client closed"),
        }
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_fails_its_own_caller_in_time_and_others_get_theirs() {
    let (stream, mut shard) = tokio::io::duplex(1 << 16);
    let connection = begin(stream, b"", config()).await;
    let begun = Instant::now();
    let slow = connection.ask(&get("slow"));
    let patient = connection.ask(&get("patient").timeout(Duration::from_secs(30)));
    let error = slow.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Timeout { after } if after == Duration::from_secs(2)), "{error}");
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(2) && waited <= Duration::from_millis(2250), "{waited:?}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    shard.write_all(b"+late\r\n").await.unwrap();
    shard.write_all(b"+in time\r\n").await.unwrap();
    assert_eq!(patient.await.unwrap().unwrap(), Reply::Simple("in time".into()));
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_of_a_request_is_kept_however_long_that_of_others_is() {
    for limit in [40, 90, 250, 1700].map(Duration::from_millis) {
        let (stream, _shard) = tokio::io::duplex(1 << 16);
        let connection = begin(stream, b"", config().read_timeout(Duration::from_secs(60))).await;
        let begun = Instant::now();
        let error = connection.ask(&get("k").timeout(limit)).await.unwrap().unwrap_err();
        let waited = begun.elapsed();
        assert!(matches!(error, Error::Timeout { after } if after == limit), "{error}");
        assert!(waited >= limit && waited <= limit + limit / 8, "{waited:?} instead of {limit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn time_limits_are_kept_while_answers_never_cease() {
    let (stream, shard) = tokio::io::duplex(1 << 16);
    let connection = begin(stream, b"", config()).await;
    let (mut reading, mut writing) = tokio::io::split(shard);
    // The first request is not answered before 10,000 pieces of another's answer have come, one each millisecond.
    tokio::spawn(async move {
        writing.write_all(b"*100000\r\n").await.unwrap();
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if writing.write_all(b":1\r\n").await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move { tokio::io::copy(&mut reading, &mut tokio::io::sink()).await });
    let begun = Instant::now();
    let error = connection.ask(&get("endless")).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(begun.elapsed() <= Duration::from_millis(2250), "{:?}", begun.elapsed());
}

/// Requests that wait behind a write that does not end were once not looked at.
#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_sent_is_given_up_in_time() {
    let (stream, mut shard) = tokio::io::duplex(64);
    let patient = Duration::from_secs(30);
    let connection = begin(stream, b"", config()).await;
    let large = connection.ask(&Request::new("SET").arg("k").arg(vec![b'v'; 1000]).timeout(patient));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let (begun, stuck) = (Instant::now(), connection.ask(&get("stuck")));
    let error = stuck.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(begun.elapsed() <= Duration::from_millis(2250), "{:?}", begun.elapsed());
    // It was sent all the same, and its answer is nobody else's.
    let next = connection.ask(&get("next").timeout(patient));
    assert_eq!(requests(&mut shard, 3).await[1..], ["GET stuck", "GET next"]);
    shard.write_all(b"+OK\r\n+stuck\r\n+next\r\n").await.unwrap();
    assert_eq!(large.await.unwrap().unwrap(), Reply::Simple("OK".into()));
    assert_eq!(next.await.unwrap().unwrap(), Reply::Simple("next".into()));
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_given_up_within_two_heartbeats_and_the_observer_is_told() {
    let (stream, mut shard) = tokio::io::duplex(1 << 16);
    let connection = begin(stream, b"", config()).await;
    let begun = Instant::now();
    assert_eq!(requests(&mut shard, 1).await, ["PING"]);
    assert!(begun.elapsed() <= Duration::from_secs(1), "{:?}", begun.elapsed());
    let cause = connection.task.await.unwrap();
    let waited = begun.elapsed();
    assert!(cause.contains("no sign of life"), "{cause}");
    assert!(waited > Duration::from_millis(1500) && waited <= Duration::from_secs(2), "{waited:?}");
    assert_eq!(*connection.told.lines(), ["connected 0".to_owned(), format!("lost 0: {cause}")]);
    assert_eq!(connection.link.submit(&get("k"), NO_LIMIT).unwrap_err(), Refused::Down);
}

/// What the first of them ask next is sent before the last are answered, and those are answered although nothing more comes.
#[tokio::test(start_paused = true)]
async fn many_answers_that_come_at_once_are_handed_out_in_turns() {
    let (stream, mut shard) = tokio::io::duplex(1 << 16);
    let connection = begin(stream, b"", config()).await;
    let count = TURN_CALLERS_MAX * 2 + 1;
    let mut waiting: VecDeque<_> = (0..count).map(|number| connection.ask(&get(&number.to_string()))).collect();
    let (first, mut last) = (waiting.pop_front().unwrap(), waiting.pop_back().unwrap());
    let link = Arc::clone(&connection.link);
    let asking_again = tokio::spawn(async move {
        assert_eq!(first.await.unwrap().unwrap(), Reply::Integer(0));
        assert!(last.try_recv().is_err(), "all were answered in one turn");
        drop(link.submit(&get("next"), NO_LIMIT).unwrap());
        last.await.unwrap().unwrap()
    });
    assert_eq!(requests(&mut shard, count).await.len(), count);
    let answers: String = (0..count).map(|number| format!(":{number}\r\n")).collect();
    shard.write_all(answers.as_bytes()).await.unwrap();
    for (number, answer) in waiting.into_iter().enumerate() {
        assert_eq!(answer.await.unwrap().unwrap(), Reply::Integer(number as i64 + 1));
    }
    assert_eq!(asking_again.await.unwrap(), Reply::Integer(count as i64 - 1));
    assert_eq!(requests(&mut shard, 1).await, ["GET next"]);
}

#[tokio::test(start_paused = true)]
async fn a_sign_of_life_keeps_an_idle_connection() {
    let (stream, mut shard) = tokio::io::duplex(1 << 16);
    let connection = begin(stream, b"", config()).await;
    for _ in 0..20 {
        assert_eq!(requests(&mut shard, 1).await, ["PING"]);
        tokio::time::sleep(Duration::from_millis(700)).await;
        shard.write_all(b"+PONG\r\n").await.unwrap();
    }
    let answer = connection.ask(&get("k"));
    assert_eq!(requests(&mut shard, 1).await, ["GET k"]);
    shard.write_all(b"$1\r\nv\r\n").await.unwrap();
    assert_eq!(answer.await.unwrap().unwrap(), Reply::Bulk("v".into()));
    assert_eq!(*connection.told.lines(), ["connected 0"]);
}

/// With a request under way no heartbeat is sent, and once the first tier went on being believed until the request's own limit.
#[tokio::test(start_paused = true)]
async fn behind_a_slow_command_the_observer_doubts_and_the_connection_stays() {
    let (stream, mut shard) = tokio::io::duplex(1 << 16);
    let connection = begin(stream, b"", config()).await;
    let slow = connection.ask(&Request::new("CACHE.ASK").arg("why").timeout(Duration::from_secs(60)));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(connection.told.lines()[1].starts_with("lost 0: no sign of life"), "{:?}", connection.told.lines());
    tokio::time::sleep(Duration::from_secs(30)).await;
    shard.write_all(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n+because\r\n").await.unwrap();
    assert_eq!(slow.await.unwrap().unwrap(), Reply::Simple("because".into()));
    assert_eq!(connection.told.lines()[2..], ["connected 0", "changed k"]);
}

/// Part of the answers had come: nothing else was ever sent, and the silence once went unnoticed.
#[tokio::test(start_paused = true)]
async fn silence_in_the_middle_of_answers_is_noticed() {
    let (stream, mut shard) = tokio::io::duplex(1 << 16);
    let connection = begin(stream, b"", config()).await;
    let (first, second) = (connection.ask(&get("a")), connection.ask(&get("b")));
    assert_eq!(requests(&mut shard, 2).await.len(), 2);
    tokio::time::sleep(Duration::from_millis(1)).await;
    shard.write_all(b"+a\r\n").await.unwrap();
    assert!(first.await.unwrap().is_ok());
    assert!(matches!(second.await.unwrap(), Err(Error::Timeout { .. })));
    let cause = connection.task.await.unwrap();
    assert!(cause.contains("no sign of life"), "{cause}");
}

/// They once stayed unread until something else came.
#[tokio::test(start_paused = true)]
async fn pushes_that_come_with_the_handshake_are_passed_on_at_once() {
    let (stream, _shard) = tokio::io::duplex(1 << 16);
    let connection = begin(
        stream,
        b">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n",
        config(),
    );
    let connection = connection.await;
    tokio::task::yield_now().await;
    assert_eq!(*connection.told.lines(), ["connected 0", "changed a b", "all changed"]);
}

/// A caller once waited for ever on a link whose driver had been dropped.
#[tokio::test]
async fn a_driver_that_is_dropped_leaves_nobody_waiting() {
    let (stream, mut shard) = tokio::io::duplex(1 << 16);
    let connection = begin(stream, b"", config()).await;
    let under_way = connection.ask(&get("k"));
    requests(&mut shard, 1).await;
    connection.task.abort();
    assert!(connection.task.await.unwrap_err().is_cancelled());
    assert!(under_way.await.is_err(), "its place is gone, which the pool takes for a closed client");
    assert_eq!(connection.link.submit(&get("k"), NO_LIMIT).unwrap_err(), Refused::Down);
    assert_eq!(*connection.told.lines(), ["connected 0", "lost 0: the client was closed"]);
}

/// Hands bytes on only when it is flushed, which takes two attempts, as TLS does on a full socket.
struct Holding {
    inner: DuplexStream,
    held: Vec<u8>,
    is_asked: bool,
}

impl AsyncRead for Holding {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Holding {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.held.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.is_asked, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.is_asked = false;
        let held = std::mem::take(&mut self.held);
        assert!(
            matches!(Pin::new(&mut self.inner).poll_write(cx, &held), Poll::Ready(Ok(count)) if count == held.len())
        );
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A flush that could not be done at once was once forgotten, and the request never left.
#[tokio::test(start_paused = true)]
async fn what_a_stream_holds_back_is_flushed_until_it_is_gone() {
    let (stream, mut shard) = tokio::io::duplex(1 << 16);
    let connection = begin(Holding { inner: stream, held: Vec::new(), is_asked: false }, b"", config()).await;
    let answer = connection.ask(&get("k"));
    assert_eq!(requests(&mut shard, 1).await, ["GET k"]);
    shard.write_all(b"+v\r\n").await.unwrap();
    assert_eq!(answer.await.unwrap().unwrap(), Reply::Simple("v".into()));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_belong_ends_the_connection_and_says_so() {
    for (bytes, expected) in [
        (&b"+OK\r\n"[..], "nobody asked for"),
        (b"-ERR max number of clients reached\r\n", "ERR max number of clients reached"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ""),
        (b"$-7\r\n", ""),
        (b"*3000000000\r\n", ""),
        (b"\0\0\0\0", ""),
    ] {
        let (stream, mut shard) = tokio::io::duplex(1 << 16);
        let connection = begin(stream, b"", config()).await;
        shard.write_all(bytes).await.unwrap();
        let cause = connection.task.await.unwrap();
        assert!(!cause.is_empty() && cause.contains(expected), "{}: {cause}", bytes.escape_ascii());
    }
}

/// The write fails first; what the shard answered and said before it closed was once thrown away with it.
#[tokio::test(start_paused = true)]
async fn answers_that_came_before_a_failed_write_are_handed_out() {
    let (stream, mut shard) = tokio::io::duplex(1 << 16);
    let connection = begin(stream, b"", config()).await;
    let answered = connection.ask(&get("a"));
    requests(&mut shard, 1).await;
    shard.write_all(b"+a\r\n").await.unwrap();
    drop(shard);
    let unanswered = connection.ask(&get("b"));
    assert_eq!(answered.await.unwrap().unwrap(), Reply::Simple("a".into()));
    assert!(matches!(unanswered.await.unwrap(), Err(Error::Lost { .. } | Error::Unavailable { .. })));
}

#[tokio::test(start_paused = true)]
async fn memory_that_only_many_callers_needed_is_given_back() {
    let (stream, mut shard) = tokio::io::duplex(1 << 10);
    let connection = begin(stream, b"", config()).await;
    let mut calls = Vec::new();
    // The second ten thousand wait while the first are written: both lists grow.
    for _ in 0..2 {
        calls.extend((0..10_000).map(|_| connection.ask(&get("k"))));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    requests(&mut shard, 20_000).await;
    tokio::spawn(async move {
        shard.write_all(&b":1\r\n".repeat(20_000)).await.unwrap();
        std::future::pending::<()>().await;
    });
    for call in calls {
        call.await.unwrap().unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    // The driver swaps its list with this one at every turn, so both are seen.
    for _ in 0..3 {
        let places = connection.link.lock().waiting.capacity();
        assert!(places <= KEPT_WAITERS_MAX, "{places} places");
        drop(connection.ask(&get("k")));
        tokio::task::yield_now().await;
    }
}

/// Real time, and a shard that has another answer ready at every turn: the alarm is never waited for.
#[tokio::test]
async fn time_limits_are_kept_while_there_is_always_another_answer() {
    // Sixteen answers fill the way to the client, and are there again before its turn comes again.
    let (from_shard, mut to_client) = tokio::io::simplex(64);
    let (_from_client, to_shard) = tokio::io::simplex(16 << 20);
    let stream = tokio::io::join(from_shard, to_shard);
    let connection = begin(stream, b"", config().read_timeout(Duration::from_secs(600))).await;
    let ahead: Vec<_> = (0..200_000).map(|_| connection.ask(&get("k"))).collect();
    let last = connection.ask(&get("last").timeout(Duration::from_millis(10)));
    tokio::spawn(async move {
        for _ in 0..200_001 {
            to_client.write_all(b":1\r\n").await.unwrap();
        }
        std::future::pending::<()>().await;
    });
    let error = last.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    drop(ahead);
}
