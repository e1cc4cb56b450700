//! Numbers of the C library as enums.

use std::ffi::{c_char, CStr};
use std::fmt;
use std::str::FromStr;

use tare_sys as sys;

/// A text that the C library has in static storage; "" for NULL.
///
/// # Safety
/// `text` is NULL or terminated and lives forever.
pub(crate) unsafe fn static_text(text: *const c_char) -> &'static str {
    if text.is_null() {
        return "";
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap_or_default()
}

macro_rules! values {
    (
        $(#[$about:meta])*
        $name:ident: $raw:ty;
        $($variant:ident = $constant:ident, $text:literal;)*
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[allow(non_camel_case_types)]
        pub enum $name {
            $(#[doc = $text] $variant,)*
            /// A value that this version of the crate has no name for.
            Unknown($raw),
        }

        impl $name {
            /// The number in tare.h.
            pub fn raw(self) -> $raw {
                match self {
                    $(Self::$variant => sys::$constant,)*
                    Self::Unknown(raw) => raw,
                }
            }
        }

        impl From<$raw> for $name {
            fn from(raw: $raw) -> Self {
                match raw {
                    $(sys::$constant => Self::$variant,)*
                    raw => Self::Unknown(raw),
                }
            }
        }
    };
}

values! {
    /// What went wrong. The numbers are pinned and grouped by tens: 10 the call, 20 the host, 30
    /// not a model, 40 the text of a header, 50 a tensor in it, 60 shards, digests and index files,
    /// 70 devices.
    Status: i32;
    Argument = TARE_E_ARGUMENT, "An argument or option has a value that it cannot have.";
    TargetSize = TARE_E_TARGET_SIZE, "The target buffer has the wrong size.";
    Memory = TARE_E_MEMORY, "The allocator returned no memory.";
    Open = TARE_E_OPEN, "A file or folder could not be opened.";
    Read = TARE_E_READ, "Reading failed.";
    Map = TARE_E_MAP, "A file could not be mapped.";
    Changed = TARE_E_CHANGED, "A file changed or shrank while it was used.";
    Limit = TARE_E_LIMIT, "A size is beyond a limit of the library or the host.";
    Unsupported = TARE_E_UNSUPPORTED, "The build or host does not support that.";
    Cancelled = TARE_E_CANCELLED, "The caller stopped it.";
    Write = TARE_E_WRITE, "A file could not be written.";
    Exists = TARE_E_EXISTS, "The target exists already.";
    Format = TARE_E_FORMAT, "Not a model file of a known format.";
    Truncated = TARE_E_TRUNCATED, "The file ends before its header does.";
    HeaderSize = TARE_E_HEADER_SIZE, "The header is larger than the limit.";
    NoModel = TARE_E_NO_MODEL, "The folder holds no model.";
    Ambiguous = TARE_E_AMBIGUOUS, "The folder holds more than one model.";
    Version = TARE_E_VERSION, "A version of the format that is not read.";
    Endian = TARE_E_ENDIAN, "A big-endian file.";
    Utf8 = TARE_E_UTF8, "The header is not UTF-8.";
    Json = TARE_E_JSON, "The header is not JSON as RFC 8259 has it.";
    Depth = TARE_E_DEPTH, "The header is nested too deep.";
    Metadata = TARE_E_METADATA, "Metadata is not what the format allows.";
    Kind = TARE_E_KIND, "Metadata of another kind was asked for.";
    Alignment = TARE_E_ALIGNMENT, "An alignment that is no power of two.";
    Absent = TARE_E_ABSENT, "There is no metadata of that key.";
    Field = TARE_E_FIELD, "A member is missing, there twice, or of the wrong kind.";
    Dtype = TARE_E_DTYPE, "Unknown dtype.";
    Shape = TARE_E_SHAPE, "A shape is not what the format allows.";
    Offsets = TARE_E_OFFSETS, "Offsets are not two integers in order.";
    Overflow = TARE_E_OVERFLOW, "A shape holds more bytes than 64 bits can count.";
    Subbyte = TARE_E_SUBBYTE, "A tensor, row or slice ends within a byte or block.";
    Size = TARE_E_SIZE, "Offsets and shape disagree about the size of a tensor.";
    Layout = TARE_E_LAYOUT, "Tensors overlap or leave a hole.";
    Cover = TARE_E_COVER, "Tensors do not cover the data section exactly.";
    Duplicate = TARE_E_DUPLICATE, "A name is there twice.";
    Index = TARE_E_INDEX, "The shard index is not what it must be.";
    ShardName = TARE_E_SHARD_NAME, "A shard's file name is not allowed.";
    ShardTensor = TARE_E_SHARD_TENSOR, "The shard index and a shard disagree about a tensor.";
    Digest = TARE_E_DIGEST, "Bytes do not have the expected digest.";
    Split = TARE_E_SPLIT, "A part of a split file does not belong to the others.";
    Prebuilt = TARE_E_PREBUILT, "An index file is damaged or of no use here.";
    Stale = TARE_E_STALE, "The model is not the one that an index file was built from.";
    Device = TARE_E_DEVICE, "A device or its driver failed.";
}

impl Status {
    /// The name in tare.h, such as `TARE_E_JSON`; `TARE_E_UNKNOWN` for a number that is none.
    pub fn name(self) -> &'static str {
        // SAFETY: takes any number; the text is static.
        unsafe { static_text(sys::tare_status_name(self.raw())) }
    }

    /// A line that says what it means.
    pub fn text(self) -> &'static str {
        // SAFETY: as above.
        unsafe { static_text(sys::tare_status_text(self.raw())) }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

values! {
    /// The type of a tensor's elements, spelled as files spell it: the 22 dtypes of safetensors
    /// and the quantized types of GGUF.
    Dtype: u32;
    BOOL = TARE_DTYPE_BOOL, "A byte, 0 or 1.";
    F4 = TARE_DTYPE_F4, "4 bits, floating point (E2M1).";
    F6_E2M3 = TARE_DTYPE_F6_E2M3, "6 bits, floating point.";
    F6_E3M2 = TARE_DTYPE_F6_E3M2, "6 bits, floating point.";
    U8 = TARE_DTYPE_U8, "8 bits, unsigned.";
    I8 = TARE_DTYPE_I8, "8 bits, signed.";
    F8_E5M2 = TARE_DTYPE_F8_E5M2, "8 bits, floating point.";
    F8_E4M3 = TARE_DTYPE_F8_E4M3, "8 bits, floating point.";
    F8_E8M0 = TARE_DTYPE_F8_E8M0, "8 bits, an exponent.";
    F8_E4M3FNUZ = TARE_DTYPE_F8_E4M3FNUZ, "8 bits, floating point without negative zero.";
    F8_E5M2FNUZ = TARE_DTYPE_F8_E5M2FNUZ, "8 bits, floating point without negative zero.";
    I16 = TARE_DTYPE_I16, "16 bits, signed.";
    U16 = TARE_DTYPE_U16, "16 bits, unsigned.";
    F16 = TARE_DTYPE_F16, "16 bits, floating point (IEEE 754).";
    BF16 = TARE_DTYPE_BF16, "16 bits, the upper half of F32.";
    I32 = TARE_DTYPE_I32, "32 bits, signed.";
    U32 = TARE_DTYPE_U32, "32 bits, unsigned.";
    F32 = TARE_DTYPE_F32, "32 bits, floating point.";
    C64 = TARE_DTYPE_C64, "64 bits, a complex number of two F32.";
    F64 = TARE_DTYPE_F64, "64 bits, floating point.";
    I64 = TARE_DTYPE_I64, "64 bits, signed.";
    U64 = TARE_DTYPE_U64, "64 bits, unsigned.";
    Q4_0 = TARE_DTYPE_Q4_0, "GGUF, blocks of 32 elements in 18 bytes.";
    Q4_1 = TARE_DTYPE_Q4_1, "GGUF, blocks of 32 elements in 20 bytes.";
    Q5_0 = TARE_DTYPE_Q5_0, "GGUF, blocks of 32 elements in 22 bytes.";
    Q5_1 = TARE_DTYPE_Q5_1, "GGUF, blocks of 32 elements in 24 bytes.";
    Q8_0 = TARE_DTYPE_Q8_0, "GGUF, blocks of 32 elements in 34 bytes.";
    Q8_1 = TARE_DTYPE_Q8_1, "GGUF, blocks of 32 elements in 36 bytes.";
    Q2_K = TARE_DTYPE_Q2_K, "GGUF, blocks of 256 elements in 84 bytes.";
    Q3_K = TARE_DTYPE_Q3_K, "GGUF, blocks of 256 elements in 110 bytes.";
    Q4_K = TARE_DTYPE_Q4_K, "GGUF, blocks of 256 elements in 144 bytes.";
    Q5_K = TARE_DTYPE_Q5_K, "GGUF, blocks of 256 elements in 176 bytes.";
    Q6_K = TARE_DTYPE_Q6_K, "GGUF, blocks of 256 elements in 210 bytes.";
    Q8_K = TARE_DTYPE_Q8_K, "GGUF, blocks of 256 elements in 292 bytes.";
    IQ2_XXS = TARE_DTYPE_IQ2_XXS, "GGUF, blocks of 256 elements in 66 bytes.";
    IQ2_XS = TARE_DTYPE_IQ2_XS, "GGUF, blocks of 256 elements in 74 bytes.";
    IQ3_XXS = TARE_DTYPE_IQ3_XXS, "GGUF, blocks of 256 elements in 98 bytes.";
    IQ1_S = TARE_DTYPE_IQ1_S, "GGUF, blocks of 256 elements in 50 bytes.";
    IQ4_NL = TARE_DTYPE_IQ4_NL, "GGUF, blocks of 32 elements in 18 bytes.";
    IQ3_S = TARE_DTYPE_IQ3_S, "GGUF, blocks of 256 elements in 110 bytes.";
    IQ2_S = TARE_DTYPE_IQ2_S, "GGUF, blocks of 256 elements in 82 bytes.";
    IQ4_XS = TARE_DTYPE_IQ4_XS, "GGUF, blocks of 256 elements in 136 bytes.";
    IQ1_M = TARE_DTYPE_IQ1_M, "GGUF, blocks of 256 elements in 56 bytes.";
    TQ1_0 = TARE_DTYPE_TQ1_0, "GGUF, blocks of 256 elements in 54 bytes.";
    TQ2_0 = TARE_DTYPE_TQ2_0, "GGUF, blocks of 256 elements in 66 bytes.";
    MXFP4 = TARE_DTYPE_MXFP4, "GGUF, blocks of 32 elements in 17 bytes.";
    NVFP4 = TARE_DTYPE_NVFP4, "GGUF, blocks of 64 elements in 36 bytes.";
    Q1_0 = TARE_DTYPE_Q1_0, "GGUF, blocks of 128 elements in 18 bytes.";
    Q2_0 = TARE_DTYPE_Q2_0, "GGUF, blocks of 64 elements in 18 bytes.";
}

impl Dtype {
    /// As files spell it; "" for a number that is no dtype.
    pub fn name(self) -> &'static str {
        // SAFETY: takes any number; the text is static.
        unsafe { static_text(sys::tare_dtype_name(self.raw())) }
    }

    /// Bits of one element, 4 to 64; 0 for quantized types, whose elements have no place of their
    /// own.
    pub fn bits(self) -> u32 {
        // SAFETY: takes any number.
        unsafe { sys::tare_dtype_bits(self.raw()) }
    }

    /// The elements of one block: those of a quantized type, or the fewest that fill whole bytes.
    pub fn block_count(self) -> u32 {
        // SAFETY: takes any number.
        unsafe { sys::tare_dtype_block_count(self.raw()) }
    }

    /// The bytes of one block.
    pub fn block_size(self) -> u32 {
        // SAFETY: takes any number.
        unsafe { sys::tare_dtype_block_size(self.raw()) }
    }

    /// Whether safetensors has it, so that [`save`](crate::save) writes it.
    pub fn can_save(self) -> bool {
        // SAFETY: takes any number.
        unsafe { sys::tare_dtype_can_save(self.raw()) != 0 }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Dtype {
    type Err = crate::Error;

    /// The dtype spelled so exactly: case counts.
    fn from_str(name: &str) -> crate::Result<Self> {
        // SAFETY: the name is as long as is said.
        match unsafe { sys::tare_dtype_find(name.as_ptr().cast(), name.len()) } {
            0 => Err(crate::Error::new(Status::Dtype, Status::Dtype.text())),
            raw => Ok(raw.into()),
        }
    }
}

values! {
    /// What a value of metadata is.
    Kind: u32;
    U8 = TARE_KIND_U8, "8 bits, unsigned.";
    I8 = TARE_KIND_I8, "8 bits, signed.";
    U16 = TARE_KIND_U16, "16 bits, unsigned.";
    I16 = TARE_KIND_I16, "16 bits, signed.";
    U32 = TARE_KIND_U32, "32 bits, unsigned.";
    I32 = TARE_KIND_I32, "32 bits, signed.";
    F32 = TARE_KIND_F32, "32 bits, floating point.";
    Bool = TARE_KIND_BOOL, "True or false.";
    String = TARE_KIND_STRING, "Text.";
    Array = TARE_KIND_ARRAY, "Many values of one other kind.";
    U64 = TARE_KIND_U64, "64 bits, unsigned.";
    I64 = TARE_KIND_I64, "64 bits, signed.";
    F64 = TARE_KIND_F64, "64 bits, floating point.";
}

impl Kind {
    /// Such as `u32`; "" for a number that is no kind.
    pub fn name(self) -> &'static str {
        // SAFETY: takes any number; the text is static.
        unsafe { static_text(sys::tare_kind_name(self.raw())) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

values! {
    /// How a shard's bytes are reached. As an option of [`open`](crate::OpenOptions::open): `Auto`,
    /// `Map` or `Read`.
    Backing: u32;
    Auto = TARE_BACKING_AUTO, "Map; where the file system refuses, read.";
    Map = TARE_BACKING_MAP, "Map, or fail with [`Status::Map`].";
    Read = TARE_BACKING_READ, "Never map: there are no slices of bytes, only reads and loads.";
    Memory = TARE_BACKING_MEMORY, "Not an option: how a shard in memory is told.";
}

values! {
    /// Whether an index file is used: see [`Model::save_index`](crate::Model::save_index).
    UseIndex: u32;
    Auto = TARE_INDEX_AUTO, "One that is there and fits, else headers are read.";
    Never = TARE_INDEX_NEVER, "Headers are read.";
    Require = TARE_INDEX_REQUIRE, "One that is missing or does not fit is an error.";
}

values! {
    /// How an index file is told to be that of the model.
    IndexCheck: u32;
    Time = TARE_INDEX_BY_TIME, "By size and time of modification of every file; in memory, by size.";
    Header = TARE_INDEX_BY_HEADER, "By size and the digest of headers, which are read; for copies.";
}

values! {
    /// Kinds of devices, as DLPack numbers them.
    DeviceKind: u32;
    Cuda = TARE_DEVICE_CUDA, "A GPU, through CUDA's driver.";
}

values! {
    /// What a shard's bytes are.
    Format: u32;
    Pairs = TARE_FORMAT_PAIRS, "Pairs of name and bytes.";
    Safetensors = TARE_FORMAT_SAFETENSORS, "A safetensors file.";
    Gguf = TARE_FORMAT_GGUF, "A GGUF file.";
}

values! {
    /// Which way bytes of files take when they are loaded.
    Io: u32;
    Auto = TARE_IO_AUTO, "Through the page cache, unless what is wanted would not stay in it.";
    Buffered = TARE_IO_BUFFERED, "Through the page cache.";
    Direct = TARE_IO_DIRECT, "Past it; through it where the file system refuses.";
}

values! {
    /// What the operating system is told about tensors: see [`Model::advise`](crate::Model::advise).
    Advice: u32;
    WillNeed = TARE_ADVISE_WILL_NEED, "Start to read them into the page cache.";
    DoNotNeed = TARE_ADVISE_DO_NOT_NEED, "Their pages may go.";
    Populate = TARE_ADVISE_POPULATE, "Read them, and wait until they are there.";
    Lock = TARE_ADVISE_LOCK, "Read them and keep them in memory.";
    Unlock = TARE_ADVISE_UNLOCK, "No longer keep them.";
}
