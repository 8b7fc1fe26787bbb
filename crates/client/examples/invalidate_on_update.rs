//! What becomes of cached answers when the documents change that they were made from: by version, by tag, by meaning, each seen at once by a
//! cache in another process; and an answer that was computed from the old text is not let in.
//!
//! `cargo run -p sutra-cache-client --example invalidate_on_update`

use std::error::Error;
use std::io::Write;
use std::time::Duration;
use sutra_cache::embedded::Embedded;
use sutra_cache_client::{Cache, Client, Entry, Guard, Invalidate, LeaseOptions, Leased, SpaceOptions};

const DAY: Duration = Duration::from_secs(86_400);
/// The dimension of the embedder that is compiled into the shard.
const DIMENSION: u64 = 256;

/// The question, the answer, and the document that the answer was made from.
const ANSWERS: [(&str, &str, &str, &str); 5] = [
    ("refund-time", "How long do I have to get a refund?", "30 days.", "doc:returns"),
    ("refund-how", "How do I get my money back for an item?", "Send it back with the label.", "doc:returns"),
    ("refund-sale", "Can I get a refund for an item on sale?", "Yes.", "doc:sales"),
    ("shipping-time", "When does my parcel arrive?", "Within three days.", "doc:shipping"),
    ("shipping-cost", "What does shipping cost?", "Nothing above 50.", "doc:shipping"),
];

type Done = Result<(), Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Done {
    story(&mut std::io::stdout()).await
}

pub(crate) async fn story(out: &mut (impl Write + Send)) -> Done {
    let shard = Embedded::start(&[])?;
    let editor = Client::connect(&shard.url()).await?;
    // What serves the users, in another process as a rule: it keeps what it has read.
    let service = Cache::connect(&shard.url()).await?;
    editor.space_create("faq", &SpaceOptions::new(DIMENSION).embedder("builtin").guard(Guard::all())).await?;
    for (key, question, answer, document) in ANSWERS {
        store(&editor, key, question, answer, document, 1).await?;
    }
    for (key, ..) in ANSWERS {
        service.get::<String>(key).await?;
        service.get::<String>(key).await?;
    }
    writeln!(
        out,
        "the service has read {} answers, and {} of them from its own memory",
        ANSWERS.len(),
        service.stats().l1_hits
    )?;

    // A new version of a document: what was made from an older one goes, what is made from the new one stays.
    store(&editor, "refund-time", ANSWERS[0].1, "60 days.", "doc:returns", 2).await?;
    let outdated = Invalidate::new().dep_below("doc:returns", 2).reason("the policy has changed");
    writeln!(out, "doc:returns has version 2: {} answer removed", editor.invalidate(&outdated).await?)?;
    // Its pushes are on their way; who must not wait for the moment that they take catches up.
    service.catch_up().await?;
    writeln!(
        out,
        "  the service reads {:?} and {:?}",
        read(&service, "refund-time").await?,
        read(&service, "refund-how").await?
    )?;

    // A document is withdrawn.
    writeln!(out, "doc:shipping is withdrawn: {} answers removed", editor.invalidate_tag("doc:shipping").await?)?;
    service.catch_up().await?;
    writeln!(out, "  the service reads {:?}", read(&service, "shipping-time").await?)?;

    // By meaning: first it is seen what would go, then it goes, and if that was a mistake it is taken back.
    let about = Invalidate::new().space("faq").text("refund for an item").min(0.5).reason("what do we say of refunds?");
    let would = editor.dry_run(&about).await?;
    writeln!(out, "about refunds: {} would be removed", would.count)?;
    for (key, similarity) in &would.samples {
        writeln!(out, "  {} at {:.2}", String::from_utf8_lossy(key), similarity.unwrap_or_default())?;
    }
    writeln!(out, "about refunds: {} removed", editor.invalidate(&about).await?)?;
    service.catch_up().await?;
    writeln!(out, "  the service reads {:?}", read(&service, "refund-sale").await?)?;
    let last = editor.log(1).await?.remove(0);
    writeln!(out, "taken back: {} set again", editor.undo(last.lsn).await?)?;
    service.catch_up().await?;
    writeln!(out, "  the service reads {:?}", read(&service, "refund-sale").await?)?;

    // An answer is computed while the document changes: it is refused, however late its author notices.
    let Leased::Lease(token) = editor.lease("refund-how", &LeaseOptions::new()).await? else {
        return Err("nobody else computes it".into());
    };
    editor.invalidate(&Invalidate::new().dep_below("doc:returns", 3).reason("changed again")).await?;
    let late = Entry::new("refund-how", "Send it back within 60 days.").dep("doc:returns", 2).lease(token);
    match editor.cache_set(&late).await {
        Err(error) if error.code() == Some("STALELEASE") => {
            writeln!(out, "the answer from version 2 came too late: {error}")?
        }
        other => return Err(format!("it should have been refused: {other:?}").into()),
    }
    writeln!(out, "  the service reads {:?}", read(&service, "refund-how").await?)?;
    Ok(())
}

async fn store(client: &Client, key: &str, question: &str, answer: &str, document: &str, version: u64) -> Done {
    let entry = Entry::new(key, answer).space("faq").text(question).tag(document).dep(document, version).ttl(DAY);
    client.cache_set(&entry).await?;
    Ok(())
}

async fn read(cache: &Cache, key: &str) -> Result<Option<String>, sutra_cache_client::Error> {
    cache.get(key).await
}
