//! One model on many threads at once.

use std::thread;

use tare::{LoadOptions, Model, OpenOptions};

#[test]
fn threads_find_read_load_and_iterate_one_model() {
    let pairs: Vec<(String, Vec<u8>)> = (0..5000u32)
        .map(|i| (format!("layers.{}.experts.{}.w", i / 50, i % 50), i.to_le_bytes().to_vec()))
        .collect();
    let model = OpenOptions::new().open_pairs(&pairs).unwrap();
    thread::scope(|scope| {
        for seed in 0..8usize {
            let (model, pairs): (&Model, _) = (&model, &pairs);
            scope.spawn(move || {
                for i in 0..20_000 {
                    let (name, bytes) = &pairs[(i * 7919 + seed * 131) % pairs.len()];
                    let tensor = model.find(name).unwrap();
                    assert_eq!(tensor.data(), Some(&bytes[..]));
                    assert_eq!(model.key(name).find(), Some(tensor));
                }
                let prefix = format!("layers.{seed}.");
                let layer: Vec<_> = model.prefix(&prefix).collect();
                assert_eq!(layer.len(), 50);
                let block = model.load(&layer, LoadOptions::new().threads(2)).unwrap();
                for (tensor, bytes) in layer.iter().zip(block.iter()) {
                    assert_eq!(tensor.data(), Some(bytes));
                    assert_eq!(tensor.to_vec().unwrap(), bytes);
                }
                assert!(model.find("absent").is_none());
                assert_eq!(model.tensors().map(|tensor| tensor.size()).sum::<u64>(), 20_000);
            });
        }
    });
}
