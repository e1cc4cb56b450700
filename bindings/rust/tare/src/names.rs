//! Names near to one that is not there.

use std::borrow::Cow;

use tare_sys as sys;

use crate::model::text;
use crate::Model;

/// Names near to one that is not there.
impl Model {
    /// Names near to one that is not there, for a message: up to three, the nearest first, and only
    /// those that are as near as the nearest. Near are names that differ by few edits, and those
    /// that have all components of `name` (parts between dots or slashes) and more. It looks at every
    /// name: milliseconds for 100,000 of them.
    ///
    /// ```
    /// let model = tare::Model::from_pairs(&[("layers.0.weight", [1u8]), ("layers.0.bias", [2])])?;
    /// assert!(model.find("layer.0.weight").is_none());
    /// assert_eq!(model.suggest("layer.0.weight"), ["layers.0.weight"]);
    /// assert_eq!(model.suggest_prefix("layer.0."), ["layers.0."]);
    /// # Ok::<(), tare::Error>(())
    /// ```
    pub fn suggest(&self, name: impl AsRef<[u8]>) -> Vec<Cow<'_, str>> {
        self.suggest_raw(name.as_ref(), 0)
    }

    /// The same of a prefix that no tensor has; what it gives are prefixes.
    pub fn suggest_prefix(&self, prefix: impl AsRef<[u8]>) -> Vec<Cow<'_, str>> {
        self.suggest_raw(prefix.as_ref(), sys::TARE_SUGGEST_PREFIX)
    }

    fn suggest_raw(&self, name: &[u8], flags: u32) -> Vec<Cow<'_, str>> {
        let mut out = [EMPTY; sys::TARE_SUGGEST_COUNT as usize];
        // SAFETY: the model is open, the name as long as is said, and `out` as long as it must be.
        let count = unsafe {
            let name_data = name.as_ptr().cast();
            sys::tare_suggest(self.as_ptr(), name_data, name.len(), flags, out.as_mut_ptr())
        };
        // SAFETY: what it gives are names of the model.
        out[..count].iter().map(|name| String::from_utf8_lossy(unsafe { text(name) })).collect()
    }
}

const EMPTY: sys::tare_string = sys::tare_string { data: std::ptr::null(), size: 0 };

/// The edits (insert, remove, replace, swap neighbours; letter case is no edit) that make `a` into
/// `b`; `None` if more than `bound` are needed, or one is over 512 bytes.
///
/// ```
/// assert_eq!(tare::name_distance("wieght", "weight", 3), Some(1));
/// assert_eq!(tare::name_distance("bias", "weight", 3), None);
/// ```
pub fn name_distance(a: impl AsRef<[u8]>, b: impl AsRef<[u8]>, bound: u32) -> Option<u32> {
    let string = |text: &[u8]| sys::tare_string { data: text.as_ptr().cast(), size: text.len() };
    let bound = bound.min(sys::TARE_SUGGEST_SIZE_MAX);
    // SAFETY: both are as long as is said.
    let edits = unsafe { sys::tare_name_distance(string(a.as_ref()), string(b.as_ref()), bound) };
    (edits <= bound).then_some(edits)
}
