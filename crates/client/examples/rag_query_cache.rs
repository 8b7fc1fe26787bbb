//! A service that answers questions from documents, with a cache in front of the language model: a question that means the same as an earlier one is
//! answered from the cache, one that only sounds the same is not, and when a document changes its answers go.
//!
//! `cargo run -p sutra-cache-client --example rag_query_cache` asks itself a few questions and ends. With `-- --serve` it goes on serving:
//! `curl -i localhost:PORT/ask -H 'content-type: application/json' -d '{"question": "How do I reset my password?"}'`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;
use sutra_cache::embedded::Embedded;
use sutra_cache_client::{Cache, Compute, Guard, Question, SpaceOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The space of the questions.
const SPACE: &str = "questions";
/// The dimension of the embedder that is compiled into the shard.
const DIMENSION: u64 = 256;
/// From this similarity on two questions mean the same; a guard looks at what similarity does not see.
const SAME: f64 = 0.7;
const MODEL: &str = "a-large-model";
const COST_USD: f64 = 0.02;
const DAY: Duration = Duration::from_secs(86_400);

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(serde::Deserialize)]
struct Asked {
    question: String,
}

#[derive(serde::Serialize)]
struct Answered {
    answer: String,
}

#[tokio::main]
async fn main() -> Done<()> {
    let is_to_stay = std::env::args().any(|argument| argument == "--serve");
    story(&mut std::io::stdout(), is_to_stay).await
}

pub(crate) async fn story(out: &mut (impl Write + Send), is_to_stay: bool) -> Done<()> {
    // In production the shard is a process of its own.
    let shard = Embedded::start(&[])?;
    let cache = Cache::builder(&shard.url())?.ttl(DAY).connect().await?;
    cache.space_create(SPACE, &SpaceOptions::new(DIMENSION).embedder("builtin").guard(Guard::all())).await?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/ask", post(ask)).with_state(cache.clone());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    writeln!(out, "serving on http://{address}/ask")?;

    for question in [
        "How do I reset my password?",
        "how can I reset my password",
        "How do I enable two-factor authentication?",
        "How do I disable two-factor authentication?",
        "Is it refunded within 30 days?",
        "Is it refunded within 90 days?",
        "Is it refunded within 30 days",
    ] {
        let (tier, _) = post_question(address, question).await?;
        writeln!(out, "{tier:4}  {question}")?;
    }
    let stale = cache.semantic_invalidate(SPACE, "reset my password", 0.6).await?;
    writeln!(out, "the page about passwords has changed: {} answer removed", stale.count)?;
    let (tier, _) = post_question(address, "How do I reset my password?").await?;
    writeln!(out, "{tier:4}  How do I reset my password?")?;

    if is_to_stay {
        server.await??;
    } else {
        server.abort();
    }
    Ok(())
}

/// `POST /ask`.
async fn ask(State(cache): State<Cache>, Json(asked): Json<Asked>) -> Response {
    match answer(&cache, &asked.question).await {
        Ok((answer, is_hit)) => {
            let tier = if is_hit { "HIT" } else { "MISS" };
            ([("x-cache", tier)], Json(Answered { answer })).into_response()
        }
        // Only the model fails: a fault of the cache is a miss.
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn answer(cache: &Cache, words: &str) -> Result<(String, bool), sutra_cache_client::Error> {
    let question = Question::new(SPACE, words, SAME).model(MODEL);
    let options = Compute::new().ttl(DAY).cost(MODEL, COST_USD);
    let asked = words.to_owned();
    // However many ask the same at once, one asks the model.
    let answer = cache.lookup_or_compute(&question, &options, async move || ask_model(&asked).await).await?;
    Ok((answer.value, !answer.is_computed))
}

/// What would retrieve documents and ask a language model.
async fn ask_model(question: &str) -> Result<String, std::io::Error> {
    tokio::time::sleep(Duration::from_millis(30)).await;
    Ok(format!("(an answer to: {question})"))
}

/// A client of the service: what the cache did, and the answer.
async fn post_question(address: SocketAddr, question: &str) -> Done<(String, String)> {
    let body = serde_json::json!({ "question": question }).to_string();
    let head = format!(
        "POST /ask HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all((head + &body).as_bytes()).await?;
    let mut response = String::new();
    connection.read_to_string(&mut response).await?;
    let (head, body) = response.split_once("\r\n\r\n").ok_or("no end of the head")?;
    let tier = head.lines().find_map(|line| line.strip_prefix("x-cache: ")).ok_or_else(|| response.clone())?;
    let answer: serde_json::Value = serde_json::from_str(body)?;
    Ok((tier.to_owned(), answer["answer"].as_str().unwrap_or_default().to_owned()))
}
