//! The archive reader against what other writers produce, and against noise.

use crate::archive::{Member, dir, file, gnu_long, hard_link, open_tar, pax, raw_pax, symlink, tar};
use proptest::prelude::*;
use store::tar::{Entry, EntryKind, Error, Fault, Reader};

fn entries(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, Error> {
    let mut reader = Reader::new(bytes);
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = Vec::new();
        loop {
            let bytes = reader.fill()?;
            let length = bytes.len();
            if length == 0 {
                break;
            }
            content.extend_from_slice(bytes);
            reader.consume(length);
        }
        found.push((entry, content));
    }
    Ok(found)
}

fn fault(bytes: &[u8]) -> Fault {
    entries(bytes).expect_err("the archive was read").fault
}

#[test]
fn entries_come_with_what_their_headers_say() {
    let found = entries(&tar(&[
        dir("d/"),
        file("d/f", "hello").mode(0o4755).owner(12, 34),
        symlink("s", "/x"),
        hard_link("h", "d/f"),
        Member::new(b'3', "c").device(1, 3),
        Member::new(b'6', "p"),
    ]))
    .unwrap();
    let kinds: Vec<_> = found.iter().map(|(entry, _)| entry.kind.clone()).collect();
    assert_eq!(
        kinds,
        [
            EntryKind::Directory,
            EntryKind::File { size: 5 },
            EntryKind::Symlink { target: b"/x".to_vec() },
            EntryKind::HardLink { target: b"d/f".to_vec() },
            EntryKind::CharDevice { major: 1, minor: 3 },
            EntryKind::Fifo,
        ]
    );
    let (entry, content) = &found[1];
    assert_eq!(content, b"hello");
    assert_eq!((entry.mode, entry.uid, entry.gid, entry.mtime), (0o4755, 12, 34, (1_000_000, 0)));
}

#[test]
fn content_that_nobody_reads_is_skipped() {
    let bytes = tar(&[file("a", [b'x'; 5000]), file("b", "")]);
    let mut reader = Reader::new(&bytes[..]);
    assert_eq!(reader.next_entry().unwrap().unwrap().name, b"a");
    assert_eq!(reader.next_entry().unwrap().unwrap().name, b"b");
    assert!(reader.next_entry().unwrap().is_none());
    assert!(reader.next_entry().unwrap().is_none());
}

#[test]
fn long_names_come_from_gnu_and_pax_headers() {
    let long = [b'n'; 300];
    let (found, _) = entries(&tar(&[gnu_long(b'L', &long), gnu_long(b'K', &long), symlink("cut", "cut")]))
        .unwrap()
        .remove(0);
    assert_eq!((found.name, found.kind), (long.to_vec(), EntryKind::Symlink { target: long.to_vec() }));
    let records: &[(&str, &[u8])] = &[("path", &long), ("uid", b"70000"), ("mtime", b"5.25")];
    let (found, _) = entries(&tar(&[pax(records), file("cut", "")])).unwrap().remove(0);
    assert_eq!((found.name, found.uid, found.mtime), (long.to_vec(), 70_000, (5, 250_000_000)));
}

#[test]
fn the_size_of_a_pax_header_is_the_entrys_only_size() {
    // The hidden member is content to a reader that takes pax's size, and an entry to one that doesn't (CVE-2025-62518).
    let hidden = open_tar(&[file("hidden", "")]);
    let size = hidden.len().to_string();
    let bytes = tar(&[pax(&[("size", size.as_bytes())]), file("outer", &hidden).raw_size(b"00000000000\0")]);
    let found = entries(&bytes).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1, hidden);
}

#[test]
fn extended_attributes_come_from_pax_headers() {
    let value = b"\x01\x00\n=\xff";
    let records: &[(&str, &[u8])] = &[("SCHILY.xattr.user.x", value), ("comment", b"ignored")];
    let (found, _) = entries(&tar(&[pax(records), file("f", "")])).unwrap().remove(0);
    assert_eq!(found.xattrs, [(b"user.x".to_vec(), value.to_vec())]);
}

#[test]
fn sizes_beyond_eight_gigabytes_are_base_256() {
    let bytes = open_tar(&[file("f", "").raw_size(b"\x80\0\0\0\0\0\0\x04\0\0\0\0")]);
    let entry = Reader::new(&bytes[..]).next_entry().unwrap().unwrap();
    assert_eq!(entry.kind, EntryKind::File { size: 4 << 32 });
}

#[test]
fn an_archive_cut_anywhere_is_truncated_or_shorter() {
    let whole = tar(&[pax(&[("path", b"p")]), file("a", [b'x'; 700]), dir("d"), file("b", "y")]);
    let all = entries(&whole).unwrap().len();
    for length in 0..whole.len() - 1024 {
        match entries(&whole[..length]) {
            Ok(found) => assert!(found.len() < all || length % 512 == 0, "cut at {length}"),
            Err(error) => {
                assert!(
                    matches!(error.fault, Fault::Truncated(_) | Fault::NotTar),
                    "cut at {length}: {error}"
                )
            }
        }
    }
}

#[test]
fn what_readers_disagree_about_is_refused() {
    let ambiguous: &[Vec<u8>] = &[
        tar(&[hard_link("h", "f").raw_size(b"00000000005\0")]),
        tar(&[file("f/", "x")]),
        tar(&[pax(&[("path", b"p")]), gnu_long(b'L', b"l"), file("f", "")]),
        tar(&[pax(&[("path", b"p")]), pax(&[("path", b"q")]), file("f", "")]),
        tar(&[
            Member::new(b'g', "g").raw_size(b"00000000000\0"),
            gnu_long(b'L', b"a"),
            gnu_long(b'L', b"b"),
            file("f", ""),
        ]),
        [open_tar(&[file("a", "")]), vec![0; 512], tar(&[file("b", "")])].concat(),
    ];
    for bytes in ambiguous {
        assert!(matches!(fault(bytes), Fault::Ambiguous(_)));
    }
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    // A sparse file with a POSIX header has no map that we know.
    for flag in [b'S', b'M', b'V', b'D', b'N', b'X', b'z'] {
        assert!(matches!(fault(&tar(&[Member::new(flag, "f")])), Fault::Unsupported(_)), "{flag}");
    }
    let records: &[(&str, &[u8])] = &[("GNU.sparse.major", b"2"), ("GNU.sparse.realsize", b"5")];
    assert!(matches!(fault(&tar(&[pax(records), file("f", "")])), Fault::Unsupported(_)));
}

#[test]
fn extended_headers_are_bounded_and_well_formed() {
    let huge = Member::new(b'x', "pax").raw_size(b"00077777777\0");
    assert!(matches!(fault(&open_tar(&[huge])), Fault::TooLong { .. }));
    let promised = Member::new(b'x', "pax").raw_size(b"00000777777\0");
    assert!(matches!(fault(&open_tar(&[promised])), Fault::Truncated(_)));
    let long = vec![b'a'; 5000];
    assert!(matches!(fault(&tar(&[gnu_long(b'L', &long), file("f", "")])), Fault::TooLong { .. }));
    assert!(matches!(fault(&tar(&[pax(&[("path", &long)]), file("f", "")])), Fault::TooLong { .. }));
    for bad in [&b"99999999999999999999 a=b\n"[..], b"3 a\n", b"1000 path=x\n", b"7 a=b\n", b"path=x\n"] {
        assert!(matches!(fault(&tar(&[raw_pax(bad), file("f", "")])), Fault::Pax(_)));
    }
    assert!(matches!(fault(&tar(&[pax(&[("path", b"a\0b")]), file("f", "")])), Fault::Pax(_)));
    assert!(matches!(fault(&tar(&[pax(&[("path", b"p")])])), Fault::Truncated(_)));
    let minus_one = b"4294967295";
    assert!(matches!(fault(&tar(&[pax(&[("uid", minus_one)]), file("f", "")])), Fault::Number("uid")));
}

#[test]
fn noise_is_no_archive() {
    assert!(matches!(fault(b""), Fault::NotTar));
    assert!(matches!(fault(b"hello"), Fault::NotTar));
    assert!(matches!(fault(&[b'x'; 4096]), Fault::NotTar));
    let mut broken = tar(&[file("a", ""), file("b", "")]);
    broken[512 + 5] ^= 1;
    assert!(matches!(fault(&broken), Fault::Checksum));
}

/// Blocks that get past the checksum, with arbitrary fields.
fn arbitrary_member() -> impl Strategy<Value = Member> {
    let flag = prop_oneof![Just(b'0'), Just(b'x'), Just(b'g'), Just(b'L'), Just(b'K'), any::<u8>()];
    let size = prop::option::of(prop::collection::vec(any::<u8>(), 12));
    let content = prop::collection::vec(any::<u8>(), 0..1500);
    (flag, prop::collection::vec(any::<u8>(), 0..100), size, content, any::<bool>()).prop_map(
        |(flag, name, size, content, records)| {
            let member = if records { pax(&[("path", &content)]) } else { file(name, content) };
            let member = member.with_flag(flag);
            match size {
                Some(size) => member.raw_size(&size),
                None => member,
            }
        },
    )
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let _ = entries(&bytes);
    }

    #[test]
    fn random_members_never_panic(members in prop::collection::vec(arbitrary_member(), 0..6), cut in 0usize..9000) {
        let mut bytes = tar(&members);
        bytes.truncate(cut);
        let _ = entries(&bytes);
    }

    #[test]
    fn random_records_never_panic(records in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = entries(&tar(&[raw_pax(&records), file("f", "x")]));
    }

    #[test]
    fn changed_bytes_never_panic(at in 0usize..2500, byte in any::<u8>()) {
        let mut bytes = tar(&[pax(&[("path", b"long"), ("mtime", b"1.5")]), file("a", "hello"), dir("d")]);
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = entries(&bytes);
    }
}
