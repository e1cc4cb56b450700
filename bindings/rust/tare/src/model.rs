//! The open model.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::Deref;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;
use std::{fmt, slice};

use tare_sys as sys;

use crate::reader::Reader;
use crate::{
    Backing, Error, Format, Key, ModelFile, OpenOptions, Prefix, ReadAt, Result, Status, Tensor,
    Tensors,
};

/// An open model: every tensor of one file, one set of shards, or one set of pairs.
///
/// It never changes once it is open, and may be used on any number of threads at once; no call takes
/// a lock or waits for another. What it hands out (tensors, names, shapes, bytes) is borrowed from
/// it.
///
/// ```
/// let model = tare::Model::from_pairs(&[("w", vec![1, 2, 3, 4]), ("b", vec![5, 6])])?;
/// let tensor = model.find("w").expect("it is there");
/// assert_eq!(tensor.data(), Some(&[1, 2, 3, 4][..]));
/// assert!(model.find("x").is_none());
/// # Ok::<(), tare::Error>(())
/// ```
///
/// Bytes cannot outlive the model:
///
/// ```compile_fail,E0505
/// let model = tare::Model::from_pairs(&[("w", [1u8, 2])]).unwrap();
/// let bytes = model.find("w").unwrap().data().unwrap();
/// drop(model);
/// println!("{bytes:?}");
/// ```
///
/// Nor can a tensor, a name or a shape:
///
/// ```compile_fail,E0597
/// let name = {
///     let model = tare::Model::from_pairs(&[("w", [1u8, 2])]).unwrap();
///     model.find("w").unwrap().name()
/// };
/// println!("{name}");
/// ```
///
/// # Files that change
///
/// [`Model::open`] maps files, which makes it `unsafe`: bytes that somebody writes into a mapped
/// file show up behind [`Tensor::data`], a `&[u8]` that must not change, and touching bytes of a
/// file that was cut short raises `SIGBUS`, which ends the process. The same holds for an index
/// file ([`Model::save_index`]), which is mapped as well: names, shapes and metadata then lie in it.
/// Whoever opens promises that none of these files is written to or cut short in place while the
/// model is open. Replacing one by renaming a new file over it is fine, and what [`save`](crate::save)
/// and [`Model::save_index`] do.
///
/// All else is safe, and maps nothing: [`Model::open_read`], readers, and what is in memory. Loads and
/// reads give errors for files that changed or were cut short, also where the file is mapped:
/// they never go through a mapping. Headers are parsed from a private copy.
pub struct Model {
    raw: NonNull<sys::tare_model>,
    kept: Kept,
}

/// Bytes that several may keep.
pub(crate) type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// What the C model points to, and must be dropped after it. It is shared and not boxed, since a box
/// that moves claims to be the only pointer to its content.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) bytes: Vec<SharedBytes>,
    pub(crate) readers: Vec<Arc<Reader>>,
}

impl Kept {
    /// What to tell of a call that failed: panics if a reader of the caller's did.
    pub(crate) fn explain(&self, error: Error) -> Error {
        self.readers.iter().fold(error, |error, reader| reader.explain(error))
    }
}

// SAFETY: a model never changes once open, every call on it may be made on any thread, and closing
// it on another thread than the one that opened it is fine (THREADS in tare.h). What is kept is Send
// and Sync itself.
unsafe impl Send for Model {}
// SAFETY: the same.
unsafe impl Sync for Model {}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: it is open, and nothing that borrows from it lives on. What is kept goes later.
        unsafe { sys::tare_close(self.raw.as_ptr()) }
    }
}

/// Opening, with the defaults of [`OpenOptions`].
impl Model {
    /// Opens a safetensors or GGUF file, a `*.safetensors.index.json`, any part of a split GGUF
    /// file, or a folder that holds one model, and maps its files: [`Tensor::data`] has their bytes
    /// where they lie, and nothing is copied. Headers are read and checked in full, tensor bytes are
    /// not touched. Where there is an [index file](Self::save_index) that fits, it is mapped instead
    /// of reading headers.
    ///
    /// # Safety
    /// As long as the model is open nobody, in this process or another, writes to its files in place
    /// or cuts them short: see [files that change](Self#files-that-change).
    ///
    /// ```compile_fail,E0133
    /// let model = tare::Model::open("model.safetensors");
    /// ```
    pub unsafe fn open(path: impl AsRef<Path>) -> Result<Self> {
        // SAFETY: the caller's promise.
        unsafe { OpenOptions::new().open(path) }
    }

    /// The same without a mapping, hence safe: [`Tensor::data`] is `None`, and [`Tensor::read`],
    /// [`Model::load`] and the others read the files.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("model.safetensors");
    /// # let tensor = tare::SaveTensor::new("w", tare::Dtype::U8, &[2], &[1, 2]);
    /// # tare::save(&path, &[tensor], tare::SaveOptions::new())?;
    /// let model = tare::Model::open_read(&path)?;
    /// let block = model.load_all(tare::LoadOptions::new())?;
    /// assert_eq!(&block[0], [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_read(path: impl AsRef<Path>) -> Result<Self> {
        OpenOptions::new().open_read(path)
    }

    /// Opens a file that is in memory, and owns it from then on: see [`OpenOptions::open_bytes`].
    pub fn from_bytes<B>(bytes: B) -> Result<Self>
    where
        B: AsRef<[u8]> + Send + Sync + 'static,
    {
        OpenOptions::new().open_bytes(bytes)
    }

    /// Opens a file in memory that is somebody else's: see [`OpenOptions::open_slice`].
    pub fn from_slice(bytes: &[u8]) -> Result<BorrowedModel<'_>> {
        OpenOptions::new().open_slice(bytes)
    }

    /// Makes a model of (name, bytes) pairs: see [`OpenOptions::open_pairs`].
    pub fn from_pairs<N, D>(pairs: &[(N, D)]) -> Result<Self>
    where
        N: AsRef<[u8]>,
        D: AsRef<[u8]>,
    {
        OpenOptions::new().open_pairs(pairs)
    }

    /// Opens a file of `size` bytes through a reader: see [`OpenOptions::open_reader`].
    pub fn from_reader(reader: impl ReadAt + 'static, size: u64) -> Result<Self> {
        OpenOptions::new().open_reader(reader, size)
    }

    /// Opens the model that is among files which are in no folder: see [`OpenOptions::open_files`].
    pub fn from_files(files: &[ModelFile]) -> Result<Self> {
        OpenOptions::new().open_files(files)
    }

    /// # Safety
    /// `raw` was opened just now, and `kept` holds all that it borrows.
    pub(crate) unsafe fn from_raw(raw: NonNull<sys::tare_model>, kept: Kept) -> Self {
        Self { raw, kept }
    }

    /// What to tell of a call that failed: panics if the caller's reader did.
    pub(crate) fn explain(&self, error: Error) -> Error {
        self.kept.explain(error)
    }
}

/// Finding. None of these allocates, unless they return a list, takes a lock, or makes a system
/// call.
impl Model {
    /// Number of tensors.
    #[inline]
    pub fn count(&self) -> usize {
        // SAFETY: the model is open.
        unsafe { sys::tare_count(self.as_ptr()) }
    }

    /// The tensor of exactly that name.
    #[inline]
    pub fn find(&self, name: impl AsRef<[u8]>) -> Option<Tensor<'_>> {
        let name = name.as_ref();
        // SAFETY: the model is open, and the name as long as is said.
        let raw = unsafe { sys::tare_find(self.as_ptr(), name.as_ptr().cast(), name.len()) };
        // SAFETY: what a model finds is a tensor of it.
        unsafe { Tensor::from_raw(self, raw) }
    }

    /// Finds many names at once; the result has an entry for each. From some 16,000 tensors on that
    /// is faster a name than one by one, since cache misses overlap.
    pub fn find_many<N: AsRef<[u8]>>(&self, names: &[N]) -> Vec<Option<Tensor<'_>>> {
        let mut found = Vec::with_capacity(names.len());
        let mut texts = [sys::tare_string { data: std::ptr::null(), size: 0 }; 128];
        let mut out = [std::ptr::null(); 128];
        for batch in names.chunks(texts.len()) {
            for (text, name) in texts.iter_mut().zip(batch) {
                let name = name.as_ref();
                *text = sys::tare_string { data: name.as_ptr().cast(), size: name.len() };
            }
            // SAFETY: both arrays have that many entries, and names are as long as is said.
            unsafe {
                sys::tare_find_many(self.as_ptr(), texts.as_ptr(), batch.len(), out.as_mut_ptr())
            };
            // SAFETY: what a model finds is a tensor of it.
            found.extend(
                out[..batch.len()].iter().map(|&raw| unsafe { Tensor::from_raw(self, raw) }),
            );
        }
        found
    }

    /// A name with its hash made once, for one that is looked up often in this model.
    pub fn key<'m, 'n>(&'m self, name: &'n (impl AsRef<[u8]> + ?Sized)) -> Key<'m, 'n> {
        Key::new(self, name.as_ref())
    }

    /// The tensor at `index` in an order that is always the same for the same input: by shard, then
    /// by offset; pairs as they were given.
    #[inline]
    pub fn at(&self, index: usize) -> Option<Tensor<'_>> {
        // SAFETY: the model is open, and gives NULL or one of its tensors.
        unsafe { Tensor::from_raw(self, sys::tare_at(self.as_ptr(), index)) }
    }

    /// All tensors in that order.
    pub fn tensors(&self) -> Tensors<'_> {
        Tensors::new(self)
    }

    /// All tensors whose names start with `prefix`, in the same order. Groups that cannot match are
    /// passed over without a look at their names.
    ///
    /// ```
    /// let model = tare::Model::from_pairs(&[("a.0", [1u8]), ("a.1", [2]), ("b.0", [3])])?;
    /// let names: Vec<_> = model.prefix("a.").map(|tensor| tensor.name()).collect();
    /// assert_eq!(names, ["a.0", "a.1"]);
    /// # Ok::<(), tare::Error>(())
    /// ```
    pub fn prefix<'m, 'p>(&'m self, prefix: &'p (impl AsRef<[u8]> + ?Sized)) -> Prefix<'m, 'p> {
        Prefix::new(self, prefix.as_ref())
    }
}

/// One shard of a model. See [`Model::shards`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Shard<'m> {
    /// The path that was opened, or the name of a [`ModelFile`]; else "". Bytes that are not UTF-8 are replaced.
    pub name: Cow<'m, str>,
    /// Bytes of the file or buffer.
    pub size: u64,
    /// Where its data section starts, and its header ends.
    pub data_offset: u64,
    /// How its bytes are reached: `Map`, `Read` or `Memory`.
    pub backing: Backing,
    /// What its bytes are.
    pub format: Format,
}

/// What a model costs, and how it was built. See [`Model::stat`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Stat {
    /// Bytes that the C library holds, the bytes of pairs included.
    pub memory_size: u64,
    /// Of that: tensor records.
    pub record_size: u64,
    /// Of that: names.
    pub name_size: u64,
    /// Of that: distinct (dtype, shape).
    pub shape_size: u64,
    /// Of that: the table that finds names.
    pub index_size: u64,
    /// Times the table was built anew with another seed: 0 to 2.
    pub index_reseeds: u32,
    /// Whether the names defeated hashing and are searched by order.
    pub index_sorted: bool,
    /// The most that any find looks at.
    pub probe_max: u32,
    /// Bytes of the index file that it was opened from, which is mapped, or in memory that
    /// `memory_size` has; 0 without.
    pub index_file_size: u64,
}

/// The model as a whole.
impl Model {
    /// The C library's pointer, for calls of [`sys`](crate::sys) that this crate does not make. It is
    /// valid as long as the model is, and stays the model's: it must not be closed.
    #[inline]
    pub fn as_ptr(&self) -> *const sys::tare_model {
        self.raw.as_ptr()
    }

    /// The shards, by number.
    pub fn shards(&self) -> impl ExactSizeIterator<Item = Shard<'_>> + DoubleEndedIterator {
        // SAFETY: the model is open.
        let count = unsafe { sys::tare_shard_count(self.as_ptr()) };
        (0..count).map(|number| {
            // SAFETY: the model is open.
            let shard = unsafe { sys::tare_shard_at(self.as_ptr(), number) };
            Shard {
                // SAFETY: the name lives as long as the model.
                name: String::from_utf8_lossy(unsafe { text(&shard.name) }),
                size: shard.size,
                data_offset: shard.data_offset,
                backing: shard.backing.into(),
                format: shard.format.into(),
            }
        })
    }

    /// What it costs in memory, and how its index came out.
    pub fn stat(&self) -> Stat {
        // SAFETY: it is integers, for which all zero is fine.
        let mut stat: sys::tare_stat = unsafe { std::mem::zeroed() };
        stat.struct_size = size_of::<sys::tare_stat>();
        // SAFETY: the model is open, and the size is set.
        unsafe { sys::tare_model_stat(self.as_ptr(), &mut stat) };
        Stat {
            memory_size: stat.memory_size,
            record_size: stat.record_size,
            name_size: stat.name_size,
            shape_size: stat.shape_size,
            index_size: stat.index_size,
            index_reseeds: stat.index_reseeds,
            index_sorted: stat.index_sorted != 0,
            probe_max: stat.probe_max,
            index_file_size: stat.index_file_size,
        }
    }

    /// The list that the library takes, once it is sure that all are tensors of this model.
    pub(crate) fn list(&self, tensors: &[Tensor<'_>]) -> Result<Vec<*const sys::tare_tensor>> {
        match tensors.iter().position(|tensor| !std::ptr::eq(tensor.model(), self)) {
            Some(place) => Err(Error::new(
                Status::Argument,
                format!("tensor {place} of the list is one of another model"),
            )),
            None => Ok(tensors.iter().map(|tensor| tensor.as_ptr()).collect()),
        }
    }
}

/// The bytes of a `tare_string`.
///
/// # Safety
/// It is as the library made it, and its bytes live as long as `'a`.
pub(crate) unsafe fn text<'a>(string: &sys::tare_string) -> &'a [u8] {
    if string.data.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(string.data.cast(), string.size) }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("tensors", &self.count())
            .field("shards", &self.shards().len())
            .finish()
    }
}

impl<'m> IntoIterator for &'m Model {
    type Item = Tensor<'m>;
    type IntoIter = Tensors<'m>;

    fn into_iter(self) -> Tensors<'m> {
        self.tensors()
    }
}

/// A model that borrows the bytes it was opened from, and is otherwise a [`Model`].
///
/// ```compile_fail,E0505
/// let file = std::fs::read("model.safetensors").unwrap();
/// let model = tare::Model::from_slice(&file).unwrap();
/// drop(file);
/// println!("{}", model.count());
/// ```
pub struct BorrowedModel<'a> {
    model: Model,
    bytes: PhantomData<&'a [u8]>,
}

impl BorrowedModel<'_> {
    pub(crate) fn new(model: Model) -> Self {
        Self { model, bytes: PhantomData }
    }
}

/// The model never leaves, so that all that is borrowed from it ends before the bytes do.
impl Deref for BorrowedModel<'_> {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.model
    }
}

impl fmt::Debug for BorrowedModel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.model.fmt(f)
    }
}
