//! Models of files that are in no folder.

use std::ffi::{c_char, c_int, c_void, CString};
use std::sync::Arc;
use std::{fmt, ptr, slice};

use tare_sys as sys;

use crate::error::check;
use crate::model::{Kept, SharedBytes};
use crate::reader::Reader;
use crate::{Error, OpenOptions, ReadAt, Result, Status};

/// One file of a model that is in no folder of the system: in memory, behind a reader, or both. Of
/// several that are given to [`Model::from_files`](crate::Model::from_files) the model is an index
/// and the shards it lists, all parts of a split file, or the only model file; the others are
/// ignored. One alone is opened whatever it is called.
///
/// ```
/// use tare::{list_files, Model, ModelFile};
///
/// let index = r#"{"weight_map": {"w": "a.safetensors"}}"#;
/// let index = ModelFile::from_bytes("model.safetensors.index.json", index);
/// let mut files = vec![index.clone()];
/// for name in list_files(&index)? {
///     // Fetched from somewhere.
///     let header = r#"{"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#;
///     let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[1, 2]].concat();
///     files.push(ModelFile::from_bytes(name, bytes));
/// }
/// let model = Model::from_files(&files)?;
/// assert_eq!(model.find("w").and_then(|tensor| tensor.data()), Some(&[1, 2][..]));
/// # Ok::<(), tare::Error>(())
/// ```
#[derive(Clone)]
pub struct ModelFile {
    name: String,
    bytes: Option<SharedBytes>,
    reader: Option<(Arc<Reader>, u64)>,
}

impl ModelFile {
    /// A file that is in memory, and its name as in its folder. The bytes belong to it and to the
    /// models that are made of it.
    pub fn from_bytes<B>(name: impl Into<String>, bytes: B) -> Self
    where
        B: AsRef<[u8]> + Send + Sync + 'static,
    {
        Self { name: name.into(), bytes: Some(Arc::new(bytes)), reader: None }
    }

    /// A file of `size` bytes behind a reader.
    pub fn from_reader(name: impl Into<String>, reader: impl ReadAt + 'static, size: u64) -> Self {
        Self { name: name.into(), bytes: None, reader: Some((Arc::new(Reader::new(reader)), size)) }
    }

    /// Of a file behind a reader: its first bytes, of which the reader is not asked then. Where they
    /// hold the header nothing is read.
    #[must_use]
    pub fn head<B>(mut self, bytes: B) -> Self
    where
        B: AsRef<[u8]> + Send + Sync + 'static,
    {
        self.bytes = Some(Arc::new(bytes));
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for ModelFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelFile")
            .field("name", &self.name)
            .field("bytes", &self.bytes.as_ref().map(|bytes| (**bytes).as_ref().len()))
            .field("reader", &self.reader.as_ref().map(|(_, size)| size))
            .finish()
    }
}

/// Files as C takes them, with what their pointers lead to.
pub(crate) struct RawFiles<'f> {
    files: &'f [ModelFile],
    raw: Vec<sys::tare_file>,
    _names: Vec<CString>,
    _readers: Vec<sys::tare_reader>,
}

impl<'f> RawFiles<'f> {
    pub(crate) fn new(files: &'f [ModelFile]) -> Result<Self> {
        let names = files.iter().map(|file| CString::new(&*file.name));
        let names: Vec<CString> = names
            .collect::<std::result::Result<_, _>>()
            .map_err(|_| Error::new(Status::Argument, "a file's name holds a byte that is zero"))?;
        let readers: Vec<_> = files
            .iter()
            .filter_map(|file| file.reader.as_ref())
            .map(|(r, size)| r.raw(*size))
            .collect();
        let mut next = readers.iter();
        let raw = files.iter().zip(&names).map(|(file, name)| {
            let bytes: &[u8] = file.bytes.as_ref().map_or(&[], |bytes| (**bytes).as_ref());
            let reader = file.reader.as_ref().and_then(|_| next.next());
            sys::tare_file {
                name: name.as_ptr(),
                bytes: bytes.as_ptr().cast(),
                size: bytes.len(),
                reader: reader.map_or(ptr::null(), ptr::from_ref),
                later: [0; 2],
            }
        });
        let raw = raw.collect();
        Ok(Self { files, raw, _names: names, _readers: readers })
    }

    /// What a model of these files borrows: readers, and the bytes of files that have none.
    pub(crate) fn kept(&self) -> Kept {
        let whole = self.files.iter().filter(|file| file.reader.is_none());
        let readers = self.files.iter().filter_map(|file| file.reader.as_ref());
        Kept {
            bytes: whole.filter_map(|file| file.bytes.clone()).collect(),
            readers: readers.map(|(reader, _)| reader.clone()).collect(),
        }
    }

    pub(crate) fn as_ptr(&self) -> *const sys::tare_file {
        self.raw.as_ptr()
    }

    pub(crate) fn count(&self) -> usize {
        self.raw.len()
    }
}

/// Which files a model is made of, for those who fetch them: the shards that a file lists whose name
/// ends in `.json`, sorted; the parts of a split GGUF file, told from the name of one; any other file
/// for itself. Names are relative to the folder of `file`. The content of an index is read and
/// checked, that of other files is not. See [`ModelFile`] for an example, and
/// [`OpenOptions::list_files`] for limits.
pub fn list_files(file: &ModelFile) -> Result<Vec<String>> {
    OpenOptions::new().list_files(file)
}

pub(crate) fn list(file: &ModelFile, options: &sys::tare_options) -> Result<Vec<String>> {
    let raw = RawFiles::new(slice::from_ref(file))?;
    let mut names: Vec<String> = Vec::new();
    let context = ptr::from_mut(&mut names).cast();
    let result = check(|error| {
        // SAFETY: pointers are to what lives during the call; `visit` gets the list.
        unsafe { sys::tare_list_files(raw.as_ptr(), options, Some(visit), context, error) }
    });
    result.map_err(|error| raw.kept().explain(error))?;
    Ok(names)
}

/// # Safety
/// As the library calls it: `context` is a list of names, the name as long as is said.
unsafe extern "C" fn visit(context: *mut c_void, name: *const c_char, name_size: usize) -> c_int {
    // SAFETY: the caller's promise; nobody else looks at the list during the call.
    let names = unsafe { &mut *context.cast::<Vec<String>>() };
    // SAFETY: the caller's promise.
    let name = unsafe { slice::from_raw_parts(name.cast::<u8>(), name_size) };
    // Names of shards come from JSON, others from that of `file`: all are UTF-8.
    names.push(String::from_utf8_lossy(name).into_owned());
    0
}
