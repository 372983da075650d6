//! Fault 13: nginx as the program.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack_tests::within;

use crate::daemon::{Daemon, Place, Plan, children, is_gone, places, seconds};

places!(
    nginx_ends_gracefully_and_lets_its_clients_finish,
    nginx_reopens_its_log_after_somebody_rotated_it,
    nginx_reads_its_configuration_again_and_stays_the_same_program,
    nginx_keeps_its_pid_when_it_is_asked_for_another_binary,
    an_nginx_whose_port_is_taken_is_told_and_starts_when_it_is_free,
    an_nginx_that_daemonizes_is_told_and_given_up,
);

/// A configuration for nginx in a folder of its own; `http` is what a server block contains.
pub(crate) fn configure(folder: &Path, server: &str) {
    fs::create_dir_all(folder).unwrap();
    let at = folder.display();
    let text = format!(
        "daemon off;\nworker_processes 2;\npid {at}/nginx.pid;\nerror_log stderr notice;\nuser nobody nogroup;\n\
         events {{ worker_connections 64; }}\n\
         http {{\n  access_log {at}/access.log;\n  client_body_temp_path {at}/body;\n  proxy_temp_path {at}/proxy;\n  \
         fastcgi_temp_path {at}/fastcgi;\n  uwsgi_temp_path {at}/uwsgi;\n  scgi_temp_path {at}/scgi;\n  \
         server {{ {server} }}\n}}\n",
        server = if server.is_empty() { format!("listen unix:{at}/nginx.sock;") } else { server.to_owned() },
    );
    fs::write(folder.join("nginx.conf"), text).unwrap();
}

/// The program.
pub(crate) fn program(keys: &str) -> String {
    format!(
        "[program.nginx]\ncommand = \"/usr/sbin/nginx -p %(here)s/nginx -c %(here)s/nginx/nginx.conf\"\nstartsecs = 0\n\
         stopsignal = \"QUIT\"\nstopasgroup = false\nkillasgroup = true\nstderr_logfile = \"%(here)s/nginx.err\"\n{keys}\n"
    )
}

fn start(place: Place, server: &str, keys: &str) -> Daemon {
    let plan = Plan::new(place, &program(keys)).users();
    configure(
        &plan.path("nginx"),
        &format!("listen unix:{}/nginx/nginx.sock; {server}", plan.path("").display()),
    );
    let daemon = plan.start();
    let page = within(seconds(10), "nginx answers", || ask(&daemon));
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    daemon
}

/// What is at `/`, if anybody answers.
fn ask(daemon: &Daemon) -> Option<String> {
    let mut stream = UnixStream::connect(daemon.path("nginx/nginx.sock")).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut page = String::new();
    stream.read_to_string(&mut page).ok()?;
    Some(page).filter(|page| !page.is_empty())
}

fn nginx_ends_gracefully_and_lets_its_clients_finish(place: Place) {
    let server = "root nginx/www; location /slow { limit_rate 64k; } location = / { return 200 hello; }";
    let daemon = start(place, server, "stopwaitsecs = 20");
    fs::create_dir(daemon.path("nginx/www")).unwrap();
    fs::write(
        daemon.path("nginx/nginx.conf"),
        fs::read_to_string(daemon.path("nginx/nginx.conf"))
            .unwrap()
            .replace("root nginx/www", &format!("root {}", daemon.path("nginx/www").display())),
    )
    .unwrap();
    fs::write(daemon.path("nginx/www/slow"), vec![b'x'; 128 << 10]).unwrap();
    assert_eq!(daemon.said(&["restart", "nginx"]), "nginx: stopped\nnginx: started\n");
    within(seconds(10), "nginx answers", || ask(&daemon));
    let mut slow = UnixStream::connect(daemon.path("nginx/nginx.sock")).unwrap();
    slow.write_all(b"GET /slow HTTP/1.0\r\n\r\n").unwrap();
    let mut first = [0; 1];
    slow.read_exact(&mut first).unwrap();
    let began = Instant::now();
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| daemon.said(&["stop", "nginx"]));
        let mut rest = Vec::new();
        slow.read_to_end(&mut rest).unwrap();
        let body = rest.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(rest.len() - body, 128 << 10);
        assert_eq!(stop.join().unwrap(), "nginx: stopped\n");
    });
    assert!(began.elapsed() >= seconds(1), "it waited for its client: {:?}", began.elapsed());
    daemon.logged("INFO stopped: nginx (exit status 0)");
}

fn nginx_reopens_its_log_after_somebody_rotated_it(place: Place) {
    let daemon = start(place, "location = / { return 200 hello; }", "");
    let pid = daemon.inner_pid("nginx");
    daemon.wrote("nginx/access.log", "GET /");
    fs::rename(daemon.path("nginx/access.log"), daemon.path("nginx/access.log.1")).unwrap();
    assert_eq!(daemon.said(&["signal", "USR1", "nginx"]), "nginx: signalled\n");
    within(seconds(10), "the new file", || {
        ask(&daemon)?;
        daemon.read("nginx/access.log").contains("GET /").then_some(())
    });
    assert_eq!(daemon.inner_pid("nginx"), pid);
}

fn nginx_reads_its_configuration_again_and_stays_the_same_program(place: Place) {
    let daemon = start(place, "location = / { return 200 one; }", "");
    let master = daemon.pid_of("nginx");
    let workers = children(master);
    let config = fs::read_to_string(daemon.path("nginx/nginx.conf")).unwrap();
    fs::write(daemon.path("nginx/nginx.conf"), config.replace("200 one", "200 two")).unwrap();
    assert_eq!(daemon.said(&["signal", "HUP", "nginx"]), "nginx: signalled\n");
    within(seconds(10), "the new page", || ask(&daemon)?.ends_with("two").then_some(()));
    within(seconds(10), "the old workers are gone", || workers.iter().all(|pid| is_gone(*pid)).then_some(()));
    assert_eq!((daemon.pid_of("nginx"), daemon.state("nginx").as_str()), (master, "RUNNING"));
    assert_eq!(daemon.log().matches("nginx").count(), 2, "spawned and up, nothing else: {}", daemon.log());
}

/// In the foreground nginx lets nobody replace its binary while its parent lives, so its pid never changes.
fn nginx_keeps_its_pid_when_it_is_asked_for_another_binary(place: Place) {
    let daemon = start(place, "location = / { return 200 hello; }", "");
    let pid = daemon.inner_pid("nginx");
    assert_eq!(daemon.said(&["signal", "USR2", "nginx"]), "nginx: signalled\n");
    daemon.wrote("nginx.err", "signal 12 (SIGUSR2) received");
    assert!(ask(&daemon).unwrap().ends_with("hello"));
    assert_eq!((daemon.inner_pid("nginx"), daemon.state("nginx").as_str()), (pid, "RUNNING"));
    assert_eq!(daemon.read("nginx/nginx.pid").trim(), pid.to_string());
}

fn an_nginx_whose_port_is_taken_is_told_and_starts_when_it_is_free(place: Place) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let keys = "backoff = { initial = \"200ms\", factor = 1.0 }\nstartretries = 100";
    let plan = Plan::new(place, &program(keys).replace("startsecs = 0", "startsecs = 4")).users();
    configure(&plan.path("nginx"), &format!("listen 127.0.0.1:{port}; location = / {{ return 200 hello; }}"));
    let daemon = plan.start();
    daemon.logged("WARN exited: nginx (exit status 1; not expected)");
    daemon.wrote("nginx.err", &format!("bind() to 127.0.0.1:{port} failed (98: Address already in use)"));
    assert_ne!(daemon.state("nginx"), "RUNNING");
    drop(taken);
    daemon.waits_for_state("nginx", "RUNNING");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
}

fn an_nginx_that_daemonizes_is_told_and_given_up(place: Place) {
    let keys = "startretries = 0";
    let plan = Plan::new(place, &program(keys).replace("startsecs = 0", "startsecs = 2")).users();
    configure(&plan.path("nginx"), "");
    let config = plan.path("nginx/nginx.conf");
    fs::write(&config, fs::read_to_string(&config).unwrap().replace("daemon off;", "")).unwrap();
    let daemon = plan.start();
    daemon.logged("WARN exited: nginx (exit status 0; not expected)");
    daemon.logged("INFO gave up: nginx entered FATAL state, too many start retries too quickly");
    let inner: i32 = within(seconds(5), "its pidfile", || daemon.read("nginx/nginx.pid").trim().parse().ok());
    let orphan = daemon.outer(inner);
    within(seconds(5), "it is the daemon's", || children(daemon.pid).contains(&orphan).then_some(()));
    kill(Pid::from_raw(orphan), Signal::SIGTERM).unwrap();
    within(seconds(5), "it is gone and collected", || {
        (!children(daemon.pid).contains(&orphan)).then_some(())
    });
}
