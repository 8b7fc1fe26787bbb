//! Bytes from a server. Nothing panics, and a reply cut anywhere is the same reply.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sutra_fuzz::input::Input;
use sutra_protocol::{Frame, FrameDecoder, FrameError, FrameLimits};

fn decode(bytes: &[u8], piece: usize, limits: &FrameLimits) -> (Vec<Frame>, Option<FrameError>) {
    let (mut decoder, mut frames) = (FrameDecoder::new(), Vec::new());
    let (mut start, mut end) = (0, 0);
    loop {
        match decoder.decode(&bytes[start..end], limits) {
            Ok(Some((frame, consumed))) => {
                frames.push(frame);
                start += consumed;
            }
            Ok(None) if end == bytes.len() => return (frames, None),
            Ok(None) => end = (end + piece).min(bytes.len()),
            Err(error) => return (frames, Some(error)),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let piece = usize::from(input.byte()) + 1;
    let bytes = input.rest();
    let limits = FrameLimits::default();
    let whole = decode(bytes, bytes.len().max(1), &limits);
    // NaN is not equal to itself, but shows the same.
    assert_eq!(format!("{:?}", decode(bytes, piece, &limits)), format!("{whole:?}"), "pieces of {piece} bytes");
});
