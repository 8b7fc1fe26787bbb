//! Parts of a key between colons, and keys as glob patterns.

use super::KeyError;

/// Appends the part so that it has no `:`, and so that no other part is written like it.
pub(super) fn push_escaped(key: &mut String, part: &str) {
    for character in part.chars() {
        match character {
            ':' => key.push_str("%3A"),
            '%' => key.push_str("%25"),
            _ => key.push(character),
        }
    }
}

/// The part that was written like this. `what` it is stands in the error.
pub(super) fn unescaped(written: &[u8], what: &'static str) -> Result<String, KeyError> {
    let mut rest = std::str::from_utf8(written).map_err(|_| KeyError::NotText(what))?;
    let mut part = String::with_capacity(rest.len());
    while let Some((plain, behind)) = rest.split_once('%') {
        part.push_str(plain);
        (part, rest) = if let Some(behind) = behind.strip_prefix("3A") {
            (part + ":", behind)
        } else if let Some(behind) = behind.strip_prefix("25") {
            (part + "%", behind)
        } else {
            return Err(KeyError::Escape(what));
        };
    }
    part.push_str(rest);
    Ok(part)
}

/// A Redis glob pattern that covers exactly the keys that begin like this.
pub(super) fn pattern_of(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for character in prefix.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the shard does with `\x` and a `*` at the end; patterns of ours have nothing else that is special.
    fn covers(pattern: &str, key: &str) -> bool {
        let mut key = key.chars();
        let mut pattern = pattern.chars();
        while let Some(element) = pattern.next() {
            let wanted = match element {
                '*' => return pattern.next().is_none(),
                '?' | '[' => return false,
                '\\' => pattern.next(),
                _ => Some(element),
            };
            if key.next() != wanted {
                return false;
            }
        }
        key.next().is_none()
    }

    proptest! {
        #[test]
        fn what_is_escaped_has_no_colon_and_comes_back(part in "[:%3A25a*\\\\?\\[\\]]{0,8}") {
            let mut written = String::new();
            push_escaped(&mut written, &part);
            prop_assert!(!written.contains(':'));
            prop_assert_eq!(unescaped(written.as_bytes(), "part"), Ok(part));
        }

        #[test]
        fn what_can_be_read_is_written_the_same_again(written in "[%23A5a]{0,8}") {
            if let Ok(part) = unescaped(written.as_bytes(), "part") {
                let mut again = String::new();
                push_escaped(&mut again, &part);
                prop_assert_eq!(again, written);
            }
        }

        #[test]
        fn a_pattern_covers_what_begins_like_it_and_nothing_else(prefix in "[*?\\[\\]\\\\^a-]{0,5}", key in "[*?\\[\\]\\\\^a-]{0,8}") {
            let pattern = pattern_of(&prefix);
            prop_assert_eq!(covers(&pattern, &key), key.starts_with(&prefix));
            let longer = prefix + &key;
            prop_assert!(covers(&pattern, &longer));
        }
    }
}
