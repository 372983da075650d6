//! Fault 13: nginx as the program.

use std::fs;
use std::path::Path;

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
