//! An OpenAI-compatible endpoint: `POST …/v1/embeddings`, as served by OpenAI, Azure, Ollama, TEI, vLLM and others.
//!
//! Texts are sent in requests of bounded size, one after another. A request that meets an overloaded endpoint (429,
//! 5xx) or a broken connection is made again after a wait, as long as its time lasts; an endpoint that keeps failing is
//! left alone for a while. Everything blocks, so it belongs on a thread that may wait.

mod answer;
mod backoff;
mod breaker;
mod options;

use crate::embedder::{EmbedError, Embedder};
use answer::Question;
use backoff::Backoff;
use breaker::Breaker;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::http::{Response, Uri};

pub use breaker::Circuit;
pub use options::HttpOptions;

/// Bytes of a refusal that are looked at for its message.
const REFUSAL_BYTES_MAX: u64 = 4096;

/// An embedder behind an address.
pub struct HttpEmbedder {
    name: String,
    url: Uri,
    options: HttpOptions,
    agent: Agent,
    /// As set, or as learned from the first answer.
    dimension: OnceLock<usize>,
    breaker: Mutex<Breaker>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    attempts: AtomicU64,
    repeated: AtomicU64,
    failed: AtomicU64,
    turned_away: AtomicU64,
}

/// What an [`HttpEmbedder`] has done since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpStats {
    /// HTTP requests made, repeated ones included.
    pub attempts: u64,
    /// Those of them that were made again after a failure.
    pub repeated: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Requests that were not made because the circuit was open.
    pub turned_away: u64,
    /// How often the circuit has opened.
    pub circuit_opened: u64,
    /// The circuit now.
    pub circuit: Circuit,
}

/// Why an attempt failed, and whether another one may succeed.
struct Failure {
    error: EmbedError,
    /// Whether the endpoint is to blame, so that the breaker counts it.
    is_outage: bool,
    may_repeat: bool,
    /// What the endpoint asked to wait.
    retry_after: Option<Duration>,
}

impl HttpEmbedder {
    /// An embedder that asks `url`. No connection is made yet.
    #[must_use]
    pub fn new(url: Uri, options: HttpOptions) -> HttpEmbedder {
        let host = url.host().unwrap_or_default();
        let is_near = matches!(host, "localhost" | "[::1]") || host.starts_with("127.");
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirected POST would lose its body or show the key to another host.
            .max_redirects(0)
            .timeout_connect(Some(options.connect_timeout))
            .user_agent(concat!("sutra-cache/", env!("CARGO_PKG_VERSION")));
        if is_near {
            config = config.proxy(None);
        }
        let dimension = options.dimension.map_or_else(OnceLock::new, OnceLock::from);
        HttpEmbedder {
            name: format!("http:{}", options.model),
            url,
            agent: config.build().new_agent(),
            dimension,
            breaker: Mutex::new(Breaker::new(options.circuit_failures_max, options.circuit_open_for)),
            counts: Counts::default(),
            options,
        }
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> HttpStats {
        let breaker = self.breaker();
        HttpStats {
            attempts: self.counts.attempts.load(Ordering::Relaxed),
            repeated: self.counts.repeated.load(Ordering::Relaxed),
            failed: self.counts.failed.load(Ordering::Relaxed),
            turned_away: self.counts.turned_away.load(Ordering::Relaxed),
            circuit_opened: breaker.opened(),
            circuit: breaker.circuit(),
        }
    }

    /// One request with its attempts.
    fn request(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let question = Question { model: &self.options.model, input: texts, encoding_format: "float" };
        let body =
            serde_json::to_vec(&question).map_err(|error| EmbedError::Transport { reason: error.to_string() })?;
        let deadline = Instant::now() + self.options.timeout;
        let mut backoff = Backoff::new(self.options.backoff_first, self.options.backoff_max);
        let mut last: Option<EmbedError> = None;
        for attempt in 1..=self.options.attempts_max.max(1) {
            let now = Instant::now();
            if let Err(retry_in) = self.breaker().admit(now) {
                self.counts.turned_away.fetch_add(1, Ordering::Relaxed);
                // What was seen just now says more than that the circuit is open because of it.
                return Err(last.unwrap_or(EmbedError::CircuitOpen { retry_in }));
            }
            self.counts.attempts.fetch_add(1, Ordering::Relaxed);
            self.counts.repeated.fetch_add(u64::from(attempt > 1), Ordering::Relaxed);
            let failure = match self.attempt(&body, texts.len(), deadline.saturating_duration_since(now)) {
                Ok(vectors) => {
                    self.breaker().succeeded();
                    return Ok(vectors);
                }
                Err(failure) => failure,
            };
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
            if failure.is_outage {
                self.breaker().failed(Instant::now());
            } else {
                self.breaker().succeeded();
            }
            let wait = backoff.next(failure.retry_after);
            // Whoever finds the circuit open after a wait would be turned away: why wait.
            if !failure.may_repeat
                || attempt == self.options.attempts_max
                || self.breaker().circuit() == Circuit::Open
                || Instant::now() + wait >= deadline
            {
                return Err(failure.error);
            }
            last = Some(failure.error);
            pause(wait);
        }
        Err(last.unwrap_or(EmbedError::Timeout { after: self.options.timeout }))
    }

    fn attempt(&self, body: &[u8], count: usize, time_left: Duration) -> Result<Vec<Vec<f32>>, Failure> {
        let mut request = self.agent.post(&self.url).content_type("application/json");
        if let Some(key) = &self.options.api_key {
            request = if self.url.host().is_some_and(|host| host.ends_with(".azure.com")) {
                request.header("api-key", key)
            } else {
                request.header("authorization", format!("Bearer {key}"))
            };
        }
        let request = request.config().timeout_global(Some(time_left)).build();
        let response = request.send(body).map_err(|error| self.transport_failure(&error))?;
        let status = response.status().as_u16();
        let retry_after = retry_after(&response);
        let mut response_body = response.into_body();
        if status != 200 {
            let mut refusal = Vec::new();
            // Half a message is better than none.
            let _ = response_body.as_reader().take(REFUSAL_BYTES_MAX).read_to_end(&mut refusal);
            let is_outage = status >= 500;
            return Err(Failure {
                error: EmbedError::Refused { status, message: answer::refusal(&refusal) },
                is_outage,
                may_repeat: is_outage || status == 429,
                retry_after,
            });
        }
        let answer = response_body.with_config().limit(self.options.answer_bytes_max as u64).read_to_vec();
        let answer = answer.map_err(|error| self.transport_failure(&error))?;
        let bad = |error| Failure { error, is_outage: true, may_repeat: false, retry_after: None };
        answer::vectors(&answer, count).map_err(bad)
    }

    fn transport_failure(&self, error: &ureq::Error) -> Failure {
        let outage = |error, may_repeat| Failure { error, is_outage: true, may_repeat, retry_after: None };
        #[expect(clippy::wildcard_enum_match_arm, reason = "the client's errors are many and may become more")]
        match error {
            ureq::Error::Timeout(ureq::Timeout::Global) => {
                outage(EmbedError::Timeout { after: self.options.timeout }, false)
            }
            ureq::Error::BodyExceedsLimit(bytes) => {
                outage(EmbedError::BadAnswer { reason: format!("it has more than {bytes} bytes") }, false)
            }
            other => outage(EmbedError::Transport { reason: other.to_string() }, true),
        }
    }

    /// Checks the dimension of an answer's vectors, which are alike, and learns it from the first.
    fn check_dimension(&self, vectors: &[Vec<f32>]) -> Result<(), EmbedError> {
        let Some(found) = vectors.first().map(Vec::len) else {
            return Ok(());
        };
        let expected = *self.dimension.get_or_init(|| found);
        if found == expected { Ok(()) } else { Err(EmbedError::WrongDimension { expected, found }) }
    }

    /// How many of the texts go into the next request: at least one.
    fn request_length(&self, texts: &[&str]) -> usize {
        let mut bytes = 0;
        let fitting = texts.iter().take(self.options.request_texts_max).take_while(|text| {
            bytes += text.len();
            bytes <= self.options.request_bytes_max
        });
        fitting.count().max(1)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Embedder for HttpEmbedder {
    fn name(&self) -> &str {
        &self.name
    }

    fn dimension(&self) -> Option<usize> {
        self.dimension.get().copied()
    }

    fn http_stats(&self) -> Option<HttpStats> {
        Some(self.stats())
    }

    fn is_immediate(&self) -> bool {
        false
    }

    fn embed(&self, texts: &[&str], out: &mut Vec<Vec<f32>>) -> Result<(), EmbedError> {
        out.clear();
        let bytes_max = self.options.text_bytes_max;
        for (index, text) in texts.iter().enumerate() {
            // Endpoints refuse an empty input, and with it all others of its request.
            if text.trim().is_empty() {
                return Err(EmbedError::NoKnownTokens { index });
            }
            if text.len() > bytes_max {
                return Err(EmbedError::TextTooLong { index, bytes: text.len(), bytes_max });
            }
        }
        let mut rest = texts;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.request_length(rest));
            let vectors = self.request(now).and_then(|vectors| self.check_dimension(&vectors).map(|()| vectors));
            match vectors {
                Ok(vectors) => out.extend(vectors),
                Err(error) => {
                    out.clear();
                    return Err(error);
                }
            }
            rest = later;
        }
        Ok(())
    }
}

/// What `Retry-After` asks for, if it is a number of seconds. A date is ignored: this crate has no calendar.
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let value = response.headers().get("retry-after")?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// Waits. There is no event to wait for: the endpoint does not call back.
fn pause(wait: Duration) {
    let until = Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}
