//! Pairs of questions that an embedder puts side by side: those that must be told apart, and those that must not.

use proptest::prelude::*;
use sutra_guard::{Facts, Guard};

fn difference(asked: &str, stored: &str) -> Option<String> {
    let (asked, stored) = (Facts::of(asked), Facts::of(stored));
    let difference = Guard::ALL.differs(&asked, &stored);
    assert_eq!(
        Guard::ALL.differs(&stored, &asked).is_some(),
        difference.is_some(),
        "it must not matter which is asked"
    );
    difference.map(|difference| difference.to_string())
}

/// The kind in which the questions of each pair differ.
const DIFFERENT: &[(&str, &str, &str)] = &[
    // Numbers.
    ("numbers", "What are the top 5 banks?", "What are the top 10 banks?"),
    ("numbers", "Can I have two cards?", "Can I have three cards?"),
    ("numbers", "How long is 5 km?", "How long is 5 miles?"),
    ("numbers", "Is a 20% tip usual?", "Is a 15% tip usual?"),
    ("numbers", "transfer $1,000", "transfer $10,000"),
    ("numbers", "transfer $100", "transfer \u{20ac}100"),
    ("numbers", "wait 10 minutes", "wait 10 hours"),
    ("numbers", "Who won the 2nd world war?", "Who won the first world war?"),
    ("numbers", "What is 1/2 of a cup?", "What is 1/3 of a cup?"),
    ("numbers", "is -5 too cold", "is 5 too cold"),
    ("numbers", "the 30-day trial", "the 14-day trial"),
    ("numbers", "raise 1.5 million", "raise 2.5 million"),
    ("numbers", "one hundred and five", "one hundred and six"),
    ("numbers", "error 404", "error 500"),
    ("numbers", "5 to 10 km", "5 to 10 miles"),
    ("numbers", "one day in Rome", "two days in Rome"),
    // Dates.
    ("dates", "Revenue on 3 May 2024", "Revenue on 4 May 2024"),
    ("dates", "Revenue on 2024-05-03", "Revenue on 2024-06-03"),
    ("dates", "Revenue in May", "Revenue in June"),
    ("dates", "Is the shop open on Monday?", "Is the shop open on Sunday?"),
    ("dates", "What happened yesterday?", "What happened today?"),
    ("dates", "sales last week", "sales this week"),
    ("dates", "meeting at 5pm", "meeting at 6 pm"),
    ("dates", "due on 03/05/2024", "due on 05/03/2024"),
    ("dates", "events next Friday", "events last Friday"),
    // Identifiers.
    ("ids", "Where is order AB-1234?", "Where is order AB-1235?"),
    ("ids", "release notes of v2.3.1", "release notes of v2.3.2"),
    ("ids", "mail to ann@example.com", "mail to bob@example.com"),
    ("ids", "AAPL stock price", "MSFT stock price"),
    ("ids", "price of $aapl", "price of $msft"),
    ("ids", "open https://example.com/a", "open https://example.com/b"),
    ("ids", "user 6ba7b810-9dad-11d1-80b4-00c04fd430c8", "user 6ba7b811-9dad-11d1-80b4-00c04fd430c8"),
    ("ids", "does it work on 4G-LTE", "does it work on 5G-LTE"),
    ("ids", "convert USD to EUR", "convert EUR to USD"),
    ("ids", "dollars to euros", "euros to dollars"),
    // Negation and opposites.
    ("negation", "How do I enable 2FA?", "How do I disable 2FA?"),
    ("negation", "turn notifications on", "turn off notifications"),
    ("negation", "How do I turn on two-factor authentication?", "disable two-factor authentication"),
    ("negation", "Which cards are supported?", "Which cards are not supported?"),
    ("negation", "My card works", "My card doesn\u{2019}t work"),
    ("negation", "flights with stops", "flights without stops"),
    ("negation", "How do I log in?", "How do I log out?"),
    ("negation", "Why was I logged in?", "Why was I logged out?"),
    ("negation", "allow access", "deny access"),
    ("negation", "How can I increase my limit?", "How can I decrease my limit?"),
    ("negation", "raise the limit", "lower the limit"),
    ("negation", "add a user", "remove a user"),
    ("negation", "activating my card", "deactivating my card"),
    ("negation", "open an account", "close an account"),
    ("negation", "start the service", "stop the service"),
    ("negation", "Is the service stopped?", "Is the service started?"),
    ("negation", "before the deadline", "after the deadline"),
    ("negation", "Should I buy gold?", "Should I sell gold?"),
    ("negation", "scale up the cluster", "scale the cluster down"),
    ("negation", "What is the maximum?", "What is the minimum?"),
    ("negation", "Do you take credit cards?", "Do you take debit cards?"),
    ("negation", "I can log in", "I am unable to log in"),
    ("negation", "refundable tickets", "non-refundable tickets"),
    ("negation", "Never share it", "Always share it"),
];

/// What asks the same, or differs in nothing that a guard looks at.
const ALIKE: &[(&str, &str)] = &[
    ("How do I reset my password?", "how can i change my password"),
    ("top 5 banks", "top five banks"),
    ("transfer $1,000.50", "transfer 1000.5 dollars"),
    ("USD 50", "50 usd"),
    ("\u{a3}5", "5 pounds"),
    ("20%", "20 percent"),
    ("transfer 100", "transfer $100"),
    ("banning 500 and 1000 rupee notes", "banning Rs. 500 and Rs.1000 notes"),
    ("3-4 days in Rome", "3 to 4 days in Rome"),
    ("How does one build a vocabulary?", "How can I build a vocabulary?"),
    ("a one-day trip", "a trip in one day"),
    ("BITSAT-2017 results", "BITSAT 2017 results"),
    ("at 9.35AM", "at 9:35 am"),
    ("5km run", "5 kilometres run"),
    ("1.5 million", "1,500,000"),
    ("10k", "ten thousand"),
    ("21 days", "twenty-one days"),
    ("the 21st floor", "the twenty-first floor"),
    ("wait 5 seconds", "wait 5s"),
    ("3 May 2024", "May 3rd, 2024"),
    ("the 3rd of May 2024", "2024-05-03"),
    ("25/12/2024", "25 December 2024"),
    ("May 2024", "2024-05"),
    ("meeting at 5 pm", "meeting at 17:00"),
    ("meeting at 5:30 p.m.", "meeting at 17:30"),
    ("on Mondays", "on monday"),
    ("previous week", "last week"),
    ("order AB-1234", "order ab1234"),
    ("version 2.3", "v2.3"),
    ("2.3.1", "V2.3.1"),
    ("How do I enable 2FA?", "How do I turn on two-factor authentication?"),
    ("turn my notifications off", "disable my notifications"),
    ("Which one is better?", "Which is better?"),
    ("May I pay by card?", "Can I pay by card?"),
    ("Isn't there a way to pay by card?", "Is there a way to pay by card?"),
    ("I don't know how to reset my PIN", "how to reset my pin"),
    ("My card doesn't work", "My card isn't working"),
    ("My card does not work", "my card doesnt work"),
    ("AAPL stock price", "Apple stock price"),
    ("HOW DO I RESET MY PASSWORD", "how do i reset my password"),
    ("What should I do first?", "What should I do?"),
    ("Is my order here, or not?", "Is my order here?"),
    ("What's the weather in Paris", "weather in Paris"),
    ("\u{91cd}\u{7f6e}3\u{6b21}", "\u{91cd}\u{7f6e} 3"),
    ("dollars to euros", "USD to EUR"),
];

#[test]
fn questions_with_other_answers_differ() {
    for (kind, asked, stored) in DIFFERENT {
        let difference = difference(asked, stored);
        let shown = difference.as_deref().unwrap_or("no difference");
        assert!(
            shown.starts_with(&format!("{kind}: ")),
            "{asked:?} and {stored:?}: {shown}; {:?} {:?}",
            Facts::of(asked),
            Facts::of(stored)
        );
    }
}

#[test]
fn questions_with_the_same_answer_do_not_differ() {
    for (asked, stored) in ALIKE {
        assert_eq!(difference(asked, stored), None, "{asked:?} and {stored:?}");
    }
}

#[test]
fn a_difference_names_both_sides() {
    assert_eq!(difference("top 2 banks", "top three banks").as_deref(), Some("numbers: 2 \u{2260} 3"));
    assert_eq!(difference("turn it off", "turn it on").as_deref(), Some("negation: disable \u{2260} enable"));
    assert_eq!(difference("it is not", "it is").as_deref(), Some("negation: negated \u{2260} not negated"));
    assert_eq!(difference("in May 2024", "in May").as_deref(), Some("dates: 2024-05 \u{2260} --05"));
}

/// Pieces of which facts are made, so that their combinations come up.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        any::<String>(),
        "[0-9.,/:'_-]{1,12}",
        "[#$@%+-]{0,2}[0-9]{1,12}[a-z%$]{0,3}",
        "[A-Za-z0-9._@-]{1,12}",
        "(one|two|twenty|hundred|thousand|million|first|third|and|of|may|march|2024|on|off|not|no|n't|to|last|week|pm|am|-|')",
        "[\u{a0}-\u{24f}\u{20ac}\u{2019}\u{660}-\u{669}\u{4e00}-\u{4e10}]{1,5}",
    ];
    let separator = prop_oneof![Just(" "), Just(""), Just("-"), Just(", ")];
    prop::collection::vec((part, separator), 0..12)
        .prop_map(|parts| parts.into_iter().map(|(part, separator)| part + separator).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_text_has_facts_that_can_be_stored(text in text()) {
        let facts = Facts::of(&text);
        prop_assert_eq!(Facts::decode(&facts.encode()), Some(facts.clone()));
        prop_assert_eq!(Guard::ALL.differs(&facts, &facts), None);
        prop_assert!(facts.encode().len() < 9_000);
    }

    #[test]
    fn white_space_around_a_text_changes_nothing(text in text()) {
        prop_assert_eq!(Facts::of(&format!(" \n{text}\t ")), Facts::of(&text));
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(facts) = Facts::decode(&bytes) {
            prop_assert_eq!(Facts::decode(&facts.encode()), Some(facts));
        }
    }
}
