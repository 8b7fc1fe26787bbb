//! Gathers texts of many callers into few calls of an embedder that makes its callers wait.
//!
//! There is no timer: while a call is under way, whatever comes in is gathered, and goes together with the next. So a
//! lone text never waits for company, and the busier it is the larger the batches are.
//!
//! The lock of the queue is never held while an embedder or a callback runs.

use crate::embedder::{EmbedError, Embedder};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Receives the vector of a text, on one of the batcher's threads.
pub type OnVector = Box<dyn FnOnce(Result<Vec<f32>, EmbedError>) + Send>;

/// How a [`Batcher`] works.
#[derive(Debug, Clone, Copy)]
pub struct BatcherOptions {
    /// How many texts wait at most. More are refused.
    pub queue_texts_max: usize,
    /// How many texts go into one call.
    pub batch_texts_max: usize,
    /// How many calls are made at the same time, each on a thread of its own.
    pub threads: usize,
}

impl Default for BatcherOptions {
    fn default() -> BatcherOptions {
        BatcherOptions { queue_texts_max: 10_000, batch_texts_max: 32, threads: 4 }
    }
}

/// A queue of texts and the threads that embed them.
///
/// Dropping it answers what still waits with [`EmbedError::Closed`] and does not wait for calls under way; these are
/// answered when they are done.
pub struct Batcher {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Told when a text comes, and when it closes.
    changed: Condvar,
    embedder: Arc<dyn Embedder>,
    options: BatcherOptions,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Request>,
    is_closed: bool,
}

struct Request {
    text: String,
    on_vector: OnVector,
}

impl Batcher {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn new(embedder: Arc<dyn Embedder>, options: BatcherOptions) -> std::io::Result<Batcher> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), embedder, options });
        // Made first, so that the threads that did start end if one does not.
        let batcher = Batcher { shared };
        for number in 0..options.threads.max(1) {
            let shared = Arc::clone(&batcher.shared);
            thread::Builder::new().name(format!("embed-{number}")).spawn(move || shared.work())?;
        }
        Ok(batcher)
    }

    /// Has a text embedded; `on_vector` is called exactly once, unless this refuses. It should be short: it holds up
    /// the others of its batch.
    ///
    /// # Errors
    /// [`EmbedError::QueueFull`], at once; `on_vector` is dropped without a call.
    pub fn submit(&self, text: String, on_vector: OnVector) -> Result<(), EmbedError> {
        let mut queue = self.shared.queue();
        let texts_max = self.shared.options.queue_texts_max;
        if queue.waiting.len() >= texts_max {
            return Err(EmbedError::QueueFull { texts_max });
        }
        queue.waiting.push_back(Request { text, on_vector });
        drop(queue);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// How many texts wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.queue().waiting.len()
    }

    /// What it asks.
    #[must_use]
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        &self.shared.embedder
    }
}

impl Drop for Batcher {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.is_closed = true;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        self.shared.changed.notify_all();
        for request in waiting {
            (request.on_vector)(Err(EmbedError::Closed));
        }
    }
}

impl Shared {
    fn work(&self) {
        while let Some(batch) = self.next_batch() {
            self.answer(batch);
        }
    }

    /// Waits for texts; nothing when it has closed.
    fn next_batch(&self) -> Option<Vec<Request>> {
        let mut queue = self.queue();
        loop {
            if queue.is_closed {
                return None;
            }
            if !queue.waiting.is_empty() {
                let count = queue.waiting.len().min(self.options.batch_texts_max.max(1));
                return Some(queue.waiting.drain(..count).collect());
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Embeds a batch. A text that is itself at fault is answered alone, and the others are asked for again.
    fn answer(&self, mut batch: Vec<Request>) {
        let mut vectors = Vec::new();
        while !batch.is_empty() {
            let texts: Vec<&str> = batch.iter().map(|request| request.text.as_str()).collect();
            let error = match self.embedder.embed(&texts, &mut vectors) {
                Ok(()) if vectors.len() == batch.len() => {
                    for (request, vector) in batch.into_iter().zip(vectors) {
                        (request.on_vector)(Ok(vector));
                    }
                    return;
                }
                Ok(()) => {
                    EmbedError::BadAnswer { reason: format!("{} vectors for {} texts", vectors.len(), batch.len()) }
                }
                Err(error) => error,
            };
            match at_fault(&error) {
                Some(index) if index < batch.len() => {
                    let request = batch.remove(index);
                    (request.on_vector)(Err(with_index_0(error)));
                }
                Some(_) | None => {
                    for request in batch {
                        (request.on_vector)(Err(error.clone()));
                    }
                    return;
                }
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text that alone is the reason.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others concern every text of a call")]
fn at_fault(error: &EmbedError) -> Option<usize> {
    match error {
        EmbedError::NoKnownTokens { index } | EmbedError::TextTooLong { index, .. } => Some(*index),
        _ => None,
    }
}

/// A caller of [`Batcher::submit`] has one text and knows of no others.
fn with_index_0(mut error: EmbedError) -> EmbedError {
    if let EmbedError::NoKnownTokens { index } | EmbedError::TextTooLong { index, .. } = &mut error {
        *index = 0;
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Answers a text with its length; tells of each call, and waits to be let go on.
    struct Slow {
        calls: Mutex<Sender<Vec<String>>>,
        goes_on: Mutex<Receiver<()>>,
    }

    impl Embedder for Slow {
        fn name(&self) -> &str {
            "test:slow"
        }
        fn dimension(&self) -> Option<usize> {
            Some(1)
        }
        fn is_immediate(&self) -> bool {
            false
        }
        fn embed(&self, texts: &[&str], out: &mut Vec<Vec<f32>>) -> Result<(), EmbedError> {
            out.clear();
            let told = texts.iter().map(|text| (*text).to_owned()).collect();
            self.calls.lock().unwrap().send(told).unwrap();
            self.goes_on.lock().unwrap().recv().unwrap();
            if texts.contains(&"broken") {
                return Err(EmbedError::Timeout { after: std::time::Duration::from_secs(1) });
            }
            if let Some(index) = texts.iter().position(|text| text.is_empty()) {
                return Err(EmbedError::NoKnownTokens { index });
            }
            out.extend(texts.iter().map(|text| vec![text.len() as f32]));
            Ok(())
        }
    }

    struct Bench {
        batcher: Batcher,
        calls: Receiver<Vec<String>>,
        go_on: Sender<()>,
        answers: Receiver<(String, Result<Vec<f32>, EmbedError>)>,
        answered: Sender<(String, Result<Vec<f32>, EmbedError>)>,
    }

    impl Bench {
        fn new(queue_texts_max: usize, batch_texts_max: usize) -> Bench {
            let (called, calls) = channel();
            let (go_on, goes_on) = channel();
            let (answered, answers) = channel();
            let slow = Slow { calls: Mutex::new(called), goes_on: Mutex::new(goes_on) };
            let options = BatcherOptions { queue_texts_max, batch_texts_max, threads: 1 };
            let batcher = Batcher::new(Arc::new(slow), options).unwrap();
            Bench { batcher, calls, go_on, answers, answered }
        }

        fn submit(&self, text: &str) -> Result<(), EmbedError> {
            let (answered, name) = (self.answered.clone(), text.to_owned());
            self.batcher.submit(text.to_owned(), Box::new(move |vector| answered.send((name, vector)).unwrap()))
        }

        fn answer(&self) -> (String, Result<Vec<f32>, EmbedError>) {
            self.answers.recv().unwrap()
        }
    }

    #[test]
    fn what_comes_during_a_call_goes_together_with_the_next() {
        let bench = Bench::new(10, 3);
        bench.submit("a").unwrap();
        assert_eq!(bench.calls.recv().unwrap(), ["a"]);
        for text in ["bb", "ccc", "dddd", "e"] {
            bench.submit(text).unwrap();
        }
        bench.go_on.send(()).unwrap();
        assert_eq!(bench.answer(), ("a".into(), Ok(vec![1.0])));
        assert_eq!(bench.calls.recv().unwrap(), ["bb", "ccc", "dddd"]);
        bench.go_on.send(()).unwrap();
        for (text, length) in [("bb", 2.0), ("ccc", 3.0), ("dddd", 4.0)] {
            assert_eq!(bench.answer(), (text.into(), Ok(vec![length])));
        }
        bench.go_on.send(()).unwrap();
        assert_eq!(bench.calls.recv().unwrap(), ["e"]);
        assert_eq!(bench.answer(), ("e".into(), Ok(vec![1.0])));
    }

    #[test]
    fn a_text_that_is_at_fault_does_not_spoil_the_others() {
        let bench = Bench::new(10, 10);
        bench.submit("first").unwrap();
        bench.calls.recv().unwrap();
        for text in ["a", "", "bb"] {
            bench.submit(text).unwrap();
        }
        for _ in 0..3 {
            bench.go_on.send(()).unwrap();
        }
        assert_eq!(bench.answer().0, "first");
        assert_eq!(bench.answer(), (String::new(), Err(EmbedError::NoKnownTokens { index: 0 })));
        assert_eq!(bench.answer(), ("a".into(), Ok(vec![1.0])));
        assert_eq!(bench.answer(), ("bb".into(), Ok(vec![2.0])));
    }

    #[test]
    fn a_failed_call_is_told_to_all_its_callers() {
        let bench = Bench::new(10, 10);
        bench.submit("broken").unwrap();
        bench.go_on.send(()).unwrap();
        let (_, failed) = bench.answer();
        assert!(matches!(failed, Err(EmbedError::Timeout { .. })));
        bench.submit("a").unwrap();
        bench.go_on.send(()).unwrap();
        assert_eq!(bench.answer(), ("a".into(), Ok(vec![1.0])));
    }

    #[test]
    fn a_full_queue_refuses_at_once() {
        let bench = Bench::new(2, 1);
        bench.submit("under way").unwrap();
        bench.calls.recv().unwrap();
        bench.submit("a").unwrap();
        bench.submit("b").unwrap();
        assert_eq!(bench.submit("c"), Err(EmbedError::QueueFull { texts_max: 2 }));
        assert_eq!(bench.batcher.waiting(), 2);
        for expected in ["under way", "a", "b"] {
            bench.go_on.send(()).unwrap();
            assert_eq!(bench.answer().0, expected);
        }
    }

    #[test]
    fn closing_answers_what_waits_and_lets_what_is_under_way_finish() {
        let Bench { batcher, calls, go_on, answers, answered } = Bench::new(10, 1);
        for text in ["under way", "waiting"] {
            let answered = answered.clone();
            batcher
                .submit(text.to_owned(), Box::new(move |vector| answered.send((text.to_owned(), vector)).unwrap()))
                .unwrap();
        }
        calls.recv().unwrap();
        drop(batcher);
        assert_eq!(answers.recv().unwrap(), ("waiting".into(), Err(EmbedError::Closed)));
        go_on.send(()).unwrap();
        assert_eq!(answers.recv().unwrap(), ("under way".into(), Ok(vec![9.0])));
        // Its thread has ended when nobody can tell of calls any more.
        assert!(calls.recv().is_err());
    }
}
