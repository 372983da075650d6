//! The example application, docs/examples/job-runner, behind the whole stack and in a real browser.

use std::fs;
use std::path::Path;
use std::process::Command;

use stack_tests::{Process, Stack, TOKEN, eventually, free_port, repository, request, target, tools};

/// Flask's application, as its Dockerfile runs it.
fn application(port: u16, stack: &Stack) -> Process {
    let mut command = Command::new(tools().join("venv/bin/gunicorn"));
    command.arg("--bind").arg(format!("127.0.0.1:{port}")).args(["--threads", "8", "app:app"]);
    command.current_dir(repository().join("docs/examples/job-runner"));
    command.env("SSE_URL", format!("http://127.0.0.1:{}", stack.port())).env("SSE_PUBLISH_TOKEN", TOKEN);
    command.env("PART_SECONDS", "0.08").env("PYTHONDONTWRITEBYTECODE", "1");
    let process = Process::start(&mut command);
    eventually("the application answers", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    process
}

/// Whether the stack's own nginx knows APP_UPSTREAM; where it does not, [`front`] does the same before it.
fn forwards_by_itself() -> bool {
    let conf = fs::read_to_string(repository().join("docker/nginx-sse.conf")).expect("it is there");
    conf.contains("#@ application")
}

/// An nginx that does what APP_UPSTREAM asks of the stack's own.
fn front(port: u16, stack: u16, application: u16, folder: &Path) -> Process {
    let conf = format!(
        "daemon off; pid front.pid; error_log stderr; events {{}}
         http {{
             access_log off; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $http_host;
             server {{
                 listen {port};
                 location / {{ proxy_pass http://127.0.0.1:{application}; }}
                 location ~ ^/(sse|events)(/|$) {{ proxy_pass http://127.0.0.1:{stack}; proxy_buffering off; }}
             }}
         }}"
    );
    fs::write(folder.join("front.conf"), conf).expect("written");
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).args(["-e", "stderr", "-c", "front.conf"]);
    let path = std::env::var("PATH").unwrap_or_default();
    let process = Process::start(command.env("PATH", format!("{path}:/usr/sbin")));
    eventually("nginx answers", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    process
}

#[test]
fn a_job_that_was_started_in_a_browser_arrives_although_the_hub_is_restarted() {
    let (port, upstream) = (free_port(), forwards_by_itself());
    let address = format!("127.0.0.1:{port}");
    let env = [("APP_UPSTREAM", address.as_str())];
    let stack = Stack::start(if upstream { &env } else { &[] });
    let _application = application(port, &stack);
    let front = (!upstream).then(|| {
        let public = free_port();
        (public, front(public, stack.port(), port, stack.folder()))
    });
    let public = front.as_ref().map_or(stack.port(), |(public, _)| *public);
    let before = stack.pid("sse-server");
    assert!(request(public, "GET", "/", &[], "").body.contains("Start a job"));

    let control = format!("unix://{}", stack.control().display());
    let program = target().join("release/supervisorctl").display().to_string();
    let restart = serde_json::json!([program, "-s", control, "restart", "sse-server"]);
    let output = Command::new("node")
        .arg("job-runner.mjs")
        .current_dir(tools().join("node"))
        .env("ORIGIN", format!("http://localhost:{public}"))
        .env("RESTART", restart.to_string())
        .output()
        .expect("node is there");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", said(&output.stdout), said(&output.stderr));
    println!("{}", said(&output.stdout));
    assert_ne!(stack.pid("sse-server"), before, "it was another process");
}
