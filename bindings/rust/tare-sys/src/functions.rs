//! Every function of tare.h.

use core::ffi::{c_char, c_int, c_void};

use crate::*;

extern "C" {
    pub fn tare_status_name(status: tare_status) -> *const c_char;
    pub fn tare_status_text(status: tare_status) -> *const c_char;
    pub fn tare_dtype_name(dtype: tare_dtype) -> *const c_char;
    pub fn tare_dtype_bits(dtype: tare_dtype) -> u32;
    pub fn tare_dtype_block_count(dtype: tare_dtype) -> u32;
    pub fn tare_dtype_block_size(dtype: tare_dtype) -> u32;
    pub fn tare_dtype_can_save(dtype: tare_dtype) -> c_int;
    pub fn tare_dtype_find(name: *const c_char, name_size: usize) -> tare_dtype;
    pub fn tare_open(
        path: *const c_char,
        options: *const tare_options,
        out: *mut *mut tare_model,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_open_bytes(
        bytes: *const c_void,
        size: usize,
        options: *const tare_options,
        out: *mut *mut tare_model,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_open_pairs(
        pairs: *const tare_pair,
        count: usize,
        options: *const tare_options,
        out: *mut *mut tare_model,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_open_reader(
        reader: *const tare_reader,
        options: *const tare_options,
        out: *mut *mut tare_model,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_close(model: *mut tare_model);
    pub fn tare_count(model: *const tare_model) -> usize;
    pub fn tare_at(model: *const tare_model, index: usize) -> *const tare_tensor;
    pub fn tare_index_of(model: *const tare_model, tensor: *const tare_tensor) -> usize;
    pub fn tare_find(
        model: *const tare_model,
        name: *const c_char,
        name_size: usize,
    ) -> *const tare_tensor;
    pub fn tare_key_make(
        model: *const tare_model,
        name: *const c_char,
        name_size: usize,
    ) -> tare_key;
    pub fn tare_find_key(model: *const tare_model, key: *const tare_key) -> *const tare_tensor;
    pub fn tare_find_many(
        model: *const tare_model,
        names: *const tare_string,
        count: usize,
        out: *mut *const tare_tensor,
    ) -> usize;
    pub fn tare_prefix(
        model: *const tare_model,
        prefix: *const c_char,
        prefix_size: usize,
    ) -> tare_range;
    pub fn tare_next(model: *const tare_model, range: *mut tare_range) -> *const tare_tensor;
    pub fn tare_describe(model: *const tare_model, tensor: *const tare_tensor) -> tare_info;
    pub fn tare_name(model: *const tare_model, tensor: *const tare_tensor) -> tare_string;
    pub fn tare_size(model: *const tare_model, tensor: *const tare_tensor) -> u64;
    pub fn tare_offset(model: *const tare_model, tensor: *const tare_tensor) -> u64;
    pub fn tare_data(model: *const tare_model, tensor: *const tare_tensor) -> *const c_void;
    pub fn tare_data_at(
        model: *const tare_model,
        tensor: *const tare_tensor,
        begin: u64,
        size: usize,
    ) -> *const c_void;
    pub fn tare_alignment(model: *const tare_model, tensor: *const tare_tensor) -> usize;
    pub fn tare_read(
        model: *const tare_model,
        tensor: *const tare_tensor,
        target: *mut c_void,
        target_size: usize,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_read_at(
        model: *const tare_model,
        tensor: *const tare_tensor,
        begin: u64,
        target: *mut c_void,
        target_size: usize,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_load(
        model: *const tare_model,
        tensors: *const *const tare_tensor,
        count: usize,
        options: *const tare_load_options,
        out: *mut *mut tare_block,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_load_into(
        model: *const tare_model,
        tensors: *const *const tare_tensor,
        targets: *const *mut c_void,
        count: usize,
        options: *const tare_load_options,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_block_count(block: *const tare_block) -> usize;
    pub fn tare_block_data(block: *const tare_block, index: usize) -> *mut c_void;
    pub fn tare_block_size(block: *const tare_block, index: usize) -> usize;
    pub fn tare_block_memory(block: *const tare_block, size: *mut usize) -> *mut c_void;
    pub fn tare_block_device(block: *const tare_block) -> *const tare_device;
    pub fn tare_device_open(
        name: *const c_char,
        options: *const tare_device_options,
        out: *mut *mut tare_device,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_device_close(device: *mut tare_device);
    pub fn tare_device_describe(device: *const tare_device) -> tare_device_info;
    pub fn tare_device_measure(
        device: *mut tare_device,
        size: u64,
        rate: *mut f64,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_block_close(block: *mut tare_block);
    pub fn tare_hash(
        model: *const tare_model,
        tensor: *const tare_tensor,
        out: *mut tare_digest,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_hash_many(
        model: *const tare_model,
        tensors: *const *const tare_tensor,
        count: usize,
        options: *const tare_load_options,
        out: *mut tare_digest,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_slice_size(
        model: *const tare_model,
        tensor: *const tare_tensor,
        start: *const u64,
        stop: *const u64,
        size: *mut u64,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_read_slice(
        model: *const tare_model,
        tensor: *const tare_tensor,
        start: *const u64,
        stop: *const u64,
        target: *mut c_void,
        target_size: usize,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_advise(
        model: *const tare_model,
        tensors: *const *const tare_tensor,
        count: usize,
        advice: u32,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_kind_name(kind: tare_kind) -> *const c_char;
    pub fn tare_metadata_count(model: *const tare_model) -> usize;
    pub fn tare_metadata_at(
        model: *const tare_model,
        index: usize,
        key: *mut tare_string,
        value: *mut tare_string,
        shard: *mut u32,
    ) -> c_int;
    pub fn tare_metadata_value_at(model: *const tare_model, index: usize) -> tare_value;
    pub fn tare_metadata_find(
        model: *const tare_model,
        key: *const c_char,
        key_size: usize,
    ) -> tare_string;
    pub fn tare_metadata_value(
        model: *const tare_model,
        key: *const c_char,
        key_size: usize,
    ) -> tare_value;
    pub fn tare_metadata_u64(
        model: *const tare_model,
        key: *const c_char,
        key_size: usize,
        out: *mut u64,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_metadata_i64(
        model: *const tare_model,
        key: *const c_char,
        key_size: usize,
        out: *mut i64,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_metadata_f64(
        model: *const tare_model,
        key: *const c_char,
        key_size: usize,
        out: *mut f64,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_metadata_bool(
        model: *const tare_model,
        key: *const c_char,
        key_size: usize,
        out: *mut c_int,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_metadata_string(
        model: *const tare_model,
        key: *const c_char,
        key_size: usize,
        out: *mut tare_string,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_metadata_array(
        model: *const tare_model,
        key: *const c_char,
        key_size: usize,
        out: *mut tare_value,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_value_u64(value: tare_value, out: *mut u64) -> tare_status;
    pub fn tare_value_i64(value: tare_value, out: *mut i64) -> tare_status;
    pub fn tare_value_f64(value: tare_value, out: *mut f64) -> tare_status;
    pub fn tare_value_bool(value: tare_value, out: *mut c_int) -> tare_status;
    pub fn tare_value_string(value: tare_value, out: *mut tare_string) -> tare_status;
    pub fn tare_value_next(array: *mut tare_value, item: *mut tare_value) -> c_int;
    pub fn tare_save(
        path: *const c_char,
        tensors: *const tare_save_tensor,
        count: usize,
        options: *const tare_save_options,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_save_bytes(
        tensors: *const tare_save_tensor,
        count: usize,
        options: *const tare_save_options,
        target: *mut c_void,
        target_size: usize,
        size: *mut u64,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_open_files(
        files: *const tare_file,
        count: usize,
        options: *const tare_options,
        out: *mut *mut tare_model,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_list_files(
        file: *const tare_file,
        options: *const tare_options,
        visit: tare_file_visit,
        context: *mut c_void,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_suggest(
        model: *const tare_model,
        name: *const c_char,
        name_size: usize,
        flags: u32,
        out: *mut tare_string,
    ) -> usize;
    pub fn tare_name_distance(a: tare_string, b: tare_string, bound: u32) -> u32;
    pub fn tare_ready(
        model: *const tare_model,
        tensor: *const tare_tensor,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_index_save(
        model: *const tare_model,
        path: *const c_char,
        options: *const tare_index_options,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_index_check(
        model: *const tare_model,
        path: *const c_char,
        options: *const tare_index_options,
        error: *mut tare_error,
    ) -> tare_status;
    pub fn tare_index_status(model: *const tare_model, error: *mut tare_error) -> tare_status;
    pub fn tare_index_path(model: *const tare_model) -> tare_string;
    pub fn tare_shard_count(model: *const tare_model) -> usize;
    pub fn tare_shard_at(model: *const tare_model, shard: usize) -> tare_shard_info;
    pub fn tare_model_stat(model: *const tare_model, out: *mut tare_stat);
    pub fn tare_version() -> *const c_char;
}
