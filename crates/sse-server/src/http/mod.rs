//! The route table, one line a route; beside the wiring the only place that knows actix.

mod accept;
mod assets;
mod auth;
mod connections;
mod ending;
mod error;
mod feed;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gate;
mod headers;
mod health;
mod legacy;
mod log;
mod login;
mod metrics;
mod peer;
mod programs;
mod publish;
mod session;
mod subscribe;
mod time;
mod unread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::guard::{Any, Delete, Get, Head, Post};
use actix_web::web::{self, ServiceConfig};
use actix_web_lab::middleware::CatchPanic;
use parking_lot::{Mutex, RwLock};

pub use self::feed::Feeds;
pub use self::log::on_stream_end;
pub(crate) use self::login::end_streams;
use crate::access_log::AccessLog;
use crate::auth::Login;
use crate::auth::jwt::Verifier;
use crate::auth::tokens::Tokens;
use crate::backplane::Backplane;
use crate::config::Config;
use crate::connections::Connections;
use crate::fanout::{Fanout, StreamEnd};
use crate::hub::limits::{ConnectionLimits, RateTable};
use crate::metrics::Metrics;
use crate::system::Sampler;
use assets::Asset;
use error::Problem;

/// Addresses whose connects are counted at one time.
pub const CONNECT_RATE_ADDRESSES_MAX: usize = 65_536;
/// Publish tokens whose publishes are counted at one time: more than there can be.
pub const PUBLISH_RATE_TOKENS_MAX: usize = 1024;
/// Signed tokens whose publishes are counted at one time. Others may sign any number, so they have a table of their own.
pub const PUBLISH_RATE_SIGNED_MAX: usize = 1024;

/// What browsers get that is always the same.
const FILES: [(&str, Asset); 10] = [
    ("/sse/client.js", assets::CLIENT),
    ("/sse/client.d.ts", assets::CLIENT_TYPES),
    ("/sse/test", assets::TEST),
    ("/sse/test.js", assets::TEST_SCRIPT),
    ("/sse/page.css", assets::STYLE),
    ("/sse/dashboard", assets::DASHBOARD),
    ("/sse/dashboard.js", assets::DASHBOARD_SCRIPT),
    ("/sse/dashboard.css", assets::DASHBOARD_STYLE),
    ("/sse/plot.js", assets::PLOT),
    ("/sse/theme.js", assets::THEME),
];

/// What every handler may see.
pub struct State {
    /// The configuration.
    pub config: Config,
    /// Where events go.
    pub backplane: Backplane,
    /// Where streams go.
    pub fanout: Fanout,
    /// How many streams there may be.
    pub limits: ConnectionLimits,
    /// Streams opened per second and address.
    pub connect_rate: Mutex<RateTable<std::net::IpAddr>>,
    /// Events per second and publish token.
    pub publish_rate: Mutex<RateTable<String>>,
    /// Events per second and signed token.
    pub publish_rate_signed: Mutex<RateTable<String>>,
    /// What publishers show.
    pub tokens: Tokens,
    /// The keys of signed tokens, if there are any.
    pub jwt: Option<RwLock<Verifier>>,
    /// The door, if whoever reads has to come through one.
    pub login: Option<Login>,
    /// Counted here.
    pub metrics: Metrics,
    /// Where requests are noted.
    pub access_log: AccessLog,
    /// Told when a stream has ended.
    pub on_stream_end: Arc<dyn Fn(StreamEnd) + Send + Sync>,
    /// Figures of the process.
    pub sampler: Sampler,
    /// When the server started.
    pub started: Instant,
    /// Whether streams are being ended.
    pub draining: AtomicBool,
    /// The connections of the listeners.
    pub connections: Connections,
    /// What open dashboards read.
    pub feeds: Feeds,
}

impl State {
    /// Whether streams are being ended.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}

/// Which paths a listener answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// `/metrics` and `/sse/health` alone.
    Figures,
}

/// The routes of a listener.
pub fn routes(scope: Scope) -> impl FnOnce(&mut ServiceConfig) {
    move |service| {
        let read = || web::route().guard(Any(Get()).or(Head()));
        let only = |allow| move || std::future::ready(Err::<&str, _>(Problem::method_not_allowed(allow)));
        let get = || web::route().to(only("GET, HEAD"));
        if scope == Scope::All {
            for (path, asset) in FILES {
                let answer = move |request: HttpRequest| std::future::ready(asset.answer(&request));
                service.service(web::resource(path).route(read().to(answer)).default_service(get()));
            }
            service
                .service(web::resource("/").route(read().to(assets::start)).default_service(get()))
                .service(
                    web::resource("/sse/dashboard/feed").route(read().to(feed::feed)).default_service(get()),
                )
                .service(
                    web::resource("/sse/dashboard/programs")
                        .route(read().to(programs::programs))
                        .default_service(get()),
                )
                .service(
                    web::resource("/sse-test").route(read().to(legacy::test_page)).default_service(get()),
                )
                .service(web::resource("/sse").route(read().to(subscribe::subscribe)).default_service(get()))
                .service(
                    web::resource("/sse/publish")
                        .route(web::route().guard(Post()).to(publish::publish))
                        .default_service(web::route().to(only("POST"))),
                )
                .service(
                    web::resource("/sse/connections")
                        .route(read().to(connections::list))
                        .default_service(get()),
                )
                .service(
                    web::resource("/sse/connections/{id}")
                        .route(web::route().guard(Delete()).to(connections::kick))
                        .default_service(web::route().to(only("DELETE"))),
                )
                .service(
                    web::resource("/login")
                        .route(read().to(login::page))
                        .route(web::route().guard(Post()).to(login::enter))
                        .default_service(
                            web::route().to(|| std::future::ready(login::only("GET, HEAD, POST"))),
                        ),
                )
                .service(
                    web::resource("/logout")
                        .route(web::route().guard(Post()).to(login::leave))
                        .default_service(web::route().to(|| std::future::ready(login::only("POST")))),
                )
                .service(
                    web::resource("/login_status")
                        .route(read().to(login::status))
                        .default_service(web::route().to(|| std::future::ready(login::only("GET, HEAD")))),
                )
                .service(web::resource("/events").route(read().to(legacy::events)).default_service(get()))
                .service(
                    web::resource("/events/status").route(read().to(legacy::status)).default_service(get()),
                )
                .service(
                    web::resource("/events/broadcast")
                        .route(web::route().guard(Post()).to(legacy::broadcast))
                        .default_service(web::route().to(only("POST"))),
                );
        }
        service
            .service(web::resource("/sse/health").route(read().to(health::health)).default_service(get()))
            .service(web::resource("/sse/health/live").route(read().to(health::live)).default_service(get()))
            .service(
                web::resource("/sse/health/ready").route(read().to(health::ready)).default_service(get()),
            )
            .service(web::resource("/metrics").route(read().to(metrics::metrics)).default_service(get()))
            .default_service(web::route().to(|| std::future::ready(Err::<&str, _>(Problem::not_found()))));
    }
}

/// An application for one worker of one listener.
macro_rules! application {
    ($state:expr, $scope:expr) => {
        actix_web::App::new()
            .app_data(actix_web::web::Data::clone(&$state))
            .app_data($scope)
            .wrap(actix_web::middleware::from_fn($crate::http::gate))
            .wrap($crate::http::no_panic())
            .wrap(actix_web::middleware::from_fn($crate::http::headers))
            .wrap(actix_web::middleware::from_fn($crate::http::end_unread))
            .wrap(actix_web::middleware::from_fn($crate::http::announce_end))
            .wrap(actix_web::middleware::from_fn($crate::http::write_access_log))
            .configure($crate::http::routes($scope))
    };
}
pub(crate) use self::ending::announce_end;
pub(crate) use self::gate::gate;
pub(crate) use self::headers::headers;
pub(crate) use self::log::write_access_log;
pub(crate) use self::unread::end_unread;
pub(crate) use application;

/// A panic in a handler costs its request, not the streams.
pub(crate) fn no_panic() -> CatchPanic {
    CatchPanic::default()
}
