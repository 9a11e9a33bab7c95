//! Files, times, the host's settings.

use super::super::answer::address_of;
use super::super::cache::Cache;
use super::super::message::{Lifetime, Query, Reply, judge};
use super::super::names::{Broken, is_name};
use super::super::zone::Zone;
use super::forwarding::{answer, soa};
use super::*;
use proptest::prelude::*;

fn an_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

fn some_names() -> impl Strategy<Value = Vec<Name>> {
    let kind = prop::sample::select(vec![Kind::Name, Kind::Alias, Kind::Id]);
    // Few letters, so that names meet.
    let one = ("[abAé]{1,2}(\\.[ab]{1,2})?", prop::collection::vec(an_address(), 0..4), kind)
        .prop_map(|(name, addresses, kind)| Name { name, addresses, kind });
    prop::collection::vec(one, 0..40)
}

proptest! {
    #[test]
    fn files_say_again_what_was_written(
        names in some_names(),
        path in "/[^\0]{1,40}",
        forward: bool,
        internal: bool,
        upstreams in prop::collection::vec((an_address(), any::<u16>()).prop_map(SocketAddr::from), 0..5),
    ) {
        let network = Network {
            name: "net.work".into(),
            subnets: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/64".parse().unwrap()],
            names: names.clone(),
        };
        prop_assert_eq!(Network::parse(&network.to_text()), Ok(network));
        let resolver = Resolver {
            forward,
            upstreams,
            networks: vec![NetworkFile { path: path.into(), internal }],
            links: names.iter().map(|name| (name.name.clone(), "other".to_owned())).collect(),
            hosts: names.into_iter().map(|name| (name.name, name.addresses)).collect(),
        };
        prop_assert_eq!(Resolver::parse(&resolver.to_text()), Ok(resolver));
    }

    #[test]
    fn zones_find_what_a_list_would(names in some_names(), asked in "[abAé]{1,2}(\\.[ab]{1,2})?(\\.net)?", address in an_address()) {
        let network = Network { name: "Net".into(), subnets: vec![], names: names.clone() };
        let zone = Zone::parse(&network.to_text()).unwrap();
        let asked = asked.to_ascii_lowercase();
        let listed = |asked: &str| {
            let mut same = names.iter().filter(|name| name.name.eq_ignore_ascii_case(asked)).peekable();
            same.peek()?;
            let mut all: Vec<IpAddr> = same.flat_map(|name| name.addresses.clone()).collect();
            all.sort_unstable();
            all.dedup();
            Some(all)
        };
        let expected = listed(&asked).or_else(|| listed(asked.strip_suffix(".net")?));
        let found = zone.find(asked.as_bytes()).map(|found| {
            let v4 = found.v4.iter().map(|&address| IpAddr::V4(address));
            v4.chain(found.v6.iter().map(|&address| IpAddr::V6(address))).collect::<Vec<_>>()
        });
        prop_assert_eq!(found, expected);
        for address in names.iter().flat_map(|name| &name.addresses).chain([&address]) {
            let first = names.iter().find(|name| name.kind == Kind::Name && name.addresses.contains(address));
            let named = zone.name_of(*address).map(|(name, _)| String::from_utf8(name.to_vec()).unwrap());
            prop_assert_eq!(named, first.map(|name| name.name.to_ascii_lowercase()));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(berth-(names|resolver) 1\n)?([a-z]{1,9} [ -~é]{0,30}\n){0,5}(end\n)?") {
        _ = Resolver::parse(&text);
        prop_assert_eq!(Network::parse(&text).is_ok(), Zone::parse(&text).is_ok());
        _ = Resolvers::parse(&text, |_| None);
    }

    #[test]
    fn addresses_are_read_from_their_names(address in an_address()) {
        prop_assert_eq!(address_of(reverse(address).as_bytes()), Some(address));
    }
}

fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let digits = address.octets().into_iter().rev();
            digits.map(|byte| format!("{:x}.{:x}.", byte & 15, byte >> 4)).collect::<String>() + "ip6.arpa"
        }
    }
}

#[test]
fn names_that_are_no_addresses_are_none() {
    for name in [
        "in-addr.arpa",
        "1.2.3.in-addr.arpa",
        "5.1.2.3.4.in-addr.arpa",
        "256.2.3.4.in-addr.arpa",
        "01.2.3.4.in-addr.arpa",
        "+1.2.3.4.in-addr.arpa",
        ".2.3.4.in-addr.arpa",
        "1.2.3.4.in-addr.arpa.mynet",
        "0.ip6.arpa",
    ] {
        assert_eq!(address_of(name.as_bytes()), None, "{name}");
    }
}

#[test]
fn files_are_refused_with_the_line_that_is_wrong() {
    let resolver = "berth-resolver 1\nforward yes\nend\n";
    assert!(Resolver::parse(resolver).is_ok());
    for (from, to, line) in [
        ("berth-resolver 1", "berth-resolver 2", 1),
        ("yes", "maybe", 2),
        ("yes", "yes\nforward no", 3),
        ("yes", "yes\nupstream 1.2.3.4", 3),
        ("yes", "yes\nnetwork external rel", 3),
        ("yes", "yes\nnetwork external /%0", 3),
        ("yes", "yes\nnetwork external /a%00", 3),
        ("yes", "yes\nnetwork sideways /a", 3),
        ("yes", "yes\nhost a..b 1.2.3.4", 3),
        ("yes", "yes\nhost a 1.2.3.4 ", 3),
        ("yes", "yes\n", 3),
        ("forward yes\n", "", 1),
        ("end\n", "end\nforward no\n", 5),
        ("end\n", "end", 3),
        ("end\n", "", 3),
    ] {
        let broken = resolver.replacen(from, to, 1);
        assert_eq!(Resolver::parse(&broken), Err(Broken { line }), "{broken:?}");
    }
}

#[test]
fn names_that_cannot_be_asked_for_are_left_out() {
    assert!(is_name(&format!("{}.b", "a".repeat(63))));
    for bad in ["", ".", "a.", ".a", "a b", "a\n", "a\u{85}", &"a".repeat(64), &"a.".repeat(127)] {
        assert!(!is_name(bad), "{bad:?}");
        let network = Network { names: vec![name(Kind::Alias, bad, &["1.2.3.4"])], ..Network::default() };
        assert_eq!(Network::parse(&network.to_text()), Ok(Network::default()));
    }
}

#[test]
fn times_are_the_shortest_and_denials_say_theirs() {
    let query = query(1, "www.example", rr::A);
    let seconds = |reply: &[u8]| Lifetime::of(reply).map(|lifetime| lifetime.seconds);
    let a = |ttl| (rr::A, ttl, &[192, 0, 2, 1][..]);
    assert_eq!(seconds(&answer(&query, 0, &[a(300), a(20)], &[])), Some(20));
    assert_eq!(seconds(&answer(&query, 0, &[a(300)], &[(2, 10, &[0])])), Some(10));
    assert_eq!(seconds(&answer(&query, 0, &[a(0)], &[])), None);
    assert_eq!(seconds(&answer(&query, 0, &[a(0x8000_0000)], &[])), None);
    assert_eq!(seconds(&answer(&query, 0, &[], &[])), None);
    assert_eq!(seconds(&answer(&query, 0, &[], &[(2, 10, &[0])])), None, "it only says who may know");
    assert_eq!(seconds(&answer(&query, 3, &[], &[(rr::SOA, 3600, &soa(60))])), Some(60));
    assert_eq!(seconds(&answer(&query, 3, &[], &[(rr::SOA, 30, &soa(60))])), Some(30));
    // An alias of what isn't there.
    assert_eq!(seconds(&answer(&query, 3, &[(5, 300, &[0])], &[(rr::SOA, 3600, &soa(60))])), Some(60));
    assert_eq!(seconds(&answer(&query, 2, &[a(300)], &[])), None);
    let mut cut = answer(&query, 0, &[a(300)], &[]);
    assert_eq!(seconds(&cut[..cut.len() - 1]), None);
    cut[2] |= 2;
    assert_eq!(seconds(&cut), None);
}

#[test]
fn kept_answers_count_down_and_end() {
    let message = query(1, "www.example", rr::A);
    let question = Query::parse(&message).unwrap();
    let reply = answer(&message, 0, &[(rr::A, 100, &[192, 0, 2, 1]), (rr::A, 200, &[192, 0, 2, 2])], &[]);
    let (mut cache, mut out, begin) = (Cache::default(), Vec::new(), Instant::now());
    cache.keep(&question, &reply, begin);
    let mut ttls = |seconds| {
        let known = cache.answer(&mut out, &question, begin + Duration::from_secs(seconds));
        known.then(|| said(&out).answers.iter().map(|(_, ttl, _)| *ttl).collect::<Vec<_>>())
    };
    assert_eq!(ttls(0), Some(vec![100, 200]));
    assert_eq!(ttls(99), Some(vec![1, 101]));
    assert_eq!(ttls(100), None);
    // A denial's time is in a field that isn't counted down: others must learn it from the record's.
    let reply = answer(&message, 3, &[], &[(rr::SOA, 3600, &soa(60))]);
    cache.keep(&question, &reply, begin);
    assert!(cache.answer(&mut out, &question, begin + Duration::from_secs(50)));
    assert_eq!(said(&out).answers[0].1, 10);
}

#[test]
fn what_is_kept_is_bounded_and_what_is_asked_for_stays() {
    let (mut cache, mut out, now) = (Cache::default(), Vec::new(), Instant::now());
    let records = [(rr::A, 3600, &[192, 0, 2, 1][..]); 50];
    let keep = |cache: &mut Cache, name: &str| {
        let message = query(1, name, rr::A);
        cache.keep(&Query::parse(&message).unwrap(), &answer(&message, 0, &records, &[]), now);
        assert!(cache.bytes() <= 128 << 10, "{}", cache.bytes());
    };
    let message = query(1, "often.example", rr::A);
    let often = Query::parse(&message).unwrap();
    keep(&mut cache, "often.example");
    for number in 0..1000 {
        keep(&mut cache, &format!("host{number}.example"));
        assert!(cache.answer(&mut out, &often, now), "{number}");
    }
    // The same again takes no more.
    let before = cache.bytes();
    keep(&mut cache, "often.example");
    assert_eq!(cache.bytes(), before);
    let message = query(1, "host0.example", rr::A);
    assert!(!cache.answer(&mut out, &Query::parse(&message).unwrap(), now));
    let long = query(1, "long.example", rr::A);
    let many = [(rr::A, 3600, &[192, 0, 2, 1][..]); 250];
    let long_ = Query::parse(&long).unwrap();
    cache.keep(&long_, &answer(&long, 0, &many, &[]), now);
    assert!(cache.answer(&mut out, &long_, now));
    cache.keep(&long_, &[0; 5000], now);
    assert!(cache.answer(&mut out, &long_, now), "what is too long changes nothing");
}

#[test]
fn a_kept_answer_is_for_its_very_question() {
    let knows = |kept: &[u8], asked: &[u8]| {
        let (mut cache, mut out, now) = (Cache::default(), Vec::new(), Instant::now());
        let reply = answer(kept, 0, &[(rr::A, 100, &[1, 2, 3, 4])], &[]);
        cache.keep(&Query::parse(kept).unwrap(), &reply, now);
        cache.answer(&mut out, &Query::parse(asked).unwrap(), now)
    };
    let plain = query(1, "www.example", rr::A);
    assert!(knows(&plain, &query(2, "WWW.example", rr::A)));
    assert!(!knows(&plain, &query(2, "www.example", rr::AAAA)));
    assert!(!knows(&plain, &query(2, "ww.example", rr::A)));
    assert!(!knows(&plain, &edns(query(2, "www.example", rr::A), 512, 0)));
    // Types that differ by what makes letters small.
    assert!(!knows(&query(1, "www.example", 65), &query(1, "www.example", 97)));
    let mut checking_disabled = query(2, "www.example", rr::A);
    checking_disabled[3] |= 0x10;
    assert!(!knows(&plain, &checking_disabled));
    // Another size is no other question, but an option may be about this one exchange.
    let sized = edns(query(1, "www.example", rr::A), 512, 0);
    assert!(knows(&sized, &edns(query(1, "www.example", rr::A), 1232, 0)));
    let mut cookie = sized.clone();
    let length = cookie.len();
    cookie[length - 1] = 4;
    cookie.extend([0, 10, 0, 0]);
    assert!(!knows(&sized, &cookie));
    assert!(!knows(&cookie, &cookie));
    let mut signed = sized.clone();
    signed[length - 4] = 0x80;
    assert!(!knows(&sized, &signed));
}

#[test]
fn a_question_gives_a_connection_time_for_its_answer() {
    use super::super::stream::Connection;
    let (mut client, ours) = std::os::unix::net::UnixStream::pair().unwrap();
    let begin = Instant::now();
    let mut connection = Connection::new(ours.into(), begin);
    let question = query(1, "www.example", rr::A);
    std::io::Write::write_all(&mut client, &[&[0, question.len() as u8], &question[..]].concat()).unwrap();
    connection.receive().unwrap();
    let before = connection.deadline;
    let later = Duration::from_secs(9);
    assert_eq!(connection.next_query(begin + later).unwrap(), Some(question));
    assert_eq!(connection.deadline, before + later);
    assert_eq!(connection.next_query(begin + 2 * later).unwrap(), None);
    assert_eq!(connection.deadline, before + later);
}

#[test]
fn a_failure_needs_no_question_but_an_answer_does() {
    let message = query(0x1234, "www.example", rr::A);
    let question = Query::parse(&message).unwrap();
    let mut bare = message[..12].to_vec();
    bare[2] |= 0x80;
    bare[4..6].copy_from_slice(&[0, 0]);
    assert_eq!(judge(&question, 0x1234, &bare), Reply::Stray);
    bare[3] |= 2;
    assert_eq!(judge(&question, 0x1234, &bare), Reply::Failure);
    assert_eq!(judge(&question, 0x1235, &bare), Reply::Stray);
    assert_eq!(judge(&question, 0x1234, &answer(&message, 3, &[], &[])), Reply::Answer);
}

#[test]
fn resolv_conf_is_read_as_glibc_does() {
    let text = "\
# nameserver 9.9.9.9
; a comment
domain one.example
search two.example three.example
nameserver 192.0.2.1
 nameserver 192.0.2.2
nameserver\tfd00::1
nameserver fe80::1%7
nameserver fe80::1%eth9
nameserver fe80::1%none
nameserver nonsense
nameserver
options ndots:2 rotate
options timeout:1
lookup file
";
    let resolvers = Resolvers::parse(text, |name| (name == "eth9").then_some(9));
    let servers: Vec<String> = resolvers.servers.iter().map(SocketAddr::to_string).collect();
    assert_eq!(servers, ["192.0.2.1:53", "[fd00::1]:53", "[fe80::1%7]:53", "[fe80::1%9]:53"]);
    assert_eq!(resolvers.search, ["two.example", "three.example"]);
    assert_eq!(resolvers.options, ["ndots:2", "rotate", "timeout:1"]);
    assert_eq!(Resolvers::parse("search a\ndomain b c\n", |_| None).search, ["b"]);
    let many = "nameserver 192.0.2.1\n".repeat(1000) + &"options a b c\n".repeat(1000);
    assert_eq!(Resolvers::parse(&many, |_| None).servers.len(), 32);
}

#[test]
fn the_stub_of_systemd_resolved_is_looked_behind() {
    let stub = "nameserver 127.0.0.53\nsearch lan\noptions edns0 trust-ad\n";
    let servers = |conf: &str, behind: Option<&str>| {
        let resolvers = host_resolvers(conf, || behind.map(str::to_owned));
        resolvers.servers.iter().map(|server| server.ip().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        servers(stub, Some("nameserver 192.0.2.1\nnameserver 192.0.2.2\n")),
        ["192.0.2.1", "192.0.2.2"]
    );
    assert_eq!(servers(stub, None), ["127.0.0.53"]);
    assert_eq!(servers(stub, Some("")), ["127.0.0.53"]);
    let mixed = format!("{stub}nameserver 192.0.2.9\n");
    assert_eq!(servers(&mixed, Some("nameserver 192.0.2.1\n")), ["127.0.0.53", "192.0.2.9"]);
    assert_eq!(servers("", Some("nameserver 192.0.2.1\n")), Vec::<String>::new());
    assert_eq!(host_resolvers(stub, || Some("nameserver 192.0.2.1\n".into())).search, ["lan"]);
}
