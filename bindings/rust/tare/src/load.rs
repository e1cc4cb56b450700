//! Many tensors into memory, in parallel; their digests; advice.

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use tare_sys as sys;

use crate::block::RawBlock;
use crate::error::check;
use crate::load_options::{sealed::FromRaw, Target};
use crate::{Advice, Digest, Error, LoadOptions, Model, OnDevice, Result, Status, Tensor};

/// Loading, in parallel. Files are read, never copied from a mapping. Of several failures the first
/// to happen counts, and names its tensor; nothing is left of a load that fails.
///
/// What a load gives is a [`Block`](crate::Block), or, with [`LoadOptions::device`], a
/// [`DeviceBlock`](crate::DeviceBlock).
impl Model {
    /// Loads tensors of this model, in any order, into one fresh piece of memory. One that is listed
    /// twice is there twice.
    pub fn load<T: Target>(
        &self,
        tensors: &[Tensor<'_>],
        options: LoadOptions<'_, T>,
    ) -> Result<T::Block> {
        self.load_raw(Some(tensors), options)
    }

    /// Loads all tensors, in the order of [`Model::tensors`].
    pub fn load_all<T: Target>(&self, options: LoadOptions<'_, T>) -> Result<T::Block> {
        self.load_raw(None, options)
    }

    fn load_raw<T: Target>(
        &self,
        tensors: Option<&[Tensor<'_>]>,
        options: LoadOptions<'_, T>,
    ) -> Result<T::Block> {
        let mut out = ptr::null_mut();
        options.call(self, tensors, |list, count, options, error| {
            // SAFETY: the list is NULL or one of `count` tensors of this model.
            unsafe { sys::tare_load(self.as_ptr(), list, count, options, &mut out, error) }
        })?;
        let raw = NonNull::new(out).expect("a load that succeeds gives a block");
        // SAFETY: it was made just now, where `T` says: a device is set by what makes it `OnDevice`.
        Ok(unsafe { T::Block::from_raw(RawBlock::new(raw)) })
    }

    /// Loads tensors into memory of the caller's: `targets[i]` must be as long as tensor `i`, or its
    /// slice, is ([`Status::TargetSize`]). After a failure it is not specified what targets hold.
    pub fn load_into(
        &self,
        tensors: &[Tensor<'_>],
        targets: &mut [&mut [u8]],
        options: LoadOptions<'_>,
    ) -> Result<()> {
        check_targets(targets.len(), tensors)?;
        for (index, (tensor, target)) in tensors.iter().zip(targets.iter()).enumerate() {
            let (size, room) = (options.size_of(index, tensor)?, target.len());
            if size != room as u64 {
                let name = tensor.name_bytes().escape_ascii();
                let message = format!("tensor '{name}' takes {size} bytes, its target has {room}");
                return Err(Error::new(Status::TargetSize, message));
            }
        }
        let sizes: Vec<usize> = targets.iter().map(|target| target.len()).collect();
        let targets: Vec<*mut c_void> =
            targets.iter_mut().map(|target| target.as_mut_ptr().cast()).collect();
        // SAFETY: targets are as long as their sizes, which are checked, and do not overlap.
        unsafe { self.load_into_raw(tensors, &targets, sizes.as_ptr(), options) }
    }

    /// The same into memory of a device: `targets[i]` is the address (a `CUdeviceptr`) of as many
    /// bytes as tensor `i`, or its slice, has. All copies are complete when the call returns; work on
    /// streams of the caller's is not waited for.
    ///
    /// # Safety
    /// Each target is memory of the device of the options, has room for that many bytes, overlaps no
    /// other, and nothing else uses it during the call.
    pub unsafe fn load_into_device(
        &self,
        tensors: &[Tensor<'_>],
        targets: &[u64],
        options: LoadOptions<'_, OnDevice>,
    ) -> Result<()> {
        check_targets(targets.len(), tensors)?;
        let targets: Vec<*mut c_void> =
            targets.iter().map(|&address| address as usize as *mut c_void).collect();
        // SAFETY: the caller's promise.
        unsafe { self.load_into_raw(tensors, &targets, ptr::null(), options) }
    }

    /// # Safety
    /// There are as many targets as tensors, and either sizes as many, which are theirs, or room for
    /// what is loaded of each.
    unsafe fn load_into_raw<T: Target>(
        &self,
        tensors: &[Tensor<'_>],
        targets: &[*mut c_void],
        target_sizes: *const usize,
        options: LoadOptions<'_, T>,
    ) -> Result<()> {
        options.call(self, Some(tensors), |list, count, options, error| {
            // SAFETY: the lists have that many entries, tensors are of this model; for targets and
            // their sizes the caller's promise.
            unsafe {
                let options = sys::tare_load_options { target_sizes, ..*options };
                let targets = targets.as_ptr();
                sys::tare_load_into(self.as_ptr(), list, targets, count, &options, error)
            }
        })
    }

    /// The digests of tensors, on several threads. Of the options `threads`, `progress` and
    /// `drop_behind` count.
    pub fn hash(&self, tensors: &[Tensor<'_>], options: LoadOptions<'_>) -> Result<Vec<Digest>> {
        self.hash_raw(Some(tensors), options)
    }

    /// The digests of all tensors.
    pub fn hash_all(&self, options: LoadOptions<'_>) -> Result<Vec<Digest>> {
        self.hash_raw(None, options)
    }

    fn hash_raw(
        &self,
        tensors: Option<&[Tensor<'_>]>,
        options: LoadOptions<'_>,
    ) -> Result<Vec<Digest>> {
        let count = tensors.map_or_else(|| self.count(), <[_]>::len);
        let mut digests = vec![Digest::from(0); count];
        let out = digests.as_mut_ptr().cast();
        options.for_hashing().call(self, tensors, |list, count, options, error| {
            // SAFETY: the list is NULL or one of `count` tensors of this model, and there is room for
            // as many digests.
            unsafe { sys::tare_hash_many(self.as_ptr(), list, count, options, out, error) }
        })?;
        Ok(digests)
    }

    /// Tells the operating system that these tensors will, or will no longer, be used. Neighbours
    /// are taken together. Bytes stay what they are whatever the advice.
    pub fn advise(&self, tensors: &[Tensor<'_>], advice: Advice) -> Result<()> {
        let list = self.list(tensors)?;
        self.advise_raw(list.as_ptr(), list.len(), advice)
    }

    /// The same for all tensors.
    pub fn advise_all(&self, advice: Advice) -> Result<()> {
        self.advise_raw(ptr::null(), 0, advice)
    }

    fn advise_raw(
        &self,
        tensors: *const *const sys::tare_tensor,
        count: usize,
        advice: Advice,
    ) -> Result<()> {
        check(|error| {
            // SAFETY: `tensors` is NULL or a list of `count` tensors of this model.
            unsafe { sys::tare_advise(self.as_ptr(), tensors, count, advice.raw(), error) }
        })
        .map_err(|error| self.explain(error))
    }
}

fn check_targets(count: usize, tensors: &[Tensor<'_>]) -> Result<()> {
    match count == tensors.len() {
        true => Ok(()),
        false => {
            let message = format!("{count} targets for {} tensors", tensors.len());
            Err(Error::new(Status::Argument, message))
        }
    }
}
