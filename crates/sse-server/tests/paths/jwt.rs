//! Signed tokens: what they let their holder do, and how long.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use stack_tests::{Answer, Connection, eventually, request};
use tempfile::TempDir;

use crate::server::{Server, assert_problem};

const SECRET: &str = "a secret of thirty-two bytes, or more";
const EVENT: &str = r#"{"topic":"job:1","data":1}"#;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn signed(claims: &Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

fn token(publish: &[&str], subscribe: &[&str]) -> String {
    let sse = json!({"publish":publish,"subscribe":subscribe});
    signed(&json!({"sub":"app","exp":now() + 600,"sse":sse}), SECRET)
}

struct Hub {
    server: Server,
    folder: TempDir,
}

fn hub(more: &[(&str, &str)]) -> Hub {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, SECRET).unwrap();
    let own = [("SSE_JWT_KEY_FILE", file.to_str().unwrap()), ("SSE_MAX_CONNECTIONS_PER_IP", "0")];
    Hub { server: Server::start(&[&own[..], more].concat()), folder }
}

impl Hub {
    #[track_caller]
    fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let headers: Vec<(&str, &str)> = headers.iter().map(|line| line.split_once(": ").unwrap()).collect();
        request(self.server.port(), method, path, &headers, body)
    }

    #[track_caller]
    fn head(&self, topics: &str, header: &str) -> u16 {
        self.ask("HEAD", &format!("/sse?topic={topics}"), &[header], "").status
    }

    #[track_caller]
    fn publish(&self, headers: &[&str], body: &str) -> Answer {
        let headers = [headers, &["Content-Type: application/json"]].concat();
        self.ask("POST", "/sse/publish", &headers, body)
    }

    #[track_caller]
    fn stream(&self, path: &str, header: &str) -> Connection {
        let mut stream = Connection::open([127, 0, 0, 1], self.server.port()).unwrap();
        stream.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n").as_bytes());
        stream.until("event: connected\ndata: ");
        stream
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// The attack: a token is used for more than it grants, live or in the history.
#[test]
fn token_reads_and_publishes_what_it_names_and_nothing_else() {
    let hub = hub(&[]);
    let token = token(&["job:*"], &["job:1", "news:*"]);
    let (header, cookie) = (bearer(&token), format!("Cookie: a=b; sse_token={token}"));
    for (topics, status) in [
        ("job:1", 200),
        ("*", 200),
        ("news:*", 200),
        ("news:x,job:1", 200),
        ("job:2", 403),
        ("job:*", 403),
        ("job:1,job:2", 403),
        ("session:x", 403),
    ] {
        for header in [&header, &cookie] {
            assert_eq!(hub.head(topics, header), status, "{topics}");
        }
        assert_eq!(hub.head(topics, "X: y"), 401, "nothing is public any more");
    }
    let refused = hub.ask("GET", "/sse?topic=job:1,job:2", &[&header], "");
    assert_problem(&refused, 403, "Forbidden", "reading job:2 is not allowed");
    assert_eq!(hub.publish(&[&header], EVENT).status, 200);
    assert_eq!(hub.publish(&[&header], r#"{"topic":"job:2","data":"hidden"}"#).status, 200);
    let refused = hub.publish(&[&header], r#"{"topic":["job:1","news:x"],"data":1}"#);
    assert_problem(&refused, 403, "Forbidden", "this token may not publish to the topic news:x");
    let mut stream = hub.stream("/sse?last_event_id=earliest", &cookie);
    hub.server.post("/sse/publish", r#"{"topic":"secret","data":"hidden"}"#);
    hub.server.post("/sse/publish", r#"{"topic":"session:x","data":"hidden"}"#);
    hub.server.post("/sse/publish", r#"{"topic":"news:1","data":"end"}"#);
    let seen = stream.until("data: end\n\n");
    assert!(seen.contains("\ndata: 1\n\n") && !seen.contains("hidden"), "{seen}");
    // To operate takes the publish token.
    assert_eq!(hub.ask("GET", "/sse/connections", &[&header], "").status, 401);
    assert_eq!(hub.ask("GET", "/sse/connections", &["Authorization: Bearer the-token"], "").status, 200);
    assert_eq!(hub.head("secret", "Authorization: Bearer the-token"), 200);
}

#[test]
fn session_topics_and_everything_are_different_grants() {
    let hub = hub(&[]);
    let everything = bearer(&token(&["*"], &["*"]));
    assert_eq!(
        ["*", "job:1", "session:x", "session:*"].map(|t| hub.head(t, &everything)),
        [200, 200, 403, 200]
    );
    let one = bearer(&token(&[], &["session:x"]));
    assert_eq!(["*", "session:x", "session:y", "job:1"].map(|t| hub.head(t, &one)), [200, 200, 403, 403]);
    assert_eq!(hub.publish(&[&one], EVENT).status, 403);
    let nothing = bearer(&token(&[], &[]));
    let refused = hub.ask("GET", "/sse", &[&nothing], "");
    assert_problem(&refused, 403, "Forbidden", "this token may read no topic");
}

/// The attacks: tokens that are over, not begun, unsigned, signed by others, or endless.
#[test]
fn token_that_is_not_good_is_refused_with_the_reason() {
    let hub = hub(&[]);
    let sse = json!({"publish":["*"],"subscribe":["*"]});
    let claims = |exp: Value, nbf: u64| json!({"exp":exp,"nbf":nbf,"sse":sse});
    let later = json!(now() + 600);
    let good = signed(&claims(later.clone(), 0), SECRET);
    let none = {
        use base64::Engine;
        let head = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        format!("{head}.{}.", good.split('.').nth(1).unwrap())
    };
    let no_key = "the token is signed with an algorithm or a key that is not accepted here";
    for (token, detail) in [
        (signed(&claims(json!(now() - 1), 0), SECRET), "the token has expired"),
        (signed(&claims(later.clone(), now() + 300), SECRET), "the token is not valid yet"),
        (signed(&claims(Value::Null, 0), SECRET), "the token has no claim exp"),
        (
            signed(&claims(later, 0), "another secret of thirty-two bytes"),
            "the signature of the token is wrong",
        ),
        (none, no_key),
    ] {
        let refused = hub.ask("GET", "/sse", &[&bearer(&token)], "");
        assert_problem(&refused, 401, "Unauthorized", detail);
        assert_problem(&hub.publish(&[&bearer(&token)], EVENT), 401, "Unauthorized", detail);
        let cookie = format!("Cookie: sse_token={token}");
        assert_problem(&hub.ask("GET", "/sse", &[&cookie], ""), 401, "Unauthorized", detail);
        let own = "Sec-Fetch-Site: same-origin";
        assert_problem(&hub.publish(&[&cookie, own], EVENT), 401, "Unauthorized", detail);
    }
    assert_eq!(hub.head("*", &bearer(&good)), 200);
    let wrong = hub.publish(&["Authorization: Bearer x"], EVENT);
    assert_problem(&wrong, 401, "Unauthorized", "the publish token is wrong");
}

/// The attack: a page of another site has the browser, which sends its cookie, publish.
#[test]
fn cookie_publishes_from_pages_of_this_server_alone() {
    let hub = hub(&[]);
    let token = token(&["*"], &["*"]);
    let cookie = format!("Cookie: sse_token={token}");
    for (headers, status) in [
        (&["Sec-Fetch-Site: same-origin"][..], 200),
        (&["Origin: http://localhost"], 200),
        (&["Origin: https://LOCALHOST"], 200),
        (&["Sec-Fetch-Site: cross-site"], 403),
        (&["Sec-Fetch-Site: same-site"], 403),
        (&["Sec-Fetch-Site: none"], 403),
        (&["Sec-Fetch-Site: cross-site", "Origin: http://localhost"], 403),
        (&["Origin: https://evil.example"], 403),
        (&["Origin: http://localhost.evil.example"], 403),
        (&["Origin: http://localhost:8080"], 403),
        (&["Origin: null"], 403),
        (&[], 403),
    ] {
        for path in ["/sse/publish", "/events/broadcast"] {
            let body = if path == "/sse/publish" { EVENT } else { r#"{"event_type":"a","data":1}"# };
            let headers = [headers, &[cookie.as_str(), "Content-Type: application/json"]].concat();
            assert_eq!(hub.ask("POST", path, &headers, body).status, status, "{headers:?}");
        }
    }
    let form = ["Content-Type: application/x-www-form-urlencoded", &cookie, "Origin: https://evil.example"];
    let refused = hub.ask("POST", "/sse/publish", &form, "topic=a&data=1");
    let detail = "a publish with the cookie sse_token must come from a page of this server itself, or of SSE_CORS_ORIGINS";
    assert_problem(&refused, 403, "Forbidden", detail);
    assert_eq!(hub.publish(&[&bearer(&token), "Origin: https://evil.example"], EVENT).status, 200);
}

/// The attack: a stream lives on after the grant that it was opened with.
#[test]
fn stream_ends_when_its_token_does() {
    let hub = hub(&[]);
    let sse = json!({"subscribe":["*"]});
    let short = signed(&json!({"exp":now() + 2,"sse":sse}), SECRET);
    let streams = [
        hub.stream("/sse", &bearer(&short)),
        hub.stream("/sse", &format!("Cookie: sse_token={short}")),
        hub.stream("/events", &format!("{}\r\nAccept-Encoding: gzip;q=0", bearer(&short))),
    ];
    let mut stays = hub.stream("/sse", &bearer(&token(&[], &["*"])));
    for stream in streams {
        let seen = stream.to_end();
        assert!(seen.ends_with("}\n\n\r\n0\r\n\r\n"), "{seen:?}");
    }
    assert_eq!(hub.head("*", &bearer(&short)), 401);
    hub.server.post("/sse/publish", r#"{"topic":"a","data":"still"}"#);
    stays.until("data: still\n\n");
    eventually("it is counted", || hub.server.health()["connections"]["closed"]["expired"] == 3);
}

/// The attack: a key that was lost goes on signing; one publisher uses up the rate of another.
#[test]
fn keys_are_read_again_when_told_and_each_subject_has_a_rate() {
    let hub = hub(&[("SSE_PUBLISH_RATE", "1"), ("SSE_PUBLIC_TOPICS", "news")]);
    let of = |sub: &str, secret: &str| {
        let sse = json!({"publish":["*"],"subscribe":["job:1"]});
        bearer(&signed(&json!({"sub":sub,"exp":now() + 600,"sse":sse}), secret))
    };
    for sub in ["a", "b"] {
        assert_eq!([0; 3].map(|_| hub.publish(&[&of(sub, SECRET)], EVENT).status), [200, 200, 429]);
    }
    // What is public is for those whose cookie is over too.
    assert_eq!(
        [("news", "X: y"), ("news", "Cookie: sse_token=x"), ("job:1", "X: y")].map(|(t, h)| hub.head(t, h)),
        [200, 200, 403]
    );
    assert_eq!(hub.head("job:1", &of("a", SECRET)), 200);
    let fresh = "another secret of thirty-two bytes";
    fs::write(hub.folder.path().join("key"), "short").unwrap();
    hub.server.process.signal(Signal::SIGHUP);
    let told = "SIGHUP: the keys stay as they are: jwt_key_file: the file has a secret of 5 bytes";
    eventually("it is told", || hub.server.process.lines().iter().any(|line| line.contains(told)));
    assert_eq!(hub.head("job:1", &of("a", SECRET)), 200);
    fs::write(hub.folder.path().join("key"), fresh).unwrap();
    hub.server.process.signal(Signal::SIGHUP);
    eventually("it is read", || hub.head("job:1", &of("a", fresh)) == 200);
    assert_eq!(hub.head("job:1", &of("a", SECRET)), 401);
}

/// The attack: whoever is given tokens without end spends one after the other, so that no rate is left to count for others.
#[test]
fn signed_tokens_without_end_leave_the_rates_of_others() {
    let hub = hub(&[("SSE_PUBLISH_RATE", "1")]);
    let of = |n: usize| {
        let claims = json!({"exp":now() + 600,"jti":n.to_string(),"sse":{"publish":["job:*"]}});
        bearer(&signed(&claims, SECRET))
    };
    let both = format!("[{EVENT},{EVENT}]");
    let is_full = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (hub, of, both, is_full) = (&hub, &of, &both, &is_full);
            scope.spawn(move || {
                for n in 0..10_000 {
                    if is_full.load(std::sync::atomic::Ordering::SeqCst) {
                        return;
                    }
                    // Each is fresh, so it is refused only when there are too many.
                    if hub.publish(&[&of(4 * n + thread)], both).status == 429 {
                        is_full.store(true, std::sync::atomic::Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert!(is_full.into_inner(), "they were spent too slowly to fill the table");
    assert_eq!(hub.publish(&["Authorization: Bearer the-token"], &both).status, 200);
}

/// The attack: with the login on, a signed token is no way around it, and none is needed for it.
#[test]
fn token_and_session_stand_beside_each_other() {
    let hub = hub(&[("LOGIN_ENABLED", "true"), ("LOGIN_CODE", "open sesame")]);
    let header = bearer(&token(&[], &["job:1"]));
    assert_eq!(["job:1", "job:2"].map(|t| hub.head(t, &header)), [200, 403]);
    assert_eq!(["job:1", "*"].map(|t| hub.head(t, "X: y")), [401, 401]);
    assert_eq!(hub.ask("GET", "/nothing", &[&header], "").status, 404);
    assert_eq!(hub.ask("GET", "/nothing", &[&format!("{header}x")], "").status, 401);
    let away = hub.ask("GET", "/sse/dashboard", &["Accept: text/html", "Cookie: sse_token=a.b.c"], "");
    assert_eq!((away.status, away.header("location")), (303, Some("/login")));
}
