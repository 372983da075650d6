//! A request that actix has read, and its socket that a reactor writes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use sse_server::fanout::detach::{self, Detached};
use sse_server::fanout::{ConnectionId, ConnectionInfo, Encoding, Fanout, NewStream};
use sse_server::hub::After;
use sse_server::hub::limits::ConnectionLimits;
use tempfile::TempDir;

use crate::hub::{DEADLINE, Running, event, eventually, interest, start};

async fn subscribe(request: HttpRequest, hub: web::Data<(Fanout, ConnectionLimits)>) -> HttpResponse {
    let (fanout, limits) = &**hub;
    let socket = detach::duplicate(&request).unwrap().unwrap();
    let address = Ipv4Addr::LOCALHOST.into();
    let connection = ConnectionInfo {
        id: ConnectionId::random().unwrap(),
        address,
        user_agent: None,
        connected_at: std::time::SystemTime::now(),
        request: "GET /sse HTTP/1.1".into(),
        holder: None,
        granted_until: None,
    };
    let stream = NewStream {
        head: b"HTTP/1.1 200 OK\r\nFrom: reactor\r\n\r\n".to_vec(),
        encoding: Encoding::Plain,
        interest: interest("*", &[], false),
        after: After::Live,
        permit: limits.admit(address).unwrap(),
        connection,
        on_end: Arc::new(drop),
    };
    fanout.attach(socket, stream).unwrap();
    HttpResponse::Ok().body(Detached)
}

/// Serves on both kinds of socket; returns the server's handle and its addresses.
fn serve(hub: &Running, folder: &TempDir) -> (ServerHandle, std::net::SocketAddr, std::path::PathBuf) {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let path = folder.path().join("hub.sock");
    let unix = UnixListener::bind(&path).unwrap();
    unix.set_nonblocking(true).unwrap();
    let address = tcp.local_addr().unwrap();
    let data = web::Data::new((hub.fanout.clone(), hub.limits.clone()));
    let (handle, handles) = mpsc::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let app = move || App::new().app_data(data.clone()).route("/sse", web::get().to(subscribe));
            let server = HttpServer::new(app)
                .workers(1)
                .disable_signals()
                .on_connect(detach::on_connect)
                .listen(tcp)
                .unwrap()
                .listen_uds(unix)
                .unwrap()
                .run();
            handle.send(server.handle()).unwrap();
            server.await.unwrap();
        });
    });
    (handles.recv().unwrap(), address, path)
}

trait Socket: Read + Write {}
impl<T: Read + Write> Socket for T {}

fn read_until(socket: &mut dyn Socket, text: &mut String, wanted: &str) {
    let mut buffer = [0; 4096];
    while !text.contains(wanted) {
        let n = socket.read(&mut buffer).unwrap();
        assert!(n > 0, "ended before {wanted:?}: {text}");
        text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
    }
}

struct Kept(Mutex<Vec<String>>);

impl log::Log for Kept {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().starts_with("actix_") {
            self.0.lock().unwrap().push(format!("{}: {}", record.target(), record.args()));
        }
    }

    fn flush(&self) {}
}

static LOG: Kept = Kept(Mutex::new(Vec::new()));

#[test]
fn detached_stream_is_written_by_its_reactor_alone_and_outlives_actix() {
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let hub = start(|_, _| {});
    let folder = TempDir::new().unwrap();
    let (server, address, path) = serve(&hub, &folder);
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(DEADLINE)).unwrap();
    let unix = UnixStream::connect(path).unwrap();
    unix.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut sockets: [(Box<dyn Socket>, String); 2] =
        [(Box::new(tcp), String::new()), (Box::new(unix), String::new())];
    for (socket, text) in &mut sockets {
        socket.write_all(b"GET /sse HTTP/1.1\r\nHost: hub\r\n\r\n").unwrap();
        read_until(socket, text, "\"last_event_id\":\"0-0\"}\n\n");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nFrom: reactor\r\n\r\nretry: "), "{text}");
        text.clear();
    }
    let first = hub.publish(vec![event("t", "", "1")]).ids[0];
    hub.runtime.block_on(async {
        let stopped = tokio::time::timeout(Duration::from_secs(5), server.stop(true));
        stopped.await.expect("actix has nothing left to wait for");
    });
    let second = hub.publish(vec![event("t", "", "2")]).ids[0];
    for (socket, text) in &mut sockets {
        read_until(socket, text, "data: 2\n\n");
        assert_eq!(*text, format!("id: {first}\ndata: 1\n\nid: {second}\ndata: 2\n\n"));
    }
    let log = LOG.0.lock().unwrap().clone();
    assert_eq!(
        log,
        vec![format!("actix_http::h1::dispatcher: {}", detach::DETACHED); 2],
        "the message that the logger leaves out"
    );
    drop(sockets);
    eventually("both streams ended", || hub.fanout.streams() == 0);
}
