//! From a path, bytes, pairs, a reader or files to a model.

use std::ffi::{c_void, CString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use tare_sys as sys;

use crate::error::check;
use crate::files::{self, RawFiles};
use crate::model::{Kept, Model, SharedBytes};
use crate::reader::Reader;
use crate::{
    Backing, BorrowedModel, Error, IndexCheck, ModelFile, ReadAt, Result, Status, UseIndex,
};

/// How to open a model. [`OpenOptions::new`] has the defaults, which [`Model::open`] and the others
/// use.
///
/// ```no_run
/// use tare::{OpenOptions, UseIndex};
///
/// let options = OpenOptions::new().use_index(UseIndex::Never).header_size_max(1 << 20);
/// let model = options.open_read("model.safetensors")?;
/// # Ok::<(), tare::Error>(())
/// ```
#[derive(Clone)]
pub struct OpenOptions {
    raw: sys::tare_options,
    index_path: Option<PathBuf>,
    index_bytes: Option<SharedBytes>,
}

// SAFETY: the pointers in `raw` are NULL but during a call, which has a copy of its own.
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
        Self { raw: sys::TARE_OPTIONS_INIT, index_path: None, index_bytes: None }
    }

    /// Of [`open`](Self::open): how tensor bytes are reached. Nothing else maps files, whatever this
    /// says.
    #[must_use]
    pub fn backing(mut self, backing: Backing) -> Self {
        self.raw.backing = backing.raw();
        self
    }

    /// Of pairs: to what the bytes of each are aligned, a power of two up to 2 MiB. Default 64.
    #[must_use]
    pub fn alignment(mut self, alignment: usize) -> Self {
        self.raw.alignment = alignment;
        self
    }

    /// Of pairs with one name the first is found, and all are listed. Without it they are
    /// [`Status::Duplicate`].
    #[must_use]
    pub fn keep_first(self, keep: bool) -> Self {
        self.flag(sys::TARE_PAIRS_KEEP_FIRST, keep)
    }

    /// The most bytes that the header of a shard may have: default 100,000,000, at most 2^31-1
    /// ([`Status::Argument`]). A longer one is [`Status::HeaderSize`]. Here and in the next four 0 is
    /// the default.
    #[must_use]
    pub fn header_size_max(mut self, size: u64) -> Self {
        self.raw.header_size_max = size;
        self
    }

    /// The most tensors that the model may have: default 2^30-1. A model beyond this limit, or one
    /// of the next three, is [`Status::Limit`], with the place in the header; of a model from an
    /// index file all tensors are looked at for these three. Numbers beyond what format and library
    /// have for limits count as those.
    #[must_use]
    pub fn tensor_count_max(mut self, count: u64) -> Self {
        self.raw.tensor_count_max = count;
        self
    }

    /// The most dimensions that a tensor may have: default 4 in GGUF, else what a header can hold.
    #[must_use]
    pub fn rank_max(mut self, rank: u64) -> Self {
        self.raw.rank_max = rank;
        self
    }

    /// The most bytes that a tensor's name may have: default 63 in GGUF, else what a header can
    /// hold.
    #[must_use]
    pub fn name_size_max(mut self, size: u64) -> Self {
        self.raw.name_size_max = size;
        self
    }

    /// The most bytes that all keys and values of metadata may have: default what headers can hold.
    #[must_use]
    pub fn metadata_size_max(mut self, size: u64) -> Self {
        self.raw.metadata_size_max = size;
        self
    }

    /// Hashes names with this seed instead of a random one, for timings that can be repeated. Not
    /// for names that one cannot trust.
    #[must_use]
    pub fn fixed_seed(mut self, seed: u64) -> Self {
        self.raw.seed = seed;
        self.flag(sys::TARE_SEED_FIXED, true)
    }

    /// Whether to use an index file: see [`Model::save_index`].
    #[must_use]
    pub fn use_index(mut self, how: UseIndex) -> Self {
        self.raw.index = how.raw();
        self
    }

    /// How an index file is told to be that of the model.
    #[must_use]
    pub fn index_check(mut self, how: IndexCheck) -> Self {
        self.raw.index_check = how.raw();
        self
    }

    /// The index file, where it is not at its usual place.
    #[must_use]
    pub fn index_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.index_path = Some(path.into());
        self
    }

    /// An index file in memory, which these options and the models share. Bytes whose address is
    /// no multiple of 64 are copied by each model.
    #[must_use]
    pub fn index_bytes<B>(mut self, bytes: B) -> Self
    where
        B: AsRef<[u8]> + Send + Sync + 'static,
    {
        self.index_bytes = Some(Arc::new(bytes));
        self
    }

    fn flag(mut self, flag: u32, set: bool) -> Self {
        self.raw.flags = if set { self.raw.flags | flag } else { self.raw.flags & !flag };
        self
    }

    /// Opens a safetensors or GGUF file, a `*.safetensors.index.json`, any part of a split GGUF
    /// file, or a folder that holds one model.
    ///
    /// # Safety
    /// As long as the model is open nobody, in this process or another, writes to its files in place
    /// or cuts them short: see [files that change](Model#files-that-change). With [`Backing::Read`]
    /// there is nothing to promise, as with [`open_read`](Self::open_read).
    pub unsafe fn open(&self, path: impl AsRef<Path>) -> Result<Model> {
        self.open_path(path.as_ref(), self.raw.backing)
    }

    /// The same without a mapping: [`Tensor::data`](crate::Tensor::data) is `None`. An index file is
    /// read into memory.
    pub fn open_read(&self, path: impl AsRef<Path>) -> Result<Model> {
        self.open_path(path.as_ref(), self.backing_of_safe_calls())
    }

    fn open_path(&self, path: &Path, backing: u32) -> Result<Model> {
        let path = c_path(path)?;
        // SAFETY: the path is terminated, and pointers are to what lives during the call.
        self.make(backing, Kept::default(), |options, out, error| unsafe {
            sys::tare_open(path.as_ptr(), options, out, error)
        })
    }

    /// An index file would be mapped even where the model itself is in memory.
    fn backing_of_safe_calls(&self) -> u32 {
        match self.raw.backing {
            sys::TARE_BACKING_AUTO | sys::TARE_BACKING_MAP => sys::TARE_BACKING_READ,
            other => other,
        }
    }

    /// Opens a safetensors or GGUF file that is in memory, and owns it from then on: a `Vec<u8>`,
    /// an `Arc<[u8]>`, a mapping, or anything else that gives bytes. Nothing is copied.
    pub fn open_bytes<B>(&self, bytes: B) -> Result<Model>
    where
        B: AsRef<[u8]> + Send + Sync + 'static,
    {
        let shared = Arc::new(bytes);
        let kept = Kept { bytes: vec![shared.clone()], ..Kept::default() };
        self.open_memory(B::as_ref(&shared), kept)
    }

    /// The same of bytes that are somebody else's, and outlive the model.
    pub fn open_slice<'a>(&self, bytes: &'a [u8]) -> Result<BorrowedModel<'a>> {
        self.open_memory(bytes, Kept::default()).map(BorrowedModel::new)
    }

    /// The bytes must outlive the model: they are kept, or the callers see to it.
    fn open_memory(&self, bytes: &[u8], kept: Kept) -> Result<Model> {
        let (data, size) = (bytes.as_ptr().cast::<c_void>(), bytes.len());
        // SAFETY: pointers are to what lives during the call, the bytes as long as the model.
        self.make(self.backing_of_safe_calls(), kept, |options, out, error| unsafe {
            sys::tare_open_bytes(data, size, options, out, error)
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
        self.make(self.raw.backing, Kept::default(), |options, out, error| unsafe {
            sys::tare_open_pairs(pairs.as_ptr(), pairs.len(), options, out, error)
        })
    }

    /// Opens a safetensors or GGUF file of `size` bytes through a reader. Only the header is read;
    /// of GGUF, which does not tell its size, up to as much again.
    pub fn open_reader(&self, reader: impl ReadAt + 'static, size: u64) -> Result<Model> {
        let reader = Arc::new(Reader::new(reader));
        let raw = reader.raw(size);
        let kept = Kept { readers: vec![reader], ..Kept::default() };
        // SAFETY: pointers are to what lives during the call; the reader is kept.
        self.make(self.backing_of_safe_calls(), kept, |options, out, error| unsafe {
            sys::tare_open_reader(&raw, options, out, error)
        })
    }

    /// Opens the model that is among files which are in no folder of the system, as
    /// [`open`](Self::open) does the one of a folder: see [`ModelFile`].
    pub fn open_files(&self, files: &[ModelFile]) -> Result<Model> {
        let raw = RawFiles::new(files)?;
        // SAFETY: pointers are to what lives during the call; bytes and readers are kept.
        self.make(self.backing_of_safe_calls(), raw.kept(), |options, out, error| unsafe {
            sys::tare_open_files(raw.as_ptr(), raw.count(), options, out, error)
        })
    }

    /// Which files a model is made of, as [`list_files`](crate::list_files) tells: an index may list
    /// no more tensors, and no longer names, than models may have that are opened with these options.
    pub fn list_files(&self, file: &ModelFile) -> Result<Vec<String>> {
        files::list(file, &self.raw)
    }

    /// Makes a call that opens. `kept` is all that the model will borrow, but for the index.
    fn make(
        &self,
        backing: u32,
        mut kept: Kept,
        open: impl FnOnce(
            *const sys::tare_options,
            *mut *mut sys::tare_model,
            *mut sys::tare_error,
        ) -> sys::tare_status,
    ) -> Result<Model> {
        let path = self.index_path.as_deref().map(c_path).transpose()?;
        let mut raw = sys::tare_options { backing, ..self.raw };
        raw.index_path = path.as_ref().map_or(ptr::null(), |path| path.as_ptr());
        if let Some(shared) = &self.index_bytes {
            let bytes: &[u8] = (**shared).as_ref();
            raw.index_bytes = bytes.as_ptr().cast();
            raw.index_size = bytes.len();
            kept.bytes.push(shared.clone());
        }
        let mut out = ptr::null_mut();
        check(|error| open(&raw, &mut out, error)).map_err(|error| kept.explain(error))?;
        let model = NonNull::new(out).expect("a call that opens gives a model");
        // SAFETY: it was opened just now, and `kept` is all that it borrows.
        Ok(unsafe { Model::from_raw(model, kept) })
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("raw", &self.raw)
            .field("index_path", &self.index_path)
            .finish_non_exhaustive()
    }
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
