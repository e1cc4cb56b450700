#define _DEFAULT_SOURCE /* all members of struct rusage */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "latency.h"

typedef struct load_report {
    const cli_options *options;
    const char *path;
    selection what;
    boxes parts;
    size_t block_size;
    uint64_t elapsed; /* ns */
    uint64_t minor_faults;
    uint64_t major_faults;
    uint64_t peak_size;
    tare_device *device; /* or NULL */
    double link;         /* bytes a second that its link carries at most */
} load_report;

static const char *io_name(uint32_t io)
{
    static const char *const names[] = {
        [TARE_IO_AUTO] = "auto", [TARE_IO_BUFFERED] = "buffered", [TARE_IO_DIRECT] = "direct"};
    return names[io];
}

static void print_device(const load_report *made, double rate)
{
    tare_device_info device = tare_device_describe(made->device);
    out_key("device");
    out_format("%s, ", device.label.data);
    out_escaped(device.name);
    out_string("\n");
    out_key("link");
    out_format("%.2f GB/s at most, of which the load reached %.0f %%\n", made->link / 1e9,
               made->link > 0 ? rate * 1e11 / made->link : 0);
    out_key("staging");
    out_human(device.staging_size);
    out_string(" of pinned memory\n");
}

static void print_report(const load_report *made)
{
    const tare_load_options *how = &made->options->load;
    double rate = made->elapsed > 0 ? (double)made->what.size / (double)made->elapsed : 0;
    out_key("model");
    out_style_on(STYLE_KEY);
    out_escaped(text_of(made->path));
    out_style_off();
    out_string("\n");
    out_key("tensors");
    out_format("%zu\n", made->what.count);
    if (made->parts.count != 0) {
        out_key("parts");
        out_format("of %zu of them\n", made->parts.count);
    }
    out_key("size");
    out_human(made->what.size);
    if (made->what.size >= 1024) out_format(" (%llu bytes)", (unsigned long long)made->what.size);
    out_string("\n");
    out_key("time");
    out_format("%.2f ms\n", (double)made->elapsed / 1e6);
    out_key("rate");
    out_style_on(STYLE_GOOD);
    out_format("%.2f GB/s\n", rate);
    out_style_off();
    if (made->device != NULL) print_device(made, rate);
    out_key("faults");
    out_format("%llu minor, %llu major\n", (unsigned long long)made->minor_faults,
               (unsigned long long)made->major_faults);
    out_key("memory");
    out_human(made->peak_size);
    out_string(" at the peak, ");
    uint64_t block_size = made->device == NULL ? made->block_size : 0;
    out_human(made->peak_size > block_size ? made->peak_size - block_size : 0);
    out_string(" of it beside the tensors\n");
    out_key("threads");
    if (how->threads != 0)
        out_format("%lu\n", (unsigned long)how->threads);
    else
        out_string("auto\n");
    out_key("io");
    out_format("%s%s\n", io_name(how->io),
               how->flags & TARE_LOAD_DROP_BEHIND ? ", pages dropped behind" : "");
}

static void json_device(const load_report *made)
{
    tare_device_info device = tare_device_describe(made->device);
    json_open('{');
    json_key("label");
    json_string(device.label);
    json_key("name");
    json_string(device.name);
    json_field("link_bytes_per_second", (uint64_t)made->link);
    json_field("staging_size", device.staging_size);
    json_close('}');
}

static void json_report(const load_report *made)
{
    const tare_load_options *how = &made->options->load;
    json_open('{');
    json_key("model");
    json_text(made->path);
    json_line();
    json_field("tensors", made->what.count);
    json_field("tensors_in_part", made->parts.count);
    json_field("size", made->what.size);
    json_field("block_size", made->block_size);
    json_field("load_ns", made->elapsed);
    json_line();
    json_field("minor_faults", made->minor_faults);
    json_field("major_faults", made->major_faults);
    json_field("peak_size", made->peak_size);
    json_line();
    json_key("threads");
    if (how->threads != 0)
        json_u64(how->threads);
    else
        json_raw("null");
    json_key("io");
    json_text(io_name(how->io));
    json_field("alignment", how->alignment != 0 ? how->alignment : made->device != NULL ? 256 : 64);
    json_key("drop_behind");
    json_bool((how->flags & TARE_LOAD_DROP_BEHIND) != 0);
    json_line();
    json_key("device");
    if (made->device != NULL)
        json_device(made);
    else
        json_raw("null");
    json_close('}');
    json_end();
}

/* Linux counts in ru_maxrss what ran before exec too, such as the Python that starts this program,
 * and tells the truth elsewhere. Both count in KiB, as the BSDs do. */
static uint64_t peak_size(const struct rusage *used)
{
    static const char key[] = "VmHWM:";
    char line[128];
    uint64_t size = (uint64_t)used->ru_maxrss * 1024;
    FILE *status = fopen("/proc/self/status", "r");
    if (status == NULL) return size;
    while (fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, key, sizeof key - 1) != 0) continue;
        size = strtoull(line + sizeof key - 1, NULL, 10) * 1024;
        break;
    }
    fclose(status);
    return size;
}

static void load(const tare_model *model, load_report *made, int *status)
{
    struct rusage before;
    struct rusage after;
    tare_block *block;
    tare_error error;
    tare_load_options how = made->options->load;
    getrusage(RUSAGE_SELF, &before);
    how.device = made->device;
    how.slices = made->parts.slices;
    how.progress = transfer_progress;
    transfer_start();
    uint64_t start = latency_now();
    tare_status loaded =
        tare_load(model, made->what.tensors, made->what.count, &how, &block, &error);
    made->elapsed = latency_now() - start;
    transfer_end();
    *status = transfer_status(loaded, &error);
    if (loaded != TARE_OK) return;
    getrusage(RUSAGE_SELF, &after);
    made->minor_faults = (uint64_t)(after.ru_minflt - before.ru_minflt);
    made->major_faults = (uint64_t)(after.ru_majflt - before.ru_majflt);
    made->peak_size = peak_size(&after);
    tare_block_memory(block, &made->block_size);
    tare_block_close(block);
}

/* Opened before the model is, so that a driver that starts is no part of any time. The link is
 * measured while nothing else uses it. */
static bool open_device(load_report *made)
{
    tare_error error;
    const char *name = made->options->device;
    if (name == NULL) return true;
    if (tare_device_open(name, NULL, &made->device, &error) == TARE_OK &&
        tare_device_measure(made->device, 0, &made->link, &error) == TARE_OK)
        return true;
    tare_device_close(made->device);
    cli_message("%s", error.message);
    return false;
}

int cmd_load(const cli_options *options)
{
    load_report made = {.options = options, .path = options->operands[0]};
    int status = CLI_FAILED;
    if (!open_device(&made)) return CLI_FAILED;
    tare_model *model = cli_open(options, made.path, NULL);
    if (model != NULL &&
        selection_make(model, made.path, options->operands + 1, options->operand_count - 1,
                       &made.what) &&
        boxes_make(model, options->slices, options->slice_count, &made.what, &made.parts))
        load(model, &made, &status);
    if (status == CLI_OK && options_json(options))
        json_report(&made);
    else if (status == CLI_OK)
        print_report(&made);
    boxes_free(&made.parts);
    selection_free(&made.what);
    tare_close(model);
    tare_device_close(made.device);
    return status;
}
