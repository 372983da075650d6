//! What answers say to browsers: which pages may read them, and what may not be made of them.

use stack_tests::{Answer, Connection, request};

use crate::server::Server;

const ORIGINS: (&str, &str) = ("SSE_CORS_ORIGINS", "https://app.example, http://localhost:3000");
const LOGIN: [(&str, &str); 2] = [("LOGIN_ENABLED", "true"), ("LOGIN_CODE", "open sesame")];

fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    request(server.port(), method, path, headers, "")
}

/// What an answer says of other sites, sorted.
fn cors(answer: &Answer) -> Vec<&str> {
    let is_cors = |line: &&str| line.starts_with("access-control-") || *line == "vary: origin";
    let mut lines: Vec<&str> = answer.head.lines().filter(is_cors).collect();
    lines.sort_unstable();
    lines
}

/// The head of a stream, in lower case.
fn head(server: &Server, headers: &str) -> String {
    let mut stream = Connection::open([127, 0, 0, 1], server.port()).unwrap();
    stream.send(format!("GET /sse HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes());
    let seen = stream.until("\r\n\r\n");
    seen.split_once("\r\n\r\n").unwrap().0.to_lowercase()
}

/// The attack: a page of another site reads, with its reader's cookies, what is meant for that reader.
#[test]
fn pages_of_named_origins_and_no_others_may_read() {
    let server = Server::start(&[ORIGINS, LOGIN[0], LOGIN[1]]);
    let token = ("Authorization", "Bearer the-token");
    let allowed = |origin: &str| {
        [
            "access-control-allow-credentials: true".to_owned(),
            format!("access-control-allow-origin: {origin}"),
            "access-control-expose-headers: retry-after".to_owned(),
            "vary: origin".to_owned(),
        ]
    };
    for (origin, may) in [
        ("https://app.example", true),
        ("http://localhost:3000", true),
        ("http://app.example", false),
        ("https://app.example:8443", false),
        ("https://app.example.evil", false),
        ("https://evil.example", false),
        ("null", false),
    ] {
        let expected = if may { allowed(origin).to_vec() } else { vec!["vary: origin".to_owned()] };
        // Also what is refused: a page that cannot read why shows nothing.
        for (path, headers) in
            [("/sse/health", &[][..]), ("/sse", &[]), ("/nothing", &[token]), ("/sse/connections", &[token])]
        {
            let answer = ask(&server, "GET", path, &[headers, &[("Origin", origin)]].concat());
            assert_eq!(cors(&answer), expected, "{origin} {path} {}", answer.status);
        }
        let head = head(&server, &format!("Authorization: Bearer the-token\r\nOrigin: {origin}\r\n"));
        for line in &expected {
            assert!(head.lines().any(|found| found == line), "{origin} {line}: {head}");
        }
        assert_eq!(head.contains("access-control-"), may, "{head}");
        let asks = [("Origin", origin), ("Access-Control-Request-Method", "POST")];
        let preflight = ask(&server, "OPTIONS", "/sse/publish", &asks);
        if may {
            assert_eq!((preflight.status, preflight.body.as_str()), (204, ""), "no token comes with it");
            assert_eq!(preflight.header("access-control-allow-methods"), Some("get, head, post, delete"));
            let headers = "authorization, content-type, last-event-id, cache-control";
            assert_eq!(preflight.header("access-control-allow-headers"), Some(headers));
            assert_eq!(preflight.header("access-control-max-age"), Some("7200"));
        } else {
            assert_eq!((preflight.status, cors(&preflight)), (405, vec!["vary: origin"]));
        }
    }
    let own = ask(&server, "GET", "/sse/health", &[]);
    assert_eq!(cors(&own), ["vary: origin"]);
    let closed = Server::start(&[]);
    let headers = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "GET")];
    for method in ["GET", "OPTIONS"] {
        assert!(cors(&ask(&closed, method, "/sse/health", &headers)).is_empty());
    }
    assert!(!head(&closed, "Origin: https://app.example\r\n").contains("origin"));
}

/// The attack: an answer is taken for a page or a script of this site, or put into a frame.
#[test]
fn every_answer_is_what_it_says_and_nobody_frames_it() {
    let server = Server::start(&LOGIN);
    for (path, headers) in [
        ("/sse/health", &[][..]),
        ("/sse/health/live", &[]),
        ("/metrics", &[]),
        ("/nothing", &[]),
        ("/sse", &[]),
        ("/login_status", &[]),
        ("/login", &[("Accept", "text/html")]),
        ("/sse/dashboard", &[("Accept", "text/html")]),
    ] {
        let answer = ask(&server, "GET", path, headers);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        for name in ["x-content-type-options:", "referrer-policy:", "content-security-policy:"] {
            assert_eq!(answer.head.lines().filter(|line| line.starts_with(name)).count(), 1, "{path} {name}");
        }
    }
    assert!(head(&server, "Authorization: Bearer the-token\r\n").contains("x-content-type-options: nosniff"));
}

/// The attack: a page that may read has the browser publish, with the cookie of somebody who did not ask for it; only
/// pages that are named can.
#[test]
fn named_origins_publish_with_the_cookie_and_others_do_not() {
    let folder = tempfile::TempDir::new().unwrap();
    let (key, secret) = (folder.path().join("key"), "a secret of thirty-two bytes, or more");
    std::fs::write(&key, secret).unwrap();
    let server = Server::start(&[ORIGINS, ("SSE_JWT_KEY_FILE", key.to_str().unwrap())]);
    let claims = serde_json::json!({"exp":9_999_999_999_u64,"sse":{"publish":["*"]}});
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    let cookie = format!("sse_token={token}");
    for (origin, status) in [("https://app.example", 200), ("https://evil.example", 403), ("null", 403)] {
        let headers = [
            ("Cookie", cookie.as_str()),
            ("Origin", origin),
            ("Sec-Fetch-Site", "cross-site"),
            ("Content-Type", "application/json"),
        ];
        let answer = request(server.port(), "POST", "/sse/publish", &headers, r#"{"topic":"a","data":1}"#);
        assert_eq!(answer.status, status, "{origin}");
    }
}
