//! Whom we believe to be the receiver.

use std::sync::{Arc, Mutex};

use postback::delivery::sender::{Sender, SenderSettings};
use postback::domain::delivery::AttemptOutcome;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::receiver::{Conversation, Receiver};
use super::{FAILED, NAME, OK, Prepared, loopback, now, post, said, sender, trusting};

/// A certificate for [`NAME`], as its own root, and a receiver that shows it.
async fn tls_receiver() -> (Receiver, CertificateDer<'static>, Arc<Mutex<Vec<String>>>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
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
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let resolver = Prepared::new(&[&["127.0.0.1"]]);
    let sender = Sender::with_parts(loopback(), SenderSettings::default(), resolver, trusting(roots));

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
