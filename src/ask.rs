//! One HTTP request to one of roomd's own sockets: how it asks itself whether it answers, and how commands reach it.

use crate::config::Listen;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longest answer that is read, bytes.
const MAX_ANSWER: u64 = 64 << 20;

trait Stream: Read + Write {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

/// Sends a request and reads status and body. No single wait is longer than `patience`.
pub fn ask(listen: &Listen, method: &str, path: &str, body: &[u8], patience: Duration) -> io::Result<(u16, Vec<u8>)> {
    let mut stream: Box<dyn Stream> = match listen {
        Listen::Unix(socket) => {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(patience))?;
            Box::new(stream)
        }
        Listen::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(patience))?;
            Box::new(stream)
        }
    };
    let length = body.len();
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    request.extend_from_slice(body);
    stream.write_all(&request)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what answered does not speak HTTP"))
}

/// Whether roomd answers on this socket within `patience`.
pub fn answers(listen: &Listen, patience: Duration) -> bool {
    matches!(ask(listen, "GET", "/health", b"", patience), Ok((200, _)))
}

fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let head_end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..head_end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer[head_end + 4..].to_vec()))
}
