//! The user's own application, to which nginx forwards what is not ours.

use std::net::IpAddr;

/// The largest request body that is passed on to it, in bytes.
const BODY_BYTES_MAX: u64 = 10 << 20;

/// Where the application is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// `host:port`; a name of `/etc/hosts` is its address already.
    pub address: String,
    /// The DNS servers that are asked for its name whenever it is needed; none if it has an address.
    pub resolvers: Vec<String>,
    /// The largest request body in bytes; 0 is unlimited.
    pub body_bytes_max: u64,
}

/// Why nothing can be forwarded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing that nginx could forward to.
    #[error(
        "APP_UPSTREAM is {0:?}, but it must be host:port or http://host:port, such as app:8000 or http://[::1]:8000"
    )]
    Address(String),
    /// A name, and nobody to ask.
    #[error(
        "APP_UPSTREAM is {0:?}, but that name is not in /etc/hosts, and /etc/resolv.conf names no server to ask for it"
    )]
    NoResolver(String),
    /// No number of bytes.
    #[error("APP_MAX_BODY_BYTES is {0:?}, but it must be a number of bytes, or 0 for any")]
    Body(String),
}

impl Application {
    /// What the environment says; `hosts` and `resolv_conf` are the texts of those files of `/etc`.
    pub(super) fn read(
        set: &impl Fn(&str) -> Option<String>,
        hosts: &str,
        resolv_conf: &str,
    ) -> Result<Option<Application>, Error> {
        let Some(text) = set("APP_UPSTREAM") else { return Ok(None) };
        let (host, port) = parse(&text).ok_or_else(|| Error::Address(text.clone()))?;
        let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
        let known = if is_address { Some(host.to_owned()) } else { address_of(host, hosts).map(bracketed) };
        let resolvers = match known {
            Some(_) => Vec::new(),
            None => nameservers(resolv_conf),
        };
        if known.is_none() && resolvers.is_empty() {
            return Err(Error::NoResolver(text));
        }
        let body_bytes_max = match set("APP_MAX_BODY_BYTES") {
            None => BODY_BYTES_MAX,
            Some(text) => match text.parse::<i64>().ok().and_then(|bytes| u64::try_from(bytes).ok()) {
                Some(bytes) => bytes,
                None => return Err(Error::Body(text)),
            },
        };
        let host = known.unwrap_or_else(|| host.to_owned());
        Ok(Some(Application { address: format!("{host}:{port}"), resolvers, body_bytes_max }))
    }

    pub(super) fn directives(&self, mark: &str) -> Option<Vec<String>> {
        Some(vec![match mark {
            "application" => format!("set $application http://{};", self.address),
            // An address that changes, as a container's does, is noticed after so long.
            "application_resolver" => format!("resolver {} valid=10s;", self.resolvers.join(" ")),
            "application_body" => format!("client_max_body_size {};", self.body_bytes_max),
            _ => return None,
        }])
    }
}

/// Host and port; an address of IPv6 keeps its brackets.
fn parse(text: &str) -> Option<(&str, u16)> {
    let text = text.strip_prefix("http://").unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        // Names of containers may have an underscore.
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
    };
    is_host.then_some((host, port))
}

/// What a hosts file says: nginx asks DNS servers only. The first address of IPv4, or else of IPv6.
fn address_of(host: &str, hosts: &str) -> Option<IpAddr> {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let addresses = lines.filter_map(|line| {
        let (address, mut names) = (line.split_whitespace().next()?, line.split_whitespace().skip(1));
        names.any(|name| name.eq_ignore_ascii_case(host)).then(|| address.parse::<IpAddr>().ok())?
    });
    addresses.min_by_key(IpAddr::is_ipv6)
}

fn nameservers(resolv_conf: &str) -> Vec<String> {
    let words = resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver")?.split_whitespace().next());
    words.filter_map(|word| word.parse().ok()).map(bracketed).collect()
}

fn bracketed(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "::1 localhost\n127.0.0.1\tlocalhost me # app\n fe80::1 lan\n# 1.2.3.4 app\n";
    const RESOLV_CONF: &str =
        "search a.b\nnameserver 127.0.0.11\nnameserver ::1\nnameserver fe80::1%eth0\noptions ndots:0\n";

    fn read(value: &str, resolv_conf: &str, body: Option<&str>) -> Result<Application, String> {
        let set = |name: &str| match name {
            "APP_UPSTREAM" => Some(value.to_owned()),
            _ => body.map(str::to_owned),
        };
        Application::read(&set, HOSTS, resolv_conf).map(Option::unwrap).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_is_asked_for_when_it_is_needed_and_an_address_is_taken() {
        let asked = ["127.0.0.11", "[::1]"];
        for (value, address, resolvers) in [
            ("app:8000", "app:8000", &asked[..]),
            ("http://my_app.example:80/", "my_app.example:80", &asked),
            ("127.0.0.1:8000", "127.0.0.1:8000", &[]),
            ("http://[2001:db8::1]:8000", "[2001:db8::1]:8000", &[]),
            ("localhost:8000", "127.0.0.1:8000", &[]),
            ("LAN:1", "[fe80::1]:1", &[]),
        ] {
            let found = read(value, RESOLV_CONF, None).unwrap();
            assert_eq!((found.address.as_str(), found.body_bytes_max), (address, 10_485_760), "{value}");
            assert_eq!(found.resolvers, resolvers, "{value}");
        }
        assert_eq!(read("app:8000", RESOLV_CONF, Some("0")).unwrap().body_bytes_max, 0);
        assert_eq!(Application::read(&|_: &str| None, HOSTS, "").unwrap(), None);
    }

    /// The attack: a value that ends its directive, or that is taken for more than a host and a port.
    #[test]
    fn what_is_no_host_and_port_is_refused_in_one_sentence() {
        for value in [
            "app",
            "app:",
            "app:0",
            "app:65536",
            ":8000",
            "https://app:8000",
            "app:8000/path",
            "http://u@app:80",
            "a b:80",
            "app:80; include /etc/passwd",
            "$host:80",
            "app\":80",
            "[::1:80",
            "[x]:80",
            "::1:80",
            "unix:/run/app.sock",
            "ä:80",
        ] {
            let expected = format!(
                "APP_UPSTREAM is {value:?}, but it must be host:port or http://host:port, such as app:8000 or http://[::1]:8000"
            );
            assert_eq!(read(value, RESOLV_CONF, None).unwrap_err(), expected);
        }
        assert_eq!(
            read("app:8000", "search a.b\n", None).unwrap_err(),
            "APP_UPSTREAM is \"app:8000\", but that name is not in /etc/hosts, and /etc/resolv.conf names no server to ask for it"
        );
        assert_eq!(
            read("app:8000", RESOLV_CONF, Some("10m")).unwrap_err(),
            "APP_MAX_BODY_BYTES is \"10m\", but it must be a number of bytes, or 0 for any"
        );
        // More than nginx can count.
        assert!(read("app:8000", RESOLV_CONF, Some("9223372036854775808")).is_err());
        assert!(read("app:8000", RESOLV_CONF, Some("9223372036854775807")).is_ok());
    }
}
