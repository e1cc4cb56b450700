//! One tensor of a model.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::ptr::NonNull;
use std::{fmt, slice};

use tare_sys as sys;

use crate::error::check;
use crate::model::text;
use crate::{Digest, Dtype, Error, Model, Result, Status};

/// One tensor of a model: a plain value of two pointers. Two are equal if they are the same tensor
/// of the same model.
#[derive(Clone, Copy)]
pub struct Tensor<'m> {
    model: &'m Model,
    raw: NonNull<sys::tare_tensor>,
}

// SAFETY: it is a shared reference into a model, which is Sync.
unsafe impl Send for Tensor<'_> {}
// SAFETY: the same.
unsafe impl Sync for Tensor<'_> {}

impl<'m> Tensor<'m> {
    /// # Safety
    /// `raw` is NULL or a tensor of `model`.
    #[inline]
    pub(crate) unsafe fn from_raw(model: &'m Model, raw: *const sys::tare_tensor) -> Option<Self> {
        Some(Self { model, raw: NonNull::new(raw.cast_mut())? })
    }

    /// The C library's pointer: see [`Model::as_ptr`].
    #[inline]
    pub fn as_ptr(&self) -> *const sys::tare_tensor {
        self.raw.as_ptr()
    }

    /// The model that it is one of.
    #[inline]
    pub fn model(&self) -> &'m Model {
        self.model
    }

    fn describe(&self) -> sys::tare_info {
        // SAFETY: the tensor is one of the model, here and in all calls below.
        unsafe { sys::tare_describe(self.model.as_ptr(), self.as_ptr()) }
    }

    /// Its place in the order of [`Model::tensors`].
    pub fn index(&self) -> usize {
        // SAFETY: see `describe`.
        unsafe { sys::tare_index_of(self.model.as_ptr(), self.as_ptr()) }
    }

    /// Its name. Names of safetensors are UTF-8; in those of GGUF and of pairs, bytes that are not
    /// are replaced by U+FFFD.
    pub fn name(&self) -> Cow<'m, str> {
        String::from_utf8_lossy(self.name_bytes())
    }

    /// Its name as it is.
    #[inline]
    pub fn name_bytes(&self) -> &'m [u8] {
        // SAFETY: see `describe`; the name lives as long as the model.
        unsafe { text(&sys::tare_name(self.model.as_ptr(), self.as_ptr())) }
    }

    /// The type of its elements.
    pub fn dtype(&self) -> Dtype {
        self.describe().dtype.into()
    }

    /// Its dimensions, the slowest first, also of GGUF. Empty for a scalar.
    pub fn shape(&self) -> &'m [u64] {
        let info = self.describe();
        // SAFETY: the shape has `rank` entries, is never NULL, and lives as long as the model.
        unsafe { slice::from_raw_parts(info.shape, info.rank as usize) }
    }

    /// Its bytes, as a number.
    #[inline]
    pub fn size(&self) -> u64 {
        // SAFETY: see `describe`.
        unsafe { sys::tare_size(self.model.as_ptr(), self.as_ptr()) }
    }

    /// Where its bytes begin, from the start of its shard.
    #[inline]
    pub fn offset(&self) -> u64 {
        // SAFETY: see `describe`.
        unsafe { sys::tare_offset(self.model.as_ptr(), self.as_ptr()) }
    }

    /// The number of its shard.
    pub fn shard(&self) -> u32 {
        self.describe().shard
    }

    /// Its bytes where they lie, little-endian: mapped, in the caller's buffer, or in the copy of
    /// pairs. `None` where they are not in memory ([`Model::open_read`], readers); an empty tensor has
    /// bytes, none. In a model from an index file also `None` where its shard cannot be opened:
    /// [`ready`](Self::ready) tells why.
    #[inline]
    pub fn data(&self) -> Option<&'m [u8]> {
        // SAFETY: see `describe`. What is not NULL is that many bytes, and lives as long as the
        // model; that mapped files stay as they are whoever opened them has promised.
        unsafe {
            let size = self.size() as usize;
            let data = sys::tare_data_at(self.model.as_ptr(), self.as_ptr(), 0, size).cast::<u8>();
            (!data.is_null()).then(|| slice::from_raw_parts(data, size))
        }
    }

    /// Opens its shard, where a model from an index file has not done so yet. `Ok` says that its bytes
    /// can be had, as they always can in models whose headers were read. Else
    /// [`Status::Open`], [`Status::Map`], [`Status::Changed`] where the shard is not the one that was
    /// seen when the model was opened, or [`Status::Prebuilt`] where the index file is damaged.
    pub fn ready(&self) -> Result<()> {
        self.check(|error| {
            // SAFETY: see `describe`.
            unsafe { sys::tare_ready(self.model.as_ptr(), self.as_ptr(), error) }
        })
    }

    /// The largest power of two that divides the address of [`data`](Self::data), at most 2 MiB; 0
    /// without data.
    pub fn alignment(&self) -> usize {
        // SAFETY: see `describe`.
        unsafe { sys::tare_alignment(self.model.as_ptr(), self.as_ptr()) }
    }

    /// Copies its bytes to `target`, whose size must be [`size`](Self::size) exactly. Files are
    /// read, never copied from a mapping.
    pub fn read(&self, target: &mut [u8]) -> Result<()> {
        self.check(|error| {
            // SAFETY: see `describe`; the target is as long as is said.
            unsafe {
                sys::tare_read(
                    self.model.as_ptr(),
                    self.as_ptr(),
                    target.as_mut_ptr().cast(),
                    target.len(),
                    error,
                )
            }
        })
    }

    /// The same for `target.len()` bytes from byte `begin` of the tensor on.
    pub fn read_at(&self, begin: u64, target: &mut [u8]) -> Result<()> {
        self.check(|error| {
            // SAFETY: see `describe`; the target is as long as is said.
            unsafe {
                sys::tare_read_at(
                    self.model.as_ptr(),
                    self.as_ptr(),
                    begin,
                    target.as_mut_ptr().cast(),
                    target.len(),
                    error,
                )
            }
        })
    }

    /// Its bytes in fresh memory.
    pub fn to_vec(&self) -> Result<Vec<u8>> {
        fresh(self.size(), |target, size| {
            self.check(|error| {
                // SAFETY: see `describe`; the target has room for as many bytes as are said.
                unsafe {
                    sys::tare_read(self.model.as_ptr(), self.as_ptr(), target.cast(), size, error)
                }
            })
        })
    }

    /// The bytes that a box of it takes: indices `ranges[d]` in every dimension `d`, the slowest
    /// first. There must be one for each dimension.
    pub fn slice_size(&self, ranges: &[Range<u64>]) -> Result<u64> {
        self.slice_size_raw(&self.bounds(ranges)?)
    }

    /// Both lists must have `rank` entries.
    pub(crate) fn slice_size_raw(&self, (start, stop): &(Vec<u64>, Vec<u64>)) -> Result<u64> {
        let mut size = 0;
        self.check(|error| {
            // SAFETY: see `describe`; both lists have `rank` entries.
            unsafe {
                sys::tare_slice_size(
                    self.model.as_ptr(),
                    self.as_ptr(),
                    start.as_ptr(),
                    stop.as_ptr(),
                    &mut size,
                    error,
                )
            }
        })?;
        Ok(size)
    }

    /// Writes that box to `target`, row-major and without gaps. `target` must be as long as
    /// [`slice_size`](Self::slice_size) tells.
    pub fn read_slice(&self, ranges: &[Range<u64>], target: &mut [u8]) -> Result<()> {
        let bounds = self.bounds(ranges)?;
        self.read_slice_raw(&bounds, target.as_mut_ptr(), target.len())
    }

    /// That box in fresh memory.
    pub fn slice_to_vec(&self, ranges: &[Range<u64>]) -> Result<Vec<u8>> {
        let bounds = self.bounds(ranges)?;
        let size = self.slice_size(ranges)?;
        fresh(size, |target, size| self.read_slice_raw(&bounds, target, size))
    }

    fn read_slice_raw(
        &self,
        (start, stop): &(Vec<u64>, Vec<u64>),
        target: *mut u8,
        size: usize,
    ) -> Result<()> {
        self.check(|error| {
            // SAFETY: see `describe`; both lists have `rank` entries, and the callers' targets room
            // for as many bytes as they say.
            unsafe {
                sys::tare_read_slice(
                    self.model.as_ptr(),
                    self.as_ptr(),
                    start.as_ptr(),
                    stop.as_ptr(),
                    target.cast(),
                    size,
                    error,
                )
            }
        })
    }

    fn bounds(&self, ranges: &[Range<u64>]) -> Result<(Vec<u64>, Vec<u64>)> {
        let rank = self.shape().len();
        if ranges.len() != rank {
            let message = format!("{} ranges for a tensor of rank {rank}", ranges.len());
            return Err(Error::new(Status::Argument, message));
        }
        Ok(ranges.iter().map(|range| (range.start, range.end)).unzip())
    }

    /// The XXH3-128 of its bytes, with seed 0. Files are read, in pieces.
    pub fn hash(&self) -> Result<Digest> {
        let mut digest = sys::tare_digest::default();
        self.check(|error| {
            // SAFETY: see `describe`.
            unsafe { sys::tare_hash(self.model.as_ptr(), self.as_ptr(), &mut digest, error) }
        })?;
        Ok(digest.into())
    }

    fn check(&self, call: impl FnOnce(*mut sys::tare_error) -> sys::tare_status) -> Result<()> {
        check(call).map_err(|error| self.model.explain(error))
    }
}

/// A vector of `size` bytes that `fill` writes all of, or fails.
pub(crate) fn fresh(size: u64, fill: impl FnOnce(*mut u8, usize) -> Result<()>) -> Result<Vec<u8>> {
    let no_memory = || Error::new(Status::Memory, Status::Memory.text());
    let size = usize::try_from(size).map_err(|_| no_memory())?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| no_memory())?;
    fill(bytes.as_mut_ptr(), size)?;
    // SAFETY: there is room for them, and they were written.
    unsafe { bytes.set_len(size) };
    Ok(bytes)
}

impl PartialEq for Tensor<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl Eq for Tensor<'_> {}

impl Hash for Tensor<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.raw.hash(state);
    }
}

impl fmt::Debug for Tensor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tensor")
            .field("name", &self.name())
            .field("dtype", &self.dtype())
            .field("shape", &self.shape())
            .field("size", &self.size())
            .finish()
    }
}
