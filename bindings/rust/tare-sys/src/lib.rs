//! Declarations of [tare](https://docs.rs/tare), a C library that opens models (safetensors, GGUF)
//! and finds their tensors. The crate `tare` is the safe interface to it.
//!
//! Names, fields and constants are those of `tare.h`, which is in this package and has the reference
//! text of every one of them: units, errors, ownership, lifetime, threads. A test compares the two.
//!
//! By default the C sources, which are in this package, are compiled. With the feature `system` an
//! installed libtare is linked instead.

#![no_std]
#![allow(non_camel_case_types)]

mod constants;
mod functions;
mod types;

pub use constants::*;
pub use functions::*;
pub use types::*;
