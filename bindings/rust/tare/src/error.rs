//! What a call that fails returns.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::{fmt, io};

use tare_sys as sys;

use crate::Status;

/// The result of calls of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong and where. [`Display`](fmt::Display) prints the message: one line that names the
/// file and the tensor or key, in which bytes that are not printable ASCII are escaped.
pub struct Error(Box<Facts>);

struct Facts {
    status: Status,
    shard: Option<u32>,
    offset: Option<u64>,
    message: String,
    source: Option<io::Error>,
}

impl Error {
    /// What the cause is.
    pub fn status(&self) -> Status {
        self.0.status
    }

    /// The number of the shard whose content is at fault.
    pub fn shard(&self) -> Option<u32> {
        self.0.shard
    }

    /// Where the fault is: bytes from the start of that shard, or of the shard index.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// The number of the system's error (`errno`), where a system call or a reader failed with one.
    pub fn system_error(&self) -> Option<i32> {
        self.0.source.as_ref().and_then(io::Error::raw_os_error)
    }

    /// One line, printable ASCII.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// An error that this crate finds itself, before it calls the library.
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Facts { status, shard: None, offset: None, message, source: None }))
    }

    fn from_raw(raw: &sys::tare_error) -> Self {
        // SAFETY: the message is always terminated.
        let message = unsafe { CStr::from_ptr(raw.message.as_ptr()) };
        Self(Box::new(Facts {
            status: raw.status.into(),
            shard: (raw.shard != sys::TARE_NO_SHARD).then_some(raw.shard),
            offset: (raw.offset != sys::TARE_NO_OFFSET).then_some(raw.offset),
            message: message.to_string_lossy().into_owned(),
            source: (raw.system_error != 0).then(|| io::Error::from_raw_os_error(raw.system_error)),
        }))
    }

    /// The same with the error of the caller's reader that caused it.
    pub(crate) fn caused_by(mut self, source: io::Error) -> Self {
        self.0.source = Some(source);
        self
    }
}

/// Makes a call of the library that takes a `tare_error *`.
pub(crate) fn check(call: impl FnOnce(*mut sys::tare_error) -> sys::tare_status) -> Result<()> {
    let mut error = MaybeUninit::<sys::tare_error>::zeroed();
    if call(error.as_mut_ptr()) == sys::TARE_OK {
        return Ok(());
    }
    // SAFETY: it is integers, all of them zero at least, and the library has written it.
    Err(Error::from_raw(unsafe { error.assume_init_ref() }))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("status", &self.0.status)
            .field("shard", &self.0.shard)
            .field("offset", &self.0.offset)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}

/// Keeps the kind of the system's or the reader's error, and all of this one.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match (&error.0.source, error.status().raw()) {
            (Some(source), _) => source.kind(),
            (None, 10..=19) => io::ErrorKind::InvalidInput,
            (None, 30..=69) => io::ErrorKind::InvalidData,
            (None, sys::TARE_E_MEMORY) => io::ErrorKind::OutOfMemory,
            (None, sys::TARE_E_UNSUPPORTED) => io::ErrorKind::Unsupported,
            (None, sys::TARE_E_EXISTS) => io::ErrorKind::AlreadyExists,
            (None, _) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
