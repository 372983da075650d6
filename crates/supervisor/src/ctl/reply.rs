//! What a client gets: pages for refusals, and a body that tells when it has been handed over.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::seats::{Phase, Seat};
use super::{Body, whole};

/// A body; when all of it is on its way, its connection is idle.
pub(super) struct Reply {
    body: Body,
    seat: Rc<Seat>,
}

impl Reply {
    pub(super) fn new(body: Body, seat: Rc<Seat>) -> Self {
        Self { body, seat }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.seat.enter(Phase::Idle);
    }
}

impl hyper::body::Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A refusal, as the page that supervisord's clients know.
pub(super) fn error(status: StatusCode) -> Response<Body> {
    let message = status.canonical_reason().unwrap_or_default();
    let page = format!(
        "<head>\r\n<title>Error response</title>\r\n</head>\r\n<body>\r\n<h1>Error response</h1>\r\n\
         <p>Error code {}.\r\n<p>Message: {message}.\r\n</body>\r\n",
        status.as_u16()
    );
    page_of(status, "text/html", page)
}

/// A refusal with its reason.
pub(super) fn plain(status: StatusCode, text: &str) -> Response<Body> {
    page_of(status, "text/plain", text.to_owned())
}

fn page_of(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
