//! Replies: what goes out in either version, what a client reads back, and what it refuses.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use std::io::IoSlice;
use sutra_protocol::{
    Frame, FrameDecoder, FrameError, FrameLimits, Output, Reply, SHARED_BYTES_MIN, Version, decode_frame,
};

fn sent(output: &Output) -> Vec<u8> {
    output.chunks().collect::<Vec<_>>().concat()
}

fn encoded(reply: &Reply<'_>, version: Version) -> Vec<u8> {
    let mut output = Output::new();
    output.encode(reply, version);
    let bytes = sent(&output);
    assert_eq!(output.len_bytes(), bytes.len());
    bytes
}

fn text(reply: &Reply<'_>, version: Version) -> String {
    encoded(reply, version).escape_ascii().to_string()
}

fn bulk(text: &str) -> Reply<'_> {
    Reply::Bulk(text.as_bytes())
}

#[test]
fn every_reply_goes_out_as_redis_sends_it() {
    let verbatim = Reply::Verbatim { format: *b"mkd", text: "# a".into() };
    let attribute = Reply::Attribute { attributes: vec![(bulk("ttl"), Reply::Integer(7))], reply: Box::new(bulk("v")) };
    let cases: Vec<(Reply<'_>, &str, &str)> = vec![
        (Reply::Ok, r"+OK\r\n", r"+OK\r\n"),
        (Reply::simple("PONG"), r"+PONG\r\n", r"+PONG\r\n"),
        (Reply::simple("a\r\n+b"), r"+a  +b\r\n", r"+a  +b\r\n"),
        (Reply::error("ERR no"), r"-ERR no\r\n", r"-ERR no\r\n"),
        (Reply::error("ERR a\nb"), r"-ERR a b\r\n", r"-ERR a b\r\n"),
        (Reply::Integer(-42), r":-42\r\n", r":-42\r\n"),
        (bulk(""), r"$0\r\n\r\n", r"$0\r\n\r\n"),
        (Reply::Bulk(b"a\r\nb\0"), r"$5\r\na\r\nb\x00\r\n", r"$5\r\na\r\nb\x00\r\n"),
        (Reply::BulkOwned(b"ab".to_vec()), r"$2\r\nab\r\n", r"$2\r\nab\r\n"),
        (Reply::BulkShared(Bytes::from_static(b"ab")), r"$2\r\nab\r\n", r"$2\r\nab\r\n"),
        (Reply::Null, r"$-1\r\n", r"_\r\n"),
        (Reply::NullArray, r"*-1\r\n", r"_\r\n"),
        (Reply::Array(vec![Reply::Null, bulk("a")]), r"*2\r\n$-1\r\n$1\r\na\r\n", r"*2\r\n_\r\n$1\r\na\r\n"),
        (Reply::Array(vec![]), r"*0\r\n", r"*0\r\n"),
        (Reply::Map(vec![(bulk("k"), Reply::Integer(1))]), r"*2\r\n$1\r\nk\r\n:1\r\n", r"%1\r\n$1\r\nk\r\n:1\r\n"),
        (Reply::Set(vec![bulk("a")]), r"*1\r\n$1\r\na\r\n", r"~1\r\n$1\r\na\r\n"),
        (Reply::Push(vec![bulk("a")]), r"*1\r\n$1\r\na\r\n", r">1\r\n$1\r\na\r\n"),
        (Reply::Double(0.1), r"$3\r\n0.1\r\n", r",0.1\r\n"),
        (Reply::Double(f64::NEG_INFINITY), r"$4\r\n-inf\r\n", r",-inf\r\n"),
        (Reply::Boolean(true), r":1\r\n", r"#t\r\n"),
        (Reply::Boolean(false), r":0\r\n", r"#f\r\n"),
        (Reply::BigNumber("-123".into()), r"$4\r\n-123\r\n", r"(-123\r\n"),
        (Reply::text("a:1"), r"$3\r\na:1\r\n", r"=7\r\ntxt:a:1\r\n"),
        (verbatim, r"$3\r\n# a\r\n", r"=7\r\nmkd:# a\r\n"),
        (attribute, r"$1\r\nv\r\n", r"|1\r\n$3\r\nttl\r\n:7\r\n$1\r\nv\r\n"),
        (Reply::None, "", ""),
    ];
    for (reply, resp2, resp3) in cases {
        assert_eq!(text(&reply, Version::Resp2), resp2, "{reply:?}");
        assert_eq!(text(&reply, Version::Resp3), resp3, "{reply:?}");
    }
}

#[test]
fn large_shared_values_are_sent_from_where_they_lie() {
    let value = Bytes::from(vec![b'x'; SHARED_BYTES_MIN]);
    let mut output = Output::new();
    output.encode(&Reply::Ok, Version::Resp2);
    output.encode(&Reply::BulkShared(value.clone()), Version::Resp2);
    output.encode(&Reply::BulkShared(value.slice(1..)), Version::Resp2);
    let chunks: Vec<&[u8]> = output.chunks().collect();
    assert_eq!(chunks.len(), 3, "text, the value, text with the copied value");
    assert_eq!(chunks[0], b"+OK\r\n$16384\r\n");
    assert_eq!(chunks[1].as_ptr(), value.as_ptr(), "not copied");
    assert!(chunks[2].starts_with(b"\r\n$16383\r\nxxx"));

    let mut slices = [IoSlice::new(&[]); 2];
    assert_eq!(output.io_slices(&mut slices), 2);
    assert_eq!(slices[1].as_ptr(), value.as_ptr());
    assert_eq!(Output::new().io_slices(&mut slices), 0);
}

#[test]
fn an_emptied_output_keeps_little_memory_unless_batches_stay_large() {
    let mut output = Output::new();
    let large = vec![b'x'; 1 << 20];
    for _ in 0..3 {
        output.append(&large);
        output.advance(large.len());
        assert!(output.capacity_bytes() >= large.len(), "the next batch may be as large");
    }
    for _ in 0..10 {
        output.append(b"x");
        output.advance(1);
    }
    assert!(output.capacity_bytes() <= 64 * 1024, "{}", output.capacity_bytes());
    output.release_spare();
    assert_eq!(output.capacity_bytes(), 0);
}

#[test]
fn a_slow_reader_does_not_make_sent_bytes_pile_up() {
    let mut output = Output::new();
    let batch = vec![b'x'; 100_000];
    output.append(&batch);
    for _ in 0..1_000 {
        output.append(&batch);
        output.advance(batch.len());
        assert_eq!(output.len_bytes(), batch.len());
    }
    assert!(output.capacity_bytes() < 1_000_000, "{}", output.capacity_bytes());
}

#[test]
#[should_panic(expected = "sent 4 of 3 bytes")]
fn more_than_there_is_cannot_be_sent() {
    let mut output = Output::new();
    output.append(b"abc");
    output.advance(4);
}

#[test]
fn malformed_frames_are_refused_with_their_cause() {
    use FrameError::*;
    let cases: &[(&[u8], FrameError)] = &[
        (b"x", UnknownType(b'x')),
        (b"\r\n", UnknownType(b'\r')),
        (b";4\r\n", UnknownType(b';')),
        (b".\r\n", UnknownType(b'.')),
        (b":\r\n", InvalidValue(b':')),
        (b":1x\r\n", InvalidValue(b':')),
        (b":+-1\r\n", InvalidValue(b':')),
        (b":9223372036854775808\r\n", InvalidValue(b':')),
        (b",\r\n", InvalidValue(b',')),
        (b",1,5\r\n", InvalidValue(b',')),
        (b"(\r\n", InvalidValue(b'(')),
        (b"(-\r\n", InvalidValue(b'(')),
        (b"(1.5\r\n", InvalidValue(b'(')),
        (b"#x\r\n", InvalidValue(b'#')),
        (b"#\r\n", InvalidValue(b'#')),
        (b"_x\r\n", InvalidValue(b'_')),
        (b"=3\r\ntxt\r\n", InvalidValue(b'=')),
        (b"=4\r\ntext\r\n", InvalidValue(b'=')),
        (b"$x\r\n", InvalidLength),
        (b"$\r\n", InvalidLength),
        (b"$-2\r\n", InvalidLength),
        (b"*-2\r\n", InvalidLength),
        (b"%-1\r\n", InvalidLength),
        (b"=-1\r\n", InvalidLength),
        (b"$1\r\nab\r\n", MissingLineEnd),
        (b"+a\rb", MissingLineEnd),
        (b"*1\r\n$?\r\n", Streamed),
        (b"*?\r\n", Streamed),
        (b"%?\r\n", Streamed),
        (b"$536870913\r\n", BulkTooLong),
        (b"*268435457\r\n", TooManyElements),
        (b"%134217729\r\n", TooManyElements),
        (b"*9223372036854775807\r\n", TooManyElements),
        (b"%9223372036854775807\r\n", TooManyElements),
    ];
    for (bytes, expected) in cases {
        assert_eq!(decode_frame(bytes, &FrameLimits::default()), Err(*expected), "{}", bytes.escape_ascii());
        assert!(!expected.to_string().is_empty());
    }
    let long = [b"+".as_slice(), &vec![b'a'; 64 * 1024]].concat();
    assert_eq!(decode_frame(&long, &FrameLimits::default()), Err(LineTooLong));
    assert_eq!(decode_frame(&long[..long.len() - 1], &FrameLimits::default()), Ok(None), "it may end yet");
}

#[test]
fn nesting_has_a_limit() {
    let limits = FrameLimits { nesting_max: 3, ..FrameLimits::default() };
    assert_eq!(
        decode_frame(b"*1\r\n%1\r\n~1\r\n:1\r\n:2\r\n", &limits).map(|found| found.map(|(_, length)| length)),
        Ok(Some(20))
    );
    assert_eq!(
        decode_frame(b"*1\r\n*1\r\n*1\r\n*0\r\n", &limits).map(|found| found.is_some()),
        Ok(true),
        "empty ones hold nothing"
    );
    assert_eq!(decode_frame(b"*1\r\n*1\r\n*1\r\n*1\r\n", &limits), Err(FrameError::NestedTooDeep));
    assert_eq!(decode_frame(&b"*1\r\n".repeat(100_000), &FrameLimits::default()), Err(FrameError::NestedTooDeep));
}

#[test]
fn frames_that_our_server_never_sends_are_read_too() {
    for (bytes, expected) in [
        (&b":+7\r\n"[..], Frame::Integer(7)),
        (b"!5\r\nERR a\r\n", Frame::Error("ERR a".into())),
        (b"-ERR \xff\r\n", Frame::Error("ERR \u{fffd}".into())),
        (b",1e3\r\n", Frame::Double(1000.0)),
        (b"(+12345678901234567890\r\n", Frame::BigNumber("+12345678901234567890".into())),
        (b"*-1\r\n", Frame::Null),
        (
            b"*1\r\n|1\r\n+a\r\n:1\r\n:2\r\n",
            Frame::Array(vec![Frame::Attribute {
                attributes: vec![(Frame::Simple("a".into()), Frame::Integer(1))],
                reply: Box::new(Frame::Integer(2)),
            }]),
        ),
        (b"|0\r\n_\r\n", Frame::Attribute { attributes: vec![], reply: Box::new(Frame::Null) }),
    ] {
        assert_eq!(decode_frame(bytes, &FrameLimits::default()), Ok(Some((expected, bytes.len()))));
    }
    let nan = decode_frame(b",nan\r\n", &FrameLimits::default());
    assert!(matches!(nan, Ok(Some((Frame::Double(value), 6))) if value.is_nan()), "{nan:?}");
}

/// What a client sees of a reply.
fn seen(reply: &Reply<'_>, version: Version) -> Frame {
    let all = |items: &[Reply<'_>]| items.iter().map(|item| seen(item, version)).collect::<Vec<_>>();
    let both = |pairs: &[(Reply<'_>, Reply<'_>)]| {
        pairs.iter().map(|(key, value)| (seen(key, version), seen(value, version))).collect::<Vec<_>>()
    };
    let resp3 = version == Version::Resp3;
    match reply {
        Reply::Ok => Frame::Simple("OK".into()),
        Reply::Simple(text) => Frame::Simple(text.to_string()),
        Reply::Error(text) => Frame::Error(text.to_string()),
        Reply::Integer(value) => Frame::Integer(*value),
        Reply::Bulk(bytes) => Frame::Bulk(bytes.to_vec()),
        Reply::BulkOwned(bytes) => Frame::Bulk(bytes.clone()),
        Reply::BulkShared(bytes) => Frame::Bulk(bytes.to_vec()),
        Reply::Null | Reply::NullArray => Frame::Null,
        Reply::Array(items) => Frame::Array(all(items)),
        Reply::Set(items) if resp3 => Frame::Set(all(items)),
        Reply::Push(items) if resp3 => Frame::Push(all(items)),
        Reply::Set(items) | Reply::Push(items) => Frame::Array(all(items)),
        Reply::Map(pairs) if resp3 => Frame::Map(both(pairs)),
        Reply::Map(pairs) => Frame::Array(both(pairs).into_iter().flat_map(|(key, value)| [key, value]).collect()),
        Reply::Double(value) if resp3 => Frame::Double(*value),
        Reply::Double(value) => Frame::Bulk(sutra_protocol::number::format_f64(*value).into_bytes()),
        Reply::Boolean(value) if resp3 => Frame::Boolean(*value),
        Reply::Boolean(value) => Frame::Integer(i64::from(*value)),
        Reply::BigNumber(digits) if resp3 => Frame::BigNumber(digits.to_string()),
        Reply::BigNumber(digits) => Frame::Bulk(digits.as_bytes().to_vec()),
        Reply::Verbatim { format, text } if resp3 => {
            Frame::Verbatim { format: *format, text: text.as_bytes().to_vec() }
        }
        Reply::Verbatim { text, .. } => Frame::Bulk(text.as_bytes().to_vec()),
        Reply::Attribute { attributes, reply } if resp3 => {
            Frame::Attribute { attributes: both(attributes), reply: Box::new(seen(reply, version)) }
        }
        Reply::Attribute { reply, .. } => seen(reply, version),
        Reply::None => panic!("nothing is seen of it"),
    }
}

fn replies() -> impl Strategy<Value = Reply<'static>> {
    let leaf = prop_oneof![
        Just(Reply::Ok),
        "[^\r\n]{0,12}".prop_map(Reply::simple),
        "[^\r\n]{0,12}".prop_map(Reply::error),
        any::<i64>().prop_map(Reply::Integer),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Reply::BulkOwned),
        prop_oneof![0..100_usize, SHARED_BYTES_MIN - 1..SHARED_BYTES_MIN + 2]
            .prop_map(|length| Reply::BulkShared(Bytes::from(vec![b'y'; length]))),
        Just(Reply::Null),
        Just(Reply::NullArray),
        any::<f64>().prop_filter("not-a-number equals nothing", |value| !value.is_nan()).prop_map(Reply::Double),
        any::<bool>().prop_map(Reply::Boolean),
        "-?[0-9]{1,40}".prop_map(|digits| Reply::BigNumber(digits.into())),
        ".{0,12}".prop_map(|text| Reply::Verbatim { format: *b"txt", text: text.into() }),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let items = || proptest::collection::vec(inner.clone(), 0..4);
        let pairs = || proptest::collection::vec((inner.clone(), inner.clone()), 0..4);
        prop_oneof![
            items().prop_map(Reply::Array),
            items().prop_map(Reply::Set),
            items().prop_map(Reply::Push),
            pairs().prop_map(Reply::Map),
            (pairs(), inner.clone())
                .prop_map(|(attributes, reply)| Reply::Attribute { attributes, reply: Box::new(reply) }),
        ]
    })
}

fn versions() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::Resp2), Just(Version::Resp3)]
}

/// One operation on an output.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<u8>),
    Share(Vec<u8>),
    Advance(prop::sample::Index),
    Mark,
    Truncate,
    Compact,
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..9);
    proptest::collection::vec(
        prop_oneof![
            3 => bytes().prop_map(Step::Append),
            3 => bytes().prop_map(Step::Share),
            4 => any::<prop::sample::Index>().prop_map(Step::Advance),
            1 => Just(Step::Mark),
            1 => Just(Step::Truncate),
            1 => Just(Step::Compact),
            1 => Just(Step::Clear),
        ],
        0..40,
    )
}

proptest! {
    #[test]
    fn replies_read_back_in_both_versions(reply in replies(), version in versions()) {
        let bytes = encoded(&reply, version);
        let found = decode_frame(&bytes, &FrameLimits::default());
        prop_assert_eq!(found, Ok(Some((seen(&reply, version), bytes.len()))));
    }

    #[test]
    fn every_strict_prefix_of_a_frame_needs_more(reply in replies(), version in versions()) {
        let bytes = encoded(&reply, version);
        let limits = FrameLimits::default();
        let mut resumed = FrameDecoder::new();
        let step = 1 + bytes.len() / 500;
        for cut in (0..bytes.len()).step_by(step) {
            prop_assert_eq!(decode_frame(&bytes[..cut], &limits), Ok(None));
            prop_assert_eq!(resumed.decode(&bytes[..cut], &limits), Ok(None));
        }
        // With bytes of the next frame behind it; and the decoder is ready for that.
        let more = [&bytes[..], b":7\r\n"].concat();
        prop_assert_eq!(resumed.decode(&more, &limits), Ok(Some((seen(&reply, version), bytes.len()))));
        prop_assert_eq!(resumed.decode(&more[bytes.len()..], &limits), Ok(Some((Frame::Integer(7), 4))));
    }

    #[test]
    fn frames_that_share_the_buffer_are_the_same_frames(replies in proptest::collection::vec(replies(), 1..5), version in versions(), cut in any::<prop::sample::Index>()) {
        let limits = FrameLimits::default();
        let bytes = replies.iter().map(|reply| encoded(reply, version)).collect::<Vec<_>>().concat();
        let (first, rest) = bytes.split_at(cut.index(bytes.len() + 1));
        let mut decoder = FrameDecoder::new();
        let mut buffer = BytesMut::from(first);
        let mut frames = Vec::new();
        for piece in [&b""[..], rest] {
            buffer.extend_from_slice(piece);
            while let Some(frame) = decoder.decode_shared(&mut buffer, &limits).expect("well formed") {
                frames.push(frame.map(&mut |bytes: Bytes| bytes.to_vec()));
            }
            prop_assert!(decoder.bytes_wanted() <= rest.len());
        }
        prop_assert_eq!(frames, replies.iter().map(|reply| seen(reply, version)).collect::<Vec<_>>());
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn any_bytes_are_frames_or_errors_however_they_arrive(
        pieces in proptest::collection::vec(
            prop_oneof![
                "[-+:$*%~>,#(=|_!]",
                "[0-9]{1,2}\r\n",
                "[-+:$*%~>=|][0-3]\r\n",
                "[:,(]1\r\n",
                Just("$268435455\r\n".to_owned()),
                Just("*268435455\r\n".to_owned()),
                "(\r\n|\\PC{0,3})",
            ],
            0..12,
        ),
    ) {
        let bytes = pieces.concat().into_bytes();
        let limits = FrameLimits { nesting_max: 4, ..FrameLimits::default() };
        let at_once = decode_frame(&bytes, &limits);
        let mut decoder = FrameDecoder::new();
        let piecewise = (0..=bytes.len()).map(|cut| decoder.decode(&bytes[..cut], &limits)).find(|found| *found != Ok(None));
        prop_assert_eq!(piecewise.unwrap_or(Ok(None)), at_once);
    }

    #[test]
    fn an_output_is_a_queue_of_bytes(steps in steps()) {
        let (mut output, mut model) = (Output::new(), Vec::new());
        let mut added = 0_usize;
        let mut mark = (output.mark(), 0);
        for step in steps {
            match step {
                Step::Append(bytes) => {
                    output.append(&bytes);
                    model.extend_from_slice(&bytes);
                    added += bytes.len();
                }
                Step::Share(bytes) => {
                    model.extend_from_slice(&bytes);
                    added += bytes.len();
                    output.append_shared(bytes.into());
                }
                Step::Advance(index) => {
                    let count = index.index(model.len() + 1);
                    output.advance(count);
                    model.drain(..count);
                }
                Step::Mark => mark = (output.mark(), added),
                Step::Truncate => {
                    let kept = model.len().saturating_sub(added - mark.1);
                    output.truncate_to(mark.0);
                    added -= model.len() - kept;
                    model.truncate(kept);
                    mark = (output.mark(), added);
                }
                Step::Compact => output.release_spare(),
                Step::Clear => {
                    output.clear();
                    model.clear();
                }
            }
            prop_assert_eq!(sent(&output), &model[..]);
            prop_assert!(output.chunks().all(|chunk| !chunk.is_empty()));
            prop_assert_eq!(output.len_bytes(), model.len());
            prop_assert_eq!(output.is_empty(), model.is_empty());
        }
    }
}
