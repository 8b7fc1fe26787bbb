//! The threads that do what would keep a connection's thread from its other clients: long scans, invalidations, calls of an embedder.
//!
//! Every connection waits for at most one job, so the queue is bounded by `maxclients`. A job whose client is gone before it begins is not
//! done.

use crate::job::{Answer, Job, Task, perform};
use crate::server::Server;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use sutra_embed::EmbedError;
use tokio::sync::oneshot;

/// Jobs that wait for a thread.
#[derive(Debug, Default)]
pub struct Background {
    state: Mutex<State>,
    asked: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Entry>,
    stopped: bool,
}

struct Entry {
    task: Task,
    answer: oneshot::Sender<Answer>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("waiting", &self.queue.len()).field("stopped", &self.stopped).finish()
    }
}

/// Has a job done by other threads; its answer arrives at the receiver, which is closed without one if the server stops first.
///
/// # Errors
/// The answer, if it cannot be done: too many texts wait for the embedder.
pub(crate) fn start(server: &Arc<Server>, job: Job) -> Result<oneshot::Receiver<Answer>, Answer> {
    let (answer, receiver) = oneshot::channel();
    match job {
        Job::Soon(task) | Job::Apart(task) => server.background.submit(task, answer),
        Job::Embedded(text, rest) => {
            let busy = Arc::clone(server);
            let on_vector = Box::new(move |vector: Result<Vec<f32>, EmbedError>| match vector {
                Ok(vector) => busy.background.submit(Box::new(|work| rest(work, vector)), answer),
                Err(error) => drop(answer.send(Answer::no_vector(error))),
            });
            server.embedding.submit(text, on_vector).map_err(Answer::no_vector)?;
        }
    }
    Ok(receiver)
}

impl Background {
    /// Has the task done by the next free thread, which sends its answer. After the stop the sender is dropped, and nothing is done.
    pub(crate) fn submit(&self, task: Task, answer: oneshot::Sender<Answer>) {
        let mut state = self.lock();
        if !state.stopped {
            state.queue.push_back(Entry { task, answer });
            drop(state);
            self.asked.notify_one();
        }
    }

    /// How many jobs wait for a thread.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().queue.len()
    }

    /// Does what is submitted, until [`Background::stop`]: the life of one thread.
    pub fn run(&self, server: &Server) {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return;
            }
            match state.queue.pop_front() {
                None => state = self.asked.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(entry) => {
                    drop(state);
                    if !entry.answer.is_closed() {
                        // The client may go away meanwhile; then nobody wants to know.
                        drop(entry.answer.send(perform(server, entry.task)));
                    }
                    state = self.lock();
                }
            }
        }
    }

    /// Ends [`Background::run`] once the jobs under way are done; those that wait are forgotten.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        state.queue.clear();
        self.asked.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
