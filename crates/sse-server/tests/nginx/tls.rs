//! TLS: what is spoken and what is not, HTTP/2, the redirect, a certificate that is renewed.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sse_server::nginx::{Settings, Tls};
use stack_tests::{certify, free_port};

use crate::stack::{STREAM_HEAD, Stack, assert_problem, chunk, header, nginx_command, ok, render, settings};

fn with_tls(settings: &mut Settings) -> u16 {
    let (certificate, key) = certify(&settings.run_dir, "localhost");
    let port = free_port();
    settings.tls = Some(Tls { certificate, key, port, redirect: None, hsts_seconds: 31_536_000 });
    port
}

/// A stack that speaks TLS too, and the port of that.
fn start(change: impl FnOnce(&mut Settings)) -> (Stack, u16) {
    let mut port = 0;
    let stack = Stack::with(
        |settings| {
            port = with_tls(settings);
            change(settings);
        },
        |request, socket| {
            if request.line.contains("/sse?") {
                let _ = std::io::Write::write_all(socket, STREAM_HEAD.as_bytes());
                chunk(socket, "data: 1\n\n");
                let _ = std::io::Read::read(socket, &mut [0; 1]);
            } else {
                ok(socket);
            }
        },
    );
    stack.wait_for("nginx to listen for TLS", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    (stack, port)
}

fn curl(words: &[&str]) -> Output {
    let out = Command::new("curl").args(["-sS", "-k", "--max-time", "10"]).args(words).output();
    out.expect("curl is installed")
}

/// The head of an answer, its version first.
#[track_caller]
fn head(words: &[&str]) -> String {
    let out = curl(&[&["-i"], words].concat());
    assert!(out.status.success(), "{words:?}: {out:?}");
    let text = String::from_utf8(out.stdout).unwrap();
    text.split_once("\r\n\r\n").unwrap().0.to_owned()
}

#[test]
fn h2_and_http_1_1_reach_the_hub_as_tls() {
    let (stack, port) = start(|_| ());
    let url = format!("https://localhost:{port}/sse/health");
    for (words, version) in [(&["--http2"][..], "HTTP/2 200"), (&["--http1.1"], "HTTP/1.1 200 OK")] {
        let head =
            head(&[words, &["-H", "X-Forwarded-Proto: http", "-H", "X-Real-IP: 9.9.9.9", &url]].concat());
        assert!(head.starts_with(version), "{head}");
        assert_eq!(header(&head, "strict-transport-security"), Some("max-age=31536000"), "{head}");
        let request = stack.last_seen();
        assert_eq!(request.line, "GET /sse/health HTTP/1.1");
        assert_eq!(request.all("x-forwarded-proto"), ["https"], "so cookies are Secure");
        assert_eq!(request.all("x-real-ip"), ["127.0.0.1"]);
        assert_eq!(request.all("host"), [format!("localhost:{port}")]);
    }
    let (head, _) = stack.ask("GET /sse/health", "");
    assert_eq!(header(&head, "strict-transport-security"), None, "only over TLS: {head}");
    assert_eq!(stack.last_seen().all("x-forwarded-proto"), ["http"]);
    let head = self::head(&[&format!("https://localhost:{port}/metrics")]);
    assert!(head.starts_with("HTTP/2 404"), "{head}");
    assert_eq!(header(&head, "strict-transport-security"), Some("max-age=31536000"), "nginx's own: {head}");
    let (head, body) = stack_over_http_to(port);
    assert_problem(&(head, body), 400, "Bad Request");
}

/// Plain HTTP at the port of TLS.
fn stack_over_http_to(port: u16) -> (String, String) {
    let out = curl(&["-i", &format!("http://localhost:{port}/")]);
    let text = String::from_utf8(out.stdout).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn an_event_passes_over_h2_at_once() {
    let (_stack, port) = start(|_| ());
    // curl ends by its own time, with what came until then.
    let out = curl(&["--http2", "-N", "--max-time", "2", &format!("https://localhost:{port}/sse?topic=a")]);
    assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(28), &b"data: 1\n\n"[..]), "{out:?}");
}

/// What `openssl s_client` says of a connection with these options.
fn handshake(port: u16, words: &[&str]) -> String {
    let out = Command::new("openssl")
        .args(["s_client", "-connect", &format!("localhost:{port}"), "-servername", "localhost"])
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
}

/// The attacks: a client, or somebody on its way, chooses a protocol or a cipher that is broken, or keeps the key of a ticket.
#[test]
fn nothing_old_is_spoken_and_no_ticket_is_given() {
    let (_stack, port) = start(|_| ());
    for (words, cipher) in [
        (&["-tls1_3"][..], "TLS_AES_256_GCM_SHA384"),
        (&["-tls1_2"], "ECDHE-ECDSA-AES"),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ] {
        let said = handshake(port, words);
        assert!(said.contains(&format!("Cipher is {cipher}")), "{words:?}: {said}");
        // In TLS 1.3 what is called a ticket is then the 32 bytes of an id, to look the session up by.
        assert!(!said.contains("    0020 - "), "{words:?}: {said}");
    }
    for words in [
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "NULL:eNULL:@SECLEVEL=0"],
    ] {
        let said = handshake(port, words);
        assert!(said.contains("Cipher is (NONE)") && said.contains("alert"), "{words:?}: {said}");
    }
}

#[test]
fn plain_http_is_led_to_tls_but_for_health_checks() {
    let (stack, _) = start(|settings| {
        settings.tls.as_mut().unwrap().redirect = Some(5443);
        settings.trusted_proxies = vec!["127.0.0.2/32".parse().unwrap()];
    });
    for (line, location) in [
        ("GET /sse/test?a=%20b", "https://a:5443/sse/test?a=%20b"),
        ("HEAD /", "https://a:5443/"),
        ("POST /sse/publish", "https://a:5443/sse/publish"),
        ("GET /sse", "https://a:5443/sse"),
        ("GET /sse/health/live/x", "https://a:5443/sse/health/live/x"),
        ("GET /sse/healthy", "https://a:5443/sse/healthy"),
        ("GET /sse/health%0a", "https://a:5443/sse/health%0a"),
        // What begins as the names of nginx's own answers do, but is the application's.
        ("GET /.well-known/x", "https://a:5443/.well-known/x"),
        ("GET /.problems", "https://a:5443/.problems"),
        ("GET /.git", "https://a:5443/.git"),
    ] {
        // Nobody but a trusted proxy may say that it was TLS.
        let (head, _) = stack.ask(line, "X-Forwarded-Proto: https\r\nContent-Length: 0\r\n");
        assert!(head.starts_with("HTTP/1.1 308 "), "{line}: {head}");
        assert_eq!(header(&head, "location"), Some(location), "{head}");
        assert_eq!(header(&head, "strict-transport-security"), None, "{head}");
    }
    assert_eq!(stack.seen_count(), 0);
    for path in ["/sse/health", "/sse/health/live", "/sse/health/ready"] {
        assert!(stack.ask(&format!("GET {path}"), "").0.starts_with("HTTP/1.1 200 "), "{path}");
    }
    assert_problem(&stack.raw("GET / HTTP/1.1\r\n\r\n"), 400, "Bad Request");
    // A proxy in front that has ended TLS is not sent in a circle.
    let seen = stack.seen_count();
    let mut proxy = stack_tests::Connection::open([127, 0, 0, 2], stack.port).unwrap();
    proxy.send(b"GET /sse/test HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n");
    assert!(proxy.to_end().starts_with("HTTP/1.1 200 "));
    assert_eq!(stack.seen_count(), seen + 1);
}

#[test]
fn a_renewed_certificate_is_shown_after_a_reload() {
    let (stack, port) = start(|_| ());
    assert!(handshake(port, &[]).contains("CN = localhost"));
    certify(stack.folder.path(), "renewed.example");
    assert!(handshake(port, &[]).contains("CN = localhost"), "not before");
    kill(Pid::from_raw(stack.nginx.id().cast_signed()), Signal::SIGHUP).unwrap();
    stack.wait_for("the renewed certificate", || handshake(port, &[]).contains("CN = renewed.example"));
}

#[test]
fn what_is_rendered_for_tls_is_accepted_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let spaced = folder.path().join("a folder, with #1");
    fs::create_dir(&spaced).unwrap();
    let (certificate, key) = certify(&spaced, "localhost");
    for (redirect, hsts_seconds, ipv6) in [(None, 60, true), (Some(443), 0, false), (Some(5443), 60, false)] {
        let tls = Tls {
            certificate: certificate.clone(),
            key: key.clone(),
            port: free_port(),
            redirect,
            hsts_seconds,
        };
        let settings = Settings { ipv6, tls: Some(tls), ..settings(folder.path()) };
        let output = nginx_command(&render(&settings)).arg("-t").output().expect("nginx is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("[warn]"), "{settings:?}: {said}");
    }
}

/// Runs `docker/nginx.sh -t`, or another script of that folder, as the start does.
fn script(name: &str, folder: &Path, env: &[(&str, &str)]) -> Output {
    let docker = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker");
    let server = Path::new(env!("CARGO_BIN_EXE_sse-server")).parent().unwrap().to_owned();
    let path = format!("{}:{}:/usr/sbin:/sbin", server.display(), std::env::var("PATH").unwrap_or_default());
    Command::new("sh")
        .arg(docker.join(name))
        .arg("-t")
        .env("PATH", path)
        .env("RUN_DIR", folder)
        .env("DATA_DIR", folder)
        .env("PORT", free_port().to_string())
        .env("NGINX_USER", "root")
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn a_certificate_that_cannot_be_used_stops_the_start_with_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let (certificate, key) = certify(folder.path(), "localhost");
    let (_, other_key) = certify(other.path(), "localhost");
    let broken = folder.path().join("broken.pem");
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n").unwrap();
    let text = |path: &Path| path.display().to_string();
    let (certificate, key, other_key, broken) =
        (text(&certificate), text(&key), text(&other_key), text(&broken));
    let good = script("nginx.sh", folder.path(), &[("TLS_CERT", &certificate), ("TLS_KEY", &key)]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    for (cert, key, sentence) in [
        (
            &certificate,
            &other_key,
            format!(
                "TLS_KEY is \"{other_key}\", but it is not the key of the certificate in TLS_CERT, \"{certificate}\"\n"
            ),
        ),
        (&broken, &key, format!("TLS_CERT is \"{broken}\", but nginx cannot read a certificate there\n")),
        (
            &certificate,
            &broken,
            format!("TLS_KEY is \"{broken}\", but nginx cannot read a private key there\n"),
        ),
        (
            &certificate,
            &"/nowhere".to_owned(),
            "TLS_KEY is \"/nowhere\", but the file cannot be read: No such file or directory (os error 2)\n"
                .to_owned(),
        ),
    ] {
        let out = script("nginx.sh", folder.path(), &[("TLS_CERT", cert), ("TLS_KEY", key)]);
        assert_eq!(
            (out.status.code(), String::from_utf8_lossy(&out.stderr).as_ref()),
            (Some(2), sentence.as_str())
        );
    }
    #[rustfmt::skip]
    let incomplete: [(&[(&str, &str)], String); 4] = [
        (&[("TLS_CERT", &certificate)], format!("TLS_CERT is \"{certificate}\", but TLS_KEY is not set: set it to the file of the certificate's private key\n")),
        (&[("TLS_KEY", &key)], format!("TLS_KEY is \"{key}\", but TLS_CERT is not set: set it to the file of the key's certificate\n")),
        (&[("TLS_REDIRECT", "1")], "TLS_REDIRECT is \"1\", but there is no TLS to lead to: set TLS_CERT and TLS_KEY, or TLS_CERT=self-signed\n".to_owned()),
        (&[("APP_UPSTREAM", "app")], "APP_UPSTREAM is \"app\", but it must be host:port or http://host:port, such as app:8000 or http://[::1]:8000\n".to_owned()),
    ];
    for (env, sentence) in incomplete {
        let out = script("nginx.sh", folder.path(), env);
        assert_eq!(
            (out.status.code(), String::from_utf8_lossy(&out.stderr).as_ref()),
            (Some(2), sentence.as_str())
        );
    }
}

#[test]
fn a_self_signed_certificate_is_made_once_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let made = || {
        let out = script("self-signed.sh", folder.path(), &[]);
        assert!(out.status.success(), "{out:?}");
        fs::read(folder.path().join("self-signed.pem")).unwrap()
    };
    let first = made();
    let file = folder.path().join("self-signed.pem");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(made(), first, "kept");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    let shown = Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(&file).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    for part in ["DNS:localhost", "IP Address:127.0.0.1", "CA:FALSE", "TLS Web Server Authentication"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let out = script("nginx.sh", folder.path(), &[("TLS_CERT", "self-signed")]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    // One that runs out within a month is made anew.
    let (certificate, key) = certify(folder.path(), "localhost");
    fs::write(&file, [fs::read(key).unwrap(), fs::read(certificate).unwrap()].concat()).unwrap();
    let short = fs::read(&file).unwrap();
    assert_ne!(made(), short);
}
