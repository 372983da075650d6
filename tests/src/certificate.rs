//! A certificate for TLS, made by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A certificate for `name` and its key, in files of a folder.
#[track_caller]
pub fn certify(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    let out = Command::new("openssl")
        .args(words.split(' '))
        .args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName=DNS:{name}")])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl is installed");
    assert!(out.status.success(), "{out:?}");
    (certificate, key)
}
