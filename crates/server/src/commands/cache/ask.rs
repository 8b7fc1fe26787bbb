//! CACHE.ASK: a question about the cache in words.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::job::Job;
use sutra_protocol::Reply;

/// CACHE.ASK.
pub static SPEC: Spec = Spec {
    name: "cache.ask",
    arity: -2,
    flags: Flags::READONLY.and(Flags::ALONE),
    keys: Keys::None,
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(N) with N being the reads and writes that are remembered; texts are embedded when a topic is first asked about.",
    summary: "Answers a question in words about what the cache has done, by counting: hit rate, misses, latency, cost saved, about a topic, in a time.",
    syntax: "word [word ...]",
    subcommands: &[],
    run,
};

fn run<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    // So that it can be typed without quotes, too.
    let sentence = String::from_utf8_lossy(&args.rest().join(&b' ')).into_owned();
    // The counters of all stripes are read, which locks them one after another, and many texts may have to be embedded.
    let db = cx.session.db;
    Ok(cx.defer(Job::Apart(Box::new(move |work| {
        Ok(Reply::text(work.server.analytics.ask(work.server, db, &sentence, work.now_ms)))
    }))))
}
