//! The files that browsers get from here: the client, and the hub's own pages.

use std::fmt::Write;

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, EntityTag, IF_NONE_MATCH, LOCATION,
    X_FRAME_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest, Sha256};

/// A file that is part of the program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asset {
    text: &'static str,
    content_type: &'static str,
}

/// The browser's side of the hub.
pub(super) const CLIENT: Asset = script(include_str!("../assets/client.js"));
/// Its types, for editors and compilers.
pub(super) const CLIENT_TYPES: Asset =
    Asset { text: include_str!("../assets/client.d.ts"), content_type: "text/plain; charset=utf-8" };

/// Where a stream is tried by hand.
pub(super) const TEST: Asset = page(include_str!("../assets/test.html"));
/// What that page runs.
pub(super) const TEST_SCRIPT: Asset = script(include_str!("../assets/test.js"));
/// The figures, live.
pub(super) const DASHBOARD: Asset = page(include_str!("../assets/dashboard.html"));
/// What that page runs.
pub(super) const DASHBOARD_SCRIPT: Asset = script(include_str!("../assets/dashboard.js"));
/// How it draws a figure over time.
pub(super) const PLOT: Asset = script(include_str!("../assets/plot.js"));
/// How it looks, beside what all pages have.
pub(super) const DASHBOARD_STYLE: Asset = style(include_str!("../assets/dashboard.css"));
/// Light or dark, for all pages.
pub(super) const THEME: Asset = script(include_str!("../assets/theme.js"));
/// How the hub's own pages look.
pub(super) const STYLE: Asset = style(include_str!("../assets/page.css"));

const HTML: &str = "text/html; charset=utf-8";
/// A page runs and shows only what comes from here, and nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const fn page(text: &'static str) -> Asset {
    Asset { text, content_type: HTML }
}

const fn script(text: &'static str) -> Asset {
    Asset { text, content_type: "text/javascript; charset=utf-8" }
}

const fn style(text: &'static str) -> Asset {
    Asset { text, content_type: "text/css; charset=utf-8" }
}

/// `GET /`: where people come in who know nothing but the host.
pub(super) async fn start() -> HttpResponse {
    HttpResponse::Found().insert_header((LOCATION, "/sse/dashboard")).finish()
}

impl Asset {
    /// The file, or 304 for who has it already: it may be kept, but has to be asked for, so that an update is seen at once.
    pub(super) fn answer(self, request: &HttpRequest) -> HttpResponse {
        let tag = self.tag();
        let known = request.headers().get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
        let mut known = known.flat_map(|list| list.split(','));
        let is_known = known.any(|item| {
            let item = item.trim();
            item == "*" || item.parse::<EntityTag>().is_ok_and(|item| item.weak_eq(&tag))
        });
        let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        response.insert_header((ETAG, tag)).insert_header((CACHE_CONTROL, "no-cache"));
        // Also with 304: its headers take the place of those that were kept with the page (RFC 9111, 3.2).
        if self.content_type == HTML {
            response
                .insert_header((CONTENT_SECURITY_POLICY, POLICY))
                .insert_header((X_FRAME_OPTIONS, "DENY"));
        }
        if is_known {
            return response.finish();
        }
        response.insert_header((CONTENT_TYPE, self.content_type)).body(self.text)
    }

    fn tag(self) -> EntityTag {
        let digest = Sha256::digest(self.text);
        let text = digest.iter().take(8).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        EntityTag::new_strong(text)
    }
}
