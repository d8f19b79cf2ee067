//! `roomd check` on a whole installation: nginx, roomd and Nextcloud, once as they must be and once with each fault.
//!
//! Without nginx these tests say so and check nothing.

mod support;

use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use support::nginx::Front;

/// Exit code and findings, as `(state, what, words)`.
fn check(front: &Front, arguments: &[&str]) -> (Option<i32>, Vec<(String, String, String)>) {
    let output = front.command(&[&["check", "--json"], arguments].concat()).output().unwrap();
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = findings.iter().map(|f| (text(f, "state"), text(f, "what"), text(f, "words"))).collect();
    (output.status.code(), findings)
}

/// The only finding that is not good, as `state what: words`, with the exit code that it must come with.
#[track_caller]
fn only_fault(front: &Front, arguments: &[&str]) -> String {
    let (code, findings) = check(front, arguments);
    let faults: Vec<_> = findings.into_iter().filter(|(state, ..)| state != "ok").collect();
    let [(state, what, words)] = &faults[..] else { panic!("one fault was wanted: {faults:?}") };
    assert_eq!(code, Some(i32::from(state == "fail")), "{faults:?}");
    format!("{state} {what}: {words}")
}

#[track_caller]
fn says(told: &str, start: &str, remedies: &[&str]) {
    assert!(told.starts_with(start), "{told}");
    for remedy in remedies {
        assert!(told.contains(remedy), "no word of {remedy}: {told}");
    }
}

#[test]
fn where_everything_is_right_each_line_says_so() {
    let Some(front) = Front::start() else { return };
    front.nextcloud.trusts_proxies(true);
    front.alice().creates_group("Plans");
    let output = front.command(&["check"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let lines: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("ok    ")).collect();
    assert_eq!(lines.len(), said.lines().count(), "{said}");
    let what: Vec<&str> = lines.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        what,
        [
            "version",
            "configuration",
            "API socket",
            "operators' socket",
            "database",
            "Nextcloud",
            "clock",
            "trusted proxy",
            "nginx"
        ]
    );
    assert!(said.contains("1 conversations, 1 messages; everything agrees"), "{said}");
    assert!(said.contains("version 30.0.5 answers"), "{said}");
    let (code, findings) = check(&front, &["--url", &front.url()]);
    assert_eq!((code, findings.len()), (Some(0), lines.len()), "{findings:?}");
}

#[test]
fn a_nextcloud_that_does_not_trust_roomd_is_told_with_the_remedy() {
    let Some(front) = Front::start() else { return };
    front.nextcloud.trusts_proxies(false);
    says(&only_fault(&front, &[]), "fail trusted proxy", &["trusted_proxies", "127.0.0.1", "config.php"]);
}

#[test]
fn trust_that_cannot_be_measured_is_a_warning_that_says_how_to_see_it() {
    let Some(front) = Front::start() else { return };
    says(&only_fault(&front, &[]), "warn trusted proxy", &["notify_push", "occ config:system:get trusted_proxies"]);
}

#[test]
fn an_nginx_that_does_not_know_roomd_is_told_with_the_line_that_is_missing() {
    let Some(front) = Front::without_snippet() else { return };
    front.nextcloud.trusts_proxies(true);
    says(&only_fault(&front, &[]), "fail nginx", &[&front.url(), "include snippets/roomd.conf;"]);
    says(&only_fault(&front, &["--url", "cloud.example.com"]), "fail nginx", &["--url is", "https://"]);
}

#[test]
fn an_nginx_that_cannot_open_the_socket_is_told_apart() {
    let Some(front) = Front::start() else { return };
    front.nextcloud.trusts_proxies(true);
    let elsewhere = front.socket().with_file_name("elsewhere.sock");
    std::fs::rename(front.socket(), &elsewhere).unwrap();
    let config = std::fs::read_to_string(front.config()).unwrap().replace("/roomd.sock", "/elsewhere.sock");
    std::fs::write(front.config(), config).unwrap();
    says(&only_fault(&front, &[]), "fail nginx", &["502", "elsewhere.sock", "SocketGroup"]);
}

#[test]
fn the_service_account_is_tried_with_the_password_that_lies_beside_the_configuration() {
    let Some(front) = Front::start() else { return };
    front.nextcloud.trusts_proxies(true);
    let config = std::fs::read_to_string(front.config()).unwrap();
    std::fs::write(front.config(), format!("{config}service_user = \"admin\"\n")).unwrap();
    says(&only_fault(&front, &[]), "fail configuration", &["service_user", "/etc/roomd/service_password"]);
    let password = front.config().with_file_name("service_password");
    std::fs::write(&password, "admin\n").unwrap();
    let (code, findings) = check(&front, &[]);
    assert!(findings.iter().any(|(state, what, _)| state == "ok" && what == "service account"), "{findings:?}");
    assert_eq!(code, Some(0), "{findings:?}");
    std::fs::write(&password, "wrong\n").unwrap();
    says(&only_fault(&front, &[]), "fail service account", &["`admin`", "app password"]);
}

#[test]
fn a_server_that_was_not_restarted_after_an_upgrade_is_told() {
    let Some(front) = Front::start() else { return };
    front.nextcloud.trusts_proxies(true);
    // An older one, as far as its operators' socket tells.
    let socket = front.socket().with_file_name("admin.sock");
    std::fs::remove_file(&socket).unwrap();
    let older = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = older.accept().unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"ready\":true,\"version\":\"0.0.9\"}").unwrap();
    });
    says(&only_fault(&front, &[]), "warn running version", &["0.0.9 is running", "systemctl restart roomd"]);
}

#[test]
fn a_fresh_installation_is_told_what_to_set() {
    let Some(front) = Front::start() else { return };
    let config = std::fs::read_to_string(front.config()).unwrap();
    std::fs::write(front.config(), config.split("[nextcloud]").next().unwrap()).unwrap();
    says(&only_fault(&front, &[]), "fail Nextcloud", &["set nextcloud.url"]);
}
