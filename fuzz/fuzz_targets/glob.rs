//! Patterns and texts: the matcher says what a plain recursive one says, and takes no more than pattern × text steps.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sutra_cache::glob::matches;

/// By the definition, one element after the other. `steps` bounds the exponential cases, which are then not compared.
fn plain(pattern: &[u8], text: &[u8], steps: &mut usize) -> Option<bool> {
    *steps = steps.checked_sub(1)?;
    match pattern {
        [] => Some(text.is_empty()),
        [b'*', rest @ ..] => {
            for skip in 0..=text.len() {
                if plain(rest, &text[skip..], steps)? {
                    return Some(true);
                }
            }
            Some(false)
        }
        [b'?', rest @ ..] => text.split_first().map_or(Some(false), |(_, text)| plain(rest, text, steps)),
        [b'[', rest @ ..] => {
            let Some((byte, text)) = text.split_first() else { return Some(false) };
            let (found, rest) = class(rest, *byte);
            if found { plain(rest, text, steps) } else { Some(false) }
        }
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => match text.split_first() {
            Some((byte, text)) if byte == literal => plain(rest, text, steps),
            _ => Some(false),
        },
    }
}

/// Whether a class that begins behind its `[` holds the byte, and what follows the class. One that is not closed goes to the end.
fn class(mut rest: &[u8], byte: u8) -> (bool, &[u8]) {
    let negated = rest.first() == Some(&b'^');
    rest = &rest[usize::from(negated)..];
    let mut found = false;
    loop {
        match rest {
            [] => return (found != negated, rest),
            [b'\\', literal, tail @ ..] => {
                found |= *literal == byte;
                rest = tail;
            }
            [b']', tail @ ..] => return (found != negated, tail),
            [first, b'-', last, tail @ ..] => {
                found |= (*first.min(last)..=*first.max(last)).contains(&byte);
                rest = tail;
            }
            [literal, tail @ ..] => {
                found |= *literal == byte;
                rest = tail;
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((split, bytes)) = bytes.split_first() else { return };
    let (pattern, text) = bytes.split_at(usize::from(*split).min(bytes.len()));
    let found = matches(pattern, text);
    if let Some(expected) = plain(pattern, text, &mut 20_000) {
        assert_eq!(
            found,
            expected,
            "{:?} on {:?}",
            pattern.escape_ascii().to_string(),
            text.escape_ascii().to_string()
        );
    }
});
