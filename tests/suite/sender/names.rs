//! Where a name leads, asked of a real name server through the whole sender.

use std::net::SocketAddr;
use std::time::Duration;

use postback::delivery::connector::DialError;
use postback::delivery::egress::EgressPolicy;
use postback::delivery::sender::{Sender, SenderSettings};
use postback::domain::delivery::{AttemptOutcome, AttemptResult};
use tokio::net::UdpSocket;

use super::receiver::Receiver;
use super::{FAILED, NAME, OK, allowing, now, post, said};
use crate::support::name_server::{Kind, NameServer, Say, found, parsed};

/// The only address that is allowed besides the public ones: where the receivers listen.
const HERE: &str = "127.0.0.1";
const PRIVATE: &str = "the address is not public (private network)";
const UNRESOLVED: &str = "the name could not be resolved";
/// Long enough for an answer of a busy machine, where the limit is not what is tested.
const PLENTY: Duration = Duration::from_secs(20);
/// For servers that are silent.
const SHORT: Duration = Duration::from_millis(300);

fn asking(servers: &[SocketAddr], resolve_timeout: Duration) -> Sender {
    asking_under(allowing(&["127.0.0.1/32"]), servers, resolve_timeout)
}

fn asking_under(policy: EgressPolicy, servers: &[SocketAddr], resolve_timeout: Duration) -> Sender {
    let total_timeout = Duration::from_secs(30);
    let settings =
        SenderSettings { total_timeout, name_servers: servers.to_vec(), resolve_timeout, ..SenderSettings::default() };
    Sender::new(policy, settings).unwrap()
}

/// A receiver, a name server, and a sender that asks it.
struct Scene {
    receiver: Receiver,
    names: NameServer,
    sender: Sender,
}

impl Scene {
    async fn new() -> Self {
        Self::before(Receiver::answering(OK).await).await
    }

    /// With a receiver that closes after each answer, so that each attempt dials.
    async fn closing() -> Self {
        let receiver = Receiver::start(|mut talk| async move {
            talk.next_request().await;
            talk.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        });
        Self::before(receiver.await).await
    }

    async fn before(receiver: Receiver) -> Self {
        let names = NameServer::start().await;
        let sender = asking(&[names.address()], PLENTY);
        Self { receiver, names, sender }
    }

    fn url(&self) -> String {
        format!("http://{NAME}:{}/", self.receiver.port)
    }

    async fn attempt(&self) -> AttemptResult {
        self.sender.send(post(self.url()), now()).await
    }

    /// How many questions there have been of each kind.
    fn asked(&self) -> [usize; 2] {
        [Kind::A, Kind::Aaaa].map(|kind| self.names.asked(NAME, kind))
    }
}

#[tokio::test]
async fn one_dial_asks_once_for_each_kind_and_goes_where_it_was_told() {
    let scene = Scene::new().await;
    scene.names.says(NAME, &[found(&[HERE]), found(&["10.0.0.1", "fd00::1"])]);
    let result = scene.attempt().await;
    assert_eq!((result.outcome, scene.asked()), (AttemptOutcome::Delivered, [1, 1]), "{result:?}");
    assert!(scene.receiver.requests()[0].contains(&format!("host: {NAME}:{}\r\n", scene.receiver.port)));
}

#[tokio::test]
async fn one_bad_address_of_either_kind_refuses_the_name() {
    for (answers, why) in [
        (&[HERE, "10.0.0.1"][..], PRIVATE),
        (&["10.0.0.1", HERE], PRIVATE),
        (&[HERE, "fd00::1"], PRIVATE),
        (&[HERE, "::ffff:10.0.0.1"], PRIVATE),
        (&[HERE, "::ffff:169.254.169.254"], "the address is not public (link-local)"),
        (&[HERE, "fe80::1"], "the address is not public (link-local)"),
        (&[HERE, "::1"], "the address is not public (loopback)"),
        (&[HERE, "::127.0.0.1"], "the address is not public (not global unicast)"),
        (&[HERE, "64:ff9b::a00:1"], "the address is not public (translated IPv4)"),
        (&[HERE, "2002:a00:1::1"], "the address is not public (6to4)"),
        (&["8.8.8.8", "2606:4700:4700::1111", "172.16.0.1"], "the URL must begin with https://"),
    ] {
        let scene = Scene::new().await;
        scene.names.says(NAME, &[found(answers)]);
        let result = scene.attempt().await;
        assert_eq!((result.outcome, said(&result)), (FAILED, why), "{answers:?}");
        assert_eq!(scene.receiver.connections(), 0, "{answers:?}");
    }
}

#[tokio::test]
async fn without_allowed_ranges_public_and_private_together_are_refused_too() {
    let names = NameServer::start().await;
    let sender = asking_under(EgressPolicy::default(), &[names.address()], PLENTY);
    for answers in [&["8.8.8.8", "10.0.0.1"][..], &["8.8.8.8", "fd00::1"], &["10.0.0.1", "2606:4700:4700::1111"]] {
        names.says(NAME, &[found(answers)]);
        let url = format!("https://{NAME}/");
        assert_eq!(said(&sender.send(post(&url), now()).await), PRIVATE, "{answers:?}");
        assert_eq!(sender.check_url(&url).await.unwrap_err().slug(), "url_address", "{answers:?}");
    }
    names.says(NAME, &[found(&["8.8.8.8", "2606:4700:4700::1111"])]);
    sender.check_url(&format!("https://{NAME}/")).await.unwrap();
}

#[tokio::test]
async fn an_alias_is_judged_by_where_it_leads() {
    let scene = Scene::new().await;
    let inside = "db.corp.example.com".to_owned();
    scene.names.says(NAME, &[Say::Alias(inside, parsed(&["10.0.0.1", "fd00::1"]))]);
    assert_eq!(said(&scene.attempt().await), PRIVATE);
    assert_eq!(scene.receiver.connections(), 0);
    // A local name behind an alias is no worse than its address.
    scene.names.says(NAME, &[Say::Alias("printer.local".to_owned(), parsed(&[HERE]))]);
    assert_eq!(scene.attempt().await.outcome, AttemptOutcome::Delivered);
}

#[tokio::test]
async fn a_name_that_moves_after_registration_is_refused_at_the_attempt() {
    let scene = Scene::new().await;
    scene.names.says(NAME, &[found(&[HERE]), found(&["10.0.0.1"])]);
    scene.sender.check_url(&scene.url()).await.unwrap();
    let result = scene.attempt().await;
    assert_eq!((result.outcome, said(&result), scene.asked()), (FAILED, PRIVATE, [2, 2]));
    assert_eq!(scene.receiver.connections(), 0);
}

#[tokio::test]
async fn a_name_that_moves_between_attempts_is_judged_at_each() {
    let scene = Scene::closing().await;
    scene.names.says(NAME, &[found(&[HERE]), found(&["192.168.0.1"]), found(&[HERE, "fd00::1"]), found(&[HERE])]);
    for expected in ["", PRIVATE, PRIVATE, ""] {
        let result = scene.attempt().await;
        assert_eq!(said(&result), expected);
        scene.receiver.all_closed().await;
    }
    assert_eq!((scene.receiver.connections(), scene.asked()), (2, [4, 4]));
}

#[tokio::test]
async fn a_kept_connection_stays_where_it_was_judged() {
    let scene = Scene::new().await;
    scene.names.says(NAME, &[found(&[HERE]), found(&["10.0.0.1"])]);
    assert_eq!(scene.attempt().await.outcome, AttemptOutcome::Delivered);
    // Whether the connection is back in time decides which of the two happens; a third thing never does.
    for _ in 0..20 {
        let result = scene.attempt().await;
        assert!(result.outcome == AttemptOutcome::Delivered || said(&result) == PRIVATE, "{result:?}");
        assert_eq!(scene.receiver.connections(), 1);
    }
}

#[tokio::test]
async fn a_name_without_addresses_is_told_in_words() {
    for (say, questions) in [(Say::NoSuchName, 1), (found(&[]), 1), (Say::Failure, 2)] {
        let scene = Scene::new().await;
        scene.names.says(NAME, std::slice::from_ref(&say));
        let result = scene.attempt().await;
        assert_eq!((result.outcome, said(&result)), (FAILED, UNRESOLVED), "{say:?}");
        assert_eq!(scene.asked(), [questions; 2], "{say:?}");
        assert_eq!(scene.sender.check_url(&scene.url()).await.unwrap_err().slug(), "url_unresolved");
    }
}

#[tokio::test]
async fn silence_and_noise_end_at_the_limit() {
    for say in [Say::Silence, Say::Noise] {
        let names = NameServer::start().await;
        names.says(NAME, std::slice::from_ref(&say));
        let sender = asking(&[names.address()], SHORT);
        let result = sender.send(post(format!("http://{NAME}/")), now()).await;
        assert_eq!(
            (result.outcome, said(&result)),
            (FAILED, "the name could not be resolved within 300 ms"),
            "{say:?}"
        );
        assert!(result.duration < Duration::from_secs(5), "{say:?}: {:?}", result.duration);
        assert_eq!(names.asked(NAME, Kind::A), 2, "{say:?}: asked again");
        let registered = sender.check_url(&format!("http://{NAME}/")).await;
        assert!(matches!(registered, Err(DialError::ResolveTimedOut(SHORT))), "{registered:?}");
    }
}

#[tokio::test]
async fn a_lost_datagram_is_asked_for_again() {
    let scene = Scene::new().await;
    scene.names.says(NAME, &[Say::Silence, found(&[HERE])]);
    let sender = asking(&[scene.names.address()], Duration::from_secs(3));
    let result = sender.send(post(scene.url()), now()).await;
    assert_eq!((result.outcome, scene.asked()), (AttemptOutcome::Delivered, [2, 2]), "{result:?}");
}

#[tokio::test]
async fn one_kind_is_enough_when_the_other_cannot_be_had() {
    for say in [Say::Failure, Say::Silence] {
        let scene = Scene::new().await;
        scene.names.says_of(NAME, Kind::A, &[found(&[HERE])]);
        scene.names.says_of(NAME, Kind::Aaaa, std::slice::from_ref(&say));
        let sender = asking(&[scene.names.address()], Duration::from_secs(3));
        let result = sender.send(post(scene.url()), now()).await;
        assert_eq!(result.outcome, AttemptOutcome::Delivered, "{say:?}: {result:?}");
        // What cannot be had does not make what was had better.
        scene.names.says_of(NAME, Kind::A, &[found(&["10.0.0.1"])]);
        let other = asking(&[scene.names.address()], Duration::from_secs(3));
        assert_eq!(said(&other.send(post(scene.url()), now()).await), PRIVATE, "{say:?}");
    }
}

#[tokio::test]
async fn the_next_name_server_is_asked_when_one_does_not_help() {
    let good = NameServer::start().await;
    good.says(NAME, &[found(&[HERE])]);
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (silent, failing) = (NameServer::start().await, NameServer::start().await);
    silent.says(NAME, &[Say::Silence]);
    failing.says(NAME, &[Say::Failure]);
    let receiver = Receiver::answering(OK).await;
    for first in [deaf, silent.address(), failing.address()] {
        let sender = asking(&[first, good.address()], Duration::from_secs(3));
        let result = sender.send(post(format!("http://{NAME}:{}/", receiver.port)), now()).await;
        assert_eq!(result.outcome, AttemptOutcome::Delivered, "{result:?}");
    }
    // A name that does not exist is a fact, not a failure: nobody else is asked.
    let denying = NameServer::start().await;
    let sender = asking(&[denying.address(), good.address()], PLENTY);
    let result = sender.send(post(format!("http://{NAME}/")), now()).await;
    assert_eq!((said(&result), good.asked(NAME, Kind::A)), (UNRESOLVED, 3));
}

#[tokio::test]
async fn a_reply_that_was_cut_off_is_read_over_tcp_and_judged_whole() {
    let scene = Scene::new().await;
    scene.names.says(NAME, &[Say::OnlyOverTcp(parsed(&[HERE]))]);
    let result = scene.attempt().await;
    assert_eq!(result.outcome, AttemptOutcome::Delivered, "{result:?}");

    let many: Vec<String> = (1..=200).map(|last| format!("8.8.4.{last}")).chain(["10.0.0.1".to_owned()]).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    scene.names.says(NAME, &[Say::OnlyOverTcp(parsed(&many))]);
    let sender = asking_under(EgressPolicy::default(), &[scene.names.address()], PLENTY);
    assert_eq!(said(&sender.send(post(format!("https://{NAME}/")), now()).await), PRIVATE);
}

#[tokio::test]
async fn forged_replies_are_passed_over() {
    let scene = Scene::new().await;
    scene.names.says(NAME, &[Say::AfterForgeries(parsed(&["10.0.0.1", "fd00::1"]), parsed(&[HERE]))]);
    let result = scene.attempt().await;
    assert_eq!((result.outcome, scene.asked()), (AttemptOutcome::Delivered, [1, 1]), "{result:?}");
}

#[tokio::test]
async fn what_is_refused_by_its_text_is_never_asked_for() {
    let names = NameServer::start().await;
    let sender = asking_under(EgressPolicy::default(), &[names.address()], PLENTY);
    for (host, slug) in [
        ("printer.local", "url_host"),
        ("metadata.google.internal", "url_host"),
        ("a.localhost", "url_host"),
        ("intranet", "url_host"),
        ("hooks.example.com.", "url_host"),
        ("hooks.example.com:22", "url_port"),
        ("hooks.example.com:5432", "url_port"),
        ("me:pw@hooks.example.com", "url_user_info"),
    ] {
        let url = format!("https://{host}/");
        assert_eq!(sender.check_url(&url).await.unwrap_err().slug(), slug, "{url}");
        assert_eq!(sender.send(post(&url), now()).await.outcome, FAILED, "{url}");
        let bare = host.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches([':', '.']);
        assert_eq!(names.asked(bare, Kind::A) + names.asked(NAME, Kind::A), 0, "{url}");
    }
}

#[tokio::test]
async fn names_of_the_system_are_not_known_to_name_servers_of_ones_own() {
    let receiver = Receiver::answering(OK).await;
    let url = format!("http://localhost:{}/", receiver.port);
    let names = NameServer::start().await;
    let result = asking(&[names.address()], PLENTY).send(post(&url), now()).await;
    assert_eq!((said(&result), names.asked("localhost", Kind::A)), (UNRESOLVED, 1), "no hosts file");
}
