//! The built-in model against what it was made to be: the tokeniser of its teacher, and vectors computed elsewhere.

use proptest::prelude::*;
use std::sync::LazyLock;
use sutra_embed::Builtin;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    Model, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
};

static FILE: &[u8] = include_bytes!("../model/static-256.semb");
const REFERENCE: &str = include_str!("../model/static-256.reference.json");

/// The tokeniser of the package `tokenizers` over the same vocabulary.
static THEIRS: LazyLock<WordPiece> = LazyLock::new(|| {
    let bytes = u32::from_le_bytes(FILE[20..24].try_into().expect("four bytes")) as usize;
    let names = std::str::from_utf8(&FILE[32..32 + bytes]).expect("names are UTF-8");
    let vocabulary = WordPiece::read_bytes(names.as_bytes()).expect("it never fails");
    WordPiece::builder().vocab(vocabulary).unk_token("[UNK]".into()).build().expect("it never fails")
});
const UNKNOWN: u32 = 100;

fn their_pieces(text: &str) -> Vec<u16> {
    let mut normalized = NormalizedString::from(text);
    BertNormalizer::default().normalize(&mut normalized).expect("it never fails");
    let mut split = PreTokenizedString::from(normalized.get());
    BertPreTokenizer.pre_tokenize(&mut split).expect("it never fails");
    let words = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
    let tokens = words.into_iter().flat_map(|(word, _, _)| THEIRS.tokenize(word).expect("it never fails"));
    tokens.map(|token| token.id).filter(|id| *id != UNKNOWN).map(|id| id as u16).collect()
}

#[test]
fn the_reference_vectors_are_reproduced() {
    let reference: Vec<serde_json::Value> = serde_json::from_str(REFERENCE).unwrap();
    assert_eq!(reference.len(), 15);
    for case in &reference {
        let text = case["text"].as_str().unwrap();
        let tokens: Vec<u16> =
            case["tokens"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u16).collect();
        assert_eq!(Builtin::pieces(text), tokens, "{text:?}");
        match Builtin::vector(text) {
            Ok(vector) => {
                let expected = case["vector"].as_array().unwrap();
                assert_eq!(vector.len(), expected.len());
                for (found, expected) in vector.iter().zip(expected) {
                    assert!((f64::from(*found) - expected.as_f64().unwrap()).abs() < 1e-5, "{text:?}");
                }
            }
            Err(_) => assert!(tokens.is_empty(), "{text:?}"),
        }
    }
}

#[test]
fn every_character_is_treated_as_by_the_teachers_tokeniser() {
    // Between letters it may join, split or vanish; alone it may be a piece; after a space it may begin a word.
    // Planes of ideographs, of private use, and those that hold nothing yet are alike throughout: a sample is enough.
    let sampled = |character: char| match character as u32 {
        0x2_0000..=0xd_ffff | 0xf_0000..=0x10_ffff => (character as u32).is_multiple_of(31),
        _ => true,
    };
    let characters: Vec<char> = ('\0'..=char::MAX).filter(|character| sampled(*character)).collect();
    for some in characters.chunks(32) {
        let text = |character: &char| format!("a{character}b {character} x {character}{character}1");
        let together = some.iter().map(text).collect::<Vec<_>>().join(" ");
        if Builtin::pieces(&together) != their_pieces(&together) {
            for (character, text) in some.iter().map(|character| (character, text(character))) {
                assert_eq!(Builtin::pieces(&text), their_pieces(&text), "U+{:04X} in {text:?}", *character as u32);
            }
            panic!("together they differ: {together:?}");
        }
    }
}

/// Characters of the scripts and kinds that the tokeniser treats in different ways, mixed so that they meet.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        6 => "[a-z]{1,12}",
        2 => "[A-Z][a-z]{0,8}",
        2 => "[ \t\r\n\u{a0}\u{2003}\u{3000}]{1,3}",
        2 => "[!-/:-@\\[-`{-~\u{a1}\u{2026}\u{3002}\u{ff01}]",
        1 => "[0-9.,]{1,9}",
        1 => "[\u{c0}-\u{24f}\u{1e00}-\u{1eff}]{1,6}",
        1 => "[\u{300}-\u{36f}\u{302e}\u{1d165}\u{20dd}]{1,3}",
        1 => "[\u{370}-\u{52f}\u{590}-\u{6ff}]{1,6}",
        1 => "[\u{900}-\u{dff}]{1,6}",
        1 => "[\u{e00}-\u{fff}\u{1100}-\u{11ff}]{1,6}",
        1 => "[\u{3040}-\u{30ff}]{1,6}",
        1 => "[\u{4e00}-\u{9fff}\u{f900}-\u{faff}\u{20000}-\u{20fff}]{1,4}",
        1 => "[\u{ac00}-\u{d7a3}]{1,4}",
        1 => "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{200b}-\u{200f}\u{feff}\u{fffd}\u{e000}]",
        1 => "[\u{1f300}-\u{1faff}]\u{fe0f}?",
        1 => "[a-z]{95,105}",
        1 => "\\PC{0,8}",
        1 => any::<String>(),
    ];
    prop::collection::vec(part, 0..10).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_is_cut_as_by_the_teachers_tokeniser(text in text()) {
        prop_assert_eq!(Builtin::pieces(&text), their_pieces(&text));
    }

    #[test]
    fn a_vector_is_a_unit_vector(text in text()) {
        if let Ok(vector) = Builtin::vector(&text) {
            let norm: f32 = vector.iter().map(|component| component * component).sum();
            prop_assert!((norm - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn words_of_the_vocabulary_are_cut_as_by_the_teachers_tokeniser() {
    // All names, one after another and glued together: the longest match must not stop at a shorter one.
    let bytes = u32::from_le_bytes(FILE[20..24].try_into().unwrap()) as usize;
    let names: Vec<&str> = std::str::from_utf8(&FILE[32..32 + bytes]).unwrap().split('\n').collect();
    for pair in names.windows(2) {
        let text = format!("{} {}{}", pair[0], pair[0], pair[1].trim_start_matches('#'));
        assert_eq!(Builtin::pieces(&text), their_pieces(&text), "{text:?}");
    }
}
