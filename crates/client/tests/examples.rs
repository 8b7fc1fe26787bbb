//! The examples run, and what they print is what happened.

#[expect(dead_code, reason = "its `main` is for cargo")]
#[path = "../examples/invalidate_on_update.rs"]
mod invalidate_on_update;

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
