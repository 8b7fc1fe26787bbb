//! Prints `src/builtin/unicode.rs`: how BERT's normaliser treats each character, asked of the package `tokenizers`
//! character by character, so that the library itself needs neither that package nor its Unicode tables.
//!
//! `cargo run -p sutra-embed --example unicode_tables > crates/embed/src/builtin/unicode.rs`

use std::fmt::Write as _;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

const LINE_BYTES_MAX: usize = 112;

fn main() {
    let mut dropped = Vec::new();
    let mut punctuation = Vec::new();
    let mut decomposed = Vec::new();
    for character in ('\0'..=char::MAX).filter(|character| !('\u{ac00}'..='\u{d7a3}').contains(character)) {
        let between = between(character);
        if between.is_empty() {
            dropped.push(character);
        }
        // An ideograph has spaces around it; white space is nothing but them.
        let left = between.trim_matches(' ');
        if !left.is_empty() && left.chars().ne([character]) {
            decomposed.push(format!("{character}{left}"));
        }
        if splits(character) {
            punctuation.push(character);
        }
    }
    println!(
        "//! How BERT's normaliser treats characters. Printed by `examples/unicode_tables.rs`; not edited by hand."
    );
    print_table(
        "Ranges (first, last) of characters that leave no trace: control, format, private, nonspacing marks.",
        "DROPPED",
        ranges(&dropped),
    );
    print_table("Ranges (first, last) of punctuation: each is a word of its own.", "PUNCTUATION", ranges(&punctuation));
    let spaced = decomposed.iter().map(|entry| format!("{entry} "));
    print_table(
        "A character and what is left of it after canonical decomposition without nonspacing marks, separated by spaces.\n/// Hangul syllables are computed instead.",
        "DECOMPOSED",
        spaced.collect(),
    );
}

/// What the normaliser (before lower case) makes of a character between two letters.
fn between(character: char) -> String {
    let mut text = NormalizedString::from(format!("a{character}b"));
    BertNormalizer::new(true, true, Some(true), false).normalize(&mut text).expect("it never fails");
    text.get()[1..text.get().len() - 1].to_string()
}

fn splits(character: char) -> bool {
    let mut text = PreTokenizedString::from(format!("a{character}b"));
    BertPreTokenizer.pre_tokenize(&mut text).expect("it never fails");
    text.get_splits(OffsetReferential::Original, OffsetType::Byte).len() == 3
}

fn ranges(characters: &[char]) -> Vec<String> {
    let mut ranges: Vec<(char, char)> = Vec::new();
    for &character in characters {
        match ranges.last_mut() {
            Some((_, last)) if *last as u32 + 1 == character as u32 => *last = character,
            _ => ranges.push((character, character)),
        }
    }
    ranges.into_iter().map(|(first, last)| format!("{first}{last}")).collect()
}

fn print_table(doc: &str, name: &str, entries: Vec<String>) {
    println!("\n/// {doc}\npub(super) const {name}: &str = \"\\");
    let mut line = String::new();
    for entry in entries {
        let mut escaped = String::new();
        for character in entry.chars() {
            match character {
                '!'..='~' if !matches!(character, '"' | '\\') => escaped.push(character),
                ' ' => escaped.push_str("\\x20"),
                _ => write!(escaped, "\\u{{{:x}}}", character as u32).expect("a string takes it"),
            }
        }
        if line.len() + escaped.len() > LINE_BYTES_MAX {
            println!("    {line}\\");
            line.clear();
        }
        line.push_str(&escaped);
    }
    println!("    {line}\";");
}
