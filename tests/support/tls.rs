//! A TLS server in front of a stand-in Nextcloud: nginx with a certificate of a private authority.

use super::nginx;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};

pub struct TlsFront {
    folder: PathBuf,
    nginx: Child,
    pub port: u16,
}

impl TlsFront {
    /// With a certificate for `host`. `None`, with the reason on the test's output, where a program is missing.
    pub fn start(host: &str, upstream: &str) -> Option<TlsFront> {
        let program = nginx::program()?;
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("SKIPPED: openssl makes the certificates of this test, and is not installed");
            return None;
        }
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("roomd-tls-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        make_certificate(&folder, host);
        let (nginx, address) = nginx::serve(program, &folder, |address| {
            let place = folder.display();
            format!(
                "server {{ listen {address} ssl; ssl_certificate {place}/cert.pem; ssl_certificate_key {place}/key.pem; \
                 location / {{ proxy_pass {upstream}; }} }}"
            )
        });
        Some(TlsFront { nginx, port: address.port(), folder })
    }

    /// The authority's own certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.nginx.id().to_string()).status();
        let _ = self.nginx.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn make_certificate(folder: &Path, host: &str) {
    let script = format!(
        "set -e; cd {place}; \
         openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=Private \
           -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign; \
         openssl req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN={host}; \
         printf 'subjectAltName=DNS:{host}\\nbasicConstraints=CA:FALSE\\n' > extensions; \
         openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out cert.pem",
        place = folder.display()
    );
    let made = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
