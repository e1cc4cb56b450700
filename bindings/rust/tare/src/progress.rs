//! Closures that are told how far a call is.

use std::any::Any;
use std::ffi::{c_int, c_void};
use std::ops::ControlFlow;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::ptr;

use tare_sys as sys;

type Report<'a> = Box<dyn FnMut(u64, u64) -> ControlFlow<()> + 'a>;

/// A closure that the library may call, or none.
#[derive(Default)]
pub(crate) struct Progress<'a> {
    report: Option<Report<'a>>,
    panic: Option<Box<dyn Any + Send>>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(report: impl FnMut(u64, u64) -> ControlFlow<()> + 'a) -> Self {
        Self { report: Some(Box::new(report)), panic: None }
    }

    /// `progress` of options whose `progress_context` is what [`context`](Self::context) gives.
    pub(crate) fn function(&self) -> sys::tare_progress {
        self.report.is_some().then_some(report as _)
    }

    pub(crate) fn context(&mut self) -> *mut c_void {
        ptr::from_mut(self).cast()
    }

    /// To be called once the library has returned: goes on with a panic of the closure.
    pub(crate) fn end(&mut self) {
        if let Some(payload) = self.panic.take() {
            resume_unwind(payload);
        }
    }
}

/// # Safety
/// As the library calls it: `context` is a [`Progress`], on the thread that called the library.
unsafe extern "C" fn report(context: *mut c_void, done: u64, total: u64) -> c_int {
    // The closure's captures go with the call's options, hence the lifetime does not matter.
    // SAFETY: the caller's promise; nobody else looks at it during the call.
    let progress = unsafe { &mut *context.cast::<Progress<'_>>() };
    let Some(report) = &mut progress.report else { return 0 };
    match catch_unwind(AssertUnwindSafe(|| report(done, total))) {
        Ok(ControlFlow::Continue(())) => 0,
        Ok(ControlFlow::Break(())) => 1,
        Err(payload) => {
            progress.panic = Some(payload);
            1
        }
    }
}
