//! Vectors in, row numbers within a distance out. The crate knows no keys, no log and no clock.
#![deny(unsafe_code)]
