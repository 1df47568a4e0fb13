//! Whom we believe to be the receiver.

use std::sync::{Arc, Mutex};

use postback::delivery::sender::{Sender, SenderSettings};
use postback::domain::delivery::AttemptOutcome;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::AsyncReadExt as _;
use tokio_rustls::TlsAcceptor;

use super::receiver::{Conversation, Receiver};
use super::{FAILED, NAME, OK, Prepared, loopback, now, post, said, sender, trusting};

/// A certificate for [`NAME`], as its own root, and a receiver that shows it.
async fn tls_receiver() -> (Receiver, CertificateDer<'static>, Arc<Mutex<Vec<String>>>) {
    showing(CertificateParams::new([NAME.to_owned()]).unwrap(), rustls::ALL_VERSIONS).await
}

/// The same with another certificate, and these versions of TLS only.
async fn showing(
    certificate: CertificateParams,
    versions: &[&'static SupportedProtocolVersion],
) -> (Receiver, CertificateDer<'static>, Arc<Mutex<Vec<String>>>) {
    let signing_key = KeyPair::generate().unwrap();
    let cert = certificate.self_signed(&signing_key).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let names = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&names);
    let receiver = Receiver::start(move |talk| {
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        async move {
            let Ok(stream) = acceptor.accept(talk.stream).await else { return };
            seen.lock().unwrap().push(stream.get_ref().1.server_name().unwrap_or_default().to_owned());
            let mut talk = Conversation { stream, requests: talk.requests };
            while talk.next_request().await {
                talk.write(OK.as_bytes()).await;
            }
        }
    })
    .await;
    (receiver, cert.der().clone(), names)
}

#[tokio::test]
async fn tls_sees_the_name_and_verifies_it() {
    let (receiver, certificate, names) = tls_receiver().await;
    let sender = believing(certificate);

    let result = sender.send(post(format!("https://{NAME}:{}/", receiver.port)), now()).await;
    assert_eq!(result.outcome, AttemptOutcome::Delivered, "{result:?}");
    assert_eq!(*names.lock().unwrap(), [NAME]);
    assert!(receiver.requests()[0].contains(&format!("host: {NAME}:{}\r\n", receiver.port)));

    let result = sender.send(post(format!("https://other.example.com:{}/", receiver.port)), now()).await;
    assert_eq!(said(&result), "the TLS certificate was not accepted: it does not name this host");
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn an_unknown_certificate_is_refused_in_production() {
    let (receiver, ..) = tls_receiver().await;
    let result = sender().send(post(format!("https://127.0.0.1:{}/", receiver.port)), now()).await;
    assert_eq!(result.outcome, FAILED);
    assert!(said(&result).starts_with("the TLS certificate was not accepted"), "{result:?}");
    assert!(receiver.requests().is_empty());

    let plain = Receiver::start(|mut talk| async move {
        talk.write(OK.as_bytes()).await;
        talk.hold().await;
    })
    .await;
    let result = sender().send(post(format!("https://127.0.0.1:{}/", plain.port)), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "no TLS connection could be agreed on"));
}

/// A sender that trusts one certificate, and finds every name on loopback.
fn believing(certificate: CertificateDer<'static>) -> Sender {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let resolver = Prepared::new(&[&["127.0.0.1"]]);
    Sender::with_parts(loopback(), SenderSettings::default(), resolver, trusting(roots))
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken() {
    for version in [&TLS12, &TLS13] {
        let named = CertificateParams::new([NAME.to_owned()]).unwrap();
        let (receiver, certificate, _) = showing(named, &[version]).await;
        let result = believing(certificate).send(post(format!("https://{NAME}:{}/", receiver.port)), now()).await;
        assert_eq!(result.outcome, AttemptOutcome::Delivered, "{version:?}: {result:?}");
    }
}

#[tokio::test]
async fn tls_1_1_is_neither_offered_nor_taken() {
    let hello = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&hello);
    let receiver = Receiver::start(move |mut talk| {
        let kept = Arc::clone(&kept);
        async move {
            let mut start = vec![0; 4096];
            let count = talk.stream.read(&mut start).await.unwrap();
            kept.lock().unwrap().extend_from_slice(&start[..count]);
            talk.write(&tls_1_1_hello()).await;
            talk.hold().await;
        }
    })
    .await;
    let result = sender().send(post(format!("https://127.0.0.1:{}/", receiver.port)), now()).await;
    assert_eq!((result.outcome, said(&result)), (FAILED, "no TLS connection could be agreed on"));
    // The extension "supported versions" with a list of two: 1.3 and 1.2.
    let hello = hello.lock().unwrap();
    let offered = |list: [u8; 4]| [&[0, 0x2b, 0, 5, 4], list.as_slice()].concat();
    let both = [offered([3, 4, 3, 3]), offered([3, 3, 3, 4])];
    assert!(hello.windows(9).any(|window| both.iter().any(|offer| offer == window)), "{hello:02x?}");
}

/// A server's hello that chooses TLS 1.1 with AES in CBC mode.
fn tls_1_1_hello() -> Vec<u8> {
    let body = [&[3, 2][..], &[7; 32], &[0, 0xc0, 0x13, 0]].concat();
    let length = u8::try_from(body.len()).unwrap();
    [&[22, 3, 2, 0, length + 4, 2, 0, 0, length][..], &body].concat()
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused_though_trusted() {
    for (from, until, why) in [(2001, 2002, "it has expired"), (2999, 3000, "it is not valid yet")] {
        let mut named = CertificateParams::new([NAME.to_owned()]).unwrap();
        (named.not_before, named.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let (receiver, certificate, _) = showing(named, rustls::ALL_VERSIONS).await;
        let result = believing(certificate).send(post(format!("https://{NAME}:{}/", receiver.port)), now()).await;
        assert_eq!((result.outcome, said(&result)), (FAILED, &*format!("the TLS certificate was not accepted: {why}")));
        assert!(receiver.requests().is_empty());
    }
}
