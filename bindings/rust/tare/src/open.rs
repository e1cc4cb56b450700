//! From a path, bytes, pairs or a reader to a model.

use std::ffi::CString;
use std::path::Path;
use std::ptr;

use tare_sys as sys;

use crate::error::check;
use crate::model::{Kept, Model};
use crate::owned::Owned;
use crate::reader::{self, Reader};
use crate::{Backing, BorrowedModel, Error, ReadAt, Result, Status};

/// How to open a model. [`OpenOptions::new`] has the defaults, which [`Model::open`] and the others
/// use.
///
/// ```no_run
/// use tare::{Backing, OpenOptions};
///
/// let model = OpenOptions::new().backing(Backing::Read).open("model.safetensors")?;
/// # Ok::<(), tare::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions(sys::tare_options);

// SAFETY: its only pointer, the allocator, is always NULL.
unsafe impl Send for OpenOptions {}
// SAFETY: the same.
unsafe impl Sync for OpenOptions {}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// The defaults.
    pub const fn new() -> Self {
        Self(sys::TARE_OPTIONS_INIT)
    }

    /// How tensor bytes of files are reached: mapped, or read.
    #[must_use]
    pub fn backing(mut self, backing: Backing) -> Self {
        self.0.backing = backing.raw();
        self
    }

    /// Of pairs: to what the bytes of each are aligned, a power of two up to 2 MiB. Default 64.
    #[must_use]
    pub fn alignment(mut self, alignment: usize) -> Self {
        self.0.alignment = alignment;
        self
    }

    /// Of pairs with one name the first is found, and all are listed. Without it they are
    /// [`Status::Duplicate`].
    #[must_use]
    pub fn keep_first(self, keep: bool) -> Self {
        self.flag(sys::TARE_PAIRS_KEEP_FIRST, keep)
    }

    /// The most bytes that the header of a shard may have: default 100,000,000, at most 2^31-1.
    #[must_use]
    pub fn header_size_max(mut self, size: u64) -> Self {
        self.0.header_size_max = size;
        self
    }

    /// Hashes names with this seed instead of a random one, for timings that can be repeated. Not
    /// for names that one cannot trust.
    #[must_use]
    pub fn fixed_seed(mut self, seed: u64) -> Self {
        self.0.seed = seed;
        self.flag(sys::TARE_SEED_FIXED, true)
    }

    fn flag(mut self, flag: u32, set: bool) -> Self {
        self.0.flags = if set { self.0.flags | flag } else { self.0.flags & !flag };
        self
    }

    /// Opens a safetensors or GGUF file, a `*.safetensors.index.json`, any part of a split GGUF
    /// file, or a folder that holds one model. See [`Model`] about files that change.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Model> {
        let path = c_path(path.as_ref())?;
        // SAFETY: the path is terminated, and pointers are to what lives during the call.
        let raw = make(|out, error| unsafe { sys::tare_open(path.as_ptr(), &self.0, out, error) })?;
        // SAFETY: it was opened just now, and keeps none of the arguments.
        Ok(unsafe { Model::from_raw(raw, Kept::Nothing) })
    }

    /// Opens a safetensors or GGUF file that is in memory, and owns it from then on: a `Vec<u8>`,
    /// an `Arc<[u8]>`, a mapping, or anything else that gives bytes. Nothing is copied.
    pub fn open_bytes<B>(&self, bytes: B) -> Result<Model>
    where
        B: AsRef<[u8]> + Send + Sync + 'static,
    {
        let kept = Owned::new(Box::new(bytes));
        let bytes: &[u8] = kept.get().as_ref();
        let raw = self.open_slice_raw(bytes)?;
        // SAFETY: the bytes are borrowed from what is in the box, which does not move, is not
        // touched by anybody, and is kept until the model is closed.
        Ok(unsafe { Model::from_raw(raw, Kept::Bytes { _bytes: kept.erase() }) })
    }

    /// The same of bytes that are somebody else's, and outlive the model.
    pub fn open_slice<'a>(&self, bytes: &'a [u8]) -> Result<BorrowedModel<'a>> {
        let raw = self.open_slice_raw(bytes)?;
        // SAFETY: the bytes outlive the model that is returned.
        Ok(BorrowedModel::new(unsafe { Model::from_raw(raw, Kept::Nothing) }))
    }

    fn open_slice_raw(&self, bytes: &[u8]) -> Result<ptr::NonNull<sys::tare_model>> {
        // SAFETY: pointers are to what lives during the call; the callers see to the bytes later.
        make(|out, error| unsafe {
            sys::tare_open_bytes(bytes.as_ptr().cast(), bytes.len(), &self.0, out, error)
        })
    }

    /// Makes a model of (name, bytes) pairs, which are copied. Tensors are listed as given, as
    /// dtype U8 of shape `[size]`.
    pub fn open_pairs<N, D>(&self, pairs: &[(N, D)]) -> Result<Model>
    where
        N: AsRef<[u8]>,
        D: AsRef<[u8]>,
    {
        let pairs: Vec<sys::tare_pair> = pairs
            .iter()
            .map(|(name, data)| (name.as_ref(), data.as_ref()))
            .map(|(name, data)| sys::tare_pair {
                name: name.as_ptr().cast(),
                name_size: name.len(),
                data: data.as_ptr().cast(),
                size: data.len(),
            })
            .collect();
        // SAFETY: pointers are to what lives during the call, and all of it is copied.
        let raw = make(|out, error| unsafe {
            sys::tare_open_pairs(pairs.as_ptr(), pairs.len(), &self.0, out, error)
        })?;
        // SAFETY: it was opened just now, and keeps none of the arguments.
        Ok(unsafe { Model::from_raw(raw, Kept::Nothing) })
    }

    /// Opens a safetensors or GGUF file of `size` bytes through a reader. Only the header is read;
    /// of GGUF, which does not tell its size, up to as much again.
    pub fn open_reader(&self, reader: impl ReadAt + 'static, size: u64) -> Result<Model> {
        let kept = Owned::new(Box::new(Reader::new(reader)));
        let raw_reader = sys::tare_reader {
            struct_size: size_of::<sys::tare_reader>(),
            context: kept.as_ptr().cast(),
            read_at: Some(reader::read_at),
            total_size: size,
        };
        // SAFETY: pointers are to what lives during the call; the reader lives as long as the model.
        let raw =
            make(|out, error| unsafe { sys::tare_open_reader(&raw_reader, &self.0, out, error) })
                .map_err(|error| kept.get().explain(error))?;
        // SAFETY: the reader does not move, and is kept until the model is closed.
        Ok(unsafe { Model::from_raw(raw, Kept::Reader(kept)) })
    }
}

fn make(
    open: impl FnOnce(*mut *mut sys::tare_model, *mut sys::tare_error) -> sys::tare_status,
) -> Result<ptr::NonNull<sys::tare_model>> {
    let mut out = ptr::null_mut();
    check(|error| open(&mut out, error))?;
    Ok(ptr::NonNull::new(out).expect("a call that opens gives a model"))
}

/// A path as C takes it.
pub(crate) fn c_path(path: &Path) -> Result<CString> {
    #[cfg(unix)]
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    #[cfg(not(unix))]
    let bytes = path
        .to_str()
        .ok_or_else(|| Error::new(Status::Argument, "the path is not Unicode"))?
        .as_bytes();
    CString::new(bytes)
        .map_err(|_| Error::new(Status::Argument, "the path holds a byte that is zero"))
}
