//! Models whose bytes the caller fetches.

use std::any::Any;
use std::ffi::c_void;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, ptr, slice};

use tare_sys as sys;

use crate::{Error, Status};

/// Where a model's bytes come from when the caller fetches them: HTTP ranges, a database, a file
/// inside of another. Any `Fn(u64, &mut [u8]) -> io::Result<usize> + Send + Sync` is one.
pub trait ReadAt: Send + Sync {
    /// Reads bytes from `offset` on to the start of `target`, and tells how many; fewer than fit
    /// are allowed. 0 means that the data ends there, which is an error
    /// ([`Status::Changed`](crate::Status::Changed)), since no byte beyond the size that was given
    /// is asked for. `target` is never empty; it holds zeros.
    ///
    /// Called on the thread that calls the model, and thus concurrently if reads of one model are
    /// concurrent; loads call it on several threads if they are told to use several.
    ///
    /// An error fails the call of the model, and is its [`source`](std::error::Error::source);
    /// where several calls fail at once each has the error of one of them. If it is
    /// [`Interrupted`](io::ErrorKind::Interrupted) the library asks again. A panic is caught, and
    /// goes on in the thread that called the model, once the library has cleaned up.
    fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<usize>;
}

impl<F> ReadAt for F
where
    F: Fn(u64, &mut [u8]) -> io::Result<usize> + Send + Sync,
{
    fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<usize> {
        self(offset, target)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, target)
    }
}

#[cfg(unix)]
impl ReadAt for std::fs::File {
    fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, target, offset)
    }
}

enum Failure {
    Error(io::Error),
    Panic(Box<dyn Any + Send>),
}

/// The caller's reader, and why it failed last.
pub(crate) struct Reader {
    reader: Box<dyn ReadAt>,
    failure: Mutex<Option<Failure>>,
}

/// EIO on every system that there is.
const UNKNOWN: i64 = 5;

impl Reader {
    pub(crate) fn new(reader: impl ReadAt + 'static) -> Self {
        Self { reader: Box::new(reader), failure: Mutex::new(None) }
    }

    /// Itself as C takes it, as long as it lives.
    pub(crate) fn raw(self: &Arc<Self>, size: u64) -> sys::tare_reader {
        sys::tare_reader {
            struct_size: size_of::<sys::tare_reader>(),
            context: Arc::as_ptr(self).cast_mut().cast(),
            read_at: Some(read_at),
            total_size: size,
        }
    }

    /// What to tell of a call that failed with `error`: panics if the reader did.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        match failure {
            Some(Failure::Panic(payload)) => resume_unwind(payload),
            Some(Failure::Error(source)) if error.status() == Status::Read => {
                error.caused_by(source)
            }
            _ => error,
        }
    }

    fn fail(&self, failure: Failure) -> i64 {
        let code = match &failure {
            Failure::Error(error) => error.raw_os_error().filter(|&code| code > 0),
            Failure::Panic(_) => None,
        };
        // The last one counts, so that none is left over from a call that failed otherwise.
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        -code.map_or(UNKNOWN, i64::from)
    }

    fn read(&self, offset: u64, target: &mut [u8]) -> i64 {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.reader.read_at(offset, target))) {
                // The library refuses more than it asked for.
                Ok(Ok(count)) => return i64::try_from(count).unwrap_or(i64::MAX),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return self.fail(Failure::Error(error)),
                Err(payload) => return self.fail(Failure::Panic(payload)),
            }
        }
    }
}

/// `read_at` of a `tare_reader` whose context is a [`Reader`].
///
/// # Safety
/// As the library calls it: `context` is that reader, and `target` has room for `size` bytes.
unsafe extern "C" fn read_at(
    context: *mut c_void,
    offset: u64,
    target: *mut c_void,
    size: usize,
) -> i64 {
    // SAFETY: the caller's promise; the reader lives until the model is closed.
    let reader = unsafe { &*context.cast::<Reader>() };
    // A slice must not be of bytes that were never written.
    // SAFETY: the caller's promise; nobody else looks at the target meanwhile.
    let target = unsafe {
        ptr::write_bytes(target.cast::<u8>(), 0, size);
        slice::from_raw_parts_mut(target.cast::<u8>(), size)
    };
    reader.read(offset, target)
}
