//! What a model borrows from this crate for as long as it is open.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// A box that may be moved while others hold pointers to what is in it: a `Box` claims to be the
/// only one.
pub(crate) struct Owned<T: ?Sized>(NonNull<T>);

impl<T: ?Sized> Owned<T> {
    pub(crate) fn new(boxed: Box<T>) -> Self {
        // SAFETY: a box is never null.
        Self(unsafe { NonNull::new_unchecked(Box::into_raw(boxed)) })
    }

    pub(crate) fn get(&self) -> &T {
        // SAFETY: it came from a box, and nobody has a mutable reference.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T: Send + Sync + 'static> Owned<T> {
    /// The same box, of which nobody needs to know any more what is in it.
    pub(crate) fn erase(self) -> Owned<dyn Send + Sync> {
        let erased: NonNull<dyn Send + Sync> = ManuallyDrop::new(self).0;
        Owned(erased)
    }
}

impl<T: ?Sized> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and this happens once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

// SAFETY: it owns its content and gives out shared references only, as a box does.
unsafe impl<T: ?Sized + Send> Send for Owned<T> {}
// SAFETY: the same.
unsafe impl<T: ?Sized + Sync> Sync for Owned<T> {}
