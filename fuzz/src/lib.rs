//! What the fuzz targets share: reading a program from bytes, damaging files, and making damaged files look sound.
#![forbid(unsafe_code)]

pub mod damage;
pub mod input;
pub mod world;
