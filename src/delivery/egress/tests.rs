use std::net::IpAddr;

use super::*;

fn loopback_allowed() -> EgressPolicy {
    EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()])
}

#[test]
fn allowed_ranges_lift_their_addresses_only() {
    let policy = loopback_allowed();
    for text in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(policy.judge_address(text.parse().unwrap()), Ok(()), "{text}");
    }
    for text in ["10.0.0.1", "::2", "::127.0.0.1", "0.0.0.0", "::"] {
        assert!(policy.judge_address(text.parse().unwrap()).is_err(), "{text}");
    }
}

#[test]
fn every_spelling_of_loopback_is_refused() {
    for text in [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://127.0.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0X7F.1/",
        "https://0177.0.0.1/",
        "https://017700000001/",
        "https://127.0.0.1./",
        "https://\u{2460}\u{2461}\u{2466}.0.0.1/",
        "https://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
        "https://127\u{3002}0\u{3002}0\u{ff0e}1/",
        "https://%31%32%37.0.0.1/",
        "https:127.0.0.1/",
        "https:///127.0.0.1/",
        "https://[::1]/",
        "https://[0:0:0:0:0:0:0:1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
    ] {
        let judged = EgressPolicy::default().judge_url(text);
        assert_eq!(judged, Err(UrlError::Address(Denied { kind: "loopback" })), "{text}");
    }
    assert_eq!(
        EgressPolicy::default().judge_url("https://0/").unwrap_err(),
        UrlError::Address(Denied { kind: "this network" })
    );
}

#[test]
fn urls_are_refused_with_their_reason() {
    let long = format!("https://hooks.example.com/{}", "a".repeat(MAX_CALLED_URL_BYTES));
    for (text, error) in [
        (long.as_str(), UrlError::TooLong(MAX_CALLED_URL_BYTES)),
        ("", UrlError::Malformed),
        ("hooks.example.com/x", UrlError::Malformed),
        ("https://", UrlError::Malformed),
        ("https://256.0.0.1/", UrlError::Malformed),
        ("https://1.2.3.4.5/", UrlError::Malformed),
        ("https://[fe80::1%25eth0]/", UrlError::Malformed),
        ("https://hooks.example.com:99999/", UrlError::Malformed),
        (" https://hooks.example.com/", UrlError::Malformed),
        ("https://hooks.example.com/a\r\nHost: x", UrlError::Malformed),
        ("https://hooks.example.com\\@127.0.0.1/", UrlError::Malformed),
        ("http://hooks.example.com/", UrlError::Scheme),
        ("ftp://hooks.example.com/", UrlError::Scheme),
        ("file:///etc/passwd", UrlError::Scheme),
        ("gopher://127.0.0.1:6379/_x", UrlError::Scheme),
        ("https://user@hooks.example.com/", UrlError::UserInfo),
        ("https://:pw@hooks.example.com/", UrlError::UserInfo),
        ("https://hooks.example.com:443@127.0.0.1/", UrlError::UserInfo),
        ("https://localhost/", UrlError::HostName),
        ("https://LOCALHOST/", UrlError::HostName),
        ("https://localhost./", UrlError::HostName),
        ("https://a.localhost/", UrlError::HostName),
        ("https://intranet/", UrlError::HostName),
        ("https://printer.local/", UrlError::HostName),
        ("https://metadata.google.internal/", UrlError::HostName),
        ("https://hooks.example.com./", UrlError::HostName),
        ("https://hooks..example.com/", UrlError::HostName),
        ("https://hooks!.example.com/", UrlError::HostName),
        ("https://hooks.example.com:80/", UrlError::Port(80)),
        ("https://hooks.example.com:0/", UrlError::Port(0)),
        ("https://hooks.example.com:22/", UrlError::Port(22)),
        ("https://hooks.example.com:1023/", UrlError::Port(1023)),
        ("https://hooks.example.com:5432/", UrlError::Port(5432)),
        ("https://hooks.example.com:6379/", UrlError::Port(6379)),
        ("https://8.8.8.8:27017/", UrlError::Port(27017)),
        ("http://8.8.8.8/", UrlError::Scheme),
    ] {
        assert_eq!(EgressPolicy::default().judge_url(text), Err(error), "{text}");
    }
}

#[test]
fn good_urls_come_out_in_their_normal_form() {
    for (text, shown, port) in [
        ("https://hooks.example.com", "https://hooks.example.com/", 443),
        ("HTTPS://Hooks.Example.COM:443/a?b=c#d", "https://hooks.example.com/a?b=c", 443),
        ("https://hooks.example.com:8443/a%20b", "https://hooks.example.com:8443/a%20b", 8443),
        ("https://hooks.example.com:1024/?q={click_id}", "https://hooks.example.com:1024/?q={click_id}", 1024),
        ("https://bücher.example/x", "https://xn--bcher-kva.example/x", 443),
        ("https://8.8.8.8/", "https://8.8.8.8/", 443),
        ("https://[2606:4700:4700::1111]/", "https://[2606:4700:4700::1111]/", 443),
    ] {
        let target = EgressPolicy::default().judge_url(text).unwrap();
        assert_eq!((target.to_string().as_str(), target.port()), (shown, port), "{text}");
        assert_eq!(EgressPolicy::default().judge_url(shown), Ok(target), "judging the normal form changes nothing");
    }
}

#[test]
fn allowed_ranges_lift_scheme_port_and_name_for_what_lies_in_them() {
    let policy = loopback_allowed();
    let local: IpAddr = "127.0.0.1".parse().unwrap();
    let public: IpAddr = "8.8.8.8".parse().unwrap();
    for text in ["http://127.1:6379/", "http://[::1]:80/", "http://[::ffff:127.0.0.1]:81/"] {
        assert!(policy.judge_url(text).is_ok(), "{text}");
    }
    assert_eq!(policy.judge_url("http://8.8.8.8/"), Err(UrlError::Scheme));
    assert_eq!(policy.judge_url("https://10.0.0.1/"), Err(UrlError::Address(Denied { kind: "private network" })));
    for (text, error) in [
        ("http://hooks.example.com:8080/", UrlError::Scheme),
        ("https://hooks.example.com:80/", UrlError::Port(80)),
        ("https://localhost/", UrlError::HostName),
    ] {
        let target = policy.judge_url(text).unwrap();
        assert_eq!(policy.judge_reached(&target, local), Ok(()), "{text}");
        assert_eq!(policy.judge_reached(&target, public), Err(error), "{text}");
    }
}

#[test]
fn one_bad_address_refuses_the_name() {
    let policy = EgressPolicy::default();
    let target = policy.judge_url("https://hooks.example.com/").unwrap();
    let addresses: Vec<IpAddr> = ["8.8.8.8", "::ffff:9.9.9.9"].map(|text| text.parse().unwrap()).into();
    let dialled = policy.judge_all(&target, &addresses).unwrap();
    assert_eq!(dialled, ["8.8.8.8:443", "9.9.9.9:443"].map(|text| text.parse().unwrap()));
    for bad in ["10.0.0.1", "::1", "::ffff:10.0.0.1"] {
        let mixed = [addresses.clone(), vec![bad.parse().unwrap()]].concat();
        assert!(matches!(policy.judge_all(&target, &mixed), Err(UrlError::Address(_))), "{bad}");
    }
}

#[test]
fn debug_hides_path_and_query() {
    let target = EgressPolicy::default().judge_url("https://hooks.example.com/tok1?key=tok2").unwrap();
    assert!(!format!("{target:?}").contains("tok"));
}
