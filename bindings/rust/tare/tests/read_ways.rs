//! Bytes: read, sliced, loaded, hashed, advised, saved, and what stops that on the way.

// A slice of a tensor is a list of ranges, often of one.
#![allow(clippy::single_range_in_vec_init)]

use std::error::Error as _;
use std::ops::ControlFlow;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::{fs, io};

use tare::{
    save, save_to_vec, Advice, Digest, Dtype, Io, LoadOptions, Model, SaveOptions, SaveTensor,
    Status,
};

const SIZES: [usize; 5] = [0, 1, 4096, 70_000, 300_000];

fn bytes_of(number: usize) -> Vec<u8> {
    (0..SIZES[number]).map(|i| (i * 7 + number * 31) as u8).collect()
}

/// The five tensors in a file, in the folder of the test.
fn saved(folder: &tempfile::TempDir) -> std::path::PathBuf {
    let path = folder.path().join("model.safetensors");
    let bytes: Vec<_> = (0..SIZES.len()).map(bytes_of).collect();
    let shapes: Vec<_> = bytes.iter().map(|bytes| [bytes.len() as u64]).collect();
    let names: Vec<_> = (0..SIZES.len()).map(|number| format!("t.{number}")).collect();
    let tensors: Vec<_> = (0..SIZES.len())
        .map(|i| SaveTensor::new(&names[i], Dtype::U8, &shapes[i], &bytes[i]))
        .collect();
    save(&path, &tensors, SaveOptions::new().replace(true)).unwrap();
    path
}

/// Mapped.
fn map(path: impl AsRef<Path>) -> tare::Result<Model> {
    // SAFETY: the files are this test's own, and nobody writes to them in place, but where a test says so.
    unsafe { Model::open(path) }
}

/// The file mapped, read, in memory, and behind a reader.
fn models(folder: &tempfile::TempDir) -> Vec<Model> {
    let path = saved(folder);
    let size = fs::metadata(&path).unwrap().len();
    vec![
        map(&path).unwrap(),
        Model::open_read(&path).unwrap(),
        Model::from_bytes(fs::read(&path).unwrap()).unwrap(),
        Model::from_reader(fs::File::open(&path).unwrap(), size).unwrap(),
    ]
}

fn number_of(tensor: &tare::Tensor<'_>) -> usize {
    tensor.name().strip_prefix("t.").unwrap().parse().unwrap()
}

#[test]
fn reads_give_the_bytes_and_want_targets_of_the_right_size() {
    let folder = tempfile::tempdir().unwrap();
    for model in models(&folder) {
        for tensor in &model {
            let expected = bytes_of(number_of(&tensor));
            assert_eq!(tensor.to_vec().unwrap(), expected);
            let mut target = vec![0; expected.len()];
            tensor.read(&mut target).unwrap();
            assert_eq!(target, expected);
            let error = tensor.read(&mut vec![0; expected.len() + 1]).unwrap_err();
            assert_eq!(error.status(), Status::TargetSize);
            if expected.len() > 2 {
                tensor.read_at(1, &mut target[..expected.len() - 2]).unwrap();
                assert_eq!(target[..expected.len() - 2], expected[1..expected.len() - 1]);
                let error = tensor.read_at(expected.len() as u64, &mut target[..1]).unwrap_err();
                assert_eq!(error.status(), Status::TargetSize);
            }
        }
    }
}

#[test]
fn slices_are_boxes_of_a_tensor() {
    let data: Vec<u8> = (0..24).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let tensors = [
        SaveTensor::new("box", Dtype::U8, &[2, 3, 4], &data),
        SaveTensor::new("scalar", Dtype::U16, &[], &data[..2]),
        SaveTensor::new("f4", Dtype::F4, &[4, 4], &data[..8]),
    ];
    save(&path, &tensors, SaveOptions::new()).unwrap();
    let model = map(&path).unwrap();
    let tensor = model.find("box").unwrap();
    assert_eq!(tensor.slice_size(&[1..2, 0..2, 1..3]).unwrap(), 4);
    assert_eq!(tensor.slice_to_vec(&[1..2, 0..2, 1..3]).unwrap(), [13, 14, 17, 18]);
    assert_eq!(tensor.slice_to_vec(&[0..2, 0..3, 0..4]).unwrap(), data);
    assert!(tensor.slice_to_vec(&[0..2, 1..1, 0..4]).unwrap().is_empty());
    let mut target = [0; 3];
    tensor.read_slice(&[0..1, 0..3, 3..4], &mut target).unwrap();
    assert_eq!(target, [3, 7, 11]);
    let error = tensor.read_slice(&[0..1, 0..3, 2..4], &mut target).unwrap_err();
    assert_eq!(error.status(), Status::TargetSize);
    // As many ranges as there are dimensions, each of them within its own.
    for ranges in [&[0..2, 0..3][..], &[], &[0..1, 0..1, 0..1, 0..1], &[0..3, 0..3, 0..4]] {
        assert_eq!(tensor.slice_size(ranges).unwrap_err().status(), Status::Argument);
        assert_eq!(tensor.slice_to_vec(ranges).unwrap_err().status(), Status::Argument);
        let error = tensor.read_slice(ranges, &mut target).unwrap_err();
        assert_eq!(error.status(), Status::Argument);
    }
    #[allow(clippy::reversed_empty_ranges)]
    let backwards = [1..0, 0..3, 0..4];
    assert_eq!(tensor.slice_size(&backwards).unwrap_err().status(), Status::Argument);
    assert_eq!(model.find("scalar").unwrap().slice_to_vec(&[]).unwrap(), [0, 1]);
    let error = model.find("f4").unwrap().slice_size(&[0..4, 1..3]).unwrap_err();
    assert_eq!(error.status(), Status::Subbyte);
}

#[test]
fn loads_give_all_or_some_tensors_aligned_and_writable() {
    let folder = tempfile::tempdir().unwrap();
    for model in models(&folder) {
        for io in [Io::Auto, Io::Buffered, Io::Direct] {
            let options = || LoadOptions::new().io(io).threads(3).chunk_size(16 << 10);
            let block = model.load_all(options().alignment(8192).huge_pages(false)).unwrap();
            assert_eq!(block.count(), SIZES.len());
            for (tensor, bytes) in model.tensors().zip(block.iter()) {
                assert_eq!(bytes, bytes_of(number_of(&tensor)));
                assert_eq!(bytes.as_ptr() as usize % 8192, 0);
            }
            let list: Vec<_> = model.tensors().rev().chain(model.at(1)).collect();
            let mut block = model.load(&list, options().flight_size_max(64 << 10)).unwrap();
            for (tensor, bytes) in list.iter().zip(block.iter_mut()) {
                assert_eq!(bytes, bytes_of(number_of(tensor)));
                bytes.fill(9);
            }
            assert!(block.iter().all(|bytes| bytes.iter().all(|&byte| byte == 9)));
        }
    }
}

#[test]
fn a_block_outlives_its_model_and_goes_to_other_threads() {
    let model = Model::from_pairs(&[("a", [1u8, 2]), ("b", [3, 4])]).unwrap();
    let mut block = model.load_all(LoadOptions::new()).unwrap();
    drop(model);
    assert_eq!((block.get(1), block.get(2)), (Some(&[3, 4][..]), None));
    block[0][1] = 7;
    let (memory, size) = block.memory();
    assert!(block[0].as_ptr() >= memory.as_ptr().cast_const() && size >= 4);
    let sum = std::thread::spawn(move || block.iter().flatten().map(|&b| u32::from(b)).sum());
    assert_eq!(sum.join().map(|sum: u32| sum).unwrap(), 15);
    let none = Model::from_pairs::<&str, &[u8]>(&[]).unwrap();
    assert_eq!(none.load_all(LoadOptions::new()).unwrap().count(), 0);
    assert!(none.load(&[], LoadOptions::new()).unwrap().get_mut(0).is_none());
}

#[test]
fn loading_into_the_callers_memory_checks_every_target() {
    let folder = tempfile::tempdir().unwrap();
    for model in models(&folder) {
        let list: Vec<_> = model.tensors().collect();
        let mut memory: Vec<Vec<u8>> =
            list.iter().map(|tensor| vec![0; tensor.size() as usize]).collect();
        let mut targets: Vec<&mut [u8]> = memory.iter_mut().map(|bytes| &mut bytes[..]).collect();
        model.load_into(&list, &mut targets, LoadOptions::new().threads(2)).unwrap();
        let error = model.load_into(&list[1..], &mut targets, LoadOptions::new()).unwrap_err();
        assert_eq!(error.status(), Status::Argument);
        let swapped = [list[1], list[0], list[2], list[3], list[4]];
        let error = model.load_into(&swapped, &mut targets, LoadOptions::new()).unwrap_err();
        assert_eq!(error.status(), Status::TargetSize);
        assert!(error.message().contains(&*list[1].name()), "{error}");
        for (tensor, bytes) in list.iter().zip(&memory) {
            assert_eq!(bytes, &bytes_of(number_of(tensor)));
        }
    }
}

#[test]
fn slices_of_many_tensors_are_loaded_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for model in models(&folder) {
        let list = [model.find("t.3").unwrap(), model.find("t.2").unwrap()];
        let slices = [vec![100..9_000], vec![]];
        let options = || LoadOptions::new().threads(2).slices(&slices);
        let block = model.load(&list, options()).unwrap();
        assert_eq!(block[0], bytes_of(3)[100..9_000]);
        assert_eq!(block[1], bytes_of(2));
        let (mut first, mut second) = (vec![0; 8_900], vec![0; SIZES[2]]);
        model.load_into(&list, &mut [&mut first, &mut second], options()).unwrap();
        assert_eq!((&block[0], &block[1]), (&first[..], &second[..]));
        let error = model.load_into(&list, &mut [&mut second, &mut first], options()).unwrap_err();
        assert_eq!(error.status(), Status::TargetSize);
        // As many slices as tensors, as many ranges as dimensions, within them, without digests.
        let digests = model.hash(&list, options()).unwrap();
        for options in [
            LoadOptions::new().slices(&slices[1..]),
            LoadOptions::new().slices(&[vec![0..1, 0..1], vec![]]),
            LoadOptions::new().slices(&[vec![0..SIZES[3] as u64 + 1], vec![]]),
            options().digests(&digests),
        ] {
            assert_eq!(model.load(&list, options).unwrap_err().status(), Status::Argument);
        }
        let pairs: Vec<_> = model.tensors().map(|tensor| [0..tensor.size() / 2]).collect();
        let block = model.load_all(LoadOptions::new().slices(&pairs)).unwrap();
        for (tensor, bytes) in model.tensors().zip(block.iter()) {
            assert_eq!(bytes, &bytes_of(number_of(&tensor))[..tensor.size() as usize / 2]);
        }
    }
}

#[test]
fn tensors_of_another_model_are_refused() {
    let models: Vec<_> = (0..2).map(|_| Model::from_pairs(&[("a", [1u8])]).unwrap()).collect();
    let list = [models[0].at(0).unwrap(), models[1].at(0).unwrap()];
    assert_ne!(list[0], list[1]);
    let model = &models[0];
    let statuses = [
        model.load(&list, LoadOptions::new()).map(drop),
        model.load_into(&list, &mut [&mut [0], &mut [0]], LoadOptions::new()),
        model.hash(&list, LoadOptions::new()).map(drop),
        model.advise(&list, Advice::WillNeed),
    ];
    for result in statuses {
        let error = result.unwrap_err();
        assert_eq!(error.status(), Status::Argument);
        assert!(error.message().contains("tensor 1"), "{error}");
    }
}

#[test]
fn progress_sees_all_bytes_and_may_stop() {
    let folder = tempfile::tempdir().unwrap();
    for model in models(&folder) {
        let total: u64 = SIZES.iter().map(|&size| size as u64).sum();
        let mut seen = Vec::new();
        // On one thread each chunk is told; others might else do all of them between two reports.
        let options = LoadOptions::new().threads(1).chunk_size(4096).progress(|done, all| {
            assert_eq!(all, total);
            seen.push(done);
            ControlFlow::Continue(())
        });
        model.load_all(options).unwrap();
        assert_eq!((seen.first(), seen.last()), (Some(&0), Some(&total)));
        assert!(seen.len() > 2 && seen.is_sorted());

        for stop_at in [0, total / 2, total] {
            let stop = move |done, _| match done >= stop_at {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            };
            let error = model.load_all(LoadOptions::new().progress(stop)).unwrap_err();
            assert_eq!(error.status(), Status::Cancelled);
            let error = model.hash_all(LoadOptions::new().progress(stop)).unwrap_err();
            assert_eq!(error.status(), Status::Cancelled);
        }
    }
}

#[test]
fn a_panic_in_progress_goes_on_in_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    for model in models(&folder) {
        let load = || {
            let options = LoadOptions::new().threads(2).progress(|done, _| match done {
                0 => ControlFlow::Continue(()),
                _ => panic!("from progress"),
            });
            let _ = model.load_all(options);
        };
        let payload = catch_unwind(AssertUnwindSafe(load)).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"from progress"));
        assert_eq!(model.load_all(LoadOptions::new()).unwrap().count(), SIZES.len());
    }
    let path = folder.path().join("never.safetensors");
    let write = || {
        let options = SaveOptions::new().progress(|_, _| panic!("from progress"));
        let _ = save(&path, &[SaveTensor::new("a", Dtype::U8, &[1], &[1])], options);
    };
    let payload = catch_unwind(AssertUnwindSafe(write)).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"from progress"));
    assert!(!path.exists());
}

#[test]
fn digests_are_checked_while_loading() {
    let folder = tempfile::tempdir().unwrap();
    for model in models(&folder) {
        let mut digests = model.hash_all(LoadOptions::new().threads(2)).unwrap();
        for (tensor, digest) in model.tensors().zip(&digests) {
            assert_eq!(tensor.hash().unwrap(), *digest);
            assert_eq!(digest.to_string().parse::<Digest>().unwrap(), *digest);
            assert_eq!(Digest::from(u128::from(*digest)), *digest);
        }
        let list: Vec<_> = model.tensors().collect();
        assert_eq!(model.hash(&list[2..], LoadOptions::new()).unwrap(), digests[2..]);
        model.load_all(LoadOptions::new().digests(&digests)).unwrap();
        let error = model.load_all(LoadOptions::new().digests(&digests[1..])).unwrap_err();
        assert_eq!(error.status(), Status::Argument);
        digests.swap(3, 4);
        let error = model.load(&list, LoadOptions::new().digests(&digests)).unwrap_err();
        assert_eq!(error.status(), Status::Digest);
        let named = |number: usize| error.message().contains(&*list[number].name());
        assert!(named(3) || named(4), "{error}");
    }
    // What `xxhsum -H128` prints for an empty file.
    let empty = Model::from_pairs(&[("", "")]).unwrap().at(0).unwrap().hash().unwrap();
    assert_eq!(empty.to_string(), "99aa06d3014798d86001c324468d497f");
    for wrong in ["", "+9aa06d3014798d86001c324468d497f", "99aa06d3014798d86001c324468d497"] {
        assert_eq!(wrong.parse::<Digest>().unwrap_err().status(), Status::Argument);
    }
}

#[test]
fn advice_leaves_bytes_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    for model in models(&folder) {
        let list: Vec<_> = model.tensors().rev().collect();
        for advice in [Advice::WillNeed, Advice::Populate, Advice::DoNotNeed] {
            model.advise_all(advice).unwrap();
            model.advise(&list, advice).unwrap();
        }
        let error = model.advise_all(Advice::Unknown(77)).unwrap_err();
        assert_eq!(error.status(), Status::Argument);
        for tensor in &model {
            assert_eq!(tensor.to_vec().unwrap(), bytes_of(number_of(&tensor)));
        }
    }
}

#[test]
fn what_is_saved_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let source = map(saved(&folder)).unwrap();
    let path = folder.path().join("copy.safetensors");
    let tensors: Vec<_> = source
        .tensors()
        .map(SaveTensor::from)
        .chain([
            SaveTensor::from(source.find("t.2").unwrap()).name("u16").shape(Dtype::U16, &[2, 1024]),
            SaveTensor::new("scalar", Dtype::F32, &[], &[0, 0, 128, 63]),
        ])
        .collect();
    let options = || SaveOptions::new().metadata("format", "pt").metadata("b", "").alignment(4096);
    let mut written = 0;
    let progress = |done, _| {
        written = done;
        ControlFlow::Continue(())
    };
    save(&path, &tensors, options().progress(progress)).unwrap();
    assert!(written > 0);
    let model = map(&path).unwrap();
    assert_eq!(model.count(), SIZES.len() + 2);
    for tensor in &source {
        assert_eq!(model.find(tensor.name_bytes()).unwrap().data(), tensor.data());
    }
    let other = model.find("u16").unwrap();
    assert_eq!((other.dtype(), other.shape()), (Dtype::U16, &[2, 1024][..]));
    assert_eq!(model.metadata_str("b").unwrap(), "");
    assert_eq!(model.shards().next().unwrap().data_offset % 4096, 0);

    assert_eq!(save(&path, &tensors, options()).unwrap_err().status(), Status::Exists);
    save(&path, &tensors[..1], options().replace(true)).unwrap();
    assert_eq!(map(&path).unwrap().count(), 1);
    let twice = [tensors[0], tensors[0]];
    let error = save(&path, &twice, options().replace(true)).unwrap_err();
    assert_eq!(error.status(), Status::Duplicate);
}

#[test]
fn what_is_saved_to_memory_is_what_a_file_would_hold() {
    let folder = tempfile::tempdir().unwrap();
    for model in models(&folder) {
        let tensors: Vec<_> = model.tensors().map(SaveTensor::from).collect();
        let mut seen = Vec::new();
        let options =
            SaveOptions::new().replace(true).metadata("a", "b").progress(|done, total| {
                seen.push((done, total));
                ControlFlow::Continue(())
            });
        let bytes = save_to_vec(&tensors, options).unwrap();
        let size = bytes.len() as u64;
        assert_eq!(seen.last(), Some(&(size, size)));
        assert!(seen.is_sorted());
        let path = folder.path().join("file.safetensors");
        save(&path, &tensors, SaveOptions::new().metadata("a", "b").replace(true)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
        let error = save_to_vec(&[tensors[0], tensors[0]], SaveOptions::new()).unwrap_err();
        assert_eq!(error.status(), Status::Duplicate);
        let stop = |_, _| ControlFlow::Break(());
        let error = save_to_vec(&tensors, SaveOptions::new().progress(stop)).unwrap_err();
        assert_eq!(error.status(), Status::Cancelled);
    }
    assert_eq!(save_to_vec(&[], SaveOptions::new()).unwrap().len() % 8, 0);
}

#[test]
fn a_file_cut_short_is_an_error_and_no_signal() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(&folder);
    let model = map(&path).unwrap();
    // Against the promise of who maps; nothing touches the mapping from here on.
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(4096).unwrap();
    let error = model.find("t.4").unwrap().to_vec().unwrap_err();
    assert_eq!(error.status(), Status::Changed);
    let error = model.load_all(LoadOptions::new()).unwrap_err();
    assert_eq!(error.status(), Status::Changed);
}

/// A reader that gives the file until it is told to do otherwise.
fn faulty(
    folder: &tempfile::TempDir,
    fault: fn() -> io::Result<usize>,
) -> (Model, Arc<AtomicBool>) {
    let bytes = fs::read(saved(folder)).unwrap();
    let size = bytes.len() as u64;
    let faulty = Arc::new(AtomicBool::new(false));
    let switch = faulty.clone();
    let reader = move |offset: u64, target: &mut [u8]| {
        if switch.load(Ordering::Relaxed) {
            return fault();
        }
        assert!(target.iter().all(|&byte| byte == 0));
        let rest = &bytes[offset as usize..];
        let count = rest.len().min(target.len());
        target[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    };
    (Model::from_reader(reader, size).unwrap(), faulty)
}

#[test]
fn errors_of_a_reader_are_the_source_of_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let (model, switch) = faulty(&folder, || Err(io::Error::other("the server said no")));
    switch.store(true, Ordering::Relaxed);
    let tensor = model.find("t.4").unwrap();
    let target = folder.path().join("copy.safetensors");
    let errors = [
        tensor.to_vec().map(drop).unwrap_err(),
        tensor.hash().map(drop).unwrap_err(),
        model.load_all(LoadOptions::new().threads(4)).map(drop).unwrap_err(),
        save(&target, &[tensor.into()], SaveOptions::new()).unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.status(), error.system_error()), (Status::Read, None));
        assert_eq!(error.source().unwrap().to_string(), "the server said no");
    }
    // What the reader said before is not blamed for another error.
    let error = tensor.read(&mut []).unwrap_err();
    assert_eq!(error.status(), Status::TargetSize);
    assert!(error.source().is_none());

    let (model, switch) = faulty(&folder, || Err(io::Error::from_raw_os_error(110)));
    switch.store(true, Ordering::Relaxed);
    let error = model.find("t.4").unwrap().to_vec().unwrap_err();
    assert_eq!((error.status(), error.system_error()), (Status::Read, Some(110)));

    let error = Model::from_reader(|_, _: &mut [u8]| Err(io::Error::other("none")), 100);
    assert_eq!(error.unwrap_err().source().unwrap().to_string(), "none");
}

#[test]
fn readers_that_end_early_or_claim_too_much_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let (model, switch) = faulty(&folder, || Ok(0));
    switch.store(true, Ordering::Relaxed);
    let error = model.find("t.4").unwrap().to_vec().unwrap_err();
    assert_eq!(error.status(), Status::Changed);
    for claim in [|| Ok(1 << 40), || Ok(usize::MAX)] {
        let (model, switch) = faulty(&folder, claim);
        switch.store(true, Ordering::Relaxed);
        let error = model.find("t.4").unwrap().to_vec().unwrap_err();
        assert_eq!(error.status(), Status::Read);
    }
}

#[test]
fn interrupted_reads_are_asked_again() {
    let interrupted = AtomicBool::new(false);
    let bytes = [&2u64.to_le_bytes()[..], b"{}"].concat();
    let reader = move |offset: u64, target: &mut [u8]| {
        if !interrupted.swap(true, Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        target.copy_from_slice(&bytes[offset as usize..][..target.len()]);
        Ok(target.len())
    };
    assert_eq!(Model::from_reader(reader, 10).unwrap().count(), 0);
}

#[test]
fn a_panic_in_a_reader_goes_on_in_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    let (model, switch) = faulty(&folder, || panic!("from the reader"));
    let load = |threads| model.load_all(LoadOptions::new().threads(threads)).map(drop);
    for threads in [1, 4] {
        switch.store(true, Ordering::Relaxed);
        let payload = catch_unwind(AssertUnwindSafe(|| load(threads))).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"from the reader"));
        switch.store(false, Ordering::Relaxed);
        load(threads).unwrap();
    }
    let opening = || {
        let _ = Model::from_reader(|_, _: &mut [u8]| panic!("from the reader"), 100);
    };
    let payload = catch_unwind(opening).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"from the reader"));
}
