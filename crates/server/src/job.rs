//! Work that a command leaves for later: until its locks are gone, or for another thread.
//!
//! A command that locks entries by itself, takes longer than other clients of its thread should wait, or has to fetch a vector, does not do its work in `run`:
//! it hands dispatch a [`Job`] ([`Context::defer`](crate::command::Context::defer)) and answers nothing. Dispatch runs the job once the
//! command's own transaction is gone, or gives it to the connection, which awaits it and goes on with its next request afterwards.

use crate::command::CommandError;
use crate::commands::cache::embed_error;
use crate::server::Server;
use std::fmt;
use sutra_embed::EmbedError;
use sutra_protocol::Reply;
use sutra_shard::{Lsn, Scope, Txn};

/// What a job answers: it has outlived the request and every lock, so it owns all it says.
pub type OwnedReply = Reply<'static>;

/// The work itself.
pub type Task = Box<dyn FnOnce(&mut Work<'_>) -> Result<OwnedReply, CommandError> + Send>;

/// The rest of the work, once a text has its vector.
pub type WithVector = Box<dyn FnOnce(&mut Work<'_>, Vec<f32>) -> Result<OwnedReply, CommandError> + Send>;

/// Work left for later.
pub enum Job {
    /// Short: done by the same thread, once the command's transaction is gone.
    Soon(Task),
    /// Long: done by a background thread.
    Apart(Task),
    /// A text is embedded first, by threads of the embedder's; the rest is done by a background thread.
    Embedded(String, WithVector),
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Job::Soon(_) => "Soon",
            Job::Apart(_) => "Apart",
            Job::Embedded(..) => "Embedded",
        })
    }
}

/// What a job may use. It holds no lock but those of the transactions that it begins and commits itself.
pub struct Work<'s> {
    /// The process.
    pub server: &'s Server,
    /// When the job began, in Unix milliseconds.
    pub now_ms: u64,
    logged: Option<Lsn>,
    rest: Option<Task>,
}

impl fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("now_ms", &self.now_ms).field("logged", &self.logged).finish_non_exhaustive()
    }
}

impl<'s> Work<'s> {
    fn new(server: &'s Server) -> Work<'s> {
        Work { server, now_ms: server.clock.now_ms(), logged: None, rest: None }
    }

    /// Locks these entries.
    #[must_use]
    pub fn begin(&self, scope: Scope<'_>) -> Txn<'s> {
        self.server.shard.begin(scope, self.now_ms)
    }

    /// Leaves the longer part of the work to a background thread: it answers, and not what the present part returns.
    pub fn leave(&mut self, rest: Task) {
        self.rest = Some(rest);
    }

    /// Ends a transaction; the reply will not leave before its frame is as safe as the settings promise.
    ///
    /// # Errors
    /// The change could not be logged.
    pub fn commit(&mut self, txn: Txn<'_>) -> Result<(), CommandError> {
        self.logged = txn.commit()?.or(self.logged);
        Ok(())
    }
}

/// What became of a job.
#[derive(Debug)]
pub struct Answer {
    /// Its reply, or its error.
    pub(crate) result: Result<OwnedReply, CommandError>,
    /// The last frame that it has logged.
    pub(crate) logged: Option<Lsn>,
}

impl Answer {
    /// An error instead of an answer.
    pub(crate) fn error(error: CommandError) -> Answer {
        Answer { result: Err(error), logged: None }
    }

    /// The error of a text that has no vector.
    pub(crate) fn no_vector(error: EmbedError) -> Answer {
        Answer::error(embed_error(error))
    }
}

/// Does a whole job now, by this thread, however long it takes.
pub(crate) fn perform_job(server: &Server, job: Job) -> Answer {
    match job {
        Job::Soon(task) | Job::Apart(task) => perform(server, task),
        Job::Embedded(text, rest) => match server.embedding.embed(&text) {
            Ok(vector) => perform(server, |work| rest(work, vector)),
            Err(error) => Answer::no_vector(error),
        },
    }
}

/// Does the work now, by this thread, its longer part included.
pub(crate) fn perform(server: &Server, task: impl FnOnce(&mut Work<'_>) -> Result<OwnedReply, CommandError>) -> Answer {
    match perform_first(server, task) {
        Ok(answer) => answer,
        Err(rest) => perform(server, rest),
    }
}

/// Does the work now but for its longer part.
///
/// # Errors
/// The longer part.
pub(crate) fn perform_first(
    server: &Server,
    task: impl FnOnce(&mut Work<'_>) -> Result<OwnedReply, CommandError>,
) -> Result<Answer, Task> {
    let mut work = Work::new(server);
    let result = task(&mut work);
    match (result, work.rest) {
        (Ok(_), Some(rest)) => Err(rest),
        (result, _) => Ok(Answer { result, logged: work.logged }),
    }
}
