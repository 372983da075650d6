//! The login: who gets in, who does not, and what becomes of those who leave. Each test begins with its attack.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use stack_tests::{Answer, Connection, eventually, within};

use crate::server::{Server, assert_problem};

const CODE: &str = "open sesame";
const ON: [(&str, &str); 2] = [("LOGIN_ENABLED", "true"), ("LOGIN_CODE", CODE)];
const HTML: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8";
const TOKEN: &str = "Authorization: Bearer the-token";

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&ON[..], more].concat()
}

/// Somebody at an address of the loopback network.
struct Visitor {
    from: [u8; 4],
    port: u16,
}

/// An answer, and its head as it came.
struct Seen {
    answer: Answer,
    head: String,
}

impl Seen {
    fn status(&self) -> u16 {
        self.answer.status
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.answer.body).unwrap_or(Value::Null)
    }

    fn cookies(&self) -> Vec<&str> {
        self.head.lines().filter_map(|line| strip_name(line, "set-cookie: ")).collect()
    }

    /// The session's cookie as a browser would send it, and its attributes.
    fn session(&self) -> Option<(String, String)> {
        let cookie = self.cookies().into_iter().find(|cookie| cookie.starts_with("sse_session="))?;
        let (pair, attributes) = cookie.split_once("; ")?;
        Some((pair.to_owned(), attributes.to_owned()))
    }

    fn location(&self) -> Option<&str> {
        self.head.lines().find_map(|line| strip_name(line, "location: "))
    }
}

fn strip_name<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.get(..name.len()).filter(|start| start.eq_ignore_ascii_case(name))?;
    Some(&line[name.len()..])
}

fn at(server: &Server, last: u8) -> Visitor {
    Visitor { from: [127, 0, 0, last], port: server.port() }
}

impl Visitor {
    #[track_caller]
    fn open(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Connection {
        let mut connection = Connection::open(self.from, self.port).unwrap();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length =
            if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
        connection
            .send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}{length}\r\n{body}").as_bytes());
        connection
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Seen {
        let headers = [headers, &["Connection: close"]].concat();
        let text = self.open(method, path, &headers, body).to_end();
        let head = text.split_once("\r\n\r\n").unwrap().0.to_owned();
        Seen { answer: Answer::parse(&text), head }
    }

    #[track_caller]
    fn get(&self, path: &str, headers: &[&str]) -> Seen {
        self.ask("GET", path, headers, "")
    }

    /// Names a passcode.
    #[track_caller]
    fn try_code(&self, code: &str, headers: &[&str]) -> Seen {
        let headers = [headers, &["Content-Type: application/json"]].concat();
        self.ask("POST", "/login", &headers, &json!({"passcode": code}).to_string())
    }

    /// Fills in the form.
    #[track_caller]
    fn form(&self, body: &str) -> Seen {
        self.ask("POST", "/login", &[HTML, "Content-Type: application/x-www-form-urlencoded"], body)
    }

    /// Logs in; the header with the cookie, and the session's id.
    #[track_caller]
    fn log_in(&self) -> (String, String) {
        let seen = self.try_code(CODE, &[]);
        assert_eq!((seen.status(), seen.json()), (200, json!({"success":true,"message":"Login successful"})));
        let cookie = format!("Cookie: {}", seen.session().unwrap().0);
        let status = self.get("/login_status", &[&cookie]).json();
        (cookie, status["session_id"].as_str().unwrap().to_owned())
    }

    /// A stream, greeted.
    #[track_caller]
    fn stream(&self, path: &str, headers: &[&str]) -> Connection {
        let mut stream = self.open("GET", path, headers, "");
        stream.until("event: connected\ndata: ");
        stream
    }
}

#[track_caller]
fn assert_unauthorized(seen: &Seen) {
    let detail = "this needs a session, which POST /login begins, or a token";
    assert_problem(&seen.answer, 401, "Unauthorized", detail);
}

/// The attack: a path that nobody thought of is asked without a session.
#[test]
fn nothing_but_health_and_the_login_is_answered_to_strangers() {
    let server = Server::start(&ON);
    let visitor = at(&server, 1);
    let paths = [
        "/",
        "/sse",
        "/sse?topic=a",
        "/events",
        "/events/status",
        "/sse/connections",
        "/sse/connections/0",
        "/metrics",
        "/sse/test",
        "/sse/dashboard",
        "/sse-test",
        "/sse/client.js",
        "/nothing",
        "/sse/",
        "/sse//health",
        "/login/",
        "/sse/health/live/x",
        "/%73se/connections",
        "/ss%65",
        "/SSE/HEALTH",
    ];
    for path in paths {
        assert_unauthorized(&visitor.get(path, &[]));
        assert_unauthorized(&visitor.get(path, &["Accept: text/event-stream", "Cookie: sse_session=x"]));
        let person = visitor.get(path, &[HTML]);
        assert_eq!((person.status(), person.location()), (303, Some("/login")), "{path}");
        assert_eq!(person.answer.header("cache-control"), Some("no-store"));
    }
    assert_unauthorized(&visitor.ask("DELETE", "/sse/connections/0", &[], ""));
    assert_eq!(visitor.ask("HEAD", "/sse", &[], "").status(), 401);
    for path in ["/sse/health", "/sse/health/live", "/sse/health/ready", "/login", "/login_status"] {
        assert_eq!(visitor.get(path, &[]).status(), 200, "{path}");
    }
    for body in [r#"{"topic":"a","data":1}"#, "{}"] {
        let headers = ["Content-Type: application/json"];
        for path in ["/sse/publish", "/events/broadcast"] {
            let refused = visitor.ask("POST", path, &headers, body);
            let detail = "publishing needs the header Authorization: Bearer with the publish token";
            assert_problem(&refused.answer, 401, "Unauthorized", detail);
        }
    }
    let (cookie, _) = visitor.log_in();
    for headers in [&[&*cookie][..], &[TOKEN]] {
        assert_eq!(visitor.get("/events/status", headers).status(), 200);
        assert_eq!(visitor.get("/metrics", headers).status(), 200);
        assert_eq!(visitor.get("/nothing", headers).status(), 404);
        visitor.stream("/sse", headers);
        visitor.stream("/events", headers);
    }
    // A session operates and publishes nothing: that takes the token.
    let operate = visitor.get("/sse/connections", &[&cookie]);
    let detail = "operating needs the header Authorization: Bearer with the publish token";
    assert_problem(&operate.answer, 401, "Unauthorized", detail);
    let publish = visitor.ask("POST", "/sse/publish", &[&cookie], "{}");
    assert_eq!(publish.status(), 401);
    assert_eq!(visitor.get("/sse/connections", &[TOKEN]).status(), 200);
    // The password of a proxy in front, which a browser sends along, is nobody's token and takes no session away.
    let basic = "Authorization: Basic dXNlcjpwYXNz";
    assert_eq!(visitor.get("/events/status", &[&cookie, basic]).status(), 200);
    visitor.stream("/sse", &[&cookie, basic]);
    assert_unauthorized(&visitor.get("/sse", &[basic]));
    let wrong = visitor.get("/sse", &["Authorization: Bearer wrong"]);
    assert_problem(&wrong.answer, 401, "Unauthorized", "the publish token is wrong");
}

#[test]
fn order_of_refusals_is_kept() {
    let server = Server::start(&ON);
    let visitor = at(&server, 1);
    // Who it is comes before what is asked for.
    assert_eq!(visitor.get("/sse?topic=a%20b", &["Accept: application/json"]).status(), 401);
    let (cookie, _) = visitor.log_in();
    assert_eq!(visitor.get("/sse?topic=session:x", &[&cookie, "Accept: application/json"]).status(), 403);
    assert_eq!(visitor.get("/sse?topic=a%20b", &[&cookie, "Accept: application/json"]).status(), 406);
    assert_eq!(visitor.get("/sse?topic=a%20b", &[&cookie]).status(), 400);
    server.process.signal(nix::sys::signal::Signal::SIGUSR1);
    eventually("it drains", || visitor.get("/sse", &[]).status() == 503);
    let told = visitor.get("/sse", &["Accept: text/event-stream"]);
    assert_eq!((told.status(), told.answer.body.as_str()), (200, "retry: 3000\n\n"));
    assert_unauthorized(&visitor.get("/events/status", &[]));
}

#[test]
fn programs_log_in_and_out_with_the_older_json() {
    let server = Server::start(&ON);
    let visitor = at(&server, 1);
    let status = |headers: &[&str]| visitor.get("/login_status", headers).json();
    assert_eq!(status(&[]), json!({"login_enabled":true,"authenticated":false}));
    assert_eq!(status(&[TOKEN]), json!({"login_enabled":true,"authenticated":true}));
    let seen = visitor.try_code("wrong", &[]);
    let body =
        r#"{"success":false,"error":"the passcode is wrong, 4 attempts are left","remaining_attempts":4}"#;
    assert_eq!((seen.status(), seen.answer.body.as_str()), (401, body));
    let seen = visitor.try_code(CODE, &[]);
    assert_eq!(
        (seen.status(), seen.answer.body.as_str()),
        (200, r#"{"success":true,"message":"Login successful"}"#)
    );
    assert_eq!(seen.answer.header("cache-control"), Some("no-store"));
    let (pair, attributes) = seen.session().unwrap();
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Path=/; Max-Age=604800");
    let cookie = format!("Cookie: theme=dark; {pair}");
    let known = status(&[&cookie]);
    let id = known["session_id"].as_str().unwrap();
    assert_eq!(known, json!({"login_enabled":true,"authenticated":true,"session_id":id}));
    assert!(id.len() == 32 && !pair.contains(id), "{id} {pair}");
    let (_, other) = visitor.log_in();
    assert_ne!(id, other);

    let left = visitor.ask("POST", "/logout", &[&cookie], "");
    assert_eq!(
        (left.status(), left.answer.body.as_str()),
        (200, r#"{"success":true,"message":"Logged out"}"#)
    );
    assert_eq!(left.session().unwrap().0, "sse_session=");
    assert!(left.session().unwrap().1.ends_with("Max-Age=0"));
    assert_eq!(status(&[&cookie]), json!({"login_enabled":true,"authenticated":false}));
    assert_eq!(visitor.ask("POST", "/logout", &[], "").status(), 200);

    for (content_type, body, error) in [
        ("application/json", "{}", "missing field `passcode` at line 1 column 2"),
        ("application/json", "", "EOF while parsing a value at line 1 column 0"),
        ("application/x-www-form-urlencoded", "next=/", "missing field `passcode`"),
        ("text/plain", "x", "the content type must be application/json or application/x-www-form-urlencoded"),
        ("application/json", &"x".repeat(16_385), "the body is above the limit of 16384 bytes"),
    ] {
        let seen = visitor.ask("POST", "/login", &[&format!("Content-Type: {content_type}")], body);
        assert_eq!((seen.status(), seen.json()), (400, json!({"success":false,"error":error})));
    }
    let seen = visitor.ask("DELETE", "/login", &[], "");
    assert_eq!((seen.status(), seen.answer.header("allow")), (405, Some("get, head, post")));
    assert_eq!(seen.json(), json!({"success":false,"error":"only GET, HEAD, POST is allowed here"}));
    // None of these was an attempt.
    assert_eq!(visitor.try_code("wrong", &[]).json()["remaining_attempts"], 4);
}

#[test]
fn without_a_login_there_is_none() {
    let server = Server::start(&[]);
    let visitor = at(&server, 1);
    for (method, path) in [("GET", "/login"), ("POST", "/logout")] {
        let seen = visitor.ask(method, path, &[], "");
        assert_problem(&seen.answer, 404, "Not Found", "there is nothing at this path");
    }
    let seen = visitor.get("/login_status", &[]);
    assert_eq!(seen.answer.body, r#"{"login_enabled":false,"authenticated":true}"#);
    let seen = visitor.try_code("anything", &[]);
    assert_eq!((seen.status(), seen.json()["success"].clone()), (200, json!(true)));
    assert!(seen.cookies().is_empty() && !server.folder().join("session.key").exists());
}

/// The attack: a link to the login sends whoever logs in to another site, or writes into the page.
#[test]
fn people_log_in_with_a_form_and_come_back_to_where_they_were_and_nowhere_else() {
    let server = Server::start(&ON);
    let visitor = at(&server, 1);
    let sent = visitor.get("/sse/dashboard?a=%22b%22&c", &[HTML]);
    assert_eq!((sent.status(), sent.location()), (303, Some("/login")));
    let way_back = sent.cookies()[0].to_owned();
    assert!(way_back.ends_with("; HttpOnly; SameSite=Lax; Path=/login; Max-Age=600"), "{way_back}");
    let way_back = format!("Cookie: {}", way_back.split_once(';').unwrap().0);
    let page = visitor.get("/login", &[HTML, &way_back]);
    assert_eq!(page.answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        page.answer.body.contains("name=\"next\" value=\"/sse/dashboard?a=%22b%22&amp;c\""),
        "{}",
        page.answer.body
    );
    assert!(page.answer.body.contains("<form method=\"post\" action=\"/login\">"));
    assert!(!page.answer.body.contains("<script"), "it works without");
    let policy = page.answer.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    let wrong = visitor.form("passcode=wrong&next=%2Fsse%2Fdashboard");
    assert_eq!(wrong.status(), 401);
    let told = "<p role=\"alert\">the passcode is wrong, 4 attempts are left</p>";
    assert!(wrong.answer.body.contains(told), "{}", wrong.answer.body);
    assert!(wrong.answer.body.contains("value=\"/sse/dashboard\""));
    let seen = visitor.form("passcode=open+sesame&next=%2Fsse%2Fdashboard%3Fa");
    assert_eq!((seen.status(), seen.location()), (303, Some("/sse/dashboard?a")));
    assert!(seen.session().is_some());

    for next in [
        "https%3A%2F%2Fevil.example",
        "%2F%2Fevil.example",
        "%2F%5Cevil.example",
        "%5C%5Cevil.example",
        "evil.example",
        "%2F%09%2Fevil.example",
        "%2F%0D%0ASet-Cookie%3A+x",
        "javascript%3Aalert(1)",
        "%2Flogin",
        "",
    ] {
        let seen = visitor.form(&format!("passcode=open+sesame&next={next}"));
        assert_eq!((seen.status(), seen.location()), (303, Some("/")), "{next}");
        let page = visitor.get(&format!("/login?next={next}"), &[HTML]);
        assert!(page.answer.body.contains("name=\"next\" value=\"/\""), "{next}");
        let page = visitor.get("/login", &[HTML, &format!("Cookie: sse_login_next={next}")]);
        assert!(page.answer.body.contains("name=\"next\" value=\"/\""), "{next}");
    }
    let page = visitor.get("/login?next=%2F%22%3E%3Cscript%3E", &[HTML]);
    assert!(page.answer.body.contains("value=\"/&quot;&gt;&lt;script&gt;\""), "{}", page.answer.body);
    // A program that sends a form is answered as a program.
    let headers = ["Content-Type: application/x-www-form-urlencoded"];
    let seen = visitor.ask("POST", "/login", &headers, "passcode=open+sesame");
    assert_eq!((seen.status(), seen.json()["success"].clone()), (200, json!(true)));
    let cookie = format!("Cookie: {}", seen.session().unwrap().0);
    let left = visitor.ask("POST", "/logout", &[HTML, &cookie], "");
    assert_eq!((left.status(), left.location()), (303, Some("/login")));
}

/// The attack: another site has the browser log in, or out, with a form of its own.
#[test]
fn another_site_logs_nobody_in_or_out() {
    let server = Server::start(&ON);
    let visitor = at(&server, 1);
    let (cookie, _) = visitor.log_in();
    let foreign = "Sec-Fetch-Site: cross-site";
    assert_eq!(visitor.try_code(CODE, &[foreign]).status(), 403);
    assert_eq!(visitor.ask("POST", "/logout", &[foreign, &cookie], "").status(), 403);
    assert_eq!(visitor.get("/login_status", &[&cookie]).json()["authenticated"], true);
    assert_eq!(visitor.try_code(CODE, &["Sec-Fetch-Site: same-origin"]).status(), 200);
}

/// The attack: a page of another site has its visitors' browsers guess, until their addresses are locked. Over plain HTTP
/// browsers say nothing of the site that asks but its origin.
#[test]
fn another_site_has_nobody_guess_or_locked_out() {
    let server = Server::start(&ON);
    let visitor = at(&server, 1);
    for origin in ["http://evil.example", "http://x:81", "https://x.evil.example", "null"] {
        for _ in 0..3 {
            let guess = visitor.try_code("guess", &[&format!("Origin: {origin}")]);
            assert_eq!(guess.status(), 403, "{origin}");
        }
    }
    let (cookie, _) = visitor.log_in();
    let left = visitor.ask("POST", "/logout", &["Origin: http://evil.example", &cookie], "");
    assert_eq!(left.status(), 403);
    for own in
        [&["Origin: http://x"][..], &["Origin: https://X"], &["Sec-Fetch-Site: same-origin", "Origin: null"]]
    {
        assert_eq!(visitor.try_code(CODE, own).status(), 200, "{own:?}");
    }
}

/// The attacks: a cookie is made up, changed, sealed with another key, or used again after its session was left.
#[test]
fn cookie_that_this_server_did_not_seal_or_that_was_left_opens_nothing() {
    let key = ("SESSION_SECRET_KEY", "0123456789abcdef0123456789abcdef");
    let server = Server::start(&with(&[key]));
    let visitor = at(&server, 1);
    let (cookie, _) = visitor.log_in();
    let is_in = |visitor: &Visitor, cookie: &str| {
        let status = visitor.get("/login_status", &[cookie]).json()["authenticated"] == true;
        assert_eq!(visitor.get("/events/status", &[cookie]).status() == 200, status);
        status
    };
    assert!(is_in(&visitor, &cookie));
    let (name, value) = cookie.split_once('=').unwrap();
    let plain = "00000000000000000000000000000000 0 99999999999999";
    let mut forged = vec![
        String::new(),
        plain.to_owned(),
        value[1..].to_owned(),
        value.to_lowercase(),
        format!("{value}{value}"),
        "A".repeat(value.len()),
        "%00".to_owned(),
        "\u{e9}".to_owned(),
        value[..value.len() / 2].to_owned(),
    ];
    for n in 0..value.len() {
        let mut bytes = value.as_bytes().to_vec();
        // Another letter of base64; in the last one of all some bits count for nothing.
        bytes[n] = if bytes[n] == b'A' { b'g' } else { b'A' };
        forged.push(String::from_utf8(bytes).unwrap());
    }
    for value in &forged {
        assert!(!is_in(&visitor, &format!("{name}={value}")), "{value}");
    }
    // As the value of another cookie it is none, and beside a broken one it is one.
    assert!(!is_in(&visitor, &format!("Cookie: sse_login_next={value}")));
    assert!(is_in(&visitor, &format!("Cookie: sse_session=x; sse_session={value}")));
    let other = Server::start(&with(&[("SESSION_SECRET_KEY", "another key of some length")]));
    assert!(!is_in(&at(&other, 1), &cookie));
    let server = server.crash_and_start(&with(&[key]));
    assert!(is_in(&at(&server, 1), &cookie), "a restart logs nobody out");
    at(&server, 1).ask("POST", "/logout", &[&cookie], "");
    assert!(!is_in(&at(&server, 1), &cookie), "used again after the logout");
    let server = server.crash_and_start(&with(&[key]));
    assert!(!is_in(&at(&server, 1), &cookie), "nor after a crash");
    let (cookie, _) = at(&server, 1).log_in();
    let server = server.crash_and_start(&[ON[0], ("LOGIN_CODE", "another code"), key]);
    assert!(!is_in(&at(&server, 1), &cookie), "another passcode ends every session");
}

#[test]
fn key_is_made_once_for_its_owner_alone() {
    let server = Server::start(&ON);
    let (cookie, _) = at(&server, 1).log_in();
    let file = server.folder().join("session.key");
    let key = fs::read_to_string(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let journal = server.folder().join("login.journal");
    assert_eq!(fs::metadata(journal).unwrap().permissions().mode() & 0o777, 0o600);
    let server = server.crash_and_start(&ON);
    assert_eq!(fs::read_to_string(server.folder().join("session.key")).unwrap(), key);
    assert_eq!(at(&server, 1).get("/events/status", &[&cookie]).status(), 200);
    assert!(!server.process.lines().iter().any(|line| line.contains(key.trim()) || line.contains(CODE)));
}

/// The attack: guesses from many connections at once, before any of them is counted, with a new forged address each.
#[test]
fn no_more_passcodes_are_compared_than_allowed_whatever_address_is_claimed() {
    let server = Server::start(&with(&[("MAX_LOGIN_ATTEMPTS", "3"), ("LOCKOUT_DURATION", "7")]));
    let answers: Vec<Value> = thread::scope(|scope| {
        let guesses: Vec<_> = (0..40)
            .map(|n| {
                let visitor = at(&server, 1);
                scope.spawn(move || {
                    let forged =
                        [format!("X-Forwarded-For: 198.51.100.{n}"), format!("X-Real-IP: 203.0.113.{n}")];
                    visitor.try_code(&format!("guess {n}"), &[&forged[0], &forged[1]]).json()
                })
            })
            .collect();
        guesses.into_iter().map(|guess| guess.join().unwrap()).collect()
    });
    let mut remaining: Vec<u64> =
        answers.iter().filter_map(|answer| answer["remaining_attempts"].as_u64()).collect();
    remaining.sort_unstable();
    assert_eq!(remaining, [0, 1, 2]);
    let locked = json!({
        "success":false,"error":"too many wrong passcodes came from this address: try again in 7 minutes",
        "locked_until_minutes":7,
    });
    assert_eq!(answers.iter().filter(|answer| **answer == locked).count(), 37);
    // Not even the right one, nor after a crash.
    let seen = at(&server, 1).try_code(CODE, &["X-Forwarded-For: 198.51.100.200"]);
    assert_eq!((seen.status(), seen.json()), (429, locked.clone()));
    let seconds: u64 = seen.answer.header("retry-after").unwrap().parse().unwrap();
    assert!((361..=420).contains(&seconds), "{seconds}");
    let page = at(&server, 1).form("passcode=open+sesame");
    assert_eq!(page.status(), 429);
    assert!(page.answer.body.contains("<p role=\"alert\">too many wrong passcodes came from this address: "));
    assert_eq!(at(&server, 2).try_code(CODE, &[]).status(), 200, "others are not locked out");
    let server = server.crash_and_start(&with(&[("MAX_LOGIN_ATTEMPTS", "3"), ("LOCKOUT_DURATION", "7")]));
    assert_eq!(at(&server, 1).try_code(CODE, &[]).json(), locked);
    assert_eq!(server.health()["connections"]["rejected"]["unauthorized"], 1);
}

/// The attack: a client behind a trusted proxy claims another address with each guess, or changes within its IPv6 /64.
#[test]
fn lockout_counts_whom_the_trusted_proxy_names() {
    let env = with(&[("MAX_LOGIN_ATTEMPTS", "2"), ("SSE_TRUSTED_PROXIES", "127.0.0.9, 10.0.0.0/8")]);
    let server = Server::start(&env);
    let proxy = at(&server, 9);
    let guess = |claimed: &str| proxy.try_code("guess", &[claimed]).status();
    assert_eq!(guess("X-Forwarded-For: 1.1.1.1, 192.0.2.1"), 401);
    assert_eq!(guess("X-Forwarded-For: 2.2.2.2, 192.0.2.1, 10.0.0.1"), 401);
    assert_eq!(guess("X-Forwarded-For: 3.3.3.3, 192.0.2.1"), 429);
    assert_eq!(guess("X-Real-IP: 2001:db8::1"), 401);
    assert_eq!(guess("X-Real-IP: 2001:db8::2"), 401);
    assert_eq!(guess("X-Real-IP: 2001:db8::3"), 429);
    assert_eq!(guess("X-Real-IP: 2001:db8:0:1::3"), 401);
    let https = |visitor: &Visitor| {
        let seen = visitor.try_code(CODE, &["X-Real-IP: 192.0.2.77", "X-Forwarded-Proto: https"]);
        seen.session().unwrap().1.contains("; Secure")
    };
    assert!(https(&proxy), "over TLS the cookie never goes without");
    assert!(!https(&at(&server, 1)), "the word of a stranger does not count");
}

/// The attack: whoever has logged in names the topic of another session, live and in the history.
#[test]
fn topic_of_a_session_reaches_that_session_alone() {
    let server = Server::start(&with(&[("SSE_MAX_CONNECTIONS_PER_IP", "0")]));
    let visitor = at(&server, 1);
    let ((mine, my_id), (other, _)) = (visitor.log_in(), visitor.log_in());
    let topic = format!("session:{my_id}");
    let publish = |n: u32| {
        let body = json!({"topic": topic, "data": n}).to_string();
        assert_eq!(server.post("/sse/publish", &body).status, 200);
    };
    publish(1);
    let path = |topics: &str| format!("/sse?topic={topics}&last_event_id=earliest");
    for topics in [topic.clone(), format!("a,{topic}"), format!("*,{topic}")] {
        for headers in [&*other, TOKEN] {
            let refused = visitor.get(&path(&topics), &[headers]);
            let detail = format!("reading {topic} is not allowed");
            assert_problem(&refused.answer, 403, "Forbidden", &detail);
        }
    }
    let mut readers: Vec<Connection> =
        [path(&topic), path("*"), path("a,*")].iter().map(|path| visitor.stream(path, &[&mine])).collect();
    let mut strangers: Vec<Connection> = [path("*"), path("session:*"), path("s*,sess*")]
        .iter()
        .flat_map(|path| [&*other, TOKEN].map(|headers| visitor.stream(path, &[headers])))
        .collect();
    publish(2);
    let legacy = json!({"event_type":"end","data":"end","session_filter":my_id}).to_string();
    assert_eq!(server.post("/events/broadcast", &legacy).status, 200);
    let end = json!({"topic":["a","session"],"data":"end"}).to_string();
    assert_eq!(server.post("/sse/publish", &end).status, 200);
    for stream in &mut readers {
        let seen = stream.until("event: end\ndata: end\n\n");
        assert!(seen.contains("data: 1\n\n") && seen.contains("data: 2\n\n"), "{seen}");
    }
    for stream in &mut strangers {
        let seen = stream.until("data: ");
        assert!(!seen.contains("\ndata: 1\n") && !seen.contains("\ndata: 2\n"), "{seen}");
    }
    for stream in [0, 1, 4, 5] {
        let seen = strangers[stream].until("data: end\n\n");
        assert!(
            !seen.contains("data: 1\n") && !seen.contains("data: 2\n") && !seen.contains("event: end"),
            "{seen}"
        );
    }
    let status = visitor.get("/events/status", &[&mine]).json();
    let ids: Vec<&Value> =
        status["connections"].as_array().unwrap().iter().map(|stream| &stream["session_id"]).collect();
    assert_eq!(ids.iter().filter(|id| ***id == json!(my_id)).count(), 3);
    assert_eq!(ids.iter().filter(|id| id.is_null()).count(), 3, "those with the token have none");
}

/// The attack: a stream that was opened before the logout goes on reading after it.
#[test]
fn stream_ends_with_its_session_and_no_other_does() {
    let server = Server::start(&with(&[("SSE_MAX_CONNECTIONS_PER_IP", "0")]));
    let visitor = at(&server, 1);
    let ((mine, _), (other, _)) = (visitor.log_in(), visitor.log_in());
    let streams: Vec<Connection> = (0..20).map(|_| visitor.stream("/sse", &[&mine])).collect();
    let gzip = visitor.open("GET", "/sse", &[&mine, "Accept-Encoding: gzip"], "");
    let mut stays = visitor.stream("/sse", &[&other]);
    eventually("all are open", || server.health()["connections"]["active"] == 22);
    assert_eq!(visitor.ask("POST", "/logout", &[&mine], "").status(), 200);
    for stream in streams {
        let seen = stream.to_end();
        assert!(seen.ends_with("}\n\n\r\n0\r\n\r\n"), "it ends between two events: {seen:?}");
    }
    drop(gzip);
    server.post("/sse/publish", r#"{"topic":"a","data":"still"}"#);
    stays.until("data: still\n\n");
    let closed = &server.health()["connections"]["closed"];
    assert_eq!(
        (&closed["expired"], &closed["kicked"], &closed["client"]),
        (&json!(21), &json!(0), &json!(0))
    );
}

/// The attack: a cookie that was copied is used again and again, so that it never runs out.
#[test]
fn session_ends_at_its_greatest_age() {
    let server = Server::start(&with(&[("SESSION_LIFETIME", "2"), ("SESSION_MAX_AGE", "3")]));
    let visitor = at(&server, 1);
    let (mut cookie, _) = visitor.log_in();
    let began = std::time::Instant::now();
    let mut renewed = 0;
    within(Duration::from_secs(20), "no cookie of it is good", || {
        let seen = visitor.get("/login_status", &[&cookie]);
        if let Some((fresh, _)) = seen.session() {
            cookie = format!("Cookie: {fresh}");
            renewed += 1;
        }
        (seen.json()["authenticated"] == false).then_some(())
    });
    let age = began.elapsed();
    assert!(renewed > 0 && age > Duration::from_secs(2), "it was renewed {renewed} times in {age:?}");
    assert_eq!(visitor.get("/sse", &[&cookie]).status(), 401);
}

/// The attack: a stream lives on for ever on a cookie that has long run out.
#[test]
fn stream_ends_when_its_session_runs_out_and_a_used_session_goes_on() {
    let server = Server::start(&with(&[("SESSION_LIFETIME", "3")]));
    let visitor = at(&server, 1);
    let (first, id) = visitor.log_in();
    let stream = visitor.stream("/sse", &[&first]);
    // Half of its time is over: the next answer brings a fresh cookie, a stream's head too.
    let fresh = within(Duration::from_secs(10), "a fresh cookie", || {
        visitor.get("/login_status", &[&first]).session()
    });
    let fresh = format!("Cookie: {}", fresh.0);
    assert_ne!(fresh, first);
    let mut second = visitor.stream("/sse", &[&first]);
    let seen = second.until("\r\n\r\n");
    assert!(seen.contains("\r\nSet-Cookie: sse_session="), "{seen}");
    let seen = stream.to_end();
    assert!(seen.ends_with("}\n\n\r\n0\r\n\r\n"), "{seen:?}");
    eventually("the first cookie has run out", || {
        visitor.get("/login_status", &[&first]).json()["authenticated"] == false
    });
    assert_eq!(visitor.get("/sse", &[&first]).status(), 401);
    eventually("both ends are counted", || server.health()["connections"]["closed"]["expired"] == 2);
    if let Some(known) = visitor.get("/login_status", &[&fresh]).json()["session_id"].as_str() {
        assert_eq!(known, id);
    }
}
