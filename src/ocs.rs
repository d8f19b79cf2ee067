//! The OCS envelope: JSON and XML, `v1.php` and `v2.php`, and every error as callers get to see it (SPEC A.2–A.4).
//!
//! The only place that knows status codes.

use crate::buffers;
use crate::error::{By, Error};
use crate::http::Request;
use crate::json;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use serde::Serialize;
use serde::ser::SerializeSeq;
use serde_json::Value;
use smol_str::SmolStr;

/// Talk's answer to everything that it cannot make sense of.
const INVALID_QUERY: &str = "Invalid query, please check the syntax. API specifications are here: \
                             http://www.freedesktop.org/wiki/Specifications/open-collaboration-services.\n";
/// OCS's own number for "not logged in".
const OCS_UNAUTHORISED: u16 = 997;
/// OCS's own number for "not found", where `v1.php` uses it.
const OCS_NOT_FOUND: u16 = 998;
/// Seconds after which a client may try again when Nextcloud or the disk was the reason.
const RETRY_AFTER: &str = "5";

/// Which entry script was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `/ocs/v1.php`: HTTP 200 for nearly everything.
    V1,
    /// `/ocs/v2.php`: HTTP says what OCS says.
    V2,
}

/// How the answer is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/xml`
    Xml,
    /// A `format` parameter that is neither: what the request asks is done, then it is an invalid query.
    Unsupported,
}

impl Format {
    /// What the request asks for: the parameter, else `Accept`, else XML.
    pub fn of(request: &Request) -> Format {
        if let Some(format) = Format::from_parameter(request) {
            return format;
        }
        let accept = request.headers.accept.as_deref().unwrap_or("");
        for item in accept.split(',') {
            let media = item.split(';').next().unwrap_or("").trim();
            let is = |names: [&str; 2]| names.iter().any(|name| media.eq_ignore_ascii_case(name));
            if is(["application/json", "json"]) {
                return Format::Json;
            }
            if is(["application/xml", "xml"]) {
                return Format::Xml;
            }
        }
        Format::Xml
    }

    fn from_parameter(request: &Request) -> Option<Format> {
        match request.optional_text("format") {
            Ok(None) => None,
            Ok(Some("json")) => Some(Format::Json),
            Ok(Some("xml")) => Some(Format::Xml),
            _ => Some(Format::Unsupported),
        }
    }
}

/// A finished answer: everything but the connection's own headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Value of `Content-Type`; `None` for an answer without a body.
    pub content_type: Option<&'static str>,
    /// Further headers. Values never come from a caller.
    pub headers: Vec<(&'static str, SmolStr)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The same answer with one more header.
    pub fn with(mut self, name: &'static str, value: impl Into<SmolStr>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }
}

const JSON: &str = "application/json; charset=utf-8";
const XML: &str = "application/xml; charset=utf-8";

#[derive(Serialize)]
struct Envelope<'a, T: Serialize> {
    ocs: Body<'a, T>,
}

#[derive(Serialize)]
struct Body<'a, T: Serialize> {
    meta: Meta<'a>,
    data: T,
}

#[derive(Serialize)]
struct Meta<'a> {
    status: &'static str,
    statuscode: u16,
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    totalitems: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    itemsperpage: Option<&'static str>,
}

impl<'a> Meta<'a> {
    fn new(version: Version, code: u16, message: Option<&'a str>) -> Meta<'a> {
        let shown = if version == Version::V1 && code == 200 { 100 } else { code };
        let ok = match version {
            Version::V1 => shown == 100,
            Version::V2 => (200..300).contains(&code),
        };
        let counts = (version == Version::V1).then_some("");
        let message = if ok { Some("OK") } else { message };
        let status = if ok { "ok" } else { "failure" };
        Meta { status, statuscode: shown, message, totalitems: counts, itemsperpage: counts }
    }
}

/// An empty map or list: `[]` in JSON, `<data/>` in XML.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Serialize for Nothing {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_seq(Some(0))?.end()
    }
}

/// What went well: `code` is 200 or 201.
pub fn success(version: Version, format: Format, code: u16, data: &impl Serialize) -> Answer {
    envelope(version, format, code, None, data)
}

/// What went wrong, as the request's sender is to see it.
pub fn failure(version: Version, request: &Request, error: &Error) -> Answer {
    // An unsupported format is treated as XML on the way out of an error (SPEC A.3).
    let asked = Format::of(request);
    let by_endpoint = !matches!(error, Error::NotLoggedIn | Error::NotFound(By::Gate) | Error::Forbidden(By::Gate));
    let format = match asked {
        Format::Unsupported if !by_endpoint || *error == Error::Lobby => Format::Xml,
        format => format,
    };
    let decided = |by: By| if by == By::Gate { Some("") } else { None };
    let wants_page = request.headers.accept.as_deref().is_some_and(|a| a.to_ascii_lowercase().contains("html"));
    let plain = |code, message| envelope(version, format, code, message, &Nothing);
    match error {
        Error::BadRequest => plain(400, None),
        Error::Forbidden(by) => plain(403, decided(*by)),
        Error::NotFound(by) => plain(404, decided(*by)),
        Error::Lobby => plain(412, Some("")),
        Error::NotLoggedIn if wants_page => redirect_to_login(request),
        Error::NotLoggedIn => plain(OCS_UNAUTHORISED, Some("Current user is not logged in")),
        Error::TalkNotAllowed => plain(403, Some("Can not use Talk")),
        Error::CannotStartCall => plain(403, Some("Can not start a call")),
        Error::Csrf => csrf(wants_page),
        Error::InvalidQuery => invalid_query(version, request),
        Error::MethodNotAllowed => method_not_allowed(request),
        Error::TooLarge => plain(413, None),
        Error::NotModified => not_modified(version, format),
        Error::NoSignalingSession => {
            let nobody = serde_json::json!([{"type": "usersInRoom", "data": []}]);
            envelope(version, format, 404, None, &nobody)
        }
        Error::Unavailable(why) => {
            let mut answer = plain(503, Some(why));
            // Never 200, also where v1.php hides every other status: nothing was decided about this request.
            answer.status = 503;
            answer.with("Retry-After", RETRY_AFTER)
        }
        Error::NotConfigured(key) => {
            let text = format!("The administrator of roomd must set {key} for this");
            plain(501, Some(&text))
        }
        Error::StorageFull => {
            let mut answer = plain(507, Some("The disk is full"));
            answer.status = 507;
            answer.with("Retry-After", RETRY_AFTER)
        }
        Error::TooManyAttempts => {
            let mut answer = plain(429, Some("Too many requests"));
            answer.status = 429;
            answer
        }
        Error::NeedsSlowLane | Error::NeedsHashing | Error::LobbyTimerExpired | Error::Internal(_) => {
            let mut answer = plain(500, Some("Internal error"));
            answer.status = 500;
            answer
        }
    }
}

/// The answer to a body over the limit, written before the body was read: it cannot know what format was wanted.
pub fn body_too_large() -> Answer {
    let mut body = Vec::new();
    write_json(&mut body, Version::V2, 413, None, &Nothing);
    Answer { status: 413, content_type: Some(JSON), headers: Vec::new(), body }
}

fn envelope(version: Version, format: Format, code: u16, message: Option<&str>, data: &impl Serialize) -> Answer {
    let (content_type, body) = match format {
        Format::Json => {
            let mut body = buffers::take();
            write_json(&mut body, version, code, message, data);
            (JSON, body)
        }
        Format::Xml => (XML, xml(version, code, message, data)),
        Format::Unsupported => {
            let (status, code) = invalid_query_status(version);
            let body = xml(version, code, Some(INVALID_QUERY), &Nothing);
            let content_type = Some("application/octet-stream; charset=utf-8");
            return Answer { status, content_type, headers: Vec::new(), body };
        }
    };
    Answer { status: http_status(version, code), content_type: Some(content_type), headers: Vec::new(), body }
}

fn http_status(version: Version, code: u16) -> u16 {
    match (version, code) {
        (_, OCS_UNAUTHORISED) | (Version::V1, 403) => 401,
        (Version::V1, _) => 200,
        (Version::V2, code) => code,
    }
}

fn write_json(out: &mut Vec<u8>, version: Version, code: u16, message: Option<&str>, data: &impl Serialize) {
    let envelope = Envelope { ocs: Body { meta: Meta::new(version, code, message), data } };
    if let Err(error) = json::write(out, &envelope) {
        // Writing to memory does not fail and every map has string keys; a caller must not get half an answer though.
        log::error!("an answer could not be written as JSON: {error}");
        out.clear();
    }
}

fn xml(version: Version, code: u16, message: Option<&str>, data: &impl Serialize) -> Vec<u8> {
    let mut writer = Writer::new_with_indent(Vec::with_capacity(1024), b' ', 1);
    let written = write_xml(&mut writer, &Meta::new(version, code, message), data);
    if let Err(error) = written {
        log::error!("an answer could not be written as XML: {error}");
    }
    let mut body = writer.into_inner();
    body.push(b'\n');
    body
}

fn write_xml(writer: &mut Writer<Vec<u8>>, meta: &Meta<'_>, data: &impl Serialize) -> std::io::Result<()> {
    writer.write_event(Event::Decl(BytesDecl::new("1.0", None, None)))?;
    writer.write_event(Event::Start(BytesStart::new("ocs")))?;
    element(writer, "meta", &serde_json::to_value(meta)?)?;
    element(writer, "data", &serde_json::to_value(data)?)?;
    writer.write_event(Event::End(BytesEnd::new("ocs")))
}

/// Maps become elements named after their keys, lists `<element>`s, true is 1, false and null are empty.
fn element(writer: &mut Writer<Vec<u8>>, name: &str, value: &Value) -> std::io::Result<()> {
    let text = match value {
        Value::Null => return writer.write_event(Event::Empty(BytesStart::new(name))),
        Value::Array(items) if items.is_empty() => return writer.write_event(Event::Empty(BytesStart::new(name))),
        Value::Object(fields) if fields.is_empty() => return writer.write_event(Event::Empty(BytesStart::new(name))),
        Value::Array(items) => {
            writer.write_event(Event::Start(BytesStart::new(name)))?;
            items.iter().try_for_each(|item| element(writer, "element", item))?;
            return writer.write_event(Event::End(BytesEnd::new(name)));
        }
        Value::Object(fields) => {
            writer.write_event(Event::Start(BytesStart::new(name)))?;
            for (key, value) in fields {
                element(writer, if is_element_name(key) { key } else { "element" }, value)?;
            }
            return writer.write_event(Event::End(BytesEnd::new(name)));
        }
        Value::Bool(b) => if *b { "1" } else { "" }.to_owned(),
        Value::Number(n) => n.to_string(),
        Value::String(text) => escaped(text),
    };
    writer.write_event(Event::Start(BytesStart::new(name)))?;
    writer.write_event(Event::Text(BytesText::from_escaped(&*text)))?;
    writer.write_event(Event::End(BytesEnd::new(name)))
}

/// Numeric keys are no names (SPEC A.3), nor are user ids with characters that would break the document.
fn is_element_name(key: &str) -> bool {
    let mut bytes = key.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// Escapes as PHP's XML writer does; characters that XML cannot hold are left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' => out.push(c),
            '\r' => out.push_str("&#13;"),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => {}
            c => out.push(c),
        }
    }
    out
}

fn invalid_query_status(version: Version) -> (u16, u16) {
    match version {
        Version::V1 => (200, OCS_NOT_FOUND),
        Version::V2 => (404, 404),
    }
}

/// The generic 404 of SPEC A.4: only the `format` parameter decides how it is written.
fn invalid_query(version: Version, request: &Request) -> Answer {
    let (status, code) = invalid_query_status(version);
    let format = Format::from_parameter(request).unwrap_or(Format::Xml);
    let mut body = Vec::new();
    let content_type = match format {
        Format::Json => {
            write_json(&mut body, version, code, Some(INVALID_QUERY), &Nothing);
            JSON
        }
        Format::Xml => {
            body = xml(version, code, Some(INVALID_QUERY), &Nothing);
            "text/xml; charset=UTF-8"
        }
        Format::Unsupported => {
            body = xml(version, code, Some(INVALID_QUERY), &Nothing);
            "application/octet-stream; charset=utf-8"
        }
    };
    Answer { status, content_type: Some(content_type), headers: Vec::new(), body }
}

/// A PUT with a body of an unknown type: 200 and nothing, as the real server answers (SPEC A.5).
pub fn unreadable_body() -> Answer {
    Answer { status: 200, content_type: Some("text/xml; charset=UTF-8"), headers: Vec::new(), body: Vec::new() }
}

fn method_not_allowed(request: &Request) -> Answer {
    let content_type = match Format::from_parameter(request) {
        Some(Format::Json) => JSON,
        None | Some(Format::Xml) => "text/xml; charset=UTF-8",
        Some(Format::Unsupported) => "application/octet-stream; charset=utf-8",
    };
    Answer { status: 405, content_type: Some(content_type), headers: Vec::new(), body: Vec::new() }
}

fn csrf(wants_page: bool) -> Answer {
    let (content_type, body) = if wants_page {
        (
            "text/html; charset=UTF-8",
            "<!DOCTYPE html><title>Access forbidden</title><h1>Access forbidden</h1>CSRF check failed",
        )
    } else {
        (JSON, r#"{"message":"CSRF check failed"}"#)
    };
    Answer { status: 412, content_type: Some(content_type), headers: Vec::new(), body: body.into() }
}

/// A browser that is not logged in is sent to Nextcloud's login page.
fn redirect_to_login(request: &Request) -> Answer {
    let back: String = form_urlencoded::byte_serialize(request.path.as_bytes()).collect();
    let answer = Answer { status: 303, content_type: None, headers: Vec::new(), body: Vec::new() };
    answer.with("Location", format!("/index.php/login?redirect_url={back}"))
}

/// 304 has no body; `v1.php` hides it in a 200.
fn not_modified(version: Version, format: Format) -> Answer {
    match version {
        Version::V1 => envelope(version, format, 304, None, &Nothing),
        Version::V2 => Answer { status: 304, content_type: None, headers: Vec::new(), body: Vec::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    fn asked(target: &str, accept: &str) -> Request {
        let mut headers = Headers::default();
        headers.keep("Accept", accept);
        Request::new("GET", target, headers, None, b"")
    }

    fn text(answer: &Answer) -> String {
        String::from_utf8(answer.body.clone()).unwrap()
    }

    #[test]
    fn the_format_comes_from_the_parameter_then_accept() {
        let cases = [
            ("/?format=json", "application/xml", Format::Json),
            ("/?format=JSON", "application/json", Format::Unsupported),
            ("/", "text/html, application/JSON", Format::Json),
            ("/", "application/json;q=0.9", Format::Json),
            ("/", "text/xml", Format::Xml),
            ("/", "*/*", Format::Xml),
        ];
        for (target, accept, format) in cases {
            assert_eq!(Format::of(&asked(target, accept)), format, "{target} {accept}");
        }
    }

    #[test]
    fn version_1_says_200_for_nearly_everything() {
        let request = asked("/?format=json", "");
        let not_found = failure(Version::V1, &request, &Error::NOT_FOUND);
        assert_eq!(not_found.status, 200);
        assert_eq!(
            text(&not_found),
            r#"{"ocs":{"meta":{"status":"failure","statuscode":404,"message":null,"totalitems":"","itemsperpage":""},"data":[]}}"#
        );
        assert_eq!(failure(Version::V1, &request, &Error::FORBIDDEN).status, 401);
        let created = success(Version::V1, Format::Json, 201, &Nothing);
        assert!(text(&created).contains(r#""status":"failure","statuscode":201,"message":null"#));
        assert!(
            text(&success(Version::V1, Format::Json, 200, &Nothing)).contains(r#""statuscode":100,"message":"OK""#)
        );
    }

    #[test]
    fn xml_has_one_blank_a_level() {
        let data = serde_json::json!({"yes": true, "no": false, "empty": "", "list": [1, "a<b"], "none": [], "0": "x"});
        assert_eq!(
            text(&success(Version::V2, Format::Xml, 200, &data)),
            "<?xml version=\"1.0\"?>\n<ocs>\n <meta>\n  <status>ok</status>\n  <statuscode>200</statuscode>\n  \
             <message>OK</message>\n </meta>\n <data>\n  <yes>1</yes>\n  <no></no>\n  <empty></empty>\n  <list>\n   \
             <element>1</element>\n   <element>a&lt;b</element>\n  </list>\n  <none/>\n  <element>x</element>\n \
             </data>\n</ocs>\n"
        );
    }

    #[test]
    fn an_outage_is_never_hidden() {
        let request = asked("/", "");
        for error in [Error::Unavailable("x"), Error::StorageFull] {
            assert!(failure(Version::V1, &request, &error).status >= 500);
        }
    }

    #[test]
    fn an_internal_error_tells_nothing() {
        let answer = failure(Version::V2, &asked("/?format=json", ""), &Error::internal("secret words"));
        assert!(!text(&answer).contains("secret"));
    }
}
