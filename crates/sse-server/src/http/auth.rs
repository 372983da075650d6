//! Who calls: from the request to a grant.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use super::State;
use super::error::Problem;
use crate::hub::TopicFilter;
use crate::hub::grant::Grant;
use crate::metrics::Metrics;

/// The grant of a publisher: whoever shows the publish token.
pub(super) fn publisher(request: &HttpRequest, state: &State) -> Result<Grant, Problem> {
    token(request, state, "publishing")?;
    Ok(Grant::publisher("token"))
}

/// Whether it is an operator: whoever shows the publish token.
pub(super) fn operator(request: &HttpRequest, state: &State) -> Result<(), Problem> {
    token(request, state, "operating")
}

fn token(request: &HttpRequest, state: &State, what: &str) -> Result<(), Problem> {
    let refused = |detail: &str| {
        Metrics::count(&state.metrics.rejected_unauthorized);
        Err(Problem::unauthorized(detail))
    };
    let Some(value) = request.headers().get(AUTHORIZATION) else {
        return refused(&format!("{what} needs the header Authorization: Bearer with the publish token"));
    };
    let shown = value.as_bytes();
    let is_bearer = shown.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"Bearer "));
    let token = if is_bearer { shown[7..].trim_ascii() } else { b"" };
    // The time it takes says nothing about where they differ.
    if bool::from(token.ct_eq(state.publish_token.as_bytes())) {
        Ok(())
    } else {
        refused("the publish token is wrong")
    }
}

/// The grant of a reader: anybody may read every topic.
pub(super) fn reader() -> Grant {
    Grant::anonymous(vec![TopicFilter::every()])
}
