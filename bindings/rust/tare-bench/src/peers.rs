//! The sets and the engines that are compared, for the harness and for Criterion.rs.
//!
//! Every engine gets the same file in the same mapping, the same names in the same order, and does
//! the same with what it finds: it adds addresses or sizes up, so that nothing can be left out.

use std::collections::HashMap;
use std::ffi::{c_char, c_int, CString};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::SafeTensors;
use tare::{BorrowedModel, Model, WeightLoader};
use tare_sys::{tare_model, tare_string};

extern "C" {
    fn bench_find(model: *const tare_model, names: *const tare_string, count: usize) -> usize;
    fn bench_find_data(model: *const tare_model, names: *const tare_string, count: usize) -> usize;
    fn bench_iterate(model: *const tare_model) -> usize;
    fn bench_write_model(set: *const c_char, path: *const c_char) -> c_int;
    fn bench_keep_no_memory();
}

/// Makes every opening get fresh memory.
pub fn keep_no_memory() {
    // SAFETY: it sets numbers of the allocator.
    unsafe { bench_keep_no_memory() }
}

/// A model of published names and shapes (bench/model_names.h), in a file with holes for data.
pub struct Set {
    pub label: &'static str,
    pub path: PathBuf,
    pub map: Mmap,
    /// In random order.
    pub names: Vec<String>,
}

pub const LABELS: [&str; 3] = ["S", "M", "L"];

impl Set {
    pub fn make(label: &'static str, folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("the folder for models can be made");
        let path = folder.join(format!("{label}.safetensors"));
        let text = |text: &str| CString::new(text).expect("no zero byte");
        let c_path = text(path.to_str().expect("a path that is Unicode"));
        let _ = fs::remove_file(&path);
        // SAFETY: both texts are terminated.
        let failed = unsafe { bench_write_model(text(label).as_ptr(), c_path.as_ptr()) };
        assert_eq!(failed, 0, "{} cannot be written", path.display());
        let file = fs::File::open(&path).expect("it was written just now");
        // SAFETY: nobody writes to the file while this program runs.
        let map = unsafe { Mmap::map(&file) }.expect("it can be mapped");
        let model = Model::from_slice(&map).expect("a good file");
        let mut names: Vec<String> =
            model.tensors().map(|tensor| tensor.name().into_owned()).collect();
        drop(model);
        shuffle(&mut names, 1);
        Self { label, path, map, names }
    }
}

/// A random order that is always the same (splitmix64).
pub fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for i in (1..items.len()).rev() {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut random = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        items.swap(i, ((random ^ (random >> 31)) % (i as u64 + 1)) as usize);
    }
}

/// One set, open in every engine.
pub struct Peers<'a> {
    pub tare: BorrowedModel<'a>,
    pub tensors: SafeTensors<'a>,
    /// What a linear scan goes through.
    pub list: Vec<(String, Range<usize>)>,
    pub bytes: &'a [u8],
}

impl<'a> Peers<'a> {
    /// Opens the set in all of them, and makes sure that they find the same.
    pub fn open(set: &'a Set) -> Self {
        let tare = Model::from_slice(&set.map).expect("a good file");
        let tensors = SafeTensors::deserialize(&set.map).expect("a good file");
        let list = tare
            .tensors()
            .map(|tensor| {
                let begin = tensor.offset() as usize;
                (tensor.name().into_owned(), begin..begin + tensor.size() as usize)
            })
            .collect::<Vec<_>>();
        let places: HashMap<_, _> = list.iter().map(|(name, range)| (&name[..], range)).collect();
        for name in &set.names {
            let bytes = &set.map[places[&name[..]].clone()];
            assert_eq!(
                tare.tensor_bytes(name).map(<[u8]>::as_ptr_range),
                Some(bytes.as_ptr_range())
            );
            let view = tensors.tensor(name).expect("it is there");
            assert_eq!(view.data().as_ptr_range(), bytes.as_ptr_range());
        }
        Self { tare, tensors, list, bytes: &set.map }
    }
}

/// Names as C has them.
pub fn c_names(names: &[&str]) -> Vec<tare_string> {
    names.iter().map(|name| tare_string { data: name.as_ptr().cast(), size: name.len() }).collect()
}

/// Finding each of the names: the sum of the addresses of what is found.
pub mod find {
    use super::*;

    #[inline(never)]
    pub fn c(model: &Model, names: &[tare_string]) -> usize {
        // SAFETY: the model is open, and there are as many names.
        unsafe { bench_find(model.as_ptr(), names.as_ptr(), names.len()) }
    }

    #[inline(never)]
    pub fn tare(model: &Model, names: &[&str]) -> usize {
        names.iter().filter_map(|name| model.find(name)).map(|it| it.as_ptr() as usize).sum()
    }

    #[inline(never)]
    pub fn tare_many(model: &Model, names: &[&str]) -> usize {
        let chunks = names.chunks(256).flat_map(|chunk| model.find_many(chunk));
        chunks.flatten().map(|it| it.as_ptr() as usize).sum()
    }
}

/// Finding each of the names and its bytes: the sum of addresses and sizes.
pub mod find_data {
    use super::*;

    fn add(bytes: &[u8]) -> usize {
        bytes.as_ptr() as usize + bytes.len()
    }

    #[inline(never)]
    pub fn c(model: &Model, names: &[tare_string]) -> usize {
        // SAFETY: the model is open, and there are as many names.
        unsafe { bench_find_data(model.as_ptr(), names.as_ptr(), names.len()) }
    }

    /// By the trait.
    #[inline(never)]
    pub fn tare(model: &dyn WeightLoader, names: &[&str]) -> usize {
        names.iter().filter_map(|name| model.tensor_bytes(name)).map(add).sum()
    }

    #[inline(never)]
    pub fn safetensors(tensors: &SafeTensors<'_>, names: &[&str]) -> usize {
        names.iter().filter_map(|name| tensors.tensor(name).ok()).map(|it| add(it.data())).sum()
    }

    #[inline(never)]
    pub fn scan(list: &[(String, Range<usize>)], bytes: &[u8], names: &[&str]) -> usize {
        let find = |wanted: &&str| list.iter().find(|(name, _)| name == wanted);
        names.iter().filter_map(find).map(|(_, range)| add(&bytes[range.clone()])).sum()
    }
}

/// Going through all tensors: the sum of the sizes of names and bytes.
pub mod iterate {
    use super::*;

    #[inline(never)]
    pub fn c(model: &Model) -> usize {
        // SAFETY: the model is open.
        unsafe { bench_iterate(model.as_ptr()) }
    }

    #[inline(never)]
    pub fn tare(model: &Model) -> usize {
        model.tensors().map(|it| it.name_bytes().len() + it.size() as usize).sum()
    }

    #[inline(never)]
    pub fn safetensors(tensors: &SafeTensors<'_>) -> usize {
        tensors.iter().map(|(name, view)| name.len() + view.data().len()).sum()
    }

    #[inline(never)]
    pub fn scan(list: &[(String, Range<usize>)]) -> usize {
        list.iter().map(|(name, range)| name.len() + range.len()).sum()
    }
}

/// From a path or from memory to something that can be asked.
pub mod open {
    use super::*;

    pub fn tare_file(path: &Path) -> Model {
        // SAFETY: nobody writes to the file in place.
        unsafe { Model::open(path) }.expect("a good file")
    }

    pub fn tare_memory(bytes: &[u8]) -> BorrowedModel<'_> {
        Model::from_slice(bytes).expect("a good file")
    }

    /// As programs do: the file is mapped, and the mapping parsed. What is parsed borrows from the
    /// mapping, hence the call at its end instead of a result.
    pub fn safetensors_file(path: &Path, end: impl FnOnce(&SafeTensors<'_>)) {
        let file = fs::File::open(path).expect("it is there");
        // SAFETY: nobody writes to the file while this program runs.
        let map = unsafe { Mmap::map(&file) }.expect("it can be mapped");
        end(&SafeTensors::deserialize(&map).expect("a good file"));
    }

    pub fn safetensors_memory(bytes: &[u8]) -> SafeTensors<'_> {
        SafeTensors::deserialize(bytes).expect("a good file")
    }
}
