//! Redis's glob patterns: `*`, `?`, `[abc]`, `[^a-z]`, `\x`.
//!
//! Time is bounded by pattern length × text length: every element but `*` matches exactly one byte, so that only the last `*`
//! ever needs another try. Redis itself recurses for each `*`, and an old one could be stalled with `a*a*a*a*b`.
//! Two differences: `**` matches the empty text too (in Redis only `*` does), and bytes are unsigned here on every machine (where
//! Redis was compiled with signed characters, a range across 0x80 means something else there).

/// Whether the pattern covers the whole text; letters of different case differ.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    walk(pattern, text, false)
}

/// Whether the pattern covers the whole text in any case (CONFIG GET, COMMAND LIST).
#[must_use]
pub fn matches_ignoring_case(pattern: &[u8], text: &[u8]) -> bool {
    walk(pattern, text, true)
}

fn walk(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where to go on after the last `*`: its place in the pattern, and the text that it does not cover yet.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                if at == pattern.len() {
                    return true;
                }
                retry = Some((at, read));
                continue;
            }
            Some(_) => {
                if let Some(&byte) = text.get(read)
                    && let Some(next) = element(pattern, at, byte, ignore_case)
                {
                    at = next;
                    read += 1;
                    continue;
                }
            }
            None if read == text.len() => return true,
            None => {}
        }
        match retry {
            Some((after_star, covered)) if covered < text.len() => {
                at = after_star;
                read = covered + 1;
                retry = Some((after_star, read));
            }
            Some(_) | None => return false,
        }
    }
}

/// Matches the element of the pattern at `at` with one byte; the place of the next element if it matches.
fn element(pattern: &[u8], at: usize, byte: u8, ignore_case: bool) -> Option<usize> {
    match pattern[at] {
        b'?' => Some(at + 1),
        b'[' => class(pattern, at + 1, byte, ignore_case),
        // A backslash at the very end stands for itself.
        b'\\' if at + 1 < pattern.len() => same(pattern[at + 1], byte, ignore_case).then_some(at + 2),
        literal => same(literal, byte, ignore_case).then_some(at + 1),
    }
}

/// Matches a class whose `[` is before `at`. One that is never closed ends with the pattern.
fn class(pattern: &[u8], mut at: usize, byte: u8, ignore_case: bool) -> Option<usize> {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    let next = loop {
        match pattern.get(at..).unwrap_or(&[]) {
            [] => break at,
            // An escaped byte is compared in its own case only, as Redis does.
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [b']', ..] => break at + 1,
            [first, b'-', last, ..] => {
                found |= within(*first, *last, byte, ignore_case);
                at += 3;
            }
            [literal, ..] => {
                found |= same(*literal, byte, ignore_case);
                at += 1;
            }
        }
    };
    (found != negated).then_some(next)
}

fn within(first: u8, last: u8, byte: u8, ignore_case: bool) -> bool {
    let fold = |b: u8| if ignore_case { b.to_ascii_lowercase() } else { b };
    let (low, high) = (first.min(last), first.max(last));
    (fold(low)..=fold(high)).contains(&fold(byte))
}

fn same(a: u8, b: u8, ignore_case: bool) -> bool {
    if ignore_case { a.eq_ignore_ascii_case(&b) } else { a == b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_matches_what_redis_matches() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("*", "", true),
            ("**", "", true),
            ("*", "anything", true),
            ("a*", "a", true),
            ("a**", "a", true),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*b*c", "a12b34c", true),
            ("a*b*c", "a12c34b", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("?", "", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hallo", true),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            ("[a-", "-", true),
            ("[a-", "b", false),
            ("[]", "]", false),
            ("[^]", "x", true),
            ("[", "[", false),
            ("[^", "x", true),
            ("[abc", "c", true),
            ("[\\]]", "]", true),
            ("[\\-x]", "-", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("\\", "\\", true),
            ("a\\", "a\\", true),
            ("*[0-9]", "user:7", true),
            ("user:*:name", "user:1:2:name", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} over {text}");
        }
    }

    #[test]
    fn case_is_ignored_only_when_asked() {
        assert!(matches_ignoring_case(b"MAX*[M-N]?MORY", b"maxmemory"));
        assert!(!matches(b"MAX*", b"maxmemory"));
        assert!(!matches_ignoring_case(b"[\\M]", b"m"), "an escaped byte in a class keeps its case");
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "a*".repeat(200) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(2000).as_bytes()));
    }
}
