//! The safetensors crate as programs load with it: the file mapped, each tensor copied out.

use std::fs::File;
use std::slice;
use std::str;

use memmap2::Mmap;
use safetensors::SafeTensors;

/// tare_string
#[repr(C)]
pub struct Name {
    data: *const u8,
    size: usize,
}

/// What is parsed borrows the mapping, which therefore goes last.
pub struct Opened {
    tensors: SafeTensors<'static>,
    _map: Box<Mmap>,
}

fn open(path: &str) -> Option<Opened> {
    let map = Box::new(unsafe { Mmap::map(&File::open(path).ok()?) }.ok()?);
    let bytes: &'static [u8] = unsafe { slice::from_raw_parts(map.as_ptr(), map.len()) };
    let tensors = SafeTensors::deserialize(bytes).ok()?;
    Some(Opened { tensors, _map: map })
}

#[no_mangle]
pub unsafe extern "C" fn rust_file_open(path: *const u8, size: usize) -> *mut Opened {
    let path = str::from_utf8_unchecked(slice::from_raw_parts(path, size));
    open(path).map_or(std::ptr::null_mut(), |opened| Box::into_raw(Box::new(opened)))
}

/// The address of the tensor's bytes, 0 when there is none of that name.
#[no_mangle]
pub unsafe extern "C" fn rust_file_find(opened: *const Opened, name: *const u8, size: usize) -> u64 {
    let name = str::from_utf8_unchecked(slice::from_raw_parts(name, size));
    (*opened).tensors.tensor(name).map_or(0, |view| view.data().as_ptr() as u64)
}

#[no_mangle]
pub unsafe extern "C" fn rust_file_copy(
    opened: *const Opened,
    names: *const Name,
    count: usize,
) -> *mut Vec<Vec<u8>> {
    let mut copies = Vec::with_capacity(count);
    for name in slice::from_raw_parts(names, count) {
        let name = str::from_utf8_unchecked(slice::from_raw_parts(name.data, name.size));
        match (*opened).tensors.tensor(name) {
            Ok(view) => copies.push(view.data().to_vec()),
            Err(_) => return std::ptr::null_mut(),
        }
    }
    Box::into_raw(Box::new(copies))
}

#[no_mangle]
pub unsafe extern "C" fn rust_copy_data(copies: *const Vec<Vec<u8>>, index: usize) -> *const u8 {
    (&*copies)[index].as_ptr()
}

#[no_mangle]
pub unsafe extern "C" fn rust_copy_free(copies: *mut Vec<Vec<u8>>) {
    drop(Box::from_raw(copies));
}

#[no_mangle]
pub unsafe extern "C" fn rust_file_free(opened: *mut Opened) {
    drop(Box::from_raw(opened));
}
