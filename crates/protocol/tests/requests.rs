//! Requests: what is malformed, what is tolerated, and what trickles in.

use proptest::prelude::*;
use sutra_protocol::{Decoder, Limits, ProtocolError, encode_request};

/// The requests in `bytes` as one connection decodes them when they arrive in pieces of the given sizes (the last one
/// repeated), with a caller that also drops empty requests if it is told so.
fn decode_all(
    bytes: &[u8],
    pieces: &[usize],
    limits: &Limits,
    drops_skipped: bool,
) -> (Vec<Vec<Vec<u8>>>, Result<usize, ProtocolError>) {
    let (mut decoder, mut requests) = (Decoder::new(), Vec::new());
    let (mut start, mut end) = (0, 0);
    let mut sizes = pieces.iter().copied();
    let mut size = 1;
    loop {
        match decoder.decode(&bytes[start..end], limits, true) {
            Ok(Some(consumed)) => {
                let arguments = decoder.arguments(&bytes[start..end]);
                assert!(!arguments.is_empty(), "a request has at least one argument");
                assert_eq!(arguments.len(), arguments.iter().len());
                assert_eq!(arguments.get(arguments.len()), None);
                requests.push(arguments.iter().map(<[u8]>::to_vec).collect());
                start += consumed;
                assert!(start <= end, "only what is there is consumed");
            }
            Ok(None) => {
                assert!(decoder.arguments(&bytes[start..end]).is_empty());
                assert!(decoder.bytes_wanted() <= 1024 * 1024);
                if drops_skipped {
                    start += decoder.take_skipped();
                }
                if end == bytes.len() {
                    return (requests, Ok(start));
                }
                size = sizes.next().unwrap_or(size).max(1);
                end = bytes.len().min(end + size);
            }
            Err(error) => {
                let again = decoder.decode(&bytes[start..end], limits, true);
                assert_eq!(again, Err(error), "an error stays");
                return (requests, Err(error));
            }
        }
    }
}

fn only_request(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::new();
    assert_eq!(decoder.decode(bytes, &Limits::default(), true), Ok(Some(bytes.len())), "{}", bytes.escape_ascii());
    decoder.arguments(bytes).iter().map(<[u8]>::to_vec).collect()
}

fn error_of(bytes: &[u8], limits: &Limits, is_authenticated: bool) -> String {
    match Decoder::new().decode(bytes, limits, is_authenticated) {
        Err(error) => error.to_string(),
        Ok(consumed) => panic!("{} decoded: {consumed:?}", bytes.escape_ascii()),
    }
}

#[test]
fn every_malformed_request_gets_redis_s_text() {
    const COUNT: &str = "invalid multibulk length";
    const LENGTH: &str = "invalid bulk length";
    let cases: &[(&[u8], &str)] = &[
        (b"*x\r\n", COUNT),
        (b"*\r\n", COUNT),
        (b"*01\r\n", COUNT),
        (b"*+1\r\n", COUNT),
        (b"*-0\r\n", COUNT),
        (b"* 1\r\n", COUNT),
        (b"*1 \r\n", COUNT),
        (b"*1\n\r\n", COUNT),
        (b"*1048577\r\n", COUNT),
        (b"*2147483648\r\n", COUNT),
        (b"*99999999999999999999\r\n", COUNT),
        (b"*1\r\n$x\r\n", LENGTH),
        (b"*1\r\n$\r\n", LENGTH),
        (b"*1\r\n$-1\r\n", LENGTH),
        (b"*1\r\n$04\r\nPING\r\n", LENGTH),
        (b"*1\r\n$+4\r\nPING\r\n", LENGTH),
        (b"*1\r\n$4 \r\nPING\r\n", LENGTH),
        (b"*1\r\n$536870913\r\n", LENGTH),
        (b"*1\r\n$9999999999\r\n", LENGTH),
        (b"*1\r\n$18446744073709551615\r\n", LENGTH),
        (b"*2\r\n$4\r\nECHO\r\n$x\r\n", LENGTH),
        (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\n*1\r\n", "expected '$', got '*'"),
        (b"*1\r\n\r\n", "expected '$', got ' '"),
        (b"*1\r\n\n\r\n", "expected '$', got ' '"),
        (b"GET \"a\r\n", "unbalanced quotes in request"),
        (b"GET 'a\r\n", "unbalanced quotes in request"),
        (b"GET \"a\"b\r\n", "unbalanced quotes in request"),
        (b"GET 'a'b\r\n", "unbalanced quotes in request"),
        (b"GET \"a\\\"\n", "unbalanced quotes in request"),
    ];
    for (bytes, expected) in cases {
        let text = format!("ERR Protocol error: {expected}");
        assert_eq!(error_of(bytes, &Limits::default(), true), text, "{}", bytes.escape_ascii());
        let (requests, end) = decode_all(bytes, &[1], &Limits::default(), true);
        assert!(requests.is_empty());
        assert_eq!(end.map_err(|error| error.to_string()), Err(text), "byte by byte: {}", bytes.escape_ascii());
    }
}

#[test]
fn lines_that_do_not_end_are_refused_at_the_limit() {
    let limits = Limits::default();
    for (head, expected) in
        [("", "too big inline request"), ("*", "too big mbulk count string"), ("*1\r\n$", "too big bulk count string")]
    {
        let line_start = head.len() - usize::from(head.ends_with(['*', '$']));
        let mut bytes = head.as_bytes().to_vec();
        bytes.resize(line_start + limits.inline_bytes_max, b'1');
        let mut decoder = Decoder::new();
        assert_eq!(decoder.decode(&bytes, &limits, true), Ok(None), "{expected}");
        bytes.push(b'1');
        let error = decoder.decode(&bytes, &limits, true).expect_err(expected);
        assert_eq!(error.to_string(), format!("ERR Protocol error: {expected}"));
        bytes.extend_from_slice(b"\r\n");
        assert_eq!(error_of(&bytes, &limits, true), error.to_string(), "however it arrives");
    }
}

#[test]
fn clients_that_are_not_authenticated_may_send_little() {
    let limits = Limits::default();
    let count = "ERR Protocol error: unauthenticated multibulk length";
    let length = "ERR Protocol error: unauthenticated bulk length";
    assert_eq!(error_of(b"*11\r\n", &limits, false), count);
    assert_eq!(error_of(b"*1\r\n$16385\r\n", &limits, false), length);
    for allowed in [&b"*10\r\n"[..], b"*1\r\n$16384\r\n"] {
        assert_eq!(Decoder::new().decode(allowed, &limits, false), Ok(None));
    }
    for allowed in [&b"*11\r\n"[..], b"*1\r\n$16385\r\n"] {
        assert_eq!(Decoder::new().decode(allowed, &limits, true), Ok(None));
    }
}

#[test]
fn the_limits_that_are_set_hold() {
    let limits = Limits { bulk_bytes_max: 3, arguments_max: 2, inline_bytes_max: 8, query_buffer_bytes_max: 20 };
    assert_eq!(error_of(b"*3\r\n", &limits, true), "ERR Protocol error: invalid multibulk length");
    assert_eq!(error_of(b"*2\r\n$4\r\n", &limits, true), "ERR Protocol error: invalid bulk length");
    assert_eq!(error_of(b"123456789\n", &limits, true), "ERR Protocol error: too big inline request");
    assert_eq!(Decoder::new().decode(b"12345678\n", &limits, true), Ok(Some(9)));
    assert_eq!(Decoder::new().decode(b"*2\r\n$3\r\nabc\r\n$3\r\n123", &limits, true), Ok(None));
    let error = Decoder::new().decode(b"*2\r\n$3\r\nabc\r\n$3\r\n123\r", &limits, true);
    assert_eq!(error, Err(ProtocolError::QueryBufferFull));
    assert_eq!(
        Decoder::new().decode(b"*2\r\n$3\r\nabc\r\n$3\r\n123\r\n", &limits, true),
        Ok(Some(22)),
        "it is complete"
    );
}

#[test]
fn empty_requests_are_passed_over() {
    for empty in [&b"*0\r\n"[..], b"*-1\r\n", b"*-5\r\n", b"\r\n", b"\n", b" \t\r\n", b"\r\n*0\r\n \n"] {
        let bytes = [empty, b"PING\r\n", empty].concat();
        for drops_skipped in [false, true] {
            for piece in [1, 2, bytes.len()] {
                let (requests, end) = decode_all(&bytes, &[piece], &Limits::default(), drops_skipped);
                assert_eq!(requests, [[b"PING"]], "{}", bytes.escape_ascii());
                let left = if drops_skipped { 0 } else { empty.len() };
                assert_eq!(end, Ok(bytes.len() - left), "{}", bytes.escape_ascii());
            }
        }
    }
}

#[test]
fn the_bytes_where_line_ends_belong_are_as_free_as_in_redis() {
    assert_eq!(only_request(b"*1\rx$4\rxPINGxx"), [b"PING"]);
    assert_eq!(only_request(b"*1\r\n$4\r\nPI\r\n\r\n"), [b"PI\r\n"], "line ends inside an argument are its bytes");
    assert_eq!(only_request(b"*2\r\n$0\r\n\r\n$0\r\n\r\n"), [b"", b""]);
}

#[test]
fn inline_commands_are_split_as_redis_splits_them() {
    let cases: &[(&[u8], &[&[u8]])] = &[
        (b"PING", &[b"PING"]),
        (b"  SET  k\tv  ", &[b"SET", b"k", b"v"]),
        (b"SET k \"\"", &[b"SET", b"k", b""]),
        (b"SET k ''", &[b"SET", b"k", b""]),
        (b"\"a b\" 'c d'", &[b"a b", b"c d"]),
        (b"a\"b c\"", &[b"ab c"]),
        (b"a'b c'", &[b"ab c"]),
        (b"\"\\n\\r\\t\\b\\a\\\\\\\"\\q\"", &[b"\n\r\t\x08\x07\\\"q"]),
        (b"\"\\x41\\xff\\xFf\\x4\\xg0\"", &[b"A\xff\xffx4xg0"]),
        (b"'it\\'s \\n'", &[b"it's \\n"]),
        (b"a\\nb", &[b"a\\nb"]),
        (b"a\rb", &[b"a", b"b"]),
        (b"a\x0bb \x0bc", &[b"a\x0bb", b"c"]),
        (b"\"a\"\x0bb", &[b"a", b"b"]),
        (b"a\0b \xff", &[b"a\0b", b"\xff"]),
    ];
    for (line, expected) in cases {
        for line_end in [&b"\n"[..], b"\r\n"] {
            assert_eq!(only_request(&[line, line_end].concat()), *expected, "{}", line.escape_ascii());
        }
    }
}

#[test]
fn a_decoder_tells_inline_commands_from_arrays() {
    let mut decoder = Decoder::new();
    let limits = Limits::default();
    assert_eq!(decoder.decode(b"\r\n*1\r\n$1\r\na\r\n", &limits, true), Ok(Some(13)));
    assert!(!decoder.is_inline());
    assert_eq!(decoder.decode(b"GET /health HTTP/1.1\r\n", &limits, true), Ok(Some(22)));
    assert!(decoder.is_inline());
}

#[test]
fn memory_is_asked_for_as_bytes_arrive() {
    let limits = Limits::default();
    let mut decoder = Decoder::new();
    let mut bytes = b"*1\r\n$536870912\r\n".to_vec();
    assert_eq!(decoder.decode(&bytes, &limits, true), Ok(None));
    assert_eq!(decoder.bytes_wanted(), 16 * 1024, "little has arrived");
    bytes.resize(100_000, b'x');
    assert_eq!(decoder.decode(&bytes, &limits, true), Ok(None));
    assert_eq!(decoder.bytes_wanted(), 100_000, "as much again");
    bytes.resize(5_000_000, b'x');
    assert_eq!(decoder.decode(&bytes, &limits, true), Ok(None));
    assert_eq!(decoder.bytes_wanted(), 1024 * 1024, "never more than a step");

    let mut decoder = Decoder::new();
    assert_eq!(decoder.decode(b"*1\r\n$10\r\n0123", &limits, true), Ok(None));
    assert_eq!(decoder.bytes_wanted(), 8, "what lacks");
    assert_eq!(decoder.decode(b"*1\r\n$10\r\n0123456789\r\n", &limits, true), Ok(Some(21)));
    assert_eq!(decoder.bytes_wanted(), 0);

    let mut decoder = Decoder::new();
    assert_eq!(decoder.decode(b"\r\n*1\r\n$10\r\n0123", &limits, true), Ok(None));
    assert_eq!(decoder.take_skipped(), 2);
    assert_eq!(decoder.bytes_wanted(), 8, "the same without the empty line");
}

#[test]
fn declared_arguments_allocate_nothing() {
    let mut decoder = Decoder::new();
    assert_eq!(decoder.decode(b"*1048576\r\n$536870912\r\n", &Limits::default(), true), Ok(None));
    assert_eq!(decoder.capacity_bytes(), 0);
}

#[test]
fn memory_for_very_many_arguments_is_given_back() {
    let mut bytes = Vec::new();
    encode_request(&vec![b"x"; 100_000], &mut bytes);
    let (mut decoder, limits) = (Decoder::new(), Limits::default());
    assert_eq!(decoder.decode(&bytes, &limits, true), Ok(Some(bytes.len())));
    assert!(decoder.capacity_bytes() >= 1_600_000);
    assert_eq!(decoder.decode(b"PING\r\n", &limits, true), Ok(Some(6)));
    assert!(decoder.capacity_bytes() <= 20_000, "{}", decoder.capacity_bytes());
}

/// Bytes that look like the protocol often enough to reach its corners.
fn protocol_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"*".to_vec()),
        Just(b"$".to_vec()),
        "[0-9]{1,3}".prop_map(String::into_bytes),
        Just(b"*2\r\n$1\r\na\r\n".to_vec()),
        Just(b"*1048576\r\n".to_vec()),
        Just(b"$536870912\r\n".to_vec()),
        "[ \"'x4\\\\-]{1,4}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 1..6),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn requests() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    let argument = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..20),
        1 => proptest::collection::vec(any::<u8>(), 900..1100),
    ];
    proptest::collection::vec(proptest::collection::vec(argument, 1..6), 1..5)
}

proptest! {
    #[test]
    fn requests_decode_to_what_was_encoded_however_they_arrive(
        requests in requests(),
        pieces in proptest::collection::vec(1_usize..40, 0..100),
    ) {
        let mut bytes = Vec::new();
        for request in &requests {
            encode_request(request, &mut bytes);
        }
        for pieces in [&pieces[..], &[1], &[usize::MAX]] {
            let (decoded, end) = decode_all(&bytes, pieces, &Limits::default(), false);
            prop_assert_eq!(&decoded, &requests);
            prop_assert_eq!(end, Ok(bytes.len()));
        }
    }

    #[test]
    fn every_strict_prefix_of_a_request_needs_more(
        request in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 1..4),
    ) {
        let mut bytes = Vec::new();
        encode_request(&request, &mut bytes);
        for cut in 0..bytes.len() {
            let mut decoder = Decoder::new();
            prop_assert_eq!(decoder.decode(&bytes[..cut], &Limits::default(), true), Ok(None));
            // Resumed with the rest and with bytes of the next request behind it.
            let whole = [&bytes[..], b"*1\r\n$1\r\n"].concat();
            prop_assert_eq!(decoder.decode(&whole, &Limits::default(), true), Ok(Some(bytes.len())));
            let decoded: Vec<_> = decoder.arguments(&whole).iter().map(<[u8]>::to_vec).collect();
            prop_assert_eq!(&decoded, &request);
        }
    }

    #[test]
    fn any_bytes_decode_the_same_however_they_arrive(
        bytes in protocol_like(),
        pieces in proptest::collection::vec(1_usize..10, 0..40),
        drops_skipped: bool,
    ) {
        let limits = Limits { inline_bytes_max: 12, query_buffer_bytes_max: 100, ..Limits::default() };
        let (at_once, end) = decode_all(&bytes, &[usize::MAX], &limits, drops_skipped);
        let (in_pieces, piecewise_end) = decode_all(&bytes, &pieces, &limits, drops_skipped);
        // A full query buffer depends on what else has arrived; all else does not.
        prop_assume!(end != Err(ProtocolError::QueryBufferFull) && piecewise_end != Err(ProtocolError::QueryBufferFull));
        prop_assert_eq!(&at_once, &in_pieces);
        prop_assert_eq!(end.err(), piecewise_end.err());
    }

    #[test]
    fn no_bytes_make_the_decoder_allocate_more_than_arrives(bytes in protocol_like()) {
        let mut decoder = Decoder::new();
        let (mut start, limits) = (0, Limits::default());
        while let Ok(Some(consumed)) = decoder.decode(&bytes[start..], &limits, true) {
            start += consumed;
        }
        // An argument arrives in at least 2 bytes (inline) and is remembered in 16; a vector that grows doubles, and begins with 4.
        prop_assert!(decoder.capacity_bytes() <= 20 * bytes.len() + 80, "{} of {}", decoder.capacity_bytes(), bytes.len());
    }
}
