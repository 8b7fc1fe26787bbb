//! A text cut into words the way BERT does it: control characters dropped, CJK characters and punctuation alone, lower
//! case, no accents.
//!
//! The result is that of `BertNormalizer` followed by `BertPreTokenizer` of the package `tokenizers` in all that can
//! matter to a vocabulary: characters are folded one by one, which leaves out that canonical decomposition also reorders
//! combining marks. Nonspacing marks are dropped anyway, and the few spacing marks that move are in no vocabulary, so
//! that their words are unknown in either order.

use super::unicode::{DECOMPOSED, DROPPED, PUNCTUATION};

/// How the characters above ASCII fold. Made once, in a fraction of a millisecond.
pub(super) struct Folding {
    dropped: Ranges,
    punctuation: Ranges,
    /// Sorted by the first.
    decomposed: Vec<(char, &'static str)>,
}

/// Sorted, disjoint ranges of characters: first, last.
struct Ranges(Vec<(char, char)>);

/// What a character does to the word that is being read.
enum Fold {
    /// Nothing.
    Nothing,
    /// It ends the word.
    Ends,
    /// It ends the word and is one itself.
    IsWord(char),
    /// It goes on, with this instead of the character.
    Goes(char),
    /// It goes on, with these instead of the character (not yet in lower case).
    GoesAs(&'static str),
    /// A Hangul syllable: it goes on with its two or three letters.
    GoesAsLetters([Option<char>; 3]),
}

/// What a byte below 128 does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ascii {
    Nothing,
    Ends,
    IsWord,
    Goes(u8),
}

const ASCII: [Ascii; 128] = {
    let mut table = [Ascii::Nothing; 128];
    let mut byte = 0;
    while byte < 128 {
        let character = byte as u8;
        table[byte] = match character {
            b' ' | b'\t' | b'\n' | b'\r' => Ascii::Ends,
            _ if character.is_ascii_control() => Ascii::Nothing,
            _ if character.is_ascii_punctuation() => Ascii::IsWord,
            _ => Ascii::Goes(character.to_ascii_lowercase()),
        };
        byte += 1;
    }
    table
};

impl Folding {
    pub(super) fn new() -> Folding {
        let decomposed = DECOMPOSED.split(' ').filter_map(|entry| {
            let mut characters = entry.chars();
            characters.next().map(|character| (character, characters.as_str()))
        });
        Folding { dropped: Ranges::of(DROPPED), punctuation: Ranges::of(PUNCTUATION), decomposed: decomposed.collect() }
    }

    /// Calls `on_word` with each word in turn. `word` is room that is used again.
    pub(super) fn words(&self, text: &str, word: &mut String, mut on_word: impl FnMut(&str)) {
        let mut end = |word: &mut String| {
            if !word.is_empty() {
                on_word(word);
                word.clear();
            }
        };
        word.clear();
        for character in text.chars() {
            match self.fold(character) {
                Fold::Nothing => {}
                Fold::Ends => end(word),
                Fold::IsWord(character) => {
                    end(word);
                    word.push(character);
                    end(word);
                }
                Fold::Goes(character) => word.push(character),
                Fold::GoesAs(characters) => word.extend(characters.chars().flat_map(char::to_lowercase)),
                Fold::GoesAsLetters(letters) => word.extend(letters.into_iter().flatten()),
            }
            // U+0130 is the only character with a lower case of two, and it decomposes first, so one is enough above.
        }
        end(word);
    }

    #[inline]
    fn fold(&self, character: char) -> Fold {
        match ASCII.get(character as usize) {
            Some(Ascii::Nothing) => Fold::Nothing,
            Some(Ascii::Ends) => Fold::Ends,
            Some(Ascii::IsWord) => Fold::IsWord(character),
            Some(Ascii::Goes(lower)) => Fold::Goes(*lower as char),
            None => self.fold_wide(character),
        }
    }

    fn fold_wide(&self, character: char) -> Fold {
        if self.dropped.contain(character) {
            return Fold::Nothing;
        }
        if character.is_whitespace() {
            return Fold::Ends;
        }
        let found = self.decomposed.binary_search_by_key(&character, |(from, _)| *from);
        if is_cjk(character) {
            let folded = found.ok().and_then(|at| self.decomposed[at].1.chars().next());
            return Fold::IsWord(folded.unwrap_or(character));
        }
        match found {
            Ok(at) => {
                let (_, characters) = self.decomposed[at];
                match characters.chars().next() {
                    Some(first) if self.is_punctuation(first) => Fold::IsWord(first),
                    Some(_) | None => Fold::GoesAs(characters),
                }
            }
            Err(_) if self.is_punctuation(character) => Fold::IsWord(character),
            Err(_) => match letters_of_hangul(character) {
                Some(letters) => Fold::GoesAsLetters(letters),
                None => Fold::Goes(character.to_lowercase().next().unwrap_or(character)),
            },
        }
    }

    fn is_punctuation(&self, character: char) -> bool {
        character.is_ascii_punctuation() || self.punctuation.contain(character)
    }
}

impl Ranges {
    fn of(pairs: &str) -> Ranges {
        let mut characters = pairs.chars();
        let mut ranges = Vec::new();
        while let (Some(first), Some(last)) = (characters.next(), characters.next()) {
            ranges.push((first, last));
        }
        Ranges(ranges)
    }

    fn contain(&self, character: char) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= character);
        after > 0 && character <= self.0[after - 1].1
    }
}

/// The blocks that BERT calls Chinese: ideographs, not the scripts that are written with spaces.
fn is_cjk(character: char) -> bool {
    matches!(
        character as u32,
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B73F
            | 0x2B740..=0x2B81F
            | 0x2B920..=0x2CEAF
            | 0xF900..=0xFAFF
            | 0x2F800..=0x2FA1F
    )
}

/// The canonical decomposition of a Hangul syllable (Unicode, section 3.12): syllables lie in the order of their letters.
fn letters_of_hangul(character: char) -> Option<[Option<char>; 3]> {
    const FIRST_SYLLABLE: u32 = 0xAC00;
    const LEADING: (u32, u32) = (0x1100, 19);
    const VOWEL: (u32, u32) = (0x1161, 21);
    /// The first stands for "none".
    const TRAILING: (u32, u32) = (0x11A7, 28);
    let index = (character as u32).checked_sub(FIRST_SYLLABLE)?;
    let (leading, rest) = (index / (VOWEL.1 * TRAILING.1), index % (VOWEL.1 * TRAILING.1));
    if leading >= LEADING.1 {
        return None;
    }
    let trailing = rest % TRAILING.1;
    Some([
        char::from_u32(LEADING.0 + leading),
        char::from_u32(VOWEL.0 + rest / TRAILING.1),
        if trailing == 0 { None } else { char::from_u32(TRAILING.0 + trailing) },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        Folding::new().words(text, &mut String::new(), |word| words.push(word.to_owned()));
        words
    }

    #[test]
    fn words_end_at_white_space_and_punctuation_is_alone() {
        assert_eq!(words("How do I\treset_it?\n"), ["how", "do", "i", "reset", "_", "it", "?"]);
        assert_eq!(words(" \r\n"), [""; 0]);
    }

    #[test]
    fn accents_and_control_characters_leave_no_trace() {
        assert_eq!(words("Na\u{ef}ve caf\u{e9} e\u{301}\u{200b}\u{0}x \u{130}"), ["naive", "cafe", "ex", "i"]);
    }

    #[test]
    fn an_ideograph_is_a_word_and_a_syllable_is_its_letters() {
        assert_eq!(words("\u{4f60}\u{597d}x"), ["\u{4f60}", "\u{597d}", "x"]);
        assert_eq!(words("\u{d55c}\u{ad6d}"), ["\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}"]);
    }
}
