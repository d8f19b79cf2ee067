//! HTTP/1.1 as far as a test needs it: one connection a request.

use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Below this are Talk's routes, unless a path says otherwise.
pub const API: &str = "/ocs/v2.php/apps/spreed/api/v1";

/// A request as a person will send it.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    headers: Vec<(String, Option<String>)>,
    body: Vec<u8>,
}

impl Request {
    /// `path` is below the API's base, or begins with `/ocs` or with `/health`.
    pub fn new(method: &str, path: impl AsRef<str>) -> Request {
        let path = path.as_ref();
        let whole = path.starts_with("/ocs") || path.starts_with("/health");
        let path = if whole { path.to_owned() } else { format!("{API}{path}") };
        Request { method: method.to_owned(), path, headers: Vec::new(), body: Vec::new() }
    }

    /// Adds parameters to the URL.
    pub fn query(mut self, parameters: &[(&str, &str)]) -> Request {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(&encoded(parameters));
        self
    }

    /// Sends parameters as a form does.
    pub fn form(self, parameters: &[(&str, &str)]) -> Request {
        self.raw("application/x-www-form-urlencoded", encoded(parameters))
    }

    /// Sends a JSON body.
    pub fn json(self, value: &Value) -> Request {
        self.raw("application/json", value.to_string())
    }

    /// Sends these bytes.
    pub fn raw(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self.header("Content-Type", content_type)
    }

    /// Sends this header instead of the usual one.
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), Some(value.to_owned())));
        self
    }

    /// Leaves out a header that a person usually sends.
    pub fn without(mut self, name: &str) -> Request {
        self.headers.push((name.to_owned(), None));
        self
    }

    /// What was asked, for the message of a failing test.
    pub fn summary(&self) -> String {
        let path = self.path.strip_prefix(API).unwrap_or(&self.path);
        let own = self.headers.iter().filter(|(name, _)| name != "Content-Type");
        let headers: String =
            own.map(|(name, value)| format!(" [{name}: {}]", value.as_deref().unwrap_or("none"))).collect();
        let body: String = String::from_utf8_lossy(&self.body).chars().take(300).collect();
        format!("{} {path}{headers} {body}", self.method)
    }

    /// The request's bytes, with `usual` headers where it says nothing else.
    fn to_bytes(&self, address: SocketAddr, usual: &[(&str, String)]) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {address}\r\n", self.method, self.path);
        let own = |name: &str| self.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let usual = usual.iter().filter(|(name, _)| !own(name)).map(|(name, value)| (*name, value.as_str()));
        let own_values = self.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)));
        for (name, value) in usual.chain(own_values) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !own("Connection") {
            // As nginx says to the servers behind it.
            text.push_str("Connection: close\r\n");
        }
        if !own("Content-Length") && (!self.body.is_empty() || self.method != "GET") {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        [text.as_bytes(), &self.body].concat()
    }

    /// Sends it on a connection of its own and reads the answer.
    pub fn exchange(&self, address: SocketAddr, usual: &[(&str, String)]) -> io::Result<Response> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(super::PATIENCE))?;
        // A server that refuses a body may close before it has read it: its answer counts, not our broken pipe.
        let written = stream.write_all(&self.to_bytes(address, usual));
        let answer = Response::read(&mut stream, self.method == "HEAD");
        match (&answer, written) {
            // Who was reset while writing is told so once, and afterwards reads the end of the connection.
            (Err(error), Err(reset)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(reset),
            _ => answer,
        }
    }
}

fn encoded(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    fn read(stream: &mut impl Read, head_only: bool) -> io::Result<Response> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            more(stream, &mut bytes)?;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {head}")))?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut body = bytes.split_off(end + 4);
        let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = match length {
            _ if head_only || status == 304 => 0,
            Some((_, value)) => value.parse().map_err(io::Error::other)?,
            None => return Err(io::Error::other(format!("no Content-Length: {head}"))),
        };
        while body.len() < length {
            more(stream, &mut body)?;
        }
        Ok(Response { status, headers, body })
    }
}

fn more(stream: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer)? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ends too early")),
        count => {
            bytes.extend_from_slice(&buffer[..count]);
            Ok(())
        }
    }
}
