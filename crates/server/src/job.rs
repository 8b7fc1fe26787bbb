//! Work that a command leaves for later: until its locks are gone, or for another thread.
//!
//! A command that locks entries by itself, or takes longer than other clients of its thread should wait, does not do its work in `run`:
//! it hands dispatch a [`Job`] ([`Context::defer`](crate::command::Context::defer)) and answers nothing. Dispatch runs the job once the
//! command's own transaction is gone, or gives it to the connection, which awaits it and goes on with its next request afterwards.

use crate::command::CommandError;
use crate::server::Server;
use std::fmt;
use sutra_protocol::Reply;
use sutra_shard::{Lsn, Scope, Txn};

/// What a job answers: it has outlived the request and every lock, so it owns all it says.
pub type OwnedReply = Reply<'static>;

/// The work itself.
pub type Task = Box<dyn FnOnce(&mut Work<'_>) -> Result<OwnedReply, CommandError> + Send>;

/// Work left for later.
pub enum Job {
    /// Short: done by the same thread, once the command's transaction is gone.
    Soon(Task),
    /// Long: done by a background thread.
    Apart(Task),
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Job::Soon(_) => "Soon",
            Job::Apart(_) => "Apart",
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
}

impl fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("now_ms", &self.now_ms).field("logged", &self.logged).finish_non_exhaustive()
    }
}

impl<'s> Work<'s> {
    fn new(server: &'s Server) -> Work<'s> {
        Work { server, now_ms: server.clock.now_ms(), logged: None }
    }

    /// Locks these entries.
    #[must_use]
    pub fn begin(&self, scope: Scope<'_>) -> Txn<'s> {
        self.server.shard.begin(scope, self.now_ms)
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

/// Does the work now, by this thread.
pub(crate) fn perform(server: &Server, task: impl FnOnce(&mut Work<'_>) -> Result<OwnedReply, CommandError>) -> Answer {
    let mut work = Work::new(server);
    let result = task(&mut work);
    Answer { result, logged: work.logged }
}
