//! Bytes from a client. Nothing panics; a request cut anywhere is the same request; and what is decoded, encoded again, decodes the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sutra_fuzz::input::Input;
use sutra_protocol::{Decoder, Limits, ProtocolError, encode_request};

type Requests = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// Everything in `bytes`, which arrive in pieces of so many bytes.
fn decode(bytes: &[u8], piece: usize, limits: &Limits, authenticated: bool) -> Requests {
    let (mut decoder, mut requests) = (Decoder::new(), Vec::new());
    let (mut start, mut end) = (0, 0);
    loop {
        match decoder.decode(&bytes[start..end], limits, authenticated) {
            Ok(Some(consumed)) => {
                requests.push(decoder.arguments(&bytes[start..end]).iter().map(<[u8]>::to_vec).collect());
                start += consumed;
            }
            Ok(None) => {
                start += decoder.take_skipped();
                if end == bytes.len() {
                    return (requests, None);
                }
                end = (end + piece).min(bytes.len());
            }
            Err(error) => return (requests, Some(error)),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (flags, piece) = (input.byte(), usize::from(input.byte()) + 1);
    let limits = if flags & 1 == 0 {
        Limits::default()
    } else {
        Limits { bulk_bytes_max: 300, arguments_max: 20, inline_bytes_max: 100, query_buffer_bytes_max: 1000 }
    };
    let authenticated = flags & 2 == 0;
    let bytes = input.rest();
    let whole = decode(bytes, bytes.len().max(1), &limits, authenticated);
    assert_eq!(decode(bytes, piece, &limits, authenticated), whole, "pieces of {piece} bytes");
    let mut again = Vec::new();
    for request in &whole.0 {
        assert!(!request.is_empty(), "a request has a name");
        encode_request(request, &mut again);
    }
    assert_eq!(decode(&again, 4096, &Limits::default(), true), (whole.0, None), "encoded again");
});
