//! Pairs of words of which a question means one: `enable` and `disable`.

/// Words of one side and of the other; the first of each is the one that is shown. Verbs stand in their base form, other
/// forms are made from it; spaces separate words. Stored facts refer to pairs by number: append only.
pub(crate) const PAIRS: &[(&str, &str)] = &[
    ("enable activate reactivate", "disable deactivate"),
    ("allow permit approve grant accept authorize authorise", "deny forbid prohibit disallow reject refuse decline"),
    ("increase raise grow rise higher", "decrease reduce lower shrink fall"),
    ("add create insert append", "remove delete erase destroy"),
    ("open reopen", "close shut"),
    ("start begin launch resume continue", "stop end halt quit pause"),
    ("before", "after"),
    ("buy purchase bought", "sell sold"),
    ("in login signin checkin", "out logout signout checkout"),
    ("up", "down"),
    ("borrow", "lend lent"),
    ("send sent", "receive"),
    ("deposit", "withdraw withdrew withdrawn withdrawal"),
    ("import", "export"),
    ("upload", "download"),
    ("encrypt", "decrypt"),
    ("lock", "unlock"),
    ("install", "uninstall"),
    ("subscribe", "unsubscribe"),
    ("follow", "unfollow"),
    ("block", "unblock"),
    ("mute", "unmute"),
    ("connect", "disconnect"),
    ("link", "unlink"),
    ("show unhide display", "hide hid hidden"),
    ("include", "exclude"),
    ("freeze froze frozen", "unfreeze unfroze unfrozen"),
    ("push", "pull"),
    ("expand", "collapse"),
    ("compress", "decompress"),
    ("join", "leave"),
    ("win won gain", "lose lost"),
    ("pass succeed success", "fail failure"),
    ("maximum max maximal highest largest biggest greatest", "minimum min minimal lowest smallest least"),
    ("more greater", "less fewer"),
    ("above over", "below under"),
    ("best", "worst"),
    ("first earliest oldest", "last latest newest"),
    ("credit", "debit"),
    ("income", "expense"),
    ("profit", "loss"),
    ("pro advantage benefit", "con disadvantage drawback"),
    ("legal", "illegal"),
    ("possible", "impossible"),
    ("valid", "invalid"),
    ("safe", "unsafe dangerous"),
    ("agree", "disagree"),
    ("public", "private"),
    ("incoming inbound", "outgoing outbound"),
    ("internal", "external"),
    ("online", "offline"),
    ("input", "output"),
    ("north northern", "south southern"),
    ("east eastern", "west western"),
    ("left", "right"),
    ("early earlier", "late later"),
    ("fast faster quick", "slow slower"),
    ("cheap cheaper", "expensive"),
    ("easy easier", "hard harder difficult"),
    ("full", "empty"),
    ("ascending asc", "descending desc"),
    ("horizontal", "vertical"),
    ("synchronous", "asynchronous"),
    ("mandatory required", "optional"),
    ("manual manually", "automatic automatically"),
    ("sender", "recipient receiver"),
    ("buyer", "seller"),
    ("lender", "borrower"),
    ("employer", "employee"),
    ("male man men", "female woman women"),
    ("attach", "detach"),
    ("mount", "unmount"),
    ("assign", "unassign"),
    ("register", "unregister deregister"),
    ("zip", "unzip"),
    ("pin", "unpin"),
    ("load", "unload"),
    ("archive", "unarchive"),
    ("hire", "fire"),
    ("upgrade", "downgrade"),
    ("healthy", "unhealthy"),
    ("known", "unknown"),
    ("single", "married"),
    ("promote", "demote"),
    ("inside", "outside"),
    ("winter", "summer"),
    ("odd", "even"),
    ("multiply", "divide"),
    ("plus", "minus"),
    ("love", "hate"),
    ("arrive arrival", "depart departure"),
    ("encode", "decode"),
    ("serialize serialise", "deserialize deserialise"),
    ("read", "write wrote written"),
];

/// Pairs whose words are prepositions too, and mean a side only beside a verb (`log in`, `turn down`).
pub(crate) const ENABLE: u8 = 0;
/// `in` and `out`.
pub(crate) const IN: u8 = 8;
/// `up` and `down`.
pub(crate) const UP: u8 = 9;

/// The side of the first words.
pub(crate) const FIRST: u8 = 1;
/// The side of the second words.
pub(crate) const SECOND: u8 = 2;

/// The words of a pair that stand for its sides.
pub(crate) fn sides(pair: u8, sides: u8) -> String {
    let Some((first, second)) = PAIRS.get(usize::from(pair)) else {
        return "another pair of opposites".to_owned();
    };
    let word = |words: &str| words.split(' ').next().unwrap_or_default().to_owned();
    match sides {
        FIRST => word(first),
        SECOND => word(second),
        _ => format!("{} and {}", word(first), word(second)),
    }
}

/// A word with its other forms: `stop`, `stops`, `stopped`, `stopping`. Some of them are no words; no text has those.
pub(crate) fn forms(word: &str) -> Vec<String> {
    let mut forms = vec![word.to_owned(), format!("{word}s"), format!("{word}ed"), format!("{word}ing")];
    forms.extend([format!("{word}es")]);
    if let Some(stem) = word.strip_suffix('e') {
        forms.extend([format!("{word}d"), format!("{stem}ing"), format!("{stem}ion")]);
    }
    if let Some(stem) = word.strip_suffix('y') {
        forms.extend([format!("{stem}ies"), format!("{stem}ied"), format!("{stem}ication")]);
    }
    let last = word.chars().last().filter(|last| !"aeiouwy".contains(*last));
    if let Some(last) = last {
        forms.extend([format!("{word}{last}ed"), format!("{word}{last}ing")]);
    }
    if word.ends_with('t') || word.ends_with("ate") {
        forms.extend([format!("{word}ion"), format!("{word}or")]);
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_pairs_stay_what_they_are() {
        assert!(PAIRS[usize::from(ENABLE)].0.starts_with("enable"));
        assert!(PAIRS[usize::from(IN)].0.starts_with("in "));
        assert!(PAIRS[usize::from(UP)].0.starts_with("up"));
        assert_eq!(PAIRS[50].0, "online");
        assert!(PAIRS.len() <= usize::from(u8::MAX));
    }

    #[test]
    fn no_word_is_in_two_pairs() {
        let mut words: Vec<&str> =
            PAIRS.iter().flat_map(|(first, second)| first.split(' ').chain(second.split(' '))).collect();
        words.sort_unstable();
        assert_eq!(words.windows(2).find(|pair| pair[0] == pair[1]), None);
    }

    #[test]
    fn verbs_have_their_forms() {
        let all = |word: &str, expected: &[&str]| {
            let forms = forms(word);
            for form in expected {
                assert!(forms.iter().any(|made| made == form), "{form} of {word}");
            }
        };
        all("stop", &["stops", "stopped", "stopping"]);
        all("disable", &["disables", "disabled", "disabling"]);
        all("deny", &["denies", "denied", "denying"]);
        all("activate", &["activates", "activated", "activation"]);
        all("connect", &["connection", "connecting"]);
    }
}
