//! One answer: status, type, bytes.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What is answered to a request.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
    /// For 405: what would have been allowed.
    pub(super) allow: Option<&'static str>,
}

pub(super) const JSON: &str = "application/json";

impl Page {
    /// A JSON document.
    pub(super) fn json(status: StatusCode, document: &serde_json::Value) -> Page {
        let mut body = document.to_string().into_bytes();
        body.push(b'\n');
        Page { status, content_type: JSON, body, allow: None }
    }

    /// `{"error": why}`.
    pub(super) fn error(status: StatusCode, why: &str) -> Page {
        Page::json(status, &serde_json::json!({ "error": why }))
    }

    /// As it is sent; without its body if only the head was asked for.
    pub(super) fn into_response(self, head_only: bool) -> Response<Content> {
        let length = HeaderValue::from(self.body.len());
        let content = if head_only { Vec::new() } else { self.body };
        let mut response = Response::new(Content(Some(Bytes::from(content))));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CONTENT_LENGTH, length);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer, Basic realm=\"sutra-cache\""));
        }
        response
    }
}

/// The bytes of an answer, sent in one piece.
#[derive(Debug)]
pub(super) struct Content(Option<Bytes>);

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, Bytes::len) as u64)
    }
}
