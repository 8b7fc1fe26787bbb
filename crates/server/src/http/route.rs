//! From a request to its answer.

use super::front::{Front, Serving};
use super::metrics;
use super::page::{JSON, Page};
use super::{clear, credentials, host, openapi, status};
use crate::logging::RateLimit;
use hyper::header::ACCEPT;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

/// A path that is answered.
pub(super) struct Route {
    pub(super) path: &'static str,
    pub(super) does: Does,
    /// One sentence, for the description of the interface.
    pub(super) summary: &'static str,
    /// The type of its answer.
    pub(super) content_type: &'static str,
}

/// What a route does, and how early.
pub(super) enum Does {
    /// GET and HEAD, at any time.
    Show(fn(&Front, &Parts) -> Page),
    /// GET and HEAD, once the server serves.
    ShowServing(fn(&Serving) -> Page),
    /// POST, with the password if one is set, once the server serves.
    Change(fn(&Serving) -> Page),
}

pub(super) const ROUTES: [Route; 7] = [
    Route {
        path: "/health",
        does: Does::Show(|_, _| status::alive()),
        summary: "Whether the process lives and answers; 200 from the first moment on, also while it recovers.",
        content_type: JSON,
    },
    Route {
        path: "/ready",
        does: Does::Show(|front, _| status::ready(front)),
        summary: "Whether clients are served: 503 with the progress until recovery is done, then 200, and 503 once the server stops.",
        content_type: JSON,
    },
    Route {
        path: "/cache/health",
        does: Does::ShowServing(status::cache_health),
        summary: "Whether the cache does all that it should: `healthy`, or `degraded` with the reasons, such as a full disk.",
        content_type: JSON,
    },
    Route {
        path: "/cache/stats",
        does: Does::ShowServing(super::stats::page),
        summary: "Hits, misses, evictions, memory, latencies and cost saved, as a whole and by model.",
        content_type: JSON,
    },
    Route {
        path: "/cache/clear",
        does: Does::Change(clear::page),
        summary: "Removes all entries of all databases, as FLUSHALL does.",
        content_type: JSON,
    },
    Route {
        path: "/metrics",
        does: Does::Show(|front, request| metrics::page(front, request.headers.get_all(ACCEPT).iter())),
        summary: "Metrics for Prometheus: its text format, or OpenMetrics if that is asked for.",
        content_type: "text/plain",
    },
    Route {
        path: "/openapi.json",
        does: Does::Show(|_, _| openapi::page()),
        summary: "This description.",
        content_type: JSON,
    },
];

static REFUSALS: RateLimit = RateLimit::one_in(5000);

/// Answers a request. Nothing of its body is looked at.
pub(super) fn answer(front: &Front, request: &Parts) -> Page {
    if !host::is_allowed(&request.headers, &front.settings.allowed_hosts) {
        let why = "this name is not one under which the server may be asked; list it in HTTP_ALLOWED_HOSTS";
        return Page::error(StatusCode::FORBIDDEN, why);
    }
    let Some(route) = ROUTES.iter().find(|route| route.path == request.uri.path()) else {
        return Page::error(StatusCode::NOT_FOUND, "there is no such path; /openapi.json lists all");
    };
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    match (&route.does, reads) {
        (Does::Show(show), true) => show(front, request),
        (Does::ShowServing(show), true) => match front.serving() {
            Some(serving) => show(serving),
            None => status::not_yet(front),
        },
        (Does::Change(change), false) if request.method == Method::POST => {
            let Some(serving) = front.serving() else { return status::not_yet(front) };
            if host::is_from_elsewhere(&request.headers) {
                return Page::error(StatusCode::FORBIDDEN, "a page of another origin may not do this");
            }
            if !credentials::are_right(&request.headers, &serving.server.settings) {
                if let Some(held_back) = REFUSALS.pass(serving.server.clock.now_ms()) {
                    tracing::warn!(path = route.path, held_back, "refused over HTTP: no password, or a wrong one");
                }
                let why = "the password is needed: Authorization: Bearer PASSWORD";
                return Page::error(StatusCode::UNAUTHORIZED, why);
            }
            change(serving)
        }
        (Does::Change(_), _) => not_allowed("POST"),
        (Does::Show(_) | Does::ShowServing(_), false) => not_allowed("GET, HEAD"),
    }
}

fn not_allowed(allow: &'static str) -> Page {
    let why = format!("this path takes {allow} only");
    Page { allow: Some(allow), ..Page::error(StatusCode::METHOD_NOT_ALLOWED, &why) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::server::{Server, Stop};
    use crate::settings::Settings;
    use hyper::Request;
    use std::sync::Arc;
    use sutra_shard::{Limits, Progress, Shard};

    fn request(method: Method, path: &str) -> Parts {
        Request::builder().method(method).uri(path).body(()).expect("a request").into_parts().0
    }

    fn server() -> Arc<Server> {
        let shard = Shard::in_memory(&Limits::default(), 1).expect("limits");
        Arc::new(Server::new(Settings::default(), shard, Clock::manual(1000)))
    }

    fn said(page: &Page) -> serde_json::Value {
        serde_json::from_slice(&page.body).expect("JSON")
    }

    #[test]
    fn until_the_server_serves_it_lives_but_is_not_ready() {
        let front = Front::new(&Settings::default(), Arc::new(Progress::default()));
        assert_eq!(answer(&front, &request(Method::GET, "/health")).status, StatusCode::OK);
        assert_eq!(answer(&front, &request(Method::GET, "/metrics")).status, StatusCode::OK);
        for (method, path) in [
            (Method::GET, "/ready"),
            (Method::GET, "/cache/health"),
            (Method::GET, "/cache/stats"),
            (Method::POST, "/cache/clear"),
        ] {
            let page = answer(&front, &request(method, path));
            assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(said(&page)["stage"], "opening", "{path}");
        }
        front.serve(server(), &[]);
        assert_eq!(answer(&front, &request(Method::GET, "/ready?verbose=1")).status, StatusCode::OK);
    }

    #[test]
    fn a_server_that_stops_is_no_longer_ready_but_lives() {
        let front = Front::new(&Settings::default(), Arc::new(Progress::default()));
        let server = server();
        front.serve(Arc::clone(&server), &[]);
        server.request_stop(Stop::Save);
        let page = answer(&front, &request(Method::GET, "/ready"));
        assert_eq!((page.status, said(&page)["status"].clone()), (StatusCode::SERVICE_UNAVAILABLE, "stopping".into()));
        assert_eq!(answer(&front, &request(Method::GET, "/health")).status, StatusCode::OK);
    }

    #[test]
    fn what_does_not_work_is_named_while_the_rest_is_served() {
        let front = Front::new(&Settings::default(), Arc::new(Progress::default()));
        let server = server();
        front.serve(Arc::clone(&server), &[]);
        let health = || said(&answer(&front, &request(Method::GET, "/cache/health")));
        assert_eq!((health()["status"].clone(), health()["writes_accepted"].clone()), ("healthy".into(), true.into()));
        server.gate.set_out_of_memory(true);
        let ill = health();
        assert_eq!((ill["status"].clone(), ill["writes_accepted"].clone()), ("degraded".into(), false.into()));
        assert!(ill["problems"][0].as_str().is_some_and(|problem| problem.contains("memory")));
    }
}
