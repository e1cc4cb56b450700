//! What was loaded.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};
use std::ptr::NonNull;
use std::{fmt, slice};

use tare_sys as sys;

use crate::device::DeviceInfo;
use crate::load_options::sealed::FromRaw;

/// A block of the library, wherever its memory is.
#[derive(Debug)]
pub struct RawBlock(NonNull<sys::tare_block>);

// SAFETY: it owns its memory, and calls on it may be made on any thread.
unsafe impl Send for RawBlock {}
// SAFETY: the same; none of these calls changes it.
unsafe impl Sync for RawBlock {}

impl RawBlock {
    /// # Safety
    /// It was made just now, and nobody else has it.
    pub(crate) unsafe fn new(raw: NonNull<sys::tare_block>) -> Self {
        Self(raw)
    }

    fn count(&self) -> usize {
        // SAFETY: the block is there until it is dropped, here and below.
        unsafe { sys::tare_block_count(self.0.as_ptr()) }
    }

    fn entry(&self, index: usize) -> Option<(NonNull<u8>, usize)> {
        // SAFETY: NULL and 0 at and beyond the count.
        unsafe {
            let data = sys::tare_block_data(self.0.as_ptr(), index).cast();
            Some((NonNull::new(data)?, sys::tare_block_size(self.0.as_ptr(), index)))
        }
    }

    fn memory(&self) -> (NonNull<u8>, usize) {
        let mut size = 0;
        // SAFETY: see `count`.
        let memory = unsafe { sys::tare_block_memory(self.0.as_ptr(), &mut size) };
        (NonNull::new(memory.cast()).expect("a block has memory"), size)
    }
}

impl Drop for RawBlock {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from it any more.
        unsafe { sys::tare_block_close(self.0.as_ptr()) }
    }
}

/// Tensors that were loaded: bytes of the caller's, to read and to write. The model may go before.
/// Entry `i` is the tensor that was asked for as number `i`.
pub struct Block(RawBlock);

impl FromRaw for Block {
    unsafe fn from_raw(raw: RawBlock) -> Self {
        Self(raw)
    }
}

impl Block {
    /// Number of tensors.
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// The bytes of tensor `index`.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let (data, size) = self.0.entry(index)?;
        // SAFETY: it is that many bytes of the host, which were written, and are borrowed with it.
        Some(unsafe { slice::from_raw_parts(data.as_ptr(), size) })
    }

    /// The same, to write.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        let (data, size) = self.0.entry(index)?;
        // SAFETY: as above, and the block is borrowed mutably.
        Some(unsafe { slice::from_raw_parts_mut(data.as_ptr(), size) })
    }

    /// The bytes of each tensor, in the order that was asked for.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + DoubleEndedIterator {
        (0..self.count()).map(|index| &self[index])
    }

    /// The same, to write, all at once.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [u8]> + DoubleEndedIterator {
        (0..self.count()).map(|index| {
            let (data, size) = self.0.entry(index).expect("it is below the count");
            // SAFETY: each entry has bytes of its own, and the block is borrowed mutably for as long
            // as they are.
            unsafe { slice::from_raw_parts_mut(data.as_ptr(), size) }
        })
    }

    /// The one piece of memory that all tensors lie in, to lock it or to make it known to a device.
    /// What lies between tensors may never have been written.
    pub fn memory(&self) -> (NonNull<u8>, usize) {
        self.0.memory()
    }
}

impl Index<usize> for Block {
    type Output = [u8];

    fn index(&self, index: usize) -> &[u8] {
        self.get(index).expect("the block has a tensor of that number")
    }
}

impl IndexMut<usize> for Block {
    fn index_mut(&mut self, index: usize) -> &mut [u8] {
        self.get_mut(index).expect("the block has a tensor of that number")
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("tensors", &self.count())
            .field("size", &self.memory().1)
            .finish()
    }
}

/// Tensors that were loaded to a device, in one allocation of it, which is given back when this is
/// dropped. Model and [`Device`](crate::Device) may go before. Entry `i` is the tensor that was asked
/// for as number `i`.
///
/// Bytes of a device are none of this process: there are addresses, and no slices.
///
/// ```compile_fail
/// fn bytes(block: &tare::DeviceBlock) -> &[u8] {
///     &block[0]
/// }
/// ```
pub struct DeviceBlock(RawBlock);

impl FromRaw for DeviceBlock {
    unsafe fn from_raw(raw: RawBlock) -> Self {
        Self(raw)
    }
}

impl DeviceBlock {
    /// Number of tensors.
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// Where the bytes of tensor `index` are.
    pub fn get(&self, index: usize) -> Option<DeviceMemory<'_>> {
        self.0.entry(index).map(DeviceMemory::new)
    }

    /// Where the bytes of each tensor are, in the order that was asked for.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = DeviceMemory<'_>> + DoubleEndedIterator {
        (0..self.count()).map(|index| self.get(index).expect("it is below the count"))
    }

    /// The one piece of memory that all tensors lie in. What lies between them is unspecified.
    pub fn memory(&self) -> DeviceMemory<'_> {
        DeviceMemory::new(self.0.memory())
    }

    /// The device that it is memory of.
    pub fn device(&self) -> DeviceInfo<'_> {
        // SAFETY: a block of a device has one, which lives as long as the block.
        unsafe { DeviceInfo::of(sys::tare_block_device(self.0 .0.as_ptr())) }
    }
}

impl fmt::Debug for DeviceBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceBlock")
            .field("device", &self.device().label)
            .field("tensors", &self.count())
            .field("memory", &self.memory())
            .finish()
    }
}

/// Memory of a device, as long as the [`DeviceBlock`] that it is part of.
///
/// ```compile_fail,E0505
/// fn use_after_free(block: tare::DeviceBlock) {
///     let memory = block.memory();
///     drop(block);
///     println!("{memory:?}");
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceMemory<'b> {
    /// Where it begins: a `CUdeviceptr`. Not 0, also where the size is.
    pub address: u64,
    /// Bytes.
    pub size: usize,
    block: PhantomData<&'b DeviceBlock>,
}

impl DeviceMemory<'_> {
    fn new((data, size): (NonNull<u8>, usize)) -> Self {
        Self { address: data.as_ptr() as usize as u64, size, block: PhantomData }
    }
}

impl fmt::Debug for DeviceMemory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}+{}", self.address, self.size)
    }
}
