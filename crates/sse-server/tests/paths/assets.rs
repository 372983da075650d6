//! The browser's client and the hub's own pages, as browsers and compilers get them.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use stack_tests::request;

use crate::server::Server;

/// What a page may cost that uses it, compressed.
const CLIENT_BYTES_MAX: usize = 8 << 10;

#[test]
fn files_are_served_and_asked_for_again_cheaply() {
    let server = Server::start(&[]);
    for (path, content_type, word) in [
        ("/sse/client.js", "text/javascript; charset=utf-8", "export class SseClient extends EventTarget"),
        ("/sse/client.d.ts", "text/plain; charset=utf-8", "export class SseClient extends EventTarget"),
        ("/sse/test", "text/html; charset=utf-8", "<title>Try the stream</title>"),
        ("/sse/test.js", "text/javascript; charset=utf-8", "from \"/sse/client.js\""),
        ("/sse/dashboard", "text/html; charset=utf-8", "<title>Dashboard</title>"),
        ("/sse/dashboard.js", "text/javascript; charset=utf-8", "from \"/sse/plot.js\""),
        ("/sse/dashboard.css", "text/css; charset=utf-8", "#plots"),
        ("/sse/plot.js", "text/javascript; charset=utf-8", "export class Plot"),
        ("/sse/theme.js", "text/javascript; charset=utf-8", "localStorage"),
        ("/sse/page.css", "text/css; charset=utf-8", "color-scheme: light dark"),
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

/// The attack: another site frames the page and has its reader click on it, or a script of others runs in it.
#[test]
fn pages_run_only_what_comes_from_here_and_are_framed_by_nobody() {
    let server = Server::start(&[]);
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    for path in ["/sse/test", "/sse/dashboard"] {
        let page = request(server.port(), "GET", path, &[], "");
        assert_eq!(page.header("content-security-policy"), Some(policy));
        assert_eq!(page.header("x-frame-options"), Some("deny"));
        // A browser that has the page already takes the policy of the answer that says so.
        let known = [("If-None-Match", page.header("etag").unwrap())];
        let again = request(server.port(), "GET", path, &known, "");
        assert_eq!((again.status, again.header("content-security-policy")), (304, Some(policy)));
        let inline = ["<script>", "<style", " style=", " onclick=", "http:", "https:"];
        assert!(inline.iter().all(|word| !page.body.contains(word)), "{}", page.body);
    }
    let old = request(server.port(), "GET", "/sse-test", &[], "");
    assert_eq!((old.status, old.header("location")), (302, Some("/sse/test")));
}

/// The attack: where nobody may come in without a login, the files tell a stranger what runs here.
#[test]
fn files_are_behind_the_login() {
    let server = Server::start(&[("LOGIN_ENABLED", "true"), ("LOGIN_CODE", "open sesame")]);
    for path in [
        "/sse/client.js",
        "/sse/client.d.ts",
        "/sse/test",
        "/sse/test.js",
        "/sse/page.css",
        "/sse-test",
        "/",
        "/sse/dashboard",
        "/sse/dashboard.js",
        "/sse/dashboard.css",
        "/sse/plot.js",
        "/sse/theme.js",
    ] {
        assert_eq!(request(server.port(), "GET", path, &[], "").status, 401);
    }
}
