//! nginx's push module, with one worker or one for each processor, asked directly, with the smallest buffers that it works with.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, bail};
use stack_tests::free_port;

use super::{Family, Needs, Server};
use crate::fanout::publishers::Wording;

/// Where Debian puts it.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// A running nginx with it.
pub(super) struct Nchan(Family);

impl Nchan {
    pub(super) fn start(needs: &Needs, workers: usize) -> anyhow::Result<Self> {
        if !fs::exists(MODULE).is_ok_and(|is_there| is_there) {
            bail!("{MODULE} is not there: run tests/tools/bench-push-peers.sh");
        }
        let (port, folder) = (free_port(), needs.folder.display());
        let connections = needs.streams + 1000;
        let text = format!(
            "load_module {MODULE};\ndaemon off;\nworker_processes {workers};\nworker_rlimit_nofile {connections};\n\
             pid {folder}/pid;\nerror_log {folder}/error warn;\n\
             events {{ worker_connections {connections}; }}\n\
             http {{\n  access_log off;\n  keepalive_requests 100000000;\n  tcp_nodelay on;\n\
             connection_pool_size 256;\n  request_pool_size 1k;\n  client_header_buffer_size 1k;\n\
             client_body_temp_path {folder}/body;\n  proxy_temp_path {folder}/proxy;\n  fastcgi_temp_path {folder}/fastcgi;\n\
             uwsgi_temp_path {folder}/uwsgi;\n  scgi_temp_path {folder}/scgi;\n\
             nchan_shared_memory_size 512M;\n\
             server {{\n    listen 127.0.0.1:{port} backlog=4096;\n\
             location = /sse {{\n      nchan_subscriber eventsource;\n      nchan_channel_id $arg_topic;\n\
             nchan_subscriber_first_message newest;\n      nchan_message_buffer_length 1000;\n    }}\n\
             location = /sse/publish {{\n      nchan_publisher;\n      nchan_channel_id $arg_topic;\n    }}\n  }}\n}}\n"
        );
        let file = needs.folder.join("nginx.conf");
        fs::write(&file, text).context("cannot write nginx's configuration")?;
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-c").arg(file).arg("-p").arg(&needs.folder);
        Ok(Self(Family::start(command, &needs.folder, port, 1 + workers)?))
    }
}

impl Server for Nchan {
    fn port(&self) -> u16 {
        self.0.port
    }

    fn pids(&self) -> Vec<i32> {
        self.0.pids()
    }

    fn wording(&self) -> Wording {
        Wording::Query
    }
}
