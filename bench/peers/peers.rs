//! Tables of Rust for bench_lookup, behind a C interface (rust_peers.h): the standard HashMap with
//! its own hasher and with that of rustc, and the safetensors crate. Each lookup is one call that is
//! not inlined, as a call of tare is. crate_copy.rs is for bench_load and
//! bench_open.

mod crate_copy;

use std::collections::HashMap;
use std::ffi::c_void;
use std::hash::{BuildHasher, RandomState};
use std::slice;
use std::str;

use rustc_hash::FxBuildHasher;
use safetensors::SafeTensors;

/// tare_pair: a name and bytes, of which only the name is used.
#[repr(C)]
pub struct Pair {
    name: *const u8,
    name_size: usize,
    data: *const c_void,
    size: usize,
}

/// What finding gives for a name that is not there.
const ABSENT: u64 = u32::MAX as u64;

type Map<S> = HashMap<String, u32, S>;

unsafe fn make_map<S: BuildHasher + Default>(pairs: *const Pair, count: usize) -> *mut Map<S> {
    let mut map = Map::with_capacity_and_hasher(count, S::default());
    for (number, pair) in slice::from_raw_parts(pairs, count).iter().enumerate() {
        let name = slice::from_raw_parts(pair.name, pair.name_size);
        match str::from_utf8(name) {
            Ok(name) => map.insert(name.to_owned(), number as u32),
            Err(_) => return std::ptr::null_mut(),
        };
    }
    Box::into_raw(Box::new(map))
}

/// A caller in Rust has a &str, whose text was found to be UTF-8 before.
unsafe fn text<'a>(name: *const u8, size: usize) -> &'a str {
    str::from_utf8_unchecked(slice::from_raw_parts(name, size))
}

unsafe fn find_in_map<S: BuildHasher>(map: *const Map<S>, name: *const u8, size: usize) -> u64 {
    match (*map).get(text(name, size)) {
        Some(&number) => number as u64,
        None => ABSENT,
    }
}

#[no_mangle]
pub unsafe extern "C" fn rust_default_make(
    pairs: *const Pair,
    count: usize,
) -> *mut Map<RandomState> {
    make_map(pairs, count)
}

#[no_mangle]
pub unsafe extern "C" fn rust_default_find(
    map: *const Map<RandomState>,
    name: *const u8,
    size: usize,
) -> u64 {
    find_in_map(map, name, size)
}

#[no_mangle]
pub unsafe extern "C" fn rust_default_free(map: *mut Map<RandomState>) {
    drop(Box::from_raw(map))
}

#[no_mangle]
pub unsafe extern "C" fn rust_fx_make(pairs: *const Pair, count: usize) -> *mut Map<FxBuildHasher> {
    make_map(pairs, count)
}

#[no_mangle]
pub unsafe extern "C" fn rust_fx_find(
    map: *const Map<FxBuildHasher>,
    name: *const u8,
    size: usize,
) -> u64 {
    find_in_map(map, name, size)
}

#[no_mangle]
pub unsafe extern "C" fn rust_fx_free(map: *mut Map<FxBuildHasher>) {
    drop(Box::from_raw(map))
}

/// `bytes` must live as long as what is made of them. NULL when the crate refuses them.
#[no_mangle]
pub unsafe extern "C" fn rust_safetensors_make(
    bytes: *const u8,
    size: usize,
) -> *mut SafeTensors<'static> {
    match SafeTensors::deserialize(slice::from_raw_parts(bytes, size)) {
        Ok(tensors) => Box::into_raw(Box::new(tensors)),
        Err(_) => std::ptr::null_mut(),
    }
}

/// The address of the tensor's bytes, 0 when there is none of that name.
#[no_mangle]
pub unsafe extern "C" fn rust_safetensors_find(
    tensors: *const SafeTensors<'static>,
    name: *const u8,
    size: usize,
) -> u64 {
    match (*tensors).tensor(text(name, size)) {
        Ok(view) => view.data().as_ptr() as u64,
        Err(_) => 0,
    }
}

#[no_mangle]
pub unsafe extern "C" fn rust_safetensors_free(tensors: *mut SafeTensors<'static>) {
    drop(Box::from_raw(tensors))
}
