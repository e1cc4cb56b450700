//! Index files: all that reading headers makes, built once.

use std::ffi::CString;
use std::path::PathBuf;
use std::ptr;

use tare_sys as sys;

use crate::error::check;
use crate::model::text;
use crate::open::c_path;
use crate::{Model, Result};

/// Where an index file is, and whether it may replace what is there. [`IndexOptions::new`] has the
/// defaults: the usual place, and nothing but another index file is replaced.
#[derive(Clone, Debug, Default)]
pub struct IndexOptions {
    path: Option<PathBuf>,
    replace: bool,
}

impl IndexOptions {
    /// The defaults.
    pub const fn new() -> Self {
        Self { path: None, replace: false }
    }

    /// Another place than the usual one.
    #[must_use]
    pub fn path(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Replaces whatever is there. Without it, what is no index file is
    /// [`Status::Exists`](crate::Status::Exists).
    #[must_use]
    pub fn replace(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }

    /// Makes a call that takes a path and options.
    fn call(
        &self,
        call: impl FnOnce(
            *const std::ffi::c_char,
            *const sys::tare_index_options,
            *mut sys::tare_error,
        ) -> sys::tare_status,
    ) -> Result<()> {
        let path: Option<CString> = self.path.as_deref().map(c_path).transpose()?;
        let path = path.as_ref();
        let flags = if self.replace { sys::TARE_SAVE_REPLACE } else { 0 };
        let raw = sys::tare_index_options { flags, ..sys::TARE_INDEX_OPTIONS_INIT };
        check(|error| call(path.map_or(ptr::null(), |path| path.as_ptr()), &raw, error))
    }
}

/// Index files hold what reading the headers of a model makes. Opening maps the one that is there
/// and fits, which takes microseconds, and processes share its memory.
///
/// ```
/// use tare::{IndexOptions, Model, OpenOptions, Status, UseIndex};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("model.safetensors");
/// # let tensor = tare::SaveTensor::new("w", tare::Dtype::U8, &[2], &[1, 2]);
/// # tare::save(&path, &[tensor], tare::SaveOptions::new())?;
///
/// let model = Model::open_read(&path)?;
/// assert_eq!(model.index_status().unwrap_err().status(), Status::Open); // none was there
/// model.save_index(IndexOptions::new())?;
///
/// let model = OpenOptions::new().use_index(UseIndex::Require).open_read(&path)?;
/// assert!(model.index_status().is_ok() && model.find("w").is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A model that was opened from one opens its shards when their bytes are first wanted. One that was
/// replaced or removed by then is an error of that call, and [`Tensor::data`](crate::Tensor::data) is
/// `None`; [`Tensor::ready`](crate::Tensor::ready) tells why.
impl Model {
    /// Writes the index file of this model: beside a file as `model.safetensors.tareidx`, in the
    /// folder of a sharded or split model as `tare.idx`, or where the options say. It is written
    /// beside its target and renamed. Headers are read once more:
    /// [`Status::Changed`](crate::Status::Changed) where a file is no longer the one that was opened.
    /// Pairs and models of several [`ModelFile`](crate::ModelFile)s have none
    /// ([`Status::Unsupported`](crate::Status::Unsupported)); models in memory and of readers have no
    /// usual place.
    pub fn save_index(&self, options: IndexOptions) -> Result<()> {
        options
            .call(|path, options, error| {
                // SAFETY: the model is open, and pointers are to what lives during the call.
                unsafe { sys::tare_index_save(self.as_ptr(), path, options, error) }
            })
            .map_err(|error| self.explain(error))
    }

    /// Compares an index file with this model, whose headers must have been read
    /// ([`UseIndex::Never`](crate::UseIndex::Never)): it must be, byte for byte, what
    /// [`save_index`](Self::save_index) would write now. Else
    /// [`Status::Stale`](crate::Status::Stale) if it is another model's,
    /// [`Status::Prebuilt`](crate::Status::Prebuilt) with an offset if it is damaged.
    pub fn check_index(&self, options: IndexOptions) -> Result<()> {
        options
            .call(|path, options, error| {
                // SAFETY: the model is open, and pointers are to what lives during the call.
                unsafe { sys::tare_index_check(self.as_ptr(), path, options, error) }
            })
            .map_err(|error| self.explain(error))
    }

    /// `Ok` if this model was opened from an index file, else why not.
    pub fn index_status(&self) -> Result<()> {
        // SAFETY: the model is open.
        check(|error| unsafe { sys::tare_index_status(self.as_ptr(), error) })
    }

    /// The usual place of its index file; `None` for models in memory, of readers, and of pairs.
    pub fn index_path(&self) -> Option<PathBuf> {
        // SAFETY: the model is open, and the path lives as long as it does.
        let path = unsafe {
            let path = sys::tare_index_path(self.as_ptr());
            (!path.data.is_null()).then(|| text(&path))?
        };
        #[cfg(unix)]
        return Some(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path).into());
        #[cfg(not(unix))]
        Some(String::from_utf8_lossy(path).into_owned().into())
    }

    /// Opens all shards that are not open yet, so that bytes of tensors can be had. Only models from
    /// an index file have such: see [`Tensor::ready`](crate::Tensor::ready).
    pub fn ready(&self) -> Result<()> {
        // SAFETY: the model is open; NULL stands for all tensors.
        check(|error| unsafe { sys::tare_ready(self.as_ptr(), ptr::null(), error) })
    }
}
