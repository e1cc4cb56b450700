//! Devices: memory of a GPU to load into.

use std::borrow::Cow;
use std::ffi::CString;
use std::fmt;
use std::ptr::{self, NonNull};

use tare_sys as sys;

use crate::error::check;
use crate::model::text;
use crate::{DeviceKind, Error, Result, Status};

/// A device to load to, and the pinned memory that loads go through: see
/// [`LoadOptions::device`](crate::LoadOptions::device). Any number of loads may go to one at a time,
/// from any threads; memory that is pinned is kept for the next loads until this is dropped.
///
/// The driver is looked for at run time: `libcuda.so.1`. Where it, one of its functions or the device
/// is missing, that is [`Status::Unsupported`] and the message says which. Nothing of CUDA is needed to
/// build, or for all else.
///
/// A device is opened in the CUDA context that is current on the calling thread, if that is one of
/// this device, else in the device's primary context. Whoever destroys contexts (by unsafe calls of
/// the driver) must see to it that such a context outlives this and its blocks. After a `fork` devices
/// are of no use in the child.
pub struct Device(NonNull<sys::tare_device>);

// SAFETY: calls on it may be made on any threads at once, and the last one, closing, on any.
unsafe impl Send for Device {}
// SAFETY: the same.
unsafe impl Sync for Device {}

/// How to open a device. [`DeviceOptions::new`] has the defaults.
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    staging_size_max: u64,
}

impl DeviceOptions {
    /// The defaults.
    pub const fn new() -> Self {
        Self { staging_size_max: 0 }
    }

    /// The most pinned memory of the host that loads to this device hold, from 64 KiB on. Default
    /// 256 MiB.
    #[must_use]
    pub fn staging_size_max(mut self, size: u64) -> Self {
        self.staging_size_max = size;
        self
    }

    /// Opens the device that is called so: "cuda:0", or "cuda" for that of the current context, else
    /// the first one.
    pub fn open(&self, name: &str) -> Result<Device> {
        let name = CString::new(name)
            .map_err(|_| Error::new(Status::Argument, "the name holds a byte that is zero"))?;
        let raw = sys::tare_device_options {
            staging_size_max: self.staging_size_max,
            ..sys::TARE_DEVICE_OPTIONS_INIT
        };
        let mut out = ptr::null_mut();
        // SAFETY: the name is terminated, and pointers are to what lives during the call.
        check(|error| unsafe { sys::tare_device_open(name.as_ptr(), &raw, &mut out, error) })?;
        Ok(Device(NonNull::new(out).expect("a call that opens gives a device")))
    }
}

impl Device {
    /// Opens a device with the defaults of [`DeviceOptions`].
    pub fn open(name: &str) -> Result<Self> {
        DeviceOptions::new().open(name)
    }

    /// What it is.
    pub fn info(&self) -> DeviceInfo<'_> {
        // SAFETY: it is open, and lives as long as what borrows from it.
        unsafe { DeviceInfo::of(self.as_ptr()) }
    }

    /// Measures the link: copies `size` bytes (0 is 2 GiB) from pinned memory to the device, a few
    /// dozen milliseconds, and gives bytes a second, the limit of any load.
    pub fn measure(&self, size: u64) -> Result<f64> {
        let mut rate = 0.0;
        // SAFETY: it is open.
        check(|error| unsafe { sys::tare_device_measure(self.as_ptr(), size, &mut rate, error) })?;
        Ok(rate)
    }

    /// The C library's pointer, for calls of [`sys`](crate::sys) that this crate does not make. It
    /// stays the device's: it must not be closed.
    pub fn as_ptr(&self) -> *mut sys::tare_device {
        self.0.as_ptr()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: it is open, and no load to it is under way, since loads borrow it.
        unsafe { sys::tare_device_close(self.0.as_ptr()) }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Device").field(&self.info()).finish()
    }
}

/// Facts about a device. See [`Device::info`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeviceInfo<'d> {
    /// What kind it is.
    pub kind: DeviceKind,
    /// As its driver counts: 0 for "cuda:0".
    pub number: u32,
    /// "cuda:0"
    pub label: Cow<'d, str>,
    /// What the driver calls it.
    pub name: Cow<'d, str>,
    /// Pinned memory held now, bytes.
    pub staging_size: u64,
}

impl<'d> DeviceInfo<'d> {
    /// # Safety
    /// The device lives as long as `'d`.
    pub(crate) unsafe fn of(device: *const sys::tare_device) -> Self {
        // SAFETY: the caller's promise; text lives as long as the device.
        unsafe {
            let info = sys::tare_device_describe(device);
            Self {
                kind: info.kind.into(),
                number: info.number,
                label: String::from_utf8_lossy(text(&info.label)),
                name: String::from_utf8_lossy(text(&info.name)),
                staging_size: info.staging_size,
            }
        }
    }
}
