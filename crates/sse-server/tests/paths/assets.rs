//! The browser's client, as browsers and compilers get it.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use stack_tests::request;

use crate::server::Server;

/// What a page may cost that uses it, compressed.
const CLIENT_BYTES_MAX: usize = 8 << 10;

#[test]
fn client_and_its_types_are_served_and_asked_for_again_cheaply() {
    let server = Server::start(&[]);
    for (path, content_type, word) in [
        ("/sse/client.js", "text/javascript; charset=utf-8", "export class SseClient extends EventTarget"),
        ("/sse/client.d.ts", "text/plain; charset=utf-8", "export class SseClient extends EventTarget"),
    ] {
        let get = |headers: &[(&str, &str)]| request(server.port(), "GET", path, headers, "");
        let whole = get(&[]);
        assert_eq!((whole.status, whole.header("content-type")), (200, Some(content_type)));
        assert_eq!(whole.header("cache-control"), Some("no-cache"));
        assert!(whole.body.contains(word), "{}", whole.body);
        let tag = whole.header("etag").unwrap().to_owned();
        for known in [&tag, &format!("W/{tag}"), &format!("\"x\", {tag}"), "*"] {
            let again = get(&[("If-None-Match", known)]);
            assert_eq!(
                (again.status, again.body.as_str(), again.header("etag")),
                (304, "", Some(tag.as_str()))
            );
        }
        let other = get(&[("If-None-Match", "\"x\"")]);
        assert_eq!((other.status, other.body.len()), (200, whole.body.len()));
        assert_eq!(request(server.port(), "POST", path, &[], "").status, 405);
    }
}

#[test]
fn client_is_small() {
    let server = Server::start(&[]);
    let text = request(server.port(), "GET", "/sse/client.js", &[], "").body;
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    let bytes = packed.finish().unwrap().len();
    println!("client.js: {} bytes, {bytes} compressed", text.len());
    assert!(bytes <= CLIENT_BYTES_MAX, "{bytes}");
}

/// The attack: where nobody may come in without a login, the files tell a stranger what runs here.
#[test]
fn client_is_behind_the_login() {
    let server = Server::start(&[("LOGIN_ENABLED", "true"), ("LOGIN_CODE", "open sesame")]);
    for path in ["/sse/client.js", "/sse/client.d.ts"] {
        assert_eq!(request(server.port(), "GET", path, &[], "").status, 401);
    }
}
