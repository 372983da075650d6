//! The marked lines, for every setting, and the values that are refused.

use super::*;

const SHIPPED: &str = include_str!("../../../../docker/nginx-sse.conf");

fn shipped(settings: &Settings) -> String {
    settings.render(SHIPPED, Path::new("nginx-sse.conf")).unwrap()
}

fn surroundings(pairs: &[(&str, &str)], root: bool) -> Result<Settings, String> {
    let env = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Settings::default().surroundings(env, root, Path::new("/nowhere")).map_err(|e| e.to_string())
}

fn tls() -> Option<Tls> {
    let (certificate, key) = ("/tls/a b.pem".into(), "/tls/key.pem".into());
    Some(Tls { certificate, key, port: 443, redirect: None, hsts_seconds: 60 })
}

fn wall(streams_max: u64, opened_per_second: u64, login_attempts_max: u64) -> Settings {
    Settings { wall: Wall { streams_max, opened_per_second, login_attempts_max }, ..Settings::default() }
}

fn app(resolvers: &[&str]) -> Option<Application> {
    let resolvers = resolvers.iter().map(|address| (*address).to_owned()).collect();
    Some(Application { address: "app:8000".to_owned(), resolvers, body_bytes_max: 7 })
}

#[test]
fn the_shipped_file_is_what_the_defaults_of_the_container_render() {
    assert_eq!(shipped(&Settings::default()), SHIPPED);
}

#[test]
fn every_setting_reaches_its_lines() {
    let d = Settings::default;
    let nets = ["10.1.2.3/8", "2001:db8::1/128"].map(|net| net.parse().unwrap());
    #[rustfmt::skip]
    let table: [(Settings, &[&str]); 35] = [
        (Settings { user: Some("me".into()), ..d() }, &["user me; #@ user\n"]),
        (Settings { user: None, ..d() }, &["\n#@ user\n"]),
        (Settings { workers: NonZeroUsize::new(3), ..d() }, &["worker_processes 3; #@ worker_processes\n"]),
        (Settings { port: 5001, ..d() }, &["        listen 5001 default_server backlog=4096; #@ listen\n"]),
        (Settings { port: 5001, ipv6: true, ..d() }, &["listen 5001 default_server backlog=4096; #@ listen\n        listen [::]:5001 default_server backlog=4096;\n"]),
        (Settings { run_dir: "/tmp/a b".into(), ..d() }, &["pid \"/tmp/a b/nginx.pid\"; #@ run_dir\n", "        server \"unix:/tmp/a b/sse-server.sock\" max_fails=0; #@ run_dir\n"]),
        (Settings { run_dir: "/srv/run".into(), ..d() }, &["    proxy_temp_path /srv/run/nginx-proxy; #@ run_dir\n"]),
        (Settings { connections_max: 1, ..d() }, &["worker_connections 1026; #@", "worker_rlimit_nofile 2050; #@"]),
        (Settings { connections_max: 10_000, ..d() }, &["worker_connections 21024; #@", "worker_rlimit_nofile 22048; #@"]),
        (Settings { connections_max: 0, ..d() }, &["worker_connections 65536; #@", "worker_rlimit_nofile 66560; #@"]),
        (Settings { connections_max: 10_000, descriptors_max: 4096, ..d() }, &["worker_connections 4096; #@", "worker_rlimit_nofile 4096; #@"]),
        (Settings { event_bytes_max: 1000, ..d() }, &["client_max_body_size 16000; #@", "limit of 16000 bytes\"}'; #@ problem_413\n"]),
        (Settings { event_bytes_max: 0, ..d() }, &["client_max_body_size 0; #@"]),
        (Settings { idle_timeout_seconds: 0, ..d() }, &["send_timeout 86400s; #@"]),
        (Settings { trusted_proxies: nets.to_vec(), ..d() }, &["        10.0.0.0/8 1; #@ from_trusted_proxy\n        2001:db8::1/128 1;\n"]),
        (Settings { cors_origins: vec!["https://a.b".into(), "http://[::1]:3000".into()], ..d() }, &["        \"https://a.b\" $http_origin; #@ cors_origin\n        \"http://[::1]:3000\" $http_origin;\n"]),
        (Settings { tls: tls(), ..d() }, &["\n        listen 443 ssl http2 default_server backlog=4096; #@ tls_listen\n", "\n        ssl_session_tickets off;\n"]),
        (Settings { tls: tls(), ipv6: true, ..d() }, &["\n        listen [::]:443 ssl http2 default_server backlog=4096;\n"]),
        (Settings { tls: tls(), ..d() }, &["ssl_certificate \"/tls/a b.pem\"; #@ tls_certificate\n        ssl_certificate_key \"/tls/key.pem\";\n", "\n    #?tls_redirect map "]),
        (Settings { tls: tls(), wall: Wall { streams_max: 200, ..Wall::default() }, ..d() }, &["http2_max_concurrent_streams 264; #@ tls_streams\n"]),
        (Settings { tls: tls(), ..d() }, &["        \"on \" \"max-age=60\"; #@ tls_hsts\n", "\n        add_header Strict-Transport-Security $hsts always;\n"]),
        (Settings { tls: tls().map(|tls| Tls { hsts_seconds: 0, redirect: Some(5443), ..tls }), ..d() }, &["\n        return 308 $tls_location;\n".trim_start(), "default \"https://$host:5443$request_uri\"; #@ tls_redirect\n", "\n    #?tls_hsts map"]),
        (Settings { tls: tls().map(|tls| Tls { redirect: Some(443), ..tls }), ..d() }, &["default \"https://$host$request_uri\"; #@ tls_redirect\n"]),
        (d(), &["    limit_conn_zone $client_network zone=streams:10m; #@ wall_streams_zone\n", "            limit_conn streams 36; #@ wall_streams\n", "#?wall_opened limit_req", "#?login location = /login {"]),
        (wall(1_000_000, 0, 0), &["            limit_conn streams 65535; #@ wall_streams\n"]),
        (Settings { connections_max: 1_000_000, ..d() }, &["zone=streams:64m; #@"]),
        (wall(0, 0, 0), &["\n    #@ wall_streams_zone\n", "\n            #@ wall_streams\n"]),
        (wall(0, 5, 0), &["    limit_req_zone $client_network zone=opened:10m rate=10r/s; #@ wall_opened_zone\n", "            limit_req zone=opened burst=20 nodelay; #@ wall_opened\n"]),
        (Settings { login: true, ..wall(0, 0, 5) }, &["    limit_req_zone $login_network zone=login:10m rate=10r/s; #@ wall_login_zone\n", "            limit_req zone=login burst=25 nodelay; #@ wall_login\n"]),
        (Settings { connections_max: 0, ..d() }, &["zone=streams:64m; #@"]),
        (d(), &["\n        location = /metrics { return 404; } #!application\n", "\n        #?application location / {\n"]),
        (Settings { login: true, ..d() }, &["\n        location = /login {\n            real_ip_header X-Forwarded-For;\n            #@ wall_login\n"]),
        (Settings { application: app(&[]), ..d() }, &["\n            set $application http://app:8000; #@ application\n", "client_max_body_size 7; #@ application_body\n", "#?application_named", "of the application 7 bytes\"}'; #@"]),
        (Settings { application: app(&["127.0.0.11", "[::1]"]), ..d() }, &["\n            resolver 127.0.0.11 [::1] valid=10s; #@ application_resolver\n"]),
        (Settings { trusted_proxies: nets.to_vec(), ..d() }, &["    set_real_ip_from 10.0.0.0/8; #@ set_real_ip_from\n    set_real_ip_from 2001:db8::1/128;\n"]),
    ];
    for (settings, lines) in table {
        let text = shipped(&settings);
        for line in lines {
            assert!(text.contains(line), "{settings:?} does not give {line:?} in\n{text}");
        }
    }
}

#[test]
fn the_surroundings_are_read_from_the_environment() {
    let read =
        surroundings(&[("PORT", "5001"), ("RUN_DIR", "/srv/run"), ("NGINX_USER", "me")], true).unwrap();
    assert_eq!((read.port, read.run_dir, read.user), (5001, "/srv/run".into(), Some("me".into())));
    let read = surroundings(&[("PORT", ""), ("NGINX_USER", "me")], false).unwrap();
    assert_eq!((read.port, read.run_dir, read.user), (80, "/run/sse".into(), None));
}

/// The attack: a value that ends its directive and begins one of its own.
#[test]
fn a_value_that_would_break_out_of_the_file_is_refused_in_one_sentence() {
    let path = "it must be an absolute path without control characters, quotes, `\\`, `$`, `;`, `{` and `}`";
    let name = "it must be one name of letters, digits, `_`, `.` and `-`";
    let port = "it must be a number from 1 to 65535";
    #[rustfmt::skip]
    let table = [
        ("PORT", "80; include /etc/passwd", format!("PORT is \"80; include /etc/passwd\", but {port}")),
        ("PORT", "0", format!("PORT is \"0\", but {port}")),
        ("PORT", "65536", format!("PORT is \"65536\", but {port}")),
        ("RUN_DIR", "run", format!("RUN_DIR is \"run\", but {path}")),
        ("RUN_DIR", "/run; user root", format!("RUN_DIR is \"/run; user root\", but {path}")),
        ("RUN_DIR", "/run\nuser root", format!("RUN_DIR is \"/run\\nuser root\", but {path}")),
        ("RUN_DIR", "/run\"x", format!("RUN_DIR is \"/run\\\"x\", but {path}")),
        ("RUN_DIR", "/run}", format!("RUN_DIR is \"/run}}\", but {path}")),
        ("RUN_DIR", "/$x", format!("RUN_DIR is \"/$x\", but {path}")),
        ("NGINX_USER", "root; daemon on", format!("NGINX_USER is \"root; daemon on\", but {name}")),
        ("NGINX_USER", "a b", format!("NGINX_USER is \"a b\", but {name}")),
        ("NGINX_USER", "a\nb", format!("NGINX_USER is \"a\\nb\", but {name}")),
    ];
    for (key, value, sentence) in table {
        assert_eq!(surroundings(&[(key, value)], true).unwrap_err(), sentence);
    }
}

#[test]
fn a_run_folder_too_long_for_a_socket_is_refused() {
    let fits = format!("/{}", "x".repeat(90));
    assert!(surroundings(&[("RUN_DIR", &fits)], false).is_ok());
    let long = format!("/{}", "x".repeat(91));
    assert_eq!(
        surroundings(&[("RUN_DIR", &long)], false).unwrap_err(),
        format!(
            "RUN_DIR is {long:?} (92 bytes), but the paths of the sockets in it allow at most 91 bytes: choose a shorter one"
        )
    );
}

#[test]
fn the_arguments_are_a_template_and_where_the_result_goes() {
    let parse = |line: &str| Invocation::parse(line.split_whitespace().map(str::to_owned));
    assert_eq!(
        parse("--template a --output b --check-port").unwrap(),
        Invocation { template: "a".into(), output: Some("b".into()), check_port: true }
    );
    let usage = "usage: sse-server nginx --template FILE [--output FILE] [--check-port]";
    for (line, mistake) in [
        ("", "--template FILE is missing"),
        ("--template", "--template needs a FILE"),
        ("--template a b", "unknown argument \"b\""),
    ] {
        assert_eq!(parse(line).unwrap_err().to_string(), format!("{mistake}; {usage}"));
    }
}

#[test]
fn a_mark_that_nobody_knows_and_a_mark_that_is_missing_are_mistakes() {
    let check = |template: String, sentence: &str| {
        let mistake = Settings::default().render(&template, Path::new("x.conf")).unwrap_err();
        assert_eq!(mistake.to_string(), sentence);
    };
    check(
        SHIPPED.replace("#@ listen", "#@ lisen"),
        &format!(
            "x.conf:{}: unknown mark `#@ lisen`; after `#@ ` may be {}, and after `#?` {}",
            SHIPPED.lines().position(|line| line.ends_with("#@ listen")).unwrap() + 1,
            MARKS.join(", "),
            OPTIONS.join(", ")
        ),
    );
    check(
        SHIPPED.replace("#?tls ", "#?tsl "),
        &format!(
            "x.conf:{}: unknown mark `#?tsl`; after `#@ ` may be {}, and after `#?` {}",
            SHIPPED.lines().position(|line| line.trim_start().starts_with("#?tls ")).unwrap() + 1,
            MARKS.join(", "),
            OPTIONS.join(", ")
        ),
    );
    check(
        SHIPPED.replace("#?tls_hsts ", "#?tls "),
        "x.conf: no line has the mark `#?tls_hsts`, so that setting would not reach nginx",
    );
    check(
        SHIPPED.replace(" #@ listen", ""),
        "x.conf: no line has the mark `#@ listen`, so that setting would not reach nginx",
    );
}

#[test]
fn a_port_that_somebody_has_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, stack_tests::free_port())).unwrap();
    let port = taken.local_addr().unwrap().port();
    let settings = Settings { port, ..Settings::default() };
    assert_eq!(
        settings.check_port().unwrap_err().to_string(),
        format!(
            "PORT is {port}, but another program listens there already: end it, or choose another one, e.g. PORT={}",
            next_port(port)
        )
    );
    drop(taken);
    settings.check_port().unwrap();
}

#[test]
fn more_streams_than_nginx_has_descriptors_for_are_refused() {
    let check = |connections_max, descriptors_max| {
        Settings { connections_max, descriptors_max, ..Settings::default() }.check_descriptors()
    };
    for (streams, descriptors) in [(0, 100), (500, 1024), (10_000, 20_024)] {
        assert_eq!(check(streams, descriptors), Ok(()), "{streams} of {descriptors}");
    }
    assert_eq!(
        check(501, 1024).unwrap_err().to_string(),
        "SSE_MAX_CONNECTIONS is 501, which takes 1026 descriptors in nginx, but a process may have 1024 here: \
         lower it to 500 or less, or raise the hard limit (ulimit -Hn, LimitNOFILE=1026 in a unit of systemd, \
         docker run --ulimit nofile=1026, ulimits in a compose file)"
    );
}
