//! `GET /sse/dashboard/programs`: the programs of supervisord and their last lines, for who operates the server.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::error::Problem;
use super::{State, auth};
use crate::programs::{self, Program};

#[derive(Serialize)]
struct Programs {
    /// None if supervisord was not reached.
    programs: Option<Vec<Program>>,
    /// Why it was not.
    reason: Option<String>,
}

/// The handler.
pub(super) async fn programs(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    auth::operator(&request, &state)?;
    let answer = match programs::ask(state.config.supervisor_socket.as_deref()).await {
        Ok(programs) => Programs { programs: Some(programs), reason: None },
        Err(why) => Programs { programs: None, reason: Some(why.to_string()) },
    };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(answer))
}
