//! `postback healthcheck`: asks a service on this machine whether it lives, for containers without a shell.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use super::{Context, Failure};

/// How long connecting, sending and each reading may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a status line of success begins with, after the version.
const SUCCESS: &[u8] = b" 200";
/// Where the status stands in `HTTP/1.1 200 OK`.
const STATUS_AT: std::ops::Range<usize> = 8..12;

/// Asks the service on the configured address whether it lives; ends with 0 or 1
#[derive(clap::Args)]
#[command(after_help = help!("Examples:
  postback healthcheck
  HEALTHCHECK CMD [\"postback\", \"healthcheck\"]     (in a Dockerfile)",
  "0 the service lives; 1 it does not answer, or not with success; 2 the settings are not right"))]
pub struct Args {}

/// Runs the subcommand.
///
/// # Errors
/// When the service does not answer, or not with success.
pub fn run(_: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let address = reachable(context.settings()?.server.listen);
    match lives(address) {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Err(Failure::new(format!("{address} answers, but not that it lives"))),
        Err(error) => Err(Failure::new(format!("{address} does not answer: {error}"))),
    }
}

/// Where a service that listens on `listen` is reached from this machine.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn lives(address: SocketAddr) -> io::Result<bool> {
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    write!(connection, "GET /livez HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut start = [0; STATUS_AT.end];
    connection.read_exact(&mut start)?;
    Ok(start.get(STATUS_AT) == Some(SUCCESS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_on_every_address_is_asked_on_loopback() {
        let asked = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(asked("[::]:8080"), "[::1]:8080");
        assert_eq!(asked("192.0.2.1:80"), "192.0.2.1:80");
    }

    #[test]
    fn only_success_lives() {
        let answer = |text: &'static str| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = std::thread::spawn(move || {
                let (mut connection, _) = listener.accept().unwrap();
                // To its end: what is closed with something unread resets the connection.
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    connection.read_exact(&mut byte).unwrap();
                    request.extend(byte);
                }
                connection.write_all(text.as_bytes()).unwrap();
                request
            });
            let lives = lives(address);
            assert!(server.join().unwrap().starts_with(b"GET /livez HTTP/1.1\r\n"));
            lives
        };
        assert!(answer("HTTP/1.1 200 OK\r\n\r\n").unwrap());
        assert!(!answer("HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap());
        assert!(answer("").is_err());
    }
}
