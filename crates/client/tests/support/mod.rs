//! What tests of the library share.

use std::time::{Duration, Instant};

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what} did not come about in 60 s");
        // tidy: sleeps because what is awaited happens on the other side of a socket
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
