//! The examples run, and what they print is what happened.

#[expect(dead_code, reason = "its `main` is for cargo")]
#[path = "../examples/embedding_pipeline.rs"]
mod embedding_pipeline;
#[expect(dead_code, reason = "its `main` is for cargo")]
#[path = "../examples/invalidate_on_update.rs"]
mod invalidate_on_update;
#[expect(dead_code, reason = "its `main` is for cargo")]
#[path = "../examples/rag_query_cache.rs"]
mod rag_query_cache;

/// These lines are there, in this order.
fn has_lines(printed: &[u8], wanted: &[&str]) {
    let printed = String::from_utf8_lossy(printed);
    let mut lines = printed.lines();
    for wanted in wanted {
        assert!(lines.any(|line| line.trim() == *wanted), "{wanted:?} is not where it should be in:\n{printed}");
    }
}

#[tokio::test]
async fn answers_go_with_what_they_were_made_from() {
    let mut printed = Vec::new();
    invalidate_on_update::story(&mut printed).await.unwrap();
    has_lines(
        &printed,
        &[
            "the service has read 5 answers, and 5 of them from its own memory",
            "doc:returns has version 2: 1 answer removed",
            "the service reads Some(\"60 days.\") and None",
            "doc:shipping is withdrawn: 2 answers removed",
            "the service reads None",
            "about refunds: 2 would be removed",
            "about refunds: 2 removed",
            "the service reads None",
            "taken back: 2 set again",
            "the service reads Some(\"Yes.\")",
            "the answer from version 2 came too late: STALELEASE an invalidation since the lease was granted covers the entry",
            "the service reads None",
        ],
    );
}

#[tokio::test]
async fn a_service_answers_what_means_the_same_from_its_cache() {
    let mut printed = Vec::new();
    rag_query_cache::story(&mut printed, false).await.unwrap();
    has_lines(
        &printed,
        &[
            "MISS  How do I reset my password?",
            "HIT   how can I reset my password",
            "MISS  How do I enable two-factor authentication?",
            "MISS  How do I disable two-factor authentication?",
            "MISS  Is it refunded within 30 days?",
            "MISS  Is it refunded within 90 days?",
            "HIT   Is it refunded within 30 days",
            "the page about passwords has changed: 1 answer removed",
            "MISS  How do I reset my password?",
        ],
    );
}

#[tokio::test]
async fn a_model_is_asked_only_for_what_is_not_known() {
    let mut printed = Vec::new();
    embedding_pipeline::story(&mut printed).await.unwrap();
    has_lines(
        &printed,
        &[
            "yesterday: 900 texts computed in 29 batches",
            "today: 100 texts computed in 4 batches",
            "all 1000 vectors are those of their texts, in order",
            "again: 0 texts computed in 0 batches",
            "900 from this process, 1000 from the shard, 100 missing",
            "saved 0.0380 USD, spent 0.0020 USD",
        ],
    );
}
