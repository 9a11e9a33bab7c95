use super::*;

const SECOND: u64 = 1_000_000_000;

/// Pieces of stdout (1) and stderr (2), each a second after the one before.
fn pieces<'a>(log: &[(u8, &'a str)]) -> Vec<Piece<'a>> {
    let mut ends = [0; 2];
    let mut made = Vec::new();
    for (n, (stream, text)) in log.iter().enumerate() {
        let stream = if *stream == 1 { Stream::Stdout } else { Stream::Stderr };
        let time_ns = n as u64 * SECOND;
        let (offset, bytes) = (ends[stream.index()], text.as_bytes());
        made.push(Piece { stream, time_ns, offset, bytes, attributes: None, gap: None });
        ends[stream.index()] += text.len() as u64;
    }
    made
}

fn show(log: &[(u8, &str)], shown: Shown, tail: Option<usize>) -> [String; 2] {
    let starts = tail.map_or(Starts::default(), |lines_max| {
        let mut tail = Tail::new(lines_max, [0; 2], [false; 2]);
        pieces(log).iter().for_each(|piece| tail.take(piece, &shown));
        tail.starts(&shown).0
    });
    let mut texts = [String::new(), String::new()];
    let mut sink = |out: Out<'_>| {
        texts[out.stream.index()] += std::str::from_utf8(out.bytes).unwrap();
        Ok(())
    };
    let mut lines = Lines::new(shown, starts);
    let all = pieces(log).iter().try_for_each(|piece| lines.take(piece, &mut sink));
    if all.is_ok() {
        assert!(lines.finish(&mut sink).is_ok());
    }
    texts
}

#[test]
fn a_tail_counts_lines_of_both_streams_across_frames() {
    let log = [(1, "a1\na2"), (2, "b1\n"), (1, "rest\na3\n"), (2, "b2")];
    let plain = Shown::default();
    assert_eq!(show(&log, plain, None), ["a1\na2rest\na3\n", "b1\nb2"]);
    assert_eq!(show(&log, plain, Some(1)), ["", "b2"]);
    assert_eq!(show(&log, plain, Some(2)), ["a3\n", "b2"]);
    assert_eq!(show(&log, plain, Some(3)), ["a2rest\na3\n", "b2"]);
    assert_eq!(show(&log, plain, Some(4)), ["a2rest\na3\n", "b1\nb2"]);
    assert_eq!(show(&log, plain, Some(0)), ["", ""]);
    assert_eq!(show(&log, plain, Some(99)), show(&log, plain, None));
}

#[test]
fn each_line_has_the_time_of_its_first_byte() {
    let stamped = Shown { timestamps: true, ..Shown::default() };
    let log = [(1, "a"), (1, "b\n\nc"), (2, "e\n")];
    let second = |n: u8| format!("1970-01-01T00:00:0{n}.000000000Z ");
    let out = format!("{}ab\n{}\n{}c", second(0), second(1), second(1));
    assert_eq!(show(&log, stamped, None), [out, format!("{}e\n", second(2))]);
}

#[test]
fn since_and_until_cut_at_lines() {
    let log = [(1, "a"), (1, "b\nc\n"), (2, "d\n"), (1, "e\n"), (1, "f\n")];
    let between =
        |since: u64, until: u64| Shown { since_ns: Some(since), until_ns: Some(until), ..Shown::default() };
    assert_eq!(show(&log, between(SECOND, 4 * SECOND), None), ["c\ne\n", "d\n"]);
    assert_eq!(show(&log, between(0, SECOND), None), ["ab\n", ""]);
    assert_eq!(show(&log, between(0, 4 * SECOND), Some(2)), ["e\n", "d\n"]);
    assert_eq!(show(&log, between(9 * SECOND, 10 * SECOND), None), ["", ""]);
}

#[test]
fn a_line_without_end_is_passed_on_in_parts() {
    let long = "x".repeat(LINE_BYTES_MAX + 1);
    let log = [(1, long.as_str()), (1, "yy\n")];
    let shown = Shown { timestamps: true, ..Shown::default() };
    assert_eq!(show(&log, shown, None)[0], format!("1970-01-01T00:00:00.000000000Z {long}yy\n"));
}

#[test]
fn details_are_nothing_but_a_space() {
    let log = [(1, "a"), (1, "b\nc"), (2, "e\n")];
    let details = Shown { details: true, ..Shown::default() };
    assert_eq!(show(&log, details, None), [" ab\n c", " e\n"]);
    let both = Shown { timestamps: true, ..details };
    assert_eq!(show(&log[2..], both, None)[1], "1970-01-01T00:00:00.000000000Z  e\n");
}

#[test]
fn attributes_are_escaped_as_in_a_query() {
    let attributes = [("tag", "a b/ü"), ("app.kind", "db,1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(details(&attributes.into()), "app.kind=db%2C1,tag=a+b%2F%C3%BC");
}

#[test]
fn a_gap_ends_the_line_before_it_and_is_told_on_stderr() {
    let gap = Gap { bytes: 20, lines: 2, errno: 28 };
    let told = "berth: 2 lines (20 bytes) of stdout lost here: no space left on device\n";
    for timestamps in [false, true] {
        let mut log = pieces(&[(1, "half"), (1, "whole\n")]);
        let of = Piece { gap: Some(gap), bytes: b"", offset: 4, ..log[0] };
        log.insert(1, of);
        let mut texts = [String::new(), String::new()];
        let mut sink = |out: Out<'_>| {
            texts[out.stream.index()] += std::str::from_utf8(out.bytes).unwrap();
            Ok(())
        };
        let mut lines = Lines::new(Shown { timestamps, ..Shown::default() }, Starts::default());
        assert!(log.iter().all(|piece| lines.take(piece, &mut sink).is_ok()));
        let out = match timestamps {
            true => "1970-01-01T00:00:00.000000000Z half\n1970-01-01T00:00:01.000000000Z whole\n",
            false => "half\nwhole\n",
        };
        assert_eq!(texts, [out.to_owned(), told.to_owned()]);
    }
}

#[test]
fn whole_lines_are_chosen_by_what_they_say() {
    let log = [(1, "al"), (1, "pha\nbeta\ngam"), (2, "alert\n"), (1, "ma"), (2, "no end")];
    let show = |pattern: &str, inverted: bool| {
        let mut texts = [String::new(), String::new()];
        let mut sink = |out: Out<'_>| {
            texts[out.stream.index()] += std::str::from_utf8(out.bytes).unwrap();
            Ok(())
        };
        let shown = Shown { timestamps: true, ..Shown::default() };
        let grep = Grep::new(pattern, inverted).unwrap();
        let mut lines = Lines::new(shown, Starts::default()).whole(Some(grep));
        assert!(pieces(&log).iter().all(|piece| lines.take(piece, &mut sink).is_ok()));
        assert!(lines.finish(&mut sink).is_ok());
        texts.map(|text| {
            text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect::<Vec<_>>()
        })
    };
    assert_eq!(show("^al", false), [vec!["alpha"], vec!["alert"]]);
    // The time before a line isn't looked at.
    assert_eq!(show("1970|T00", false), [Vec::<&str>::new(), vec![]]);
    assert_eq!(show("^al", true), [vec!["beta", "gamma"], vec!["no end"]]);
    assert!(Grep::new("(", false).is_err());
}

/// What is shown of a log from `spot` on.
fn show_from(place: &Place, spot: Option<&Spot>, starts: Starts) -> [Vec<u8>; 2] {
    let mut texts = [Vec::new(), Vec::new()];
    let mut sink = |out: Out<'_>| {
        texts[out.stream.index()].extend_from_slice(out.bytes);
        Ok(())
    };
    let mut lines = Lines::new(Shown { details: true, ..Shown::default() }, starts);
    let mut pieces = Pieces::from_spot(place, spot);
    while let Some(piece) = pieces.next().unwrap() {
        assert!(lines.take(&piece, &mut sink).is_ok());
    }
    assert!(lines.finish(&mut sink).is_ok());
    texts
}

/// The same by a walk through all of it.
fn show_all(place: &Place, lines: usize, shown: &Shown) -> [Vec<u8>; 2] {
    let mut tail = Tail::new(lines, [0; 2], [false; 2]);
    let mut pieces = Pieces::from_spot(place, None);
    while let Some(piece) = pieces.next().unwrap() {
        tail.take(&piece, shown);
    }
    show_from(place, None, tail.starts(shown).0)
}

#[test]
fn the_end_of_a_log_is_found_from_its_end_whatever_it_holds() {
    use crate::log::{Header, Limits, Writer};
    let mut seed = 1_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let (mut short, mut looked) = (0, 0);
    for round in 0..30 {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("log");
        let limits = Limits {
            file_bytes: 3_000 + random(6_000),
            files: 4,
            files_held: None,
            compress: false,
            // A log of an older berth's has none.
            index_bytes: (round % 10 != 9).then_some(300),
        };
        let mut writer = Writer::open(dir.clone(), limits).unwrap();
        for _ in 0..random(600) {
            let stream = if random(12) == 0 { Stream::Stderr } else { Stream::Stdout };
            let totals = writer.totals();
            let mut bytes = Vec::new();
            for n in 0..random(4) {
                // What a log may hold, and what looks like one.
                let header = Header {
                    stream,
                    gap: false,
                    length: random(90) as u32,
                    time_ns: random(1 << 40),
                    offset: totals[stream.index()] + bytes.len() as u64,
                };
                match random(4) {
                    0 => bytes.extend_from_slice(&header.encode()),
                    1 => bytes.extend_from_slice(format!("part {n} of {totals:?}").as_bytes()),
                    _ => bytes.extend_from_slice(format!("line {n} of {totals:?}\n").as_bytes()),
                }
            }
            writer.append(&bytes, stream).unwrap();
            if random(50) == 0 {
                writer = Writer::open(dir.clone(), limits).unwrap();
                assert!((0..2).all(|n| writer.totals()[n] >= totals[n]), "{round}");
            }
        }
        let place = Place::of_frames(dir);
        for lines in (0..12).chain([40, 10_000]) {
            let shown = Shown::default();
            let (starts, spot) = Starts::of_tail(&place, lines, &shown).unwrap();
            let expected = show_all(&place, lines as usize, &shown);
            assert_eq!(show_from(&place, spot.as_ref(), starts), expected, "{lines} lines, round {round}");
            looked += 1;
            short += usize::from(spot.is_some_and(|spot| spot.at > 0));
        }
    }
    assert!(short > looked / 2, "of {looked}, only {short} were found without the file's beginning");
}

#[test]
fn a_line_without_end_stands_where_its_last_byte_is() {
    let log = [(1, "$ "), (2, "a\nb\n")];
    assert_eq!(show(&log, Shown::default(), Some(1)), ["", "b\n"]);
    assert_eq!(show(&log, Shown::default(), Some(3)), ["$ ", "a\nb\n"]);
}
