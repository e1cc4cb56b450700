//! Many tensors into memory, in parallel; their digests; advice.

use std::ffi::c_void;
use std::ops::{ControlFlow, Index, IndexMut};
use std::ptr::{self, NonNull};
use std::{fmt, slice};

use tare_sys as sys;

use crate::error::check;
use crate::progress::Progress;
use crate::{Advice, Digest, Error, Io, Model, Result, Status, Tensor};

/// How to load. [`LoadOptions::new`] has the defaults.
///
/// ```
/// use std::ops::ControlFlow;
/// use tare::{LoadOptions, Model};
///
/// let model = Model::from_pairs(&[("w", [1u8, 2]), ("b", [3, 4])])?;
/// let options = LoadOptions::new().threads(4).alignment(4096).progress(|done, total| {
///     eprintln!("{done} of {total} bytes");
///     ControlFlow::Continue(())
/// });
/// let block = model.load_all(options)?;
/// assert_eq!(&block[1], [3, 4]);
/// # Ok::<(), tare::Error>(())
/// ```
pub struct LoadOptions<'a> {
    raw: sys::tare_load_options,
    digests: Option<&'a [Digest]>,
    progress: Progress<'a>,
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> LoadOptions<'a> {
    /// The defaults.
    pub fn new() -> Self {
        Self { raw: sys::TARE_LOAD_OPTIONS_INIT, digests: None, progress: Progress::default() }
    }

    /// Which way bytes of files take.
    #[must_use]
    pub fn io(mut self, io: Io) -> Self {
        self.raw.io = io.raw();
        self
    }

    /// At most that many threads, the caller's included, up to 1024. Default: one for each
    /// processor, at most 16; more where reads wait for a disk; 1 for a reader.
    #[must_use]
    pub fn threads(mut self, count: u32) -> Self {
        self.raw.threads = count;
        self
    }

    /// The most bytes of one read, 4 KiB to 1 GiB. Default: up to 4 MiB.
    #[must_use]
    pub fn chunk_size(mut self, size: u64) -> Self {
        self.raw.chunk_size = size;
        self
    }

    /// The most bytes of all reads at one time, from 4 KiB on. Default: threads times the chunk,
    /// at most 64 MiB.
    #[must_use]
    pub fn flight_size_max(mut self, size: u64) -> Self {
        self.raw.flight_size_max = size;
        self
    }

    /// Of [`Model::load`]: to what each tensor is aligned, a power of two up to 2 MiB. Default 64.
    #[must_use]
    pub fn alignment(mut self, alignment: usize) -> Self {
        self.raw.alignment = alignment;
        self
    }

    /// Pages that were read leave the page cache at once, for models larger than memory.
    #[must_use]
    pub fn drop_behind(self, drop: bool) -> Self {
        self.flag(sys::TARE_LOAD_DROP_BEHIND, drop)
    }

    /// Asks for huge pages from 2 MiB on. That is the default.
    #[must_use]
    pub fn huge_pages(self, huge: bool) -> Self {
        self.flag(sys::TARE_LOAD_SMALL_PAGES, !huge)
    }

    /// Checks the bytes against these digests, one for each tensor: [`Status::Digest`] if one
    /// differs.
    #[must_use]
    pub fn digests(mut self, digests: &'a [Digest]) -> Self {
        self.digests = Some(digests);
        self
    }

    /// Called with bytes done and bytes in all, on the thread that called: first with 0 done, at
    /// last with all. `Break` stops the load, which is then [`Status::Cancelled`]. A panic stops it
    /// as well, and goes on once the library has cleaned up.
    #[must_use]
    pub fn progress(mut self, report: impl FnMut(u64, u64) -> ControlFlow<()> + 'a) -> Self {
        self.progress = Progress::new(report);
        self
    }

    fn flag(mut self, flag: u32, set: bool) -> Self {
        self.raw.flags = if set { self.raw.flags | flag } else { self.raw.flags & !flag };
        self
    }

    /// Makes a call that takes options, for `count` tensors of `model`.
    fn call(
        mut self,
        model: &Model,
        count: usize,
        call: impl FnOnce(*const sys::tare_load_options, *mut sys::tare_error) -> sys::tare_status,
    ) -> Result<()> {
        if let Some(digests) = self.digests {
            if digests.len() != count {
                let message = format!("{} digests for {count} tensors", digests.len());
                return Err(Error::new(Status::Argument, message));
            }
            self.raw.digests = digests.as_ptr().cast();
        }
        self.raw.progress = self.progress.function();
        self.raw.progress_context = self.progress.context();
        let result = check(|error| call(&self.raw, error));
        self.progress.end();
        result.map_err(|error| model.explain(error))
    }
}

impl fmt::Debug for LoadOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions").field("raw", &self.raw).finish_non_exhaustive()
    }
}

/// Loading, in parallel. Files are read, never copied from a mapping. Of several failures the first
/// to happen counts, and names its tensor; nothing is left of a load that fails.
impl Model {
    /// Loads tensors of this model, in any order, into one fresh piece of memory. One that is listed
    /// twice is there twice.
    pub fn load(&self, tensors: &[Tensor<'_>], options: LoadOptions<'_>) -> Result<Block> {
        let list = self.list(tensors)?;
        self.load_raw(list.as_ptr(), list.len(), options)
    }

    /// Loads all tensors, in the order of [`Model::tensors`].
    pub fn load_all(&self, options: LoadOptions<'_>) -> Result<Block> {
        self.load_raw(ptr::null(), self.count(), options)
    }

    fn load_raw(
        &self,
        tensors: *const *const sys::tare_tensor,
        count: usize,
        options: LoadOptions<'_>,
    ) -> Result<Block> {
        let mut out = ptr::null_mut();
        options.call(self, count, |options, error| {
            // SAFETY: `tensors` is NULL or a list of `count` tensors of this model.
            unsafe { sys::tare_load(self.as_ptr(), tensors, count, options, &mut out, error) }
        })?;
        Ok(Block(NonNull::new(out).expect("a load that succeeds gives a block")))
    }

    /// Loads tensors into memory of the caller's: `targets[i]` must be as long as tensor `i` is
    /// ([`Status::TargetSize`]). After a failure it is not specified what targets hold.
    pub fn load_into(
        &self,
        tensors: &[Tensor<'_>],
        targets: &mut [&mut [u8]],
        options: LoadOptions<'_>,
    ) -> Result<()> {
        let list = self.list(tensors)?;
        if targets.len() != list.len() {
            let message = format!("{} targets for {} tensors", targets.len(), list.len());
            return Err(Error::new(Status::Argument, message));
        }
        for (tensor, target) in tensors.iter().zip(targets.iter()) {
            if tensor.size() != target.len() as u64 {
                let name = tensor.name_bytes().escape_ascii();
                let (size, room) = (tensor.size(), target.len());
                let message = format!("tensor '{name}' has {size} bytes, its target {room}");
                return Err(Error::new(Status::TargetSize, message));
            }
        }
        let targets: Vec<*mut c_void> =
            targets.iter_mut().map(|target| target.as_mut_ptr().cast()).collect();
        options.call(self, list.len(), |options, error| {
            // SAFETY: both lists have that many entries, tensors are of this model, and targets are
            // as long as they are and do not overlap.
            unsafe {
                sys::tare_load_into(
                    self.as_ptr(),
                    list.as_ptr(),
                    targets.as_ptr(),
                    list.len(),
                    options,
                    error,
                )
            }
        })
    }

    /// The digests of tensors, on several threads. Of the options `threads`, `progress` and
    /// `drop_behind` count.
    pub fn hash(&self, tensors: &[Tensor<'_>], options: LoadOptions<'_>) -> Result<Vec<Digest>> {
        let list = self.list(tensors)?;
        self.hash_raw(list.as_ptr(), list.len(), options)
    }

    /// The digests of all tensors.
    pub fn hash_all(&self, options: LoadOptions<'_>) -> Result<Vec<Digest>> {
        self.hash_raw(ptr::null(), self.count(), options)
    }

    fn hash_raw(
        &self,
        tensors: *const *const sys::tare_tensor,
        count: usize,
        mut options: LoadOptions<'_>,
    ) -> Result<Vec<Digest>> {
        options.digests = None;
        let mut digests = vec![Digest::from(0); count];
        let out = digests.as_mut_ptr().cast();
        options.call(self, count, |options, error| {
            // SAFETY: `tensors` is NULL or a list of `count` tensors of this model, and there is
            // room for as many digests.
            unsafe { sys::tare_hash_many(self.as_ptr(), tensors, count, options, out, error) }
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

/// Tensors that were loaded: bytes of the caller's, to read and to write. The model may go before.
/// Entry `i` is the tensor that was asked for as number `i`.
pub struct Block(NonNull<sys::tare_block>);

// SAFETY: it owns its memory, and calls on it may be made on any thread.
unsafe impl Send for Block {}
// SAFETY: shared references only read.
unsafe impl Sync for Block {}

impl Block {
    /// Number of tensors.
    pub fn count(&self) -> usize {
        // SAFETY: the block is there until it is dropped, here and below.
        unsafe { sys::tare_block_count(self.0.as_ptr()) }
    }

    /// The bytes of tensor `index`.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let (data, size) = self.entry(index)?;
        // SAFETY: it is that many bytes, which were written, and are borrowed with the block.
        Some(unsafe { slice::from_raw_parts(data.as_ptr(), size) })
    }

    /// The same, to write.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        let (data, size) = self.entry(index)?;
        // SAFETY: as above, and the block is borrowed mutably.
        Some(unsafe { slice::from_raw_parts_mut(data.as_ptr(), size) })
    }

    fn entry(&self, index: usize) -> Option<(NonNull<u8>, usize)> {
        // SAFETY: NULL and 0 at and beyond the count.
        unsafe {
            let data = sys::tare_block_data(self.0.as_ptr(), index).cast();
            Some((NonNull::new(data)?, sys::tare_block_size(self.0.as_ptr(), index)))
        }
    }

    /// The bytes of each tensor, in the order that was asked for.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + DoubleEndedIterator {
        (0..self.count()).map(|index| &self[index])
    }

    /// The same, to write, all at once.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [u8]> + DoubleEndedIterator {
        (0..self.count()).map(|index| {
            let (data, size) = self.entry(index).expect("it is below the count");
            // SAFETY: each entry has bytes of its own, and the block is borrowed mutably for as long
            // as they are.
            unsafe { slice::from_raw_parts_mut(data.as_ptr(), size) }
        })
    }

    /// The one piece of memory that all tensors lie in, to lock it or to make it known to a device.
    /// What lies between tensors may never have been written.
    pub fn memory(&self) -> (NonNull<u8>, usize) {
        let mut size = 0;
        // SAFETY: see `count`.
        let memory = unsafe { sys::tare_block_memory(self.0.as_ptr(), &mut size) };
        (NonNull::new(memory.cast()).expect("a block has memory"), size)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from it any more.
        unsafe { sys::tare_block_close(self.0.as_ptr()) }
    }
}

impl Index<usize> for Block {
    type Output = [u8];

    fn index(&self, index: usize) -> &[u8] {
        self.get(index).expect("the block has a tensor of that number")
    }
}

impl IndexMut<usize> for Block {
    fn index_mut(&mut self, index: usize) -> &mut [u8] {
        self.get_mut(index).expect("the block has a tensor of that number")
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("tensors", &self.count())
            .field("size", &self.memory().1)
            .finish()
    }
}
