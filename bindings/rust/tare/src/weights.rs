//! The contract of loaders of weights: names, and bytes by name.

use std::sync::Arc;

use crate::{BorrowedModel, Model, OpenOptions, Result};

/// Where weights come from: names, and bytes by name.
///
/// Names are text. In safetensors all are; a name of GGUF or of pairs may be any bytes. In such a one
/// [`names`](Self::names) of this crate's loaders replaces what is not UTF-8 by U+FFFD, and what it
/// gives then finds nothing: go by [`Tensor::name_bytes`](crate::Tensor::name_bytes) where that
/// matters.
pub trait WeightLoader {
    /// The bytes of the tensor of that name. `None` if there is no such tensor, which differs from
    /// one of no bytes, `Some(&[])`.
    fn tensor_bytes(&self, name: &str) -> Option<&[u8]>;

    /// The names of all tensors, in order.
    fn names(&self) -> Vec<String>;
}

/// Bytes are `None` as well where they are not in memory, in models of
/// [`open_read`](Model::open_read) and of readers: give a loader what [`Model::open`] or
/// [`Model::from_bytes`] opened.
impl WeightLoader for Model {
    fn tensor_bytes(&self, name: &str) -> Option<&[u8]> {
        self.find(name)?.data()
    }

    fn names(&self) -> Vec<String> {
        self.tensors().map(|tensor| tensor.name().into_owned()).collect()
    }
}

/// What points to a loader is one.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<T: WeightLoader + ?Sized> WeightLoader for $pointer {
            fn tensor_bytes(&self, name: &str) -> Option<&[u8]> {
                (**self).tensor_bytes(name)
            }

            fn names(&self) -> Vec<String> {
                (**self).names()
            }
        }
    )*};
}

forward!(&T, Box<T>, Arc<T>);

/// As the [`Model`] that it is.
impl WeightLoader for BorrowedModel<'_> {
    fn tensor_bytes(&self, name: &str) -> Option<&[u8]> {
        (**self).tensor_bytes(name)
    }

    fn names(&self) -> Vec<String> {
        (**self).names()
    }
}

/// Weights in memory.
///
/// ```
/// use tare::{BytesWeightLoader, WeightLoader};
///
/// let weights = BytesWeightLoader::from_pairs(vec![
///     ("w".to_owned(), vec![1, 2, 3, 4]),
///     ("b".to_owned(), vec![]),
/// ]);
/// assert_eq!(weights.tensor_bytes("w"), Some(&[1, 2, 3, 4][..]));
/// assert_eq!(weights.tensor_bytes("b"), Some(&[][..]));
/// assert_eq!(weights.tensor_bytes("x"), None);
/// assert_eq!(weights.names(), ["w", "b"]);
/// ```
///
/// The bytes are the loader's:
///
/// ```compile_fail,E0505
/// use tare::{BytesWeightLoader, WeightLoader};
///
/// let weights = BytesWeightLoader::from_pairs(vec![("w".to_owned(), vec![1])]);
/// let bytes = weights.tensor_bytes("w");
/// drop(weights);
/// println!("{bytes:?}");
/// ```
#[derive(Debug)]
pub struct BytesWeightLoader(Model);

impl BytesWeightLoader {
    /// From pairs, as a search through them from the start would find them: of those with one name
    /// the first is found, and all are listed.
    ///
    /// Names and bytes are copied, so that each tensor is aligned to 64 bytes, and `pairs` is dropped
    /// at the end: for that long both are in memory. [`Model::from_pairs`] copies out of a slice.
    ///
    /// # Panics
    /// Where memory runs out, as a `Vec` does, or with 2^30 pairs or more.
    pub fn from_pairs(pairs: Vec<(String, Vec<u8>)>) -> Self {
        match OpenOptions::new().keep_first(true).open_pairs(&pairs) {
            Ok(model) => Self(model),
            Err(error) => panic!("{error}"),
        }
    }

    /// From the bytes of a safetensors file (or of a GGUF file), which are kept and not copied.
    pub fn from_safetensors(bytes: Vec<u8>) -> Result<Self> {
        Model::from_bytes(bytes).map(Self)
    }

    /// The model that it is, for all else that can be asked.
    pub fn model(&self) -> &Model {
        &self.0
    }
}

impl WeightLoader for BytesWeightLoader {
    fn tensor_bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.tensor_bytes(name)
    }

    fn names(&self) -> Vec<String> {
        self.0.names()
    }
}
