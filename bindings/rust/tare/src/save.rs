//! Writing safetensors files.

use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::path::Path;
use std::{fmt, ptr};

use tare_sys as sys;

use crate::error::check;
use crate::open::c_path;
use crate::progress::Progress;
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
/// let model = Model::open("model.gguf")?;
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
    let list: Vec<sys::tare_save_tensor> = tensors.iter().map(|tensor| tensor.raw).collect();
    let SaveOptions { mut raw, metadata, mut progress, .. } = options;
    raw.metadata = metadata.as_ptr();
    raw.metadata_count = metadata.len();
    raw.progress = progress.function();
    raw.progress_context = progress.context();
    // SAFETY: the path is terminated; tensors and options point to what lives during the call.
    let result = check(|error| unsafe {
        sys::tare_save(path.as_ptr(), list.as_ptr(), list.len(), &raw, error)
    });
    progress.end();
    result.map_err(|error| {
        tensors
            .iter()
            .filter_map(|tensor| tensor.model)
            .fold(error, |error, model| model.explain(error))
    })
}
