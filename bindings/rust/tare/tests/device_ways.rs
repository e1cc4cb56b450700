//! Loading to a device, with the driver that the tests of the C library have: its devices are memory
//! of the host, at addresses that are none of the host, and it counts what is alive.

use std::ffi::{c_char, c_int, c_void, CString};
use std::ops::ControlFlow;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::{fs, mem, slice, thread};

use tare::{
    Device, DeviceKind, DeviceMemory, DeviceOptions, Dtype, LoadOptions, Model, SaveOptions,
    SaveTensor, Status,
};

extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// The first fields of `fake_cuda_state`.
#[repr(C)]
struct State {
    device_count: c_int,
    no_register: c_int,
    fail_call: c_int,
    fail_at: usize,
    fail_count: usize,
    fail_result: c_int,
    failed: usize,
}

/// The driver's own functions: tests/support/fake_cuda.h.
struct Driver {
    state: extern "C" fn() -> *mut State,
    reset: extern "C" fn(),
    clean: extern "C" fn() -> c_int,
    take: extern "C" fn(c_int, usize) -> u64,
    give: extern "C" fn(u64),
    look: extern "C" fn(u64, usize) -> *const u8,
    device_of: extern "C" fn(u64) -> c_int,
}

fn build() -> PathBuf {
    let support = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/support");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("device_ways");
    fs::create_dir_all(&folder).unwrap();
    let library = folder.join("libcuda.so.1");
    let compiled = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
        .args(["-std=gnu11", "-shared", "-fPIC", "-pthread", "-Wl,-soname,libcuda.so.1", "-o"])
        .arg(&library)
        .args([support.join("fake_cuda.c"), support.join("fake_cuda_calls.c")])
        .status();
    assert!(compiled.expect("the compiler runs").success());
    library
}

/// # Safety
/// The library is open and stays so; `F` is the type of a pointer to the function of that name.
unsafe fn find<F: Copy>(library: *mut c_void, name: &str) -> F {
    assert_eq!(size_of::<F>(), size_of::<*mut c_void>());
    let name = CString::new(name).unwrap();
    // SAFETY: the caller's promise.
    unsafe {
        let found = dlsym(library, name.as_ptr());
        assert!(!found.is_null());
        mem::transmute_copy(&found)
    }
}

/// The driver, found by the library since one of that name is in the process already; one test has it
/// at a time, since it counts for the whole process.
fn driver() -> (MutexGuard<'static, ()>, &'static Driver) {
    static LOCK: Mutex<()> = Mutex::new(());
    static DRIVER: OnceLock<Driver> = OnceLock::new();
    let guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let driver = DRIVER.get_or_init(|| {
        let path = CString::new(build().into_os_string().into_encoded_bytes()).unwrap();
        // SAFETY: the path is terminated; RTLD_NOW and RTLD_GLOBAL as Linux has them.
        let library = unsafe { dlopen(path.as_ptr(), 2 | 0x100) };
        assert!(!library.is_null());
        // SAFETY: the fields have the types of the functions of those names.
        unsafe {
            Driver {
                state: find(library, "fake_cuda"),
                reset: find(library, "fake_cuda_reset"),
                clean: find(library, "fake_cuda_clean"),
                take: find(library, "fake_cuda_take"),
                give: find(library, "fake_cuda_give"),
                look: find(library, "fake_cuda_look"),
                device_of: find(library, "fake_cuda_device_of"),
            }
        }
    });
    (driver.reset)();
    (guard, driver)
}

impl Driver {
    fn content(&self, address: u64, size: usize) -> Vec<u8> {
        if size == 0 {
            return Vec::new();
        }
        let bytes = (self.look)(address, size);
        assert!(!bytes.is_null());
        // SAFETY: the driver has that many bytes there.
        unsafe { slice::from_raw_parts(bytes, size) }.to_vec()
    }

    fn content_of(&self, memory: DeviceMemory<'_>) -> Vec<u8> {
        self.content(memory.address, memory.size)
    }

    fn is_clean(&self) -> bool {
        (self.clean)() != 0
    }
}

const SIZES: [usize; 4] = [0, 5, 70_000, 300_000];

fn bytes_of(number: usize) -> Vec<u8> {
    (0..SIZES[number]).map(|i| (i * 7 + number * 31) as u8).collect()
}

/// `t.0` to `t.3` in memory, in this order.
fn model() -> Model {
    let bytes: Vec<_> = (0..SIZES.len()).map(bytes_of).collect();
    let shapes: Vec<_> = bytes.iter().map(|bytes| [bytes.len() as u64]).collect();
    let names: Vec<_> = (0..SIZES.len()).map(|number| format!("t.{number}")).collect();
    let tensors: Vec<_> = (0..SIZES.len())
        .map(|i| SaveTensor::new(&names[i], Dtype::U8, &shapes[i], &bytes[i]))
        .collect();
    Model::from_bytes(tare::save_to_vec(&tensors, SaveOptions::new()).unwrap()).unwrap()
}

#[test]
fn a_block_on_a_device_outlives_model_and_device() {
    let (_guard, driver) = driver();
    for (name, label) in [("cuda:1", "cuda:1"), ("cuda", "cuda:0")] {
        let model = model();
        let device = Device::open(name).unwrap();
        let block = model.load_all(LoadOptions::new().threads(2).device(&device)).unwrap();
        assert_eq!(block.count(), SIZES.len());
        drop((model, device));
        for (number, memory) in block.iter().enumerate() {
            assert_eq!(driver.content_of(memory), bytes_of(number));
            assert_eq!(block.get(number), Some(memory));
            assert_eq!((memory.size, memory.address % 256), (SIZES[number], 0));
            assert_ne!(memory.address, 0);
        }
        assert_eq!(block.get(SIZES.len()), None);
        let whole = block.memory();
        assert!(whole.size >= SIZES.iter().sum());
        let info = block.device();
        assert_eq!((info.kind, &*info.label), (DeviceKind::Cuda, label));
        assert_eq!((driver.device_of)(whole.address), info.number as c_int);
        assert!(info.name.starts_with("Fake"), "{info:?}");
        assert!(format!("{block:?}").contains(label));
        assert!(!driver.is_clean());
        // Blocks go to other threads, and may end there.
        thread::spawn(move || drop(block)).join().unwrap();
        assert!(driver.is_clean());
    }
}

#[test]
fn options_hold_on_a_device_too() {
    let (_guard, driver) = driver();
    let model = model();
    let list = [model.find("t.3").unwrap(), model.find("t.1").unwrap()];
    let device = DeviceOptions::new().staging_size_max(1 << 20).open("cuda:0").unwrap();
    assert_eq!(device.info().staging_size, 0);
    let mut seen = Vec::new();
    let options = LoadOptions::new().device(&device).alignment(4096).progress(|done, total| {
        seen.push((done, total));
        ControlFlow::Continue(())
    });
    let range = 10..1000;
    let slices = [slice::from_ref(&range), &[]];
    let block = model.load(&list, options.slices(&slices)).unwrap();
    assert_eq!(driver.content_of(block.get(0).unwrap()), bytes_of(3)[10..1000]);
    assert_eq!(driver.content_of(block.get(1).unwrap()), bytes_of(1));
    assert!(block.iter().all(|memory| memory.address % 4096 == 0));
    assert_eq!((seen.first(), seen.last()), (Some(&(0, 995)), Some(&(995, 995))));
    let staging = device.info().staging_size;
    assert!(staging > 0 && staging <= 1 << 20);

    let digests = model.hash(&list, LoadOptions::new()).unwrap();
    let wrong = [digests[1], digests[0]];
    let options = || LoadOptions::new().device(&device);
    model.load(&list, options().digests(&digests)).unwrap();
    let error = model.load(&list, options().digests(&wrong)).unwrap_err();
    assert_eq!(error.status(), Status::Digest);
    let stop = |_, _| ControlFlow::Break(());
    let error = model.load(&list, options().progress(stop)).unwrap_err();
    assert_eq!(error.status(), Status::Cancelled);
    let panics = || drop(model.load(&list, options().progress(|_, _| panic!("from progress"))));
    let payload = catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"from progress"));
    let other = Model::from_pairs(&[("a", [1u8])]).unwrap();
    let error = other.load(&list, options()).unwrap_err();
    assert_eq!(error.status(), Status::Argument);
    drop((block, device));
    assert!(driver.is_clean());
}

#[test]
fn memory_of_the_callers_on_a_device() {
    let (_guard, driver) = driver();
    let model = model();
    let device = Device::open("cuda:0").unwrap();
    let list: Vec<_> = model.tensors().collect();
    let targets: Vec<u64> = SIZES.iter().map(|&size| (driver.take)(0, size.max(1))).collect();
    let options = || LoadOptions::new().device(&device);
    // SAFETY: each target has room for its tensor, and nothing else uses it.
    unsafe { model.load_into_device(&list, &targets, options()) }.unwrap();
    for (number, &target) in targets.iter().enumerate() {
        assert_eq!(driver.content(target, SIZES[number]), bytes_of(number));
    }
    // SAFETY: they are too few, which is found before any is used.
    let result = unsafe { model.load_into_device(&list, &targets[1..], options()) };
    assert_eq!(result.unwrap_err().status(), Status::Argument);
    drop(device);
    targets.into_iter().for_each(|target| (driver.give)(target));
    assert!(driver.is_clean());
}

#[test]
fn any_call_of_the_driver_may_fail_and_nothing_is_left() {
    let (_guard, driver) = driver();
    let model = model();
    let mut failures = 0;
    for at in 1.. {
        (driver.reset)();
        // SAFETY: the state lives as long as the driver, and nobody else is at it now.
        let state = unsafe { &mut *(driver.state)() };
        state.fail_at = at;
        let loaded = Device::open("cuda:0").and_then(|device| {
            model.load_all(LoadOptions::new().threads(2).device(&device)).map(drop)
        });
        // SAFETY: the same.
        let failed = unsafe { (*(driver.state)()).failed };
        if failed == 0 {
            loaded.unwrap();
            break;
        }
        if let Err(error) = loaded {
            let status = error.status();
            assert!(matches!(status, Status::Device | Status::Unsupported), "{error:?}");
            assert!(error.message().contains("12345"), "{error}");
            failures += 1;
        }
        assert!(driver.is_clean(), "after call {at} failed");
        assert!(at < 1000, "it never ends");
    }
    assert!(failures > 10, "only {failures} calls failed");
    (driver.reset)();
}

#[test]
fn several_devices_and_loads_at_once() {
    let (_guard, driver) = driver();
    let model = model();
    let devices = ["cuda:0", "cuda:1"].map(|name| Device::open(name).unwrap());
    thread::scope(|scope| {
        for device in devices.iter().chain(&devices) {
            scope.spawn(|| {
                for _ in 0..5 {
                    let block =
                        model.load_all(LoadOptions::new().threads(2).device(device)).unwrap();
                    assert_eq!(block.device().label, device.info().label);
                    let found: Vec<_> =
                        block.iter().map(|memory| driver.content_of(memory)).collect();
                    assert!((0..SIZES.len()).all(|number| found[number] == bytes_of(number)));
                }
            });
        }
    });
    drop(devices);
    assert!(driver.is_clean());
}

#[test]
fn devices_that_are_not_there_and_the_rate_of_the_link() {
    let (_guard, driver) = driver();
    for (name, status) in [
        ("tpu:0", Status::Argument),
        ("", Status::Argument),
        ("cuda:0\0", Status::Argument),
        ("cuda:7", Status::Unsupported),
    ] {
        assert_eq!(Device::open(name).unwrap_err().status(), status, "{name:?}");
    }
    let error = DeviceOptions::new().staging_size_max(1).open("cuda:0").unwrap_err();
    assert_eq!(error.status(), Status::Argument);
    let device = Device::open("cuda:0").unwrap();
    assert!((device.measure(1 << 28).unwrap() / 50e9 - 1.0).abs() < 1e-3);
    assert!(format!("{device:?}").contains("Fake 0"));
    drop(device);
    assert!(driver.is_clean());
}

#[test]
fn devices_and_their_blocks_may_be_shared_between_threads() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Device>();
    is_shared::<tare::DeviceBlock>();
    is_shared::<DeviceMemory<'static>>();
    is_shared::<tare::DeviceInfo<'static>>();
}
