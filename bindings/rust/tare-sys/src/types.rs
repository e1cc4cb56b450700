//! Every type of tare.h.

use core::ffi::{c_char, c_int, c_void};
use core::marker::{PhantomData, PhantomPinned};
use core::mem::size_of;
use core::ptr;

pub type tare_status = i32;
pub type tare_dtype = u32;
pub type tare_kind = u32;

/// What only the library looks into.
type Opaque = PhantomData<(*mut u8, PhantomPinned)>;

#[repr(C)]
pub struct tare_model {
    _bytes: [u8; 0],
    _opaque: Opaque,
}

#[repr(C)]
pub struct tare_tensor {
    _bytes: [u8; 0],
    _opaque: Opaque,
}

#[repr(C)]
pub struct tare_block {
    _bytes: [u8; 0],
    _opaque: Opaque,
}

#[repr(C)]
pub struct tare_device {
    _bytes: [u8; 0],
    _opaque: Opaque,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_slice {
    pub start: *const u64,
    pub stop: *const u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_device_options {
    pub struct_size: usize,
    pub staging_size_max: u64,
    pub allocator: *const tare_allocator,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_device_info {
    pub kind: u32,
    pub number: u32,
    pub label: tare_string,
    pub name: tare_string,
    pub staging_size: u64,
    pub later: [u64; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_error {
    pub status: tare_status,
    pub system_error: i32,
    pub shard: u32,
    pub reserved: u32,
    pub offset: u64,
    pub message: [c_char; 488],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_string {
    pub data: *const c_char,
    pub size: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_info {
    pub name: *const c_char,
    pub name_size: usize,
    pub shape: *const u64,
    pub rank: u32,
    pub dtype: tare_dtype,
    pub size: u64,
    pub offset: u64,
    pub shard: u32,
    pub reserved: u32,
    pub later: [u64; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_file {
    pub name: *const c_char,
    pub bytes: *const c_void,
    pub size: usize,
    pub reader: *const tare_reader,
    pub later: [u64; 2],
}

pub type tare_file_visit = Option<
    unsafe extern "C" fn(context: *mut c_void, name: *const c_char, name_size: usize) -> c_int,
>;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_pair {
    pub name: *const c_char,
    pub name_size: usize,
    pub data: *const c_void,
    pub size: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_reader {
    pub struct_size: usize,
    pub context: *mut c_void,
    pub read_at: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            offset: u64,
            target: *mut c_void,
            size: usize,
        ) -> i64,
    >,
    pub total_size: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_allocator {
    pub struct_size: usize,
    pub context: *mut c_void,
    pub allocate: Option<
        unsafe extern "C" fn(context: *mut c_void, size: usize, alignment: usize) -> *mut c_void,
    >,
    pub release: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            memory: *mut c_void,
            size: usize,
            alignment: usize,
        ),
    >,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_options {
    pub struct_size: usize,
    pub backing: u32,
    pub flags: u32,
    pub alignment: usize,
    pub seed: u64,
    pub header_size_max: u64,
    pub allocator: *const tare_allocator,
    pub index: u32,
    pub index_check: u32,
    pub index_path: *const c_char,
    pub index_bytes: *const c_void,
    pub index_size: usize,
    pub tensor_count_max: u64,
    pub rank_max: u64,
    pub name_size_max: u64,
    pub metadata_size_max: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_key {
    pub name: *const c_char,
    pub name_size: usize,
    pub hash: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_range {
    pub prefix: *const c_char,
    pub prefix_size: usize,
    pub at: usize,
    pub end: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct tare_digest {
    pub low: u64,
    pub high: u64,
}

/// `progress` of [`tare_load_options`] and [`tare_save_options`].
pub type tare_progress =
    Option<unsafe extern "C" fn(context: *mut c_void, done: u64, total: u64) -> c_int>;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_load_options {
    pub struct_size: usize,
    pub io: u32,
    pub flags: u32,
    pub alignment: usize,
    pub threads: u32,
    pub reserved: u32,
    pub chunk_size: u64,
    pub flight_size_max: u64,
    pub progress: tare_progress,
    pub progress_context: *mut c_void,
    pub digests: *const tare_digest,
    pub allocator: *const tare_allocator,
    pub device: *mut tare_device,
    pub slices: *const tare_slice,
    pub target_sizes: *const usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_value {
    pub kind: tare_kind,
    pub item_kind: tare_kind,
    pub count: u64,
    pub data: *const c_void,
    pub size: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_save_tensor {
    pub name: *const c_char,
    pub name_size: usize,
    pub shape: *const u64,
    pub rank: u32,
    pub dtype: tare_dtype,
    pub data: *const c_void,
    pub size: usize,
    pub model: *const tare_model,
    pub tensor: *const tare_tensor,
    pub later: [u64; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_save_metadata {
    pub key: tare_string,
    pub value: tare_string,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_save_options {
    pub struct_size: usize,
    pub flags: u32,
    pub reserved: u32,
    pub alignment: usize,
    pub metadata: *const tare_save_metadata,
    pub metadata_count: usize,
    pub progress: tare_progress,
    pub progress_context: *mut c_void,
    pub allocator: *const tare_allocator,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_index_options {
    pub struct_size: usize,
    pub flags: u32,
    pub reserved: u32,
    pub allocator: *const tare_allocator,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_shard_info {
    pub name: tare_string,
    pub size: u64,
    pub data_offset: u64,
    pub backing: u32,
    pub format: u32,
    pub later: [u64; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tare_stat {
    pub struct_size: usize,
    pub memory_size: u64,
    pub record_size: u64,
    pub name_size: u64,
    pub shape_size: u64,
    pub index_size: u64,
    pub index_reseeds: u32,
    pub index_sorted: u32,
    pub probe_max: u32,
    pub reserved: u32,
    pub index_file_size: u64,
}

pub const TARE_OPTIONS_INIT: tare_options = tare_options {
    struct_size: size_of::<tare_options>(),
    backing: 0,
    flags: 0,
    alignment: 0,
    seed: 0,
    header_size_max: 0,
    allocator: ptr::null(),
    index: 0,
    index_check: 0,
    index_path: ptr::null(),
    index_bytes: ptr::null(),
    index_size: 0,
    tensor_count_max: 0,
    rank_max: 0,
    name_size_max: 0,
    metadata_size_max: 0,
};

pub const TARE_LOAD_OPTIONS_INIT: tare_load_options = tare_load_options {
    struct_size: size_of::<tare_load_options>(),
    io: 0,
    flags: 0,
    alignment: 0,
    threads: 0,
    reserved: 0,
    chunk_size: 0,
    flight_size_max: 0,
    progress: None,
    progress_context: ptr::null_mut(),
    digests: ptr::null(),
    allocator: ptr::null(),
    device: ptr::null_mut(),
    slices: ptr::null(),
    target_sizes: ptr::null(),
};

pub const TARE_DEVICE_OPTIONS_INIT: tare_device_options = tare_device_options {
    struct_size: size_of::<tare_device_options>(),
    staging_size_max: 0,
    allocator: ptr::null(),
};

pub const TARE_INDEX_OPTIONS_INIT: tare_index_options = tare_index_options {
    struct_size: size_of::<tare_index_options>(),
    flags: 0,
    reserved: 0,
    allocator: ptr::null(),
};

pub const TARE_SAVE_OPTIONS_INIT: tare_save_options = tare_save_options {
    struct_size: size_of::<tare_save_options>(),
    flags: 0,
    reserved: 0,
    alignment: 0,
    metadata: ptr::null(),
    metadata_count: 0,
    progress: None,
    progress_context: ptr::null_mut(),
    allocator: ptr::null(),
};
