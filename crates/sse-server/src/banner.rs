//! What the first start tells whoever looks at it: where the server is, where its token is, and lines to paste.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where curl finds a server on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Its origin, such as `http://localhost:5001`.
    Url(String),
    /// A unix socket.
    Socket(PathBuf),
}

impl Place {
    /// Of a server that listens here. What listens everywhere, or at the usual loopback address, is `localhost`.
    #[must_use]
    pub fn of(address: SocketAddr) -> Self {
        let is_local = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.is_unspecified() || ip == std::net::Ipv4Addr::LOCALHOST,
            IpAddr::V6(ip) => ip.is_unspecified() || ip.is_loopback(),
        };
        if is_local(address.ip()) {
            return Self::Url(format!("http://localhost:{}", address.port()));
        }
        Self::Url(format!("http://{address}"))
    }

    /// The words behind curl's options that name `path` there.
    fn words(&self, path: &str) -> String {
        match self {
            Self::Url(origin) => quoted(&format!("{origin}{path}")),
            Self::Socket(socket) => {
                let socket = quoted(&socket.display().to_string());
                format!("--unix-socket {socket} {}", quoted(&format!("http://localhost{path}")))
            }
        }
    }
}

/// The banner of a server at `place`, which made its publish token just now and keeps it in `token_file`.
#[must_use]
pub fn banner(place: &Place, token_file: &Path) -> String {
    let file = token_file.display().to_string();
    let page = match place {
        Place::Url(origin) => format!("\n  try it in a browser:\n{origin}/sse/test"),
        Place::Socket(_) => String::new(),
    };
    format!(
        "first start: no SSE_PUBLISH_TOKEN is set, so a token was made and is kept in {file}{page}\n  \
         listen:\ncurl -N {}\n  publish:\ncurl -H \"Authorization: Bearer $(cat {})\" -H 'Content-Type: application/json' \
         -d '{{\"topic\":\"job:42\",\"data\":{{\"progress\":40}}}}' {}",
        place.words("/sse?topic=job:*"),
        quoted(&file),
        place.words("/sse/publish"),
    )
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_an_address_that_reaches_it() {
        for (address, expected) in [
            ("127.0.0.1:5001", "http://localhost:5001"),
            ("0.0.0.0:80", "http://localhost:80"),
            ("[::]:5001", "http://localhost:5001"),
            ("[::1]:5001", "http://localhost:5001"),
            ("127.0.0.2:5001", "http://127.0.0.2:5001"),
            ("192.0.2.7:5001", "http://192.0.2.7:5001"),
            ("[2001:db8::1]:5001", "http://[2001:db8::1]:5001"),
        ] {
            let place = Place::of(address.parse().unwrap());
            assert_eq!(place, Place::Url(expected.to_owned()), "{address}");
        }
    }

    #[test]
    fn paths_are_quoted_for_the_shell() {
        let text = banner(&Place::Socket("/run/it's here.sock".into()), Path::new("/a b/publish.token"));
        assert!(
            text.contains(
                "curl -N --unix-socket '/run/it'\\''s here.sock' 'http://localhost/sse?topic=job:*'\n"
            ),
            "{text}"
        );
        assert!(text.contains("$(cat '/a b/publish.token')\""), "{text}");
        assert!(!text.contains("browser"), "{text}");
    }
}
