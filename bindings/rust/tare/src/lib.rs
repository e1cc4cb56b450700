//! Tensors of large models by name: dtype, shape and bytes, from safetensors (one file or sharded),
//! GGUF (one file or split), or pairs made in memory.
//!
//! ```no_run
//! use tare::{LoadOptions, Model};
//!
//! // SAFETY: nobody writes to the file in place while the model is open.
//! let model = unsafe { Model::open("model.safetensors")? };
//! if let Some(tensor) = model.find("lm_head.weight") {
//!     println!("{} {:?}: {} bytes", tensor.dtype(), tensor.shape(), tensor.size());
//!     let bytes: Option<&[u8]> = tensor.data(); // where they are mapped, not a copy
//! }
//!
//! let layer: Vec<_> = model.prefix("model.layers.3.").collect();
//! let block = model.load(&layer, LoadOptions::new())?; // in parallel, into aligned memory
//! for (tensor, bytes) in layer.iter().zip(block.iter()) {
//!     println!("{}: {} bytes", tensor.name(), bytes.len());
//! }
//! # Ok::<(), tare::Error>(())
//! ```
//!
//! This is a thin layer over a C library, which does all the work; its header `tare.h` has the full
//! reference text, in the package `tare-sys`.
//!
//! - A [`Model`] is `Send` and `Sync`, and never changes. Tensors, names, shapes and bytes are
//!   borrowed from it.
//! - Calls that can fail return an [`Error`]: status, shard, offset, and a message that names the
//!   tensor.
//! - [`WeightLoader`] is the contract for code that needs no more than names and bytes.
//! - Mapping files is `unsafe`, since others may change them: see [files that
//!   change](Model#files-that-change). [`Model::open_read`] maps nothing, and loads as fast.

#![deny(missing_docs, missing_debug_implementations)]

mod block;
mod device;
mod digest;
mod error;
mod files;
mod index_file;
mod iterate;
mod load;
mod load_options;
mod metadata;
mod model;
mod names;
mod open;
mod progress;
mod reader;
mod save;
mod tensor;
mod values;
mod weights;

pub use block::{Block, DeviceBlock, DeviceMemory};
pub use device::{Device, DeviceInfo, DeviceOptions};
pub use digest::Digest;
pub use error::{Error, Result};
pub use files::{list_files, ModelFile};
pub use index_file::IndexOptions;
pub use iterate::{Key, Prefix, Tensors};
pub use load_options::{Host, LoadOptions, OnDevice, Target};
pub use metadata::{Entry, Items, Metadata, Value};
pub use model::{BorrowedModel, Model, Shard, Stat};
pub use names::name_distance;
pub use open::OpenOptions;
pub use reader::ReadAt;
pub use save::{save, save_to_vec, SaveOptions, SaveTensor};
pub use tare_sys as sys;
pub use tensor::Tensor;
pub use values::{
    Advice, Backing, DeviceKind, Dtype, Format, IndexCheck, Io, Kind, Status, UseIndex,
};
pub use weights::{BytesWeightLoader, WeightLoader};

/// The version of the C library that runs, such as "0.1.0".
pub fn version() -> &'static str {
    // SAFETY: the text is static.
    unsafe { values::static_text(tare_sys::tare_version()) }
}

/// The example of the README is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
