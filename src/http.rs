//! A request as the handlers see it, and its parameters: merged from query, form and JSON body with PHP's casts (SPEC A.5).

use crate::error::{Error, Result};
use crate::nextcloud::directory::{Asker, Credentials};
use crate::secret::Secret;
use serde_json::Value;
use smol_str::SmolStr;
use std::net::IpAddr;

/// Longest body that is read, bytes. Chat messages fit.
pub const BODY_LIMIT: usize = 64 << 10;
/// Most parameters of a request; more are ignored, as PHP does by default. A long body of them would keep a worker busy.
const MOST_PARAMETERS: usize = 1000;
/// Name of the cookie by which a guest comes back.
pub const GUEST_COOKIE: &str = "roomd_guest";

/// The methods that routes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Also stands for HEAD, whose answer has no body.
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// Any other: no route has it.
    Other,
}

/// A request, read completely.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Only the head of the answer is wanted.
    pub head_only: bool,
    /// The path as it came, without the query.
    pub path: String,
    /// Headers that matter here.
    pub headers: Headers,
    /// Where the caller is, as far as that can be believed.
    pub address: Option<IpAddr>,
    parameters: Vec<(String, Value)>,
    unreadable: bool,
}

/// The headers that roomd looks at.
#[derive(Debug, Default, Clone)]
pub struct Headers {
    /// `Authorization`
    pub authorization: Option<Secret>,
    /// `Cookie`
    pub cookie: Option<Secret>,
    /// `requesttoken`
    pub request_token: Option<Secret>,
    /// `OCS-APIRequest`
    pub ocs_api_request: Option<SmolStr>,
    /// `Accept`
    pub accept: Option<SmolStr>,
    /// `Content-Type`
    pub content_type: Option<SmolStr>,
    /// `User-Agent`
    pub user_agent: Option<SmolStr>,
    /// `X-Forwarded-For`
    pub forwarded_for: Option<SmolStr>,
    /// `X-Real-IP`
    pub real_ip: Option<SmolStr>,
    /// `X-Forwarded-Proto`
    pub forwarded_proto: Option<SmolStr>,
}

impl Headers {
    /// Keeps the header if it is one that roomd looks at. The first of several counts.
    pub fn keep(&mut self, name: &str, value: &str) {
        let secret = |slot: &mut Option<Secret>| {
            slot.get_or_insert_with(|| Secret::new(value));
        };
        let text = |slot: &mut Option<SmolStr>| {
            slot.get_or_insert_with(|| value.into());
        };
        match () {
            () if name.eq_ignore_ascii_case("authorization") => secret(&mut self.authorization),
            () if name.eq_ignore_ascii_case("cookie") => secret(&mut self.cookie),
            () if name.eq_ignore_ascii_case("requesttoken") => secret(&mut self.request_token),
            () if name.eq_ignore_ascii_case("ocs-apirequest") => text(&mut self.ocs_api_request),
            () if name.eq_ignore_ascii_case("accept") => text(&mut self.accept),
            () if name.eq_ignore_ascii_case("content-type") => text(&mut self.content_type),
            () if name.eq_ignore_ascii_case("user-agent") => text(&mut self.user_agent),
            () if name.eq_ignore_ascii_case("x-forwarded-for") => text(&mut self.forwarded_for),
            () if name.eq_ignore_ascii_case("x-real-ip") => text(&mut self.real_ip),
            () if name.eq_ignore_ascii_case("x-forwarded-proto") => text(&mut self.forwarded_proto),
            () => {}
        }
    }

    /// The address that a believed proxy gives: what it appended last to `X-Forwarded-For`, else `X-Real-IP`.
    pub fn forwarded_address(&self) -> Option<IpAddr> {
        let last = self.forwarded_for.as_deref().and_then(|list| list.rsplit(',').next());
        last.or(self.real_ip.as_deref()).and_then(|address| address.trim().parse().ok())
    }

    /// Whether the CSRF check passes: `OCS-APIRequest: true`, or a Bearer token (SPEC A.4).
    pub fn pass_csrf(&self) -> bool {
        self.ocs_api_request.as_deref() == Some("true")
            || self.authorization.as_ref().is_some_and(|a| a.reveal().starts_with("Bearer "))
    }
}

impl Request {
    /// Puts a request together. `target` is the path with its query, `body` at most [`BODY_LIMIT`] long.
    pub fn new(method: &str, target: &str, headers: Headers, address: Option<IpAddr>, body: &[u8]) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let head_only = method == "HEAD";
        let method = match method {
            "GET" | "HEAD" => Method::Get,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            _ => Method::Other,
        };
        let mut parameters = Vec::new();
        merge_form(&mut parameters, query.as_bytes());
        let content_type = headers.content_type.as_deref().unwrap_or("").to_ascii_lowercase();
        let mut unreadable = false;
        if content_type.contains("application/json") {
            // Broken JSON and JSON that is no object are ignored: the query still counts (SPEC A.5).
            if let Ok(Value::Object(fields)) = serde_json::from_slice(body) {
                fields.into_iter().for_each(|(name, value)| set(&mut parameters, name, value));
            }
        } else if content_type.contains("application/x-www-form-urlencoded") {
            if method != Method::Get {
                merge_form(&mut parameters, body);
            }
        } else if method == Method::Post && content_type.starts_with("multipart/form-data") {
            merge_parts(&mut parameters, headers.content_type.as_deref().unwrap_or(""), body);
        } else {
            unreadable = method == Method::Put && !body.is_empty();
        }
        Request { method, head_only, path: path.to_owned(), headers, address, parameters, unreadable }
    }

    /// A PUT whose body is neither a form nor JSON: the real server answers such a request with nothing (SPEC A.5).
    pub fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// A parameter declared as string: never cast. Missing without a default, or of another JSON type, is a generic 404.
    pub fn text(&self, name: &str) -> Result<&str> {
        self.optional_text(name)?.ok_or(Error::InvalidQuery)
    }

    /// The same, with a default for a missing one.
    pub fn text_or<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str> {
        Ok(self.optional_text(name)?.unwrap_or(default))
    }

    /// The same, where missing is `None`.
    pub fn optional_text(&self, name: &str) -> Result<Option<&str>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Error::InvalidQuery),
        }
    }

    /// A parameter declared as int: cast loosely from whatever was sent. Missing is a generic 404.
    pub fn number(&self, name: &str) -> Result<i64> {
        self.optional_number(name).ok_or(Error::InvalidQuery)
    }

    /// The same, with a default for a missing one.
    pub fn number_or(&self, name: &str, default: i64) -> i64 {
        self.optional_number(name).unwrap_or(default)
    }

    /// The same, where missing is `None`.
    pub fn optional_number(&self, name: &str) -> Option<i64> {
        self.value(name).map(cast_to_number)
    }

    /// Where a caller is whose attempts at guessing are counted. On this machine nobody guesses: what calls from here is
    /// the administrator's, or nginx without a client's address.
    pub fn guesser(&self) -> Option<IpAddr> {
        self.address.filter(|address| !address.to_canonical().is_loopback())
    }

    /// The guest's cookie, if one came.
    pub fn guest_cookie(&self) -> Option<&str> {
        let cookies = self.headers.cookie.as_ref()?.reveal();
        cookies.split(';').find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            (name.trim() == GUEST_COOKIE).then(|| value.trim())
        })
    }

    /// Who asks, for questions to Nextcloud. roomd's own cookie is not among the credentials.
    pub fn asker(&self) -> Asker {
        let cookie = self.headers.cookie.as_ref().and_then(|cookies| {
            let kept: Vec<&str> = cookies
                .reveal()
                .split(';')
                .map(str::trim)
                .filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(GUEST_COOKIE))
                .collect();
            (!kept.is_empty()).then(|| Secret::new(kept.join("; ")))
        });
        let credentials = Credentials {
            authorization: self.headers.authorization.clone(),
            cookie,
            request_token: self.headers.request_token.clone(),
        };
        Asker { credentials, address: self.address }
    }
}

/// Later values of the same name replace earlier ones, as in PHP.
fn set(parameters: &mut Vec<(String, Value)>, name: String, value: Value) {
    match parameters.iter().position(|(n, _)| *n == name) {
        Some(at) => parameters[at].1 = value,
        None if parameters.len() < MOST_PARAMETERS => parameters.push((name, value)),
        None => {}
    }
}

fn set_text(parameters: &mut Vec<(String, Value)>, name: &str, value: String) {
    // `name[]=x` is an array in PHP: of no use as a string, 1 as a number.
    match name.split_once('[') {
        Some((array, _)) => set(parameters, array.to_owned(), Value::Array(vec![Value::String(value)])),
        None => set(parameters, name.to_owned(), Value::String(value)),
    }
}

fn merge_form(parameters: &mut Vec<(String, Value)>, text: &[u8]) {
    for (name, value) in form_urlencoded::parse(text) {
        set_text(parameters, &name, value.into_owned());
    }
}

/// The text fields of a `multipart/form-data` body, of which PHP takes those of a POST. Files are passed over, and so is
/// what does not look like a part.
fn merge_parts(parameters: &mut Vec<(String, Value)>, content_type: &str, body: &[u8]) {
    let Some(boundary) = attribute(content_type, "boundary").filter(|boundary| !boundary.is_empty()) else { return };
    // What no text holds becomes U+FFFD, as in the other kind of form.
    let body = format!("\r\n{}", String::from_utf8_lossy(body));
    for part in body.split(&format!("\r\n--{boundary}")).skip(1) {
        let Some((head, value)) = part.split_once("\r\n\r\n") else { continue };
        let is_disposition = |line: &&str| line.to_ascii_lowercase().starts_with("content-disposition:");
        let Some(disposition) = head.lines().find(is_disposition) else { continue };
        if let (Some(name), None) = (attribute(disposition, "name"), attribute(disposition, "filename")) {
            set_text(parameters, name, value.to_owned());
        }
    }
}

/// An attribute of a header's value, as in `form-data; name="x"`.
fn attribute<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim_matches('"'))
    })
}

/// PHP's `(int)` of anything.
fn cast_to_number(value: &Value) -> i64 {
    match value {
        Value::Null => 0,
        Value::Bool(b) => i64::from(*b),
        Value::Number(n) => n.as_i64().unwrap_or_else(|| float_to_number(n.as_f64().unwrap_or(0.0))),
        Value::String(text) => text_to_number(text),
        Value::Array(items) => i64::from(!items.is_empty()),
        Value::Object(fields) => i64::from(!fields.is_empty()),
    }
}

/// Beyond the range of an int PHP's cast is undefined; the nearest number is kept.
fn float_to_number(float: f64) -> i64 {
    float as i64
}

/// The number at the start of a text, blanks before it allowed: `"12x"` is 12, `"1e3"` is 1000, `"abc"` is 0.
fn text_to_number(text: &str) -> i64 {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let bytes = text.as_bytes();
    let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let digits_from = |at: usize| bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = sign + digits_from(sign);
    let mut end = whole;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits_from(end + 1);
        if fraction > 0 || whole > sign {
            end += 1 + fraction;
        }
    }
    if end > sign && matches!(bytes.get(end), Some(b'e' | b'E')) {
        let exponent_sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits_from(end + 1 + exponent_sign);
        if exponent > 0 {
            end += 1 + exponent_sign + exponent;
        }
    }
    match text[..end].parse::<i64>() {
        Ok(number) => number,
        Err(_) => float_to_number(text[..end].parse().unwrap_or(0.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, content_type: &str, body: &str) -> Request {
        let mut headers = Headers::default();
        headers.keep("Content-Type", content_type);
        Request::new(method, target, headers, None, body.as_bytes())
    }

    #[test]
    fn text_becomes_a_number_as_in_php() {
        let cases = [
            ("3", 3),
            (" 3", 3),
            ("12x", 12),
            ("abc", 0),
            ("", 0),
            ("-5", -5),
            ("2.9", 2),
            ("1e3", 1000),
            ("1e", 1),
            (".5", 0),
            ("9999999999999999999999", i64::MAX),
            ("+7", 7),
            ("-", 0),
        ];
        for (text, number) in cases {
            assert_eq!(text_to_number(text), number, "{text:?}");
        }
    }

    #[test]
    fn the_body_wins_over_the_query() {
        let form = request("POST", "/x?level=1&other=2", "application/x-www-form-urlencoded", "level=3");
        assert_eq!((form.number("level").unwrap(), form.number("other").unwrap()), (3, 2));
        let json = request("GET", "/x?level=1", "application/json; charset=utf-8", r#"{"level": 2}"#);
        assert_eq!(json.number("level").unwrap(), 2);
    }

    #[test]
    fn a_flood_of_parameters_is_cut_off() {
        let many: Vec<String> = (0..5000).map(|n| format!("{n}=")).collect();
        let flood = request("POST", "/x?a=b", "application/x-www-form-urlencoded", &many.join("&"));
        assert_eq!((flood.parameters.len(), flood.text("a")), (MOST_PARAMETERS, Ok("b")));
    }

    #[test]
    fn a_form_in_parts_has_texts_and_files() {
        let kind = "multipart/form-data; charset=utf-8; boundary=\"a-b\"";
        let body = "ignored\r\n--a-b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n2\r\n\
            --a-b\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; name=y[]\r\n\r\n\r\n\
            --a-b\r\nContent-Disposition: form-data; name=\"z\"; filename=\"f\"\r\n\r\nfile\r\n\
            --a-b\r\n\r\nnameless\r\n--a-b--\r\n";
        let form = request("POST", "/x", kind, body);
        assert_eq!(form.text("x"), Ok("1\r\n2"));
        assert_eq!((form.number("y"), form.text("z")), (Ok(1), Err(Error::InvalidQuery)));
        for (kind, body) in [("multipart/form-data", body), ("multipart/form-data; boundary=", body), (kind, "")] {
            assert_eq!(request("POST", "/x?x=url", kind, body).text("x"), Ok("url"));
        }
        assert!(request("PUT", "/x", kind, body).is_unreadable());
    }

    #[test]
    fn broken_json_is_ignored() {
        for body in ["{", "[1]", "5", "\"x\""] {
            assert_eq!(request("PUT", "/x?a=b", "application/json", body).text("a").unwrap(), "b");
        }
    }

    #[test]
    fn strings_are_not_cast() {
        for body in [r#"{"a": 5}"#, r#"{"a": true}"#, r#"{"a": ["x"]}"#, r#"{"a": null}"#, "{}"] {
            assert_eq!(request("PUT", "/x", "application/json", body).text("a"), Err(Error::InvalidQuery), "{body}");
        }
    }

    #[test]
    fn a_put_of_another_type_is_unreadable() {
        assert!(request("PUT", "/x", "text/plain", "a=b").is_unreadable());
        assert!(!request("PUT", "/x", "", "").is_unreadable());
        assert!(!request("POST", "/x", "text/plain", "a=b").is_unreadable());
    }

    #[test]
    fn the_own_cookie_is_no_credential() {
        let mut headers = Headers::default();
        headers.keep("cookie", "roomd_guest=abc; nc_session=1;x=2");
        let request = Request::new("GET", "/", headers, None, b"");
        assert_eq!(request.guest_cookie(), Some("abc"));
        assert_eq!(request.asker().credentials.cookie.unwrap().reveal(), "nc_session=1; x=2");
    }

    #[test]
    fn the_last_forwarded_address_is_the_proxys_word() {
        let mut headers = Headers::default();
        headers.keep("X-Forwarded-For", "1.2.3.4, 10.0.0.9");
        assert_eq!(headers.forwarded_address(), Some("10.0.0.9".parse().unwrap()));
    }
}
