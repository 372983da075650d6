//! Every answer of a server that ends says that its connection ends with it.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::middleware::Next;
use actix_web::web::Data;

use super::State;
use crate::fanout::detach::Detached;

/// The middleware.
pub(crate) async fn announce_end(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    let state = response.request().app_data::<Data<State>>();
    let is_ending = state.is_some_and(|state| state.connections.are_ending());
    if is_ending && response.response().extensions().get::<Detached>().is_none() {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}
