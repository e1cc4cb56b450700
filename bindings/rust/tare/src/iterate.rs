//! Iterators over tensors, and keys.

use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::ops::Range;

use tare_sys as sys;

use crate::{Model, Tensor};

/// All tensors of a model. See [`Model::tensors`].
#[derive(Clone, Debug)]
pub struct Tensors<'m> {
    model: &'m Model,
    indices: Range<usize>,
}

impl<'m> Tensors<'m> {
    pub(crate) fn new(model: &'m Model) -> Self {
        Self { model, indices: 0..model.count() }
    }
}

impl<'m> Iterator for Tensors<'m> {
    type Item = Tensor<'m>;

    #[inline]
    fn next(&mut self) -> Option<Tensor<'m>> {
        self.model.at(self.indices.next()?)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.indices.size_hint()
    }

    fn nth(&mut self, n: usize) -> Option<Tensor<'m>> {
        self.model.at(self.indices.nth(n)?)
    }

    fn count(self) -> usize {
        self.indices.len()
    }

    fn last(mut self) -> Option<Tensor<'m>> {
        self.next_back()
    }
}

impl<'m> DoubleEndedIterator for Tensors<'m> {
    #[inline]
    fn next_back(&mut self) -> Option<Tensor<'m>> {
        self.model.at(self.indices.next_back()?)
    }

    fn nth_back(&mut self, n: usize) -> Option<Tensor<'m>> {
        self.model.at(self.indices.nth_back(n)?)
    }
}

impl ExactSizeIterator for Tensors<'_> {}
impl FusedIterator for Tensors<'_> {}

/// The tensors whose names start with a prefix. See [`Model::prefix`].
#[derive(Clone, Debug)]
pub struct Prefix<'m, 'p> {
    model: &'m Model,
    range: sys::tare_range,
    prefix: PhantomData<&'p [u8]>,
}

// SAFETY: it holds shared references to a model, which is Sync, and to bytes.
unsafe impl Send for Prefix<'_, '_> {}
// SAFETY: the same.
unsafe impl Sync for Prefix<'_, '_> {}

impl<'m, 'p> Prefix<'m, 'p> {
    pub(crate) fn new(model: &'m Model, prefix: &'p [u8]) -> Self {
        // SAFETY: the model is open, and the prefix as long as is said. It is borrowed.
        let range =
            unsafe { sys::tare_prefix(model.as_ptr(), prefix.as_ptr().cast(), prefix.len()) };
        Self { model, range, prefix: PhantomData }
    }
}

impl<'m> Iterator for Prefix<'m, '_> {
    type Item = Tensor<'m>;

    #[inline]
    fn next(&mut self) -> Option<Tensor<'m>> {
        // SAFETY: the range is one of this model, and gives NULL or one of its tensors.
        unsafe {
            let raw = sys::tare_next(self.model.as_ptr(), &mut self.range);
            Tensor::from_raw(self.model, raw)
        }
    }
}

impl FusedIterator for Prefix<'_, '_> {}

/// A name with its hash made once. See [`Model::key`]. It is tied to the model that made it:
///
/// ```
/// let model = tare::Model::from_pairs(&[("w", [1u8, 2])])?;
/// let key = model.key("w");
/// for _ in 0..1000 {
///     assert!(key.find().is_some());
/// }
/// # Ok::<(), tare::Error>(())
/// ```
///
/// ```compile_fail,E0505
/// let model = tare::Model::from_pairs(&[("w", [1u8, 2])]).unwrap();
/// let key = model.key("w");
/// drop(model);
/// key.find();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Key<'m, 'n> {
    model: &'m Model,
    raw: sys::tare_key,
    name: PhantomData<&'n [u8]>,
}

// SAFETY: it holds shared references to a model, which is Sync, and to bytes.
unsafe impl Send for Key<'_, '_> {}
// SAFETY: the same.
unsafe impl Sync for Key<'_, '_> {}

impl<'m, 'n> Key<'m, 'n> {
    pub(crate) fn new(model: &'m Model, name: &'n [u8]) -> Self {
        // SAFETY: the model is open, and the name as long as is said. It is borrowed.
        let raw = unsafe { sys::tare_key_make(model.as_ptr(), name.as_ptr().cast(), name.len()) };
        Self { model, raw, name: PhantomData }
    }

    /// The tensor of that name.
    #[inline]
    pub fn find(&self) -> Option<Tensor<'m>> {
        // SAFETY: the key is one of this model, which gives NULL or one of its tensors.
        unsafe { Tensor::from_raw(self.model, sys::tare_find_key(self.model.as_ptr(), &self.raw)) }
    }
}
