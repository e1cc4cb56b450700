#include "slice_models.h"

#include "expect.h"

const char *const slice_way_names[SLICE_WAYS] = {"memory", "mapped", "read", "reader"};

void slice_models_open(slice_models *all, const temp_path *folder, const build_tensor *tensors,
                       size_t count, size_t piece)
{
    tare_error error = expect_poison();
    all->file = build_file(tensors, count, NULL);
    all->path = temp_write_text(folder, "model.safetensors", &all->file);
    all->way[0] = expect_open_bytes("memory", &all->file);
    for (uint32_t i = 1; i <= 2; i++) {
        tare_options options = TARE_OPTIONS_INIT;
        options.backing = i == 1 ? TARE_BACKING_MAP : TARE_BACKING_READ;
        tare_status status = tare_open(all->path.text, &options, &all->way[i], &error);
        expect_opened(slice_way_names[i], status, all->way[i], &error);
    }
    reader_probe_init(&all->probe, all->file.data, all->file.size, piece);
    tare_status status = tare_open_reader(&all->probe.reader, NULL, &all->way[3], &error);
    expect_opened("reader", status, all->way[3], &error);
    reader_probe_reset(&all->probe);
}

void slice_models_close(slice_models *all)
{
    for (size_t i = 0; i < SLICE_WAYS; i++) tare_close(all->way[i]);
    cr_expect_eq(all->probe.mistakes, 0);
    build_free(&all->file);
}
