//! Metadata: the strings of safetensors' `__metadata__`, the typed values of GGUF.

use std::borrow::Cow;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::ops::Range;
use std::{fmt, ptr};

use tare_sys as sys;

use crate::error::check;
use crate::model::text;
use crate::{Kind, Model, Result};

/// One value of metadata, or one item of an array: a plain value that points into its model.
///
/// Integers of any width are converted where the value fits, and nothing else is: a bool is no
/// integer, and no float becomes one.
#[derive(Clone, Copy)]
pub struct Value<'m> {
    raw: sys::tare_value,
    model: PhantomData<&'m Model>,
}

// SAFETY: it points to bytes of a model, which is Sync.
unsafe impl Send for Value<'_> {}
// SAFETY: the same.
unsafe impl Sync for Value<'_> {}

/// `tare_value_*`: the value, if it is of such a kind.
macro_rules! convert {
    ($value:expr, $call:ident, $empty:expr) => {{
        let mut out = $empty;
        // SAFETY: the value is as the library made it.
        (unsafe { sys::$call($value.raw, &mut out) } == sys::TARE_OK).then_some(out)
    }};
}

impl<'m> Value<'m> {
    /// `None` for the value that stands for there being none.
    ///
    /// # Safety
    /// The library made it of a model that lives as long as `'m`.
    unsafe fn from_raw(raw: sys::tare_value) -> Option<Self> {
        (raw.kind != 0).then_some(Self { raw, model: PhantomData })
    }

    /// What it is. `Unknown(0)` in an entry of [`Model::metadata`] that a damaged index file leads
    /// astray: it is of no type, and has no bytes.
    pub fn kind(&self) -> Kind {
        self.raw.kind.into()
    }

    /// An integer that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        convert!(self, tare_value_u64, 0)
    }

    /// An integer.
    pub fn as_i64(&self) -> Option<i64> {
        convert!(self, tare_value_i64, 0)
    }

    /// A floating point number.
    pub fn as_f64(&self) -> Option<f64> {
        convert!(self, tare_value_f64, 0.0)
    }

    /// A bool.
    pub fn as_bool(&self) -> Option<bool> {
        convert!(self, tare_value_bool, 0).map(|value| value != 0)
    }

    /// Text. In that of GGUF, bytes that are not UTF-8 are replaced by U+FFFD.
    pub fn as_str(&self) -> Option<Cow<'m, str>> {
        self.as_bytes().map(String::from_utf8_lossy)
    }

    /// Text as it is.
    pub fn as_bytes(&self) -> Option<&'m [u8]> {
        let empty = sys::tare_string { data: ptr::null(), size: 0 };
        // SAFETY: the text lives as long as the model.
        convert!(self, tare_value_string, empty).map(|string| unsafe { text(&string) })
    }

    /// The items of an array, one after the other; nothing is copied. No items where it is none.
    ///
    /// ```no_run
    /// # let model = tare::Model::open_read("model.gguf")?;
    /// let tokens = model.metadata_array("tokenizer.ggml.tokens")?;
    /// for token in tokens {
    ///     println!("{}", token.as_str().unwrap_or_default());
    /// }
    /// # Ok::<(), tare::Error>(())
    /// ```
    pub fn items(&self) -> Items<'m> {
        Items { array: *self }
    }

    /// What it is as it stands in the file: numbers little-endian and not aligned, a bool as one
    /// byte, text of strings; each string of an array behind its size, 8 bytes.
    pub fn raw_bytes(&self) -> &'m [u8] {
        // SAFETY: it points to that many bytes, which live as long as the model.
        unsafe { text(&sys::tare_string { data: self.raw.data.cast(), size: self.raw.size }) }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.as_u64() {
            return number.fmt(f);
        }
        if let Some(number) = self.as_i64() {
            return number.fmt(f);
        }
        if let Some(number) = self.as_f64() {
            return number.fmt(f);
        }
        match (self.as_bool(), self.as_str()) {
            (Some(value), _) => value.fmt(f),
            (_, Some(text)) => text.fmt(f),
            _ => self.items().fmt(f),
        }
    }
}

/// The items of an array. See [`Value::items`].
#[derive(Clone, Copy)]
pub struct Items<'m> {
    array: Value<'m>,
}

impl Items<'_> {
    /// What the items are.
    pub fn kind(&self) -> Kind {
        self.array.raw.item_kind.into()
    }

    /// How many the value is said to have, and no more come. Fewer do where a damaged index file
    /// tells of strings that are not there; hence this is no [`ExactSizeIterator`].
    pub fn len(&self) -> usize {
        let is_array = self.array.raw.kind == sys::TARE_KIND_ARRAY;
        if is_array {
            self.array.raw.count as usize
        } else {
            0
        }
    }

    /// Whether it is said to have none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'m> Iterator for Items<'m> {
    type Item = Value<'m>;

    fn next(&mut self) -> Option<Value<'m>> {
        // SAFETY: it is integers and a pointer, for which all zero is fine.
        let mut item: sys::tare_value = unsafe { std::mem::zeroed() };
        // SAFETY: the array is as the library made it, and so is the item then.
        unsafe {
            sys::tare_value_next(&mut self.array.raw, &mut item);
            Value::from_raw(item)
        }
    }

    /// At least so many: numbers are all there, of strings that shows as they are read.
    fn size_hint(&self) -> (usize, Option<usize>) {
        let is_text = self.array.raw.item_kind == sys::TARE_KIND_STRING;
        (if is_text { 0 } else { self.len() }, Some(self.len()))
    }
}

impl FusedIterator for Items<'_> {}

impl fmt::Debug for Items<'_> {
    /// Of many items their kind and number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len() > 16 {
            return write!(f, "[{}; {}]", self.kind(), self.len());
        }
        f.debug_list().entries(*self).finish()
    }
}

/// One entry of metadata. See [`Model::metadata`].
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Entry<'m> {
    key: &'m [u8],
    /// Its value.
    pub value: Value<'m>,
    /// The number of the shard that has it.
    pub shard: u32,
}

impl<'m> Entry<'m> {
    /// Its key. In keys of GGUF, bytes that are not UTF-8 are replaced by U+FFFD.
    pub fn key(&self) -> Cow<'m, str> {
        String::from_utf8_lossy(self.key)
    }

    /// Its key as it is.
    pub fn key_bytes(&self) -> &'m [u8] {
        self.key
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key())
            .field("value", &self.value)
            .field("shard", &self.shard)
            .finish()
    }
}

/// All entries of metadata. See [`Model::metadata`].
///
/// ```
/// let tensors: &[tare::SaveTensor] = &[];
/// let file = tare::save_to_vec(tensors, tare::SaveOptions::new().metadata("format", "pt"))?;
/// let model = tare::Model::from_bytes(file)?;
/// assert_eq!(format!("{:?}", model.metadata()), r#"{"format": "pt"}"#);
/// # Ok::<(), tare::Error>(())
/// ```
#[derive(Clone)]
pub struct Metadata<'m> {
    model: &'m Model,
    indices: Range<usize>,
}

impl<'m> Metadata<'m> {
    fn at(&self, index: usize) -> Option<Entry<'m>> {
        let mut key = sys::tare_string { data: ptr::null(), size: 0 };
        let mut shard = 0;
        let model = self.model.as_ptr();
        // SAFETY: the model is open; what it gives lives as long as it does.
        unsafe {
            sys::tare_metadata_at(model, index, &mut key, ptr::null_mut(), &mut shard);
            let raw = sys::tare_metadata_value_at(model, index);
            Some(Entry { key: text(&key), value: Value { raw, model: PhantomData }, shard })
        }
    }
}

impl fmt::Debug for Metadata<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.clone().map(|entry| (entry.key(), entry.value));
        f.debug_map().entries(entries).finish()
    }
}

impl<'m> Iterator for Metadata<'m> {
    type Item = Entry<'m>;

    fn next(&mut self) -> Option<Entry<'m>> {
        let index = self.indices.next()?;
        self.at(index)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.indices.size_hint()
    }
}

impl DoubleEndedIterator for Metadata<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let index = self.indices.next_back()?;
        self.at(index)
    }
}

impl ExactSizeIterator for Metadata<'_> {}
impl FusedIterator for Metadata<'_> {}

/// `tare_metadata_*`: the value of a key, or why there is none.
macro_rules! ask {
    ($model:expr, $key:expr, $call:ident, $empty:expr) => {{
        let key: &[u8] = $key.as_ref();
        let mut out = $empty;
        check(|error| {
            // SAFETY: the model is open, and the key as long as is said.
            unsafe { sys::$call($model.as_ptr(), key.as_ptr().cast(), key.len(), &mut out, error) }
        })
        .map(|()| out)
    }};
}

/// Metadata. That of safetensors is of kind [`Kind::String`] throughout; in a model of several
/// shards the first that has a key counts. No call allocates, unless it fails.
///
/// The calls for a type fail with [`Status::Absent`](crate::Status::Absent) if no shard has the
/// key, and with [`Status::Kind`](crate::Status::Kind) if its value is of another kind:
///
/// ```no_run
/// # let model = tare::Model::open_read("model.gguf")?;
/// let heads = match model.metadata_u64("llama.attention.head_count") {
///     Err(error) if error.status() == tare::Status::Absent => 32,
///     other => other?,
/// };
/// # Ok::<(), tare::Error>(())
/// ```
impl Model {
    /// All entries, in the order of the file, shard by shard. Shards often repeat each other's.
    pub fn metadata(&self) -> Metadata<'_> {
        // SAFETY: the model is open.
        Metadata { model: self, indices: 0..unsafe { sys::tare_metadata_count(self.as_ptr()) } }
    }

    /// The value of a key, whatever its kind.
    pub fn metadata_value(&self, key: impl AsRef<[u8]>) -> Option<Value<'_>> {
        let key = key.as_ref();
        // SAFETY: the model is open, the key as long as is said, and the value the model's.
        unsafe {
            let raw = sys::tare_metadata_value(self.as_ptr(), key.as_ptr().cast(), key.len());
            Value::from_raw(raw)
        }
    }

    /// The value of a key that is an integer and not negative.
    pub fn metadata_u64(&self, key: impl AsRef<[u8]>) -> Result<u64> {
        ask!(self, key, tare_metadata_u64, 0)
    }

    /// The value of a key that is an integer.
    pub fn metadata_i64(&self, key: impl AsRef<[u8]>) -> Result<i64> {
        ask!(self, key, tare_metadata_i64, 0)
    }

    /// The value of a key that is a floating point number.
    pub fn metadata_f64(&self, key: impl AsRef<[u8]>) -> Result<f64> {
        ask!(self, key, tare_metadata_f64, 0.0)
    }

    /// The value of a key that is a bool.
    pub fn metadata_bool(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        ask!(self, key, tare_metadata_bool, 0).map(|value| value != 0)
    }

    /// The value of a key that is text: see [`Value::as_str`].
    pub fn metadata_str(&self, key: impl AsRef<[u8]>) -> Result<Cow<'_, str>> {
        let empty = sys::tare_string { data: ptr::null(), size: 0 };
        let string = ask!(self, key, tare_metadata_string, empty)?;
        // SAFETY: the text lives as long as the model.
        Ok(String::from_utf8_lossy(unsafe { text(&string) }))
    }

    /// The items of a key that is an array.
    pub fn metadata_array(&self, key: impl AsRef<[u8]>) -> Result<Items<'_>> {
        // SAFETY: it is integers and a pointer, for which all zero is fine.
        let empty: sys::tare_value = unsafe { std::mem::zeroed() };
        let raw = ask!(self, key, tare_metadata_array, empty)?;
        Ok(Items { array: Value { raw, model: PhantomData } })
    }
}
