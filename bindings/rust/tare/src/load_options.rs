//! How to load, and where to.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{ControlFlow, Range};
use std::ptr;

use tare_sys as sys;

use crate::error::check;
use crate::progress::Progress;
use crate::{Block, Device, DeviceBlock, Digest, Error, Io, Model, Result, Status, Tensor};

/// Where loads go: [`Host`] or [`OnDevice`].
pub trait Target: sealed::Sealed {
    /// What [`Model::load`] gives.
    type Block: sealed::FromRaw;
}

/// To memory of the host.
#[derive(Debug)]
pub enum Host {}

/// To memory of a device: see [`LoadOptions::device`].
#[derive(Debug)]
pub enum OnDevice {}

impl Target for Host {
    type Block = Block;
}

impl Target for OnDevice {
    type Block = DeviceBlock;
}

pub(crate) mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Host {}
    impl Sealed for super::OnDevice {}

    pub trait FromRaw {
        /// # Safety
        /// The block is of the host, or of a device, as `Self` has it.
        unsafe fn from_raw(raw: crate::block::RawBlock) -> Self;
    }
}

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
pub struct LoadOptions<'a, T: Target = Host> {
    raw: sys::tare_load_options,
    digests: Option<&'a [Digest]>,
    slices: Option<Vec<Bounds>>,
    progress: Progress<'a>,
    device: PhantomData<&'a Device>,
    target: PhantomData<fn() -> T>,
}

/// Where a slice starts and stops in each dimension; no dimension stands for all of a tensor.
type Bounds = (Vec<u64>, Vec<u64>);

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> LoadOptions<'a> {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            raw: sys::TARE_LOAD_OPTIONS_INIT,
            digests: None,
            slices: None,
            progress: Progress::default(),
            device: PhantomData,
            target: PhantomData,
        }
    }

    /// To this device: [`Model::load`] and [`Model::load_all`] then give a [`DeviceBlock`].
    ///
    /// ```
    /// use tare::{Device, LoadOptions, Model, Status};
    ///
    /// let model = Model::from_pairs(&[("w", [1u8, 2])])?;
    /// let device = match Device::open("cuda:0") {
    ///     Err(error) if error.status() == Status::Unsupported => return Ok(()), // no GPU here
    ///     other => other?,
    /// };
    /// let block = model.load_all(LoadOptions::new().device(&device))?;
    /// let memory = block.get(0).expect("one tensor was asked for");
    /// println!("{} bytes at {:#x} of {}", memory.size, memory.address, block.device().label);
    /// # Ok::<(), tare::Error>(())
    /// ```
    #[must_use]
    pub fn device(self, device: &'a Device) -> LoadOptions<'a, OnDevice> {
        let raw = sys::tare_load_options { device: device.as_ptr(), ..self.raw };
        let Self { digests, slices, progress, .. } = self;
        LoadOptions { raw, digests, slices, progress, device: PhantomData, target: PhantomData }
    }
}

impl<'a, T: Target> LoadOptions<'a, T> {
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

    /// Of [`Model::load`]: to what each tensor is aligned, a power of two up to 2 MiB. Default 64, on
    /// a device 256.
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
    /// differs. Not together with slices.
    #[must_use]
    pub fn digests(mut self, digests: &'a [Digest]) -> Self {
        self.digests = Some(digests);
        self
    }

    /// Loads a box of each tensor, such as the share of one rank of a tensor-parallel runtime: one
    /// list of ranges for each tensor, as [`Tensor::read_slice`] takes them. An empty list is all of
    /// its tensor.
    ///
    /// ```
    /// use tare::{Dtype, LoadOptions, Model, SaveOptions, SaveTensor};
    ///
    /// let tensors = [
    ///     SaveTensor::new("w", Dtype::U8, &[2, 3], &[0, 1, 2, 3, 4, 5]),
    ///     SaveTensor::new("x", Dtype::U8, &[1], &[6]),
    /// ];
    /// let model = Model::from_bytes(tare::save_to_vec(&tensors, SaveOptions::new())?)?;
    /// let list = [model.find("w").unwrap(), model.find("x").unwrap()];
    /// let block = model.load(&list, LoadOptions::new().slices(&[&[0..2, 1..3][..], &[]]))?;
    /// assert_eq!(&block[0], [1, 2, 4, 5]);
    /// assert_eq!(&block[1], [6]);
    /// # Ok::<(), tare::Error>(())
    /// ```
    #[must_use]
    pub fn slices<S: AsRef<[Range<u64>]>>(mut self, slices: &[S]) -> Self {
        let bounds = |slice: &S| slice.as_ref().iter().map(|r| (r.start, r.end)).unzip();
        self.slices = Some(slices.iter().map(bounds).collect());
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

    /// Without what hashing does not look at.
    pub(crate) fn for_hashing(mut self) -> Self {
        self.digests = None;
        self.slices = None;
        self
    }

    /// How many bytes are loaded of tensor number `index` of a list.
    pub(crate) fn size_of(&self, index: usize, tensor: &Tensor<'_>) -> Result<u64> {
        match self.slices.as_ref().and_then(|slices| slices.get(index)) {
            Some(bounds) if !bounds.0.is_empty() => {
                check_rank(bounds, tensor)?;
                tensor.slice_size_raw(bounds)
            }
            _ => Ok(tensor.size()),
        }
    }

    /// Makes a call that takes options, for a list of `model`'s tensors, or for all of them.
    pub(crate) fn call(
        mut self,
        model: &Model,
        tensors: Option<&[Tensor<'_>]>,
        call: impl FnOnce(
            *const *const sys::tare_tensor,
            usize,
            *const sys::tare_load_options,
            *mut sys::tare_error,
        ) -> sys::tare_status,
    ) -> Result<()> {
        let list = tensors.map(|tensors| model.list(tensors)).transpose()?;
        let count = list.as_ref().map_or_else(|| model.count(), Vec::len);
        let list = list.as_ref().map_or(ptr::null(), |list| list.as_ptr());
        if let Some(digests) = self.digests {
            check_count(digests.len(), "digests", count)?;
            self.raw.digests = digests.as_ptr().cast();
        }
        let slices = self.raw_slices(model, tensors, count)?;
        self.raw.slices = slices.as_ref().map_or(ptr::null(), |slices| slices.as_ptr());
        self.raw.progress = self.progress.function();
        self.raw.progress_context = self.progress.context();
        let result = check(|error| call(list, count, &self.raw, error));
        self.progress.end();
        result.map_err(|error| model.explain(error))
    }

    /// The slices as C takes them, once it is sure that each has as many dimensions as its tensor.
    fn raw_slices(
        &self,
        model: &Model,
        tensors: Option<&[Tensor<'_>]>,
        count: usize,
    ) -> Result<Option<Vec<sys::tare_slice>>> {
        let Some(slices) = &self.slices else { return Ok(None) };
        check_count(slices.len(), "slices", count)?;
        let mut raw = Vec::with_capacity(count);
        for (index, bounds) in slices.iter().enumerate() {
            let (mut start, mut stop) = (ptr::null(), ptr::null());
            if !bounds.0.is_empty() {
                let tensor =
                    tensors.map_or_else(|| model.at(index), |list| list.get(index).copied());
                check_rank(bounds, &tensor.expect("it is below the count"))?;
                (start, stop) = (bounds.0.as_ptr(), bounds.1.as_ptr());
            }
            raw.push(sys::tare_slice { start, stop });
        }
        Ok(Some(raw))
    }
}

fn check_count(found: usize, what: &str, count: usize) -> Result<()> {
    match found == count {
        true => Ok(()),
        false => Err(Error::new(Status::Argument, format!("{found} {what} for {count} tensors"))),
    }
}

fn check_rank(bounds: &Bounds, tensor: &Tensor<'_>) -> Result<()> {
    let (count, rank) = (bounds.0.len(), tensor.shape().len());
    match count == rank {
        true => Ok(()),
        false => {
            let name = tensor.name_bytes().escape_ascii();
            let message = format!("{count} ranges for tensor '{name}' of rank {rank}");
            Err(Error::new(Status::Argument, message))
        }
    }
}

impl<T: Target> fmt::Debug for LoadOptions<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions")
            .field("raw", &self.raw)
            .field("slices", &self.slices)
            .finish_non_exhaustive()
    }
}
