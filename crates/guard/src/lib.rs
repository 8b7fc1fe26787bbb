//! What similar questions must not differ in: numbers, dates, identifiers, negation. Knows no vectors and no language
//! but English.
//!
//! No threshold of similarity tells "enable" from "disable", or 2023 from 2024: embeddings put them side by side. So the
//! [`Facts`] of a question are read from its words and stored with its answer, and a [`Guard`] says which of them must
//! agree before the answer is given to another question.
//!
//! Invariants:
//! - a fact has one spelling: `five`, `5` and `5.0` are equal, as are `May 3rd, 2024` and `2024-05-03`;
//! - what is ambiguous is kept as it is written (`03/05/2024`), never guessed;
//! - a false difference costs a hit, a false agreement a wrong answer: where they must be weighed, texts differ; but words
//!   that have ordinary other uses ("one", "may", "on") count only where their neighbours make them facts.
#![forbid(unsafe_code)]

mod dates;
mod decimal;
mod facts;
mod guard;
mod lexicon;
mod opposites;
mod read;
mod scan;

pub use facts::Facts;
pub use guard::{Difference, Guard, UnknownGuard};
