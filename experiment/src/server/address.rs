//! The address of a server.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

const DEFAULT_PORT: u16 = 8000;

/// Host and port of a server, as the user gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Without brackets.
    host: String,
    port: u16,
}

impl Address {
    /// `HOST`, `HOST:PORT`, either with `http://` in front; IPv6 addresses in brackets when a port follows.
    pub fn parse(url: &str) -> Result<Self> {
        let help = "write it as HOST:PORT or http://HOST:PORT";
        let rest = match url.trim().split_once("://") {
            None => url.trim(),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                bail!("'{url}': TLS is not supported; give the server's plain HTTP port as http://HOST:PORT")
            }
            Some((scheme, _)) => bail!("'{url}': '{scheme}' is not supported, only HTTP is; {help}"),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        ensure!(
            !rest.contains(['/', '@', '?', '#']) && !rest.contains(char::is_whitespace),
            "the server's address '{url}' contains more than a host and a port; {help}"
        );
        let (host, port) = if let Some(bracketed) = rest.strip_prefix('[') {
            let (host, after) = bracketed
                .split_once(']')
                .with_context(|| format!("the server's address '{url}' has no closing ']'; {help}"))?;
            ensure!(
                after.is_empty() || after.starts_with(':'),
                "the server's address '{url}' has '{after}' after the ']', where :PORT was expected; {help}"
            );
            (host, after.strip_prefix(':'))
        } else if rest.matches(':').count() > 1 {
            (rest, None)
        } else {
            match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            }
        };
        ensure!(!host.is_empty(), "the server's address '{url}' has no host; {help}");
        let port = match port {
            None => DEFAULT_PORT,
            Some(text) => text.parse().ok().filter(|port| *port > 0).with_context(|| {
                format!(
                    "the server's address '{url}' has the port '{text}': expected a number from 1 to 65535"
                )
            })?,
        };
        Ok(Self { host: host.to_owned(), port })
    }

    /// `HOST:PORT`, with brackets where they are needed.
    pub fn authority(&self) -> String {
        let Self { host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The address to connect to. Of several, the first that accepts a connection: "localhost" is often two, and
    /// a server may listen on one of them only.
    pub fn resolve(&self) -> Result<SocketAddr> {
        let all: Vec<SocketAddr> = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .with_context(|| format!("cannot resolve the host name '{}'; check its spelling", self.host))?
            .collect();
        let accepts = |address: &&SocketAddr| {
            all.len() == 1 || TcpStream::connect_timeout(address, Duration::from_secs(2)).is_ok()
        };
        all.iter().find(accepts).copied().with_context(|| {
            format!("nothing accepts connections at {}: is the server running there?", self.authority())
        })
    }
}

/// Whether an address belongs to this machine.
pub fn is_of_this_machine(address: SocketAddr) -> bool {
    // Only a local address can be bound; a UDP port is enough.
    UdpSocket::bind((address.ip(), 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(url: &str) -> String {
        Address::parse(url).unwrap().authority()
    }

    fn refusal(url: &str) -> String {
        Address::parse(url).unwrap_err().to_string()
    }

    #[test]
    fn all_usual_forms_are_accepted() {
        assert_eq!(authority("127.0.0.1:8000"), "127.0.0.1:8000");
        assert_eq!(authority("http://triton.example:9000/"), "triton.example:9000");
        assert_eq!(authority("HTTP://triton"), "triton:8000");
        assert_eq!(authority("triton"), "triton:8000");
        assert_eq!(authority("[::1]:8001"), "[::1]:8001");
        assert_eq!(authority("::1"), "[::1]:8000");
        assert_eq!(authority("[fe80::2]"), "[fe80::2]:8000");
    }

    #[test]
    fn other_forms_are_rejected_with_a_reason() {
        assert!(refusal("https://triton:8000").contains("TLS"));
        assert!(refusal("grpc://triton:8001").contains("'grpc'"));
        assert!(refusal("triton:http").contains("'http'"));
        assert!(refusal("triton:0").contains("65535"));
        assert!(refusal("triton:70000").contains("'70000'"));
        assert!(refusal(":8000").contains("no host"));
        assert!(refusal("triton:8000/v2").contains("more than a host"));
        assert!(refusal("me@triton").contains("more than a host"));
        assert!(refusal("[::1").contains("']'"));
        assert!(refusal("[::1]8000").contains("'8000'"));
    }

    #[test]
    fn own_addresses_are_recognized() {
        assert!(is_of_this_machine("127.0.0.1:8000".parse().unwrap()));
        // Of a block that is set aside for documentation.
        assert!(!is_of_this_machine("192.0.2.1:8000".parse().unwrap()));
    }

    #[test]
    fn an_unknown_host_is_named() {
        let error = Address::parse("no-such-host.invalid:1").unwrap().resolve().unwrap_err();
        assert!(format!("{error:#}").contains("no-such-host.invalid"), "{error:#}");
    }

    #[test]
    fn of_several_addresses_the_listening_one_is_taken() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let found = Address::parse(&format!("localhost:{}", address.port())).unwrap().resolve().unwrap();
        assert_eq!(found, address);
    }
}
