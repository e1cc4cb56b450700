//! Writing safetensors files.

use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::path::Path;
use std::{fmt, ptr};

use tare_sys as sys;

use crate::error::check;
use crate::open::c_path;
use crate::progress::Progress;
use crate::tensor::fresh;
use crate::{Dtype, Model, Result, Tensor};

/// One tensor to write: bytes in memory, or a tensor of an open model.
#[derive(Clone, Copy, Debug)]
pub struct SaveTensor<'a> {
    raw: sys::tare_save_tensor,
    model: Option<&'a Model>,
    bytes: PhantomData<&'a [u8]>,
}

// SAFETY: it holds shared references to bytes and to a model, which is Sync.
unsafe impl Send for SaveTensor<'_> {}
// SAFETY: the same.
unsafe impl Sync for SaveTensor<'_> {}

const NOTHING: sys::tare_save_tensor = sys::tare_save_tensor {
    name: ptr::null(),
    name_size: 0,
    shape: ptr::null(),
    rank: 0,
    dtype: 0,
    data: ptr::null(),
    size: 0,
    model: ptr::null(),
    tensor: ptr::null(),
    later: [0; 2],
};

impl<'a> SaveTensor<'a> {
    /// Bytes in memory, little-endian, as many as dtype and shape take. The shape has the slowest
    /// dimension first.
    pub fn new(name: &'a str, dtype: Dtype, shape: &'a [u64], data: &'a [u8]) -> Self {
        let raw = sys::tare_save_tensor { data: data.as_ptr().cast(), size: data.len(), ..NOTHING };
        Self { raw, model: None, bytes: PhantomData }.name(name).shape(dtype, shape)
    }

    /// Another name.
    #[must_use]
    pub fn name(mut self, name: &'a str) -> Self {
        self.raw.name = name.as_ptr().cast();
        self.raw.name_size = name.len();
        self
    }

    /// Another dtype and shape, of as many bytes.
    #[must_use]
    pub fn shape(mut self, dtype: Dtype, shape: &'a [u64]) -> Self {
        self.raw.dtype = dtype.raw();
        self.raw.shape = shape.as_ptr();
        // A rank beyond 32 bits takes a shape of 32 GiB, whose product is then not the size.
        self.raw.rank = u32::try_from(shape.len()).unwrap_or(u32::MAX);
        self
    }
}

/// Its own name, dtype, shape and bytes.
impl<'a> From<Tensor<'a>> for SaveTensor<'a> {
    fn from(tensor: Tensor<'a>) -> Self {
        let model = tensor.model();
        let raw =
            sys::tare_save_tensor { model: model.as_ptr(), tensor: tensor.as_ptr(), ..NOTHING };
        Self { raw, model: Some(model), bytes: PhantomData }
    }
}

/// How to write. [`SaveOptions::new`] has the defaults.
pub struct SaveOptions<'a> {
    raw: sys::tare_save_options,
    metadata: Vec<sys::tare_save_metadata>,
    progress: Progress<'a>,
    texts: PhantomData<&'a str>,
}

impl Default for SaveOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> SaveOptions<'a> {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            raw: sys::TARE_SAVE_OPTIONS_INIT,
            metadata: Vec::new(),
            progress: Progress::default(),
            texts: PhantomData,
        }
    }

    /// The target may be there already. Without it that is [`Status::Exists`](crate::Status::Exists).
    #[must_use]
    pub fn replace(mut self, replace: bool) -> Self {
        self.raw.flags = if replace { sys::TARE_SAVE_REPLACE } else { 0 };
        self
    }

    /// The data section starts at a multiple of this: a power of two from 8 to 2 MiB. Default 8.
    #[must_use]
    pub fn alignment(mut self, alignment: usize) -> Self {
        self.raw.alignment = alignment;
        self
    }

    /// One string more of `__metadata__`, behind those that were given before.
    #[must_use]
    pub fn metadata(mut self, key: &'a str, value: &'a str) -> Self {
        let text = |text: &str| sys::tare_string { data: text.as_ptr().cast(), size: text.len() };
        self.metadata.push(sys::tare_save_metadata { key: text(key), value: text(value) });
        self
    }

    /// Called with bytes written and bytes in all, on the thread that called. `Break` stops, which
    /// is then [`Status::Cancelled`](crate::Status::Cancelled).
    #[must_use]
    pub fn progress(mut self, report: impl FnMut(u64, u64) -> ControlFlow<()> + 'a) -> Self {
        self.progress = Progress::new(report);
        self
    }
}

impl SaveOptions<'_> {
    /// Makes a call that writes `tensors`. Only the last one `reports` progress.
    fn call(
        &mut self,
        tensors: &[SaveTensor<'_>],
        reports: bool,
        call: impl FnOnce(
            *const sys::tare_save_tensor,
            usize,
            *const sys::tare_save_options,
            *mut sys::tare_error,
        ) -> sys::tare_status,
    ) -> Result<()> {
        let list: Vec<sys::tare_save_tensor> = tensors.iter().map(|tensor| tensor.raw).collect();
        let mut raw = self.raw;
        raw.metadata = self.metadata.as_ptr();
        raw.metadata_count = self.metadata.len();
        if reports {
            raw.progress = self.progress.function();
            raw.progress_context = self.progress.context();
        }
        let result = check(|error| call(list.as_ptr(), list.len(), &raw, error));
        self.progress.end();
        result.map_err(|error| {
            let models = tensors.iter().filter_map(|tensor| tensor.model);
            models.fold(error, |error, model| model.explain(error))
        })
    }
}

impl fmt::Debug for SaveOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaveOptions").field("raw", &self.raw).finish_non_exhaustive()
    }
}

/// Writes a safetensors file of these tensors, in the order of the reference writer, whatever order
/// they are given in. It is written beside its target and then renamed, so that `path` leads to all
/// of the new file or to what it led to before, and mappings of an old file live on.
///
/// ```no_run
/// use tare::{save, Dtype, Model, SaveOptions, SaveTensor};
///
/// let model = Model::open_read("model.gguf")?;
/// let bias = [0; 16];
/// let tensors: Vec<SaveTensor> = model
///     .prefix("output.")
///     .map(SaveTensor::from)
///     .chain([SaveTensor::new("bias", Dtype::F32, &[4], &bias)])
///     .collect();
/// save("output.safetensors", &tensors, SaveOptions::new().metadata("format", "pt"))?;
/// # Ok::<(), tare::Error>(())
/// ```
pub fn save(
    path: impl AsRef<Path>,
    tensors: &[SaveTensor<'_>],
    options: SaveOptions<'_>,
) -> Result<()> {
    let path = c_path(path.as_ref())?;
    let mut options = options;
    options.call(tensors, true, |list, count, options, error| {
        // SAFETY: the path is terminated; tensors and options point to what lives during the call.
        unsafe { sys::tare_save(path.as_ptr(), list, count, options, error) }
    })
}

/// The bytes of that file in fresh memory. [`SaveOptions::replace`] has no effect.
///
/// ```
/// use tare::{save_to_vec, Dtype, Model, SaveOptions, SaveTensor};
///
/// let tensor = SaveTensor::new("w", Dtype::U8, &[2], &[1, 2]);
/// let bytes = save_to_vec(&[tensor], SaveOptions::new().metadata("format", "pt"))?;
/// let model = Model::from_slice(&bytes)?;
/// assert_eq!(model.find("w").and_then(|tensor| tensor.data()), Some(&[1, 2][..]));
/// # Ok::<(), tare::Error>(())
/// ```
pub fn save_to_vec(tensors: &[SaveTensor<'_>], options: SaveOptions<'_>) -> Result<Vec<u8>> {
    let mut options = options;
    let mut size = 0;
    options.call(tensors, false, |list, count, options, error| {
        // SAFETY: tensors and options point to what lives during the call; NULL asks for the size.
        unsafe { sys::tare_save_bytes(list, count, options, ptr::null_mut(), 0, &mut size, error) }
    })?;
    fresh(size, |target, size| {
        options.call(tensors, true, |list, count, options, error| {
            let (target, written) = (target.cast(), ptr::null_mut());
            // SAFETY: as above; the target has room for as many bytes as are said.
            unsafe { sys::tare_save_bytes(list, count, options, target, size, written, error) }
        })
    })
}
