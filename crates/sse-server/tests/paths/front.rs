//! The shipped nginx in front of the binary, for the tests beside.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::unistd::geteuid;
use sse_server::nginx::{self, Settings};
use stack_tests::{Process, free_port, within};

use crate::server::Server;

/// nginx in front of the server.
pub(crate) fn in_front(server: &Server, trusted_proxies: &[&str]) -> (Process, u16) {
    let nets = trusted_proxies.iter().map(|net| format!("{net}/32").parse().unwrap()).collect();
    in_front_with(server, |settings| settings.trusted_proxies = nets)
}

/// The same, told more.
pub(crate) fn in_front_with(server: &Server, change: impl FnOnce(&mut Settings)) -> (Process, u16) {
    let port = free_port();
    let run_dir = server.folder().to_owned();
    let user = geteuid().is_root().then(|| "root".to_owned());
    let mut settings = Settings { user, port, run_dir, ..Settings::default() };
    change(&mut settings);
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker/nginx-sse.conf");
    let file = server.folder().join("nginx.conf");
    nginx::write(&file, &settings.render_file(&template).unwrap()).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("nginx");
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).arg("-c").arg(file);
    let process = Process::start(&mut command);
    within(Duration::from_secs(10), "nginx listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    (process, port)
}
