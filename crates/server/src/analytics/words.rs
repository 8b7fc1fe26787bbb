//! A sentence cut into words, and what counts as the same word.

/// A word of the sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// In lower case.
    pub(super) text: String,
    /// Where it begins in the sentence, in bytes.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
    /// It stood in double quotes: part of a topic or a name, whatever it says.
    pub(super) quoted: bool,
}

impl Word {
    /// Whether it is exactly this.
    pub(super) fn is(&self, text: &str) -> bool {
        !self.quoted && self.text == text
    }

    /// Whether it is exactly one of the words of this text.
    pub(super) fn is_among(&self, words: &str) -> bool {
        !self.quoted && words.split(' ').any(|word| word == self.text)
    }

    /// Whether it is exactly one of these.
    pub(super) fn is_any(&self, texts: &[&str]) -> bool {
        !self.quoted && texts.contains(&self.text.as_str())
    }
}

/// Cuts a sentence at whatever is neither letter, digit, nor inside of a name or number (`14:00`, `0.5`, `user:7`, `doc_3`).
pub(super) fn words(sentence: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut quoted = false;
    let mut start = None;
    let mut push = |start: usize, end: usize, quoted: bool| {
        let raw = &sentence[start..end];
        let kept = raw.trim_matches([':', '.', '\'', '_']);
        let start = start + (raw.len() - raw.trim_start_matches([':', '.', '\'', '_']).len());
        let mut end = start + kept.len();
        let mut text = kept.to_lowercase().replace('\u{2019}', "'");
        // `what's`, `cache's`: the rest is a word of its own that says nothing.
        if let Some(stem) = text.strip_suffix("'s") {
            end -= kept.len() - kept.trim_end_matches(['s', 'S']).trim_end_matches(['\'', '\u{2019}']).len();
            text = stem.to_owned();
        }
        if !text.is_empty() {
            words.push(Word { text, start, end, quoted });
        }
    };
    for (at, c) in sentence.char_indices() {
        let is_inside =
            c.is_alphanumeric() || c == '_' || (start.is_some() && matches!(c, ':' | '.' | '\'' | '\u{2019}'));
        if is_inside {
            start.get_or_insert(at);
            continue;
        }
        if let Some(start) = start.take() {
            push(start, at, quoted);
        }
        if c == '%' {
            push(at, at + 1, quoted);
        }
        if matches!(c, '"' | '\u{201c}' | '\u{201d}') {
            quoted = !quoted;
        }
    }
    if let Some(start) = start {
        push(start, sentence.len(), quoted);
    }
    words
}

/// How many slips of the pen a word of so many letters may have and still be taken for one of ours. None below four letters, where one letter makes
/// another word (`hit`, `hot`); then only two neighbours swapped (`hist` for `hits`); one of any kind from five (`latancy`), two from nine
/// (`invaldiatons`). The words of different measures differ by more than that, which a test holds.
fn slips_max(letters: usize) -> usize {
    match letters {
        0..=4 => 0,
        5..=8 => 1,
        9.. => 2,
    }
}

/// Whether `written` is `meant` but for a slip of the pen. The first letter is hardly ever the wrong one, and has to be right.
pub(super) fn is_slip_of(written: &str, meant: &str) -> bool {
    if written == meant {
        return true;
    }
    if !written.is_ascii() || !meant.is_ascii() || written.as_bytes().first() != meant.as_bytes().first() {
        return false;
    }
    let letters = meant.len().min(written.len());
    if letters == 4 && meant.len() == written.len() {
        return is_swap(written.as_bytes(), meant.as_bytes());
    }
    let max = slips_max(letters);
    max > 0 && written.len().abs_diff(meant.len()) <= max && distance(written.as_bytes(), meant.as_bytes()) <= max
}

/// Whether a word of three letters is this one with two neighbours swapped (`hte`): taken for words that say nothing, never for measures.
pub(super) fn is_swapped(written: &str, meant: &str) -> bool {
    written.len() == 3 && meant.len() == 3 && is_swap(written.as_bytes(), meant.as_bytes())
}

/// Whether two neighbours are swapped and nothing else differs.
fn is_swap(written: &[u8], meant: &[u8]) -> bool {
    let differing: Vec<usize> = (0..meant.len()).filter(|at| written[*at] != meant[*at]).collect();
    match differing[..] {
        [a, b] => b == a + 1 && written[a] == meant[b] && written[b] == meant[a],
        _ => false,
    }
}

/// Insertions, deletions, substitutions and swaps of neighbours from one word to the other (optimal string alignment).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let substituted = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            rows[i][j] = substituted.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                rows[i][j] = rows[i][j].min(rows[i - 2][j - 2] + 1);
            }
        }
    }
    rows[a.len()][b.len()]
}

/// A small number in digits or words.
pub(super) fn number(word: &Word) -> Option<f64> {
    const WORDS: [&str; 13] =
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    if let Some(number) = WORDS.iter().position(|name| word.is(name)) {
        return Some(number as f64);
    }
    let more =
        [("fifteen", 15.0), ("twenty", 20.0), ("thirty", 30.0), ("fifty", 50.0), ("sixty", 60.0), ("hundred", 100.0)];
    if let Some((_, number)) = more.iter().find(|(name, _)| word.is(name)) {
        return Some(*number);
    }
    let is_digits = word.text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if word.quoted || !is_digits { None } else { word.text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(sentence: &str) -> Vec<String> {
        words(sentence).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn sentences_are_cut_at_spaces_and_punctuation_but_names_and_times_stay_whole() {
        assert_eq!(cut("What's the hit-rate, since 14:00?"), ["what", "the", "hit", "rate", "since", "14:00"]);
        assert_eq!(cut("tag user:7... at 0.5. (p99)"), ["tag", "user:7", "at", "0.5", "p99"]);
        assert_eq!(cut("hit %"), ["hit", "%"]);
        assert_eq!(cut("...':_ \" "), Vec::<String>::new());
        assert_eq!(cut("\u{dc}ber Geld"), ["\u{fc}ber", "geld"]);
    }

    #[test]
    fn a_word_knows_where_it_stands_and_whether_it_is_quoted() {
        let sentence = "about \"Hit Rate\" today's";
        let all = words(sentence);
        let found: Vec<(&str, bool)> = all.iter().map(|word| (&sentence[word.start..word.end], word.quoted)).collect();
        assert_eq!(found, [("about", false), ("Hit", true), ("Rate", true), ("today", false)]);
        assert!(!all[1].is("hit") && all[0].is("about"));
    }

    #[test]
    fn long_words_forgive_more_than_short_ones() {
        for (written, meant) in [
            ("latancy", "latency"),
            ("evctions", "evictions"),
            ("hist", "hits"),
            ("memroy", "memory"),
            ("invaldiatons", "invalidations"),
        ] {
            assert!(is_slip_of(written, meant), "{written} for {meant}");
        }
        for (written, meant) in [
            ("hot", "hit"),
            ("hats", "hits"),
            ("mice", "miss"),
            ("convictions", "evictions"),
            ("validations", "invalidations"),
        ] {
            assert!(!is_slip_of(written, meant), "{written} for {meant}");
        }
    }

    #[test]
    fn distances_count_a_swap_as_one() {
        assert_eq!(distance(b"abcd", b"abdc"), 1);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"abc"), 3);
    }

    #[test]
    fn numbers_come_in_digits_and_words() {
        let read = |text: &str| number(&words(text)[0]);
        assert_eq!(
            [read("15"), read("two"), read("0.5"), read("twenty")],
            [Some(15.0), Some(2.0), Some(0.5), Some(20.0)]
        );
        assert_eq!([read("1.2.3"), read("12:00"), read("cards")], [None; 3]);
    }
}
