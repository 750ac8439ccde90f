//! What is refused at the start, against real sockets and real TLS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::sync::Arc;
use std::time::Duration;

use reelcase_upstream::{CheckError, Client, Hosts, TlsError, Waits, check};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A certificate for `localhost` that nobody vouches for, and its key.
const CERTIFICATE: &[u8] = include_bytes!("../testdata/localhost.pem");
const KEY: &[u8] = include_bytes!("../testdata/localhost.key.pem");

fn client(roots_pem: Option<&[u8]>) -> Client {
    let wait = Duration::from_secs(10);
    Client::new(Waits { connect: wait, reply: wait, piece: wait }, roots_pem).unwrap()
}

/// Answers every request with 404 over TLS, and returns where.
async fn tls_server() -> Hosts {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    format!("https://localhost:{port}").parse().unwrap()
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_refused() {
    let hosts = "https://no-such-host.invalid".parse().unwrap();
    let refused = check(&client(None), &hosts, "us").await.unwrap_err();
    assert!(matches!(refused, CheckError::UnknownHost { .. }), "{refused}");
    assert!(refused.to_string().contains("no-such-host.invalid"));
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_unless_the_operator_does() {
    let hosts = tls_server().await;
    let refused = check(&client(None), &hosts, "us").await.unwrap_err();
    assert!(matches!(refused, CheckError::BadCertificate { .. }), "{refused}");
    assert!(refused.to_string().contains("--upstream-ca"), "{refused}");
    check(&client(Some(CERTIFICATE)), &hosts, "us").await.unwrap();
}

#[tokio::test]
async fn a_posthog_that_is_only_away_is_no_reason_not_to_start() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hosts = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    check(&client(None), &hosts, "us").await.unwrap();
}

#[test]
fn a_file_without_a_certificate_is_refused() {
    let wait = Duration::from_secs(1);
    let refused = Client::new(Waits { connect: wait, reply: wait, piece: wait }, Some(b"no certificate"));
    assert!(matches!(refused, Err(TlsError::NoCertificate(_))));
}
