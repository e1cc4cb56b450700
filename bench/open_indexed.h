/* Opening with an index file (docs/format_index.md), for bench_open. */
#ifndef TARE_BENCH_OPEN_INDEXED_H
#define TARE_BENCH_OPEN_INDEXED_H

#include "open_files.h"

#include <benchmark/benchmark.h>

namespace opening
{

/* From a path to the pointer of one tensor's bytes, which are not touched: tare_open, tare_find,
 * tare_data. `first` says which steps are timed: all, or opening alone. */
struct IndexedWay {
    bool sharded; /* the folder of shards, not the single file */
    bool indexed; /* else headers are parsed */
    bool cold;    /* the index file leaves the page cache before each opening */
    bool first;   /* with finding the tensor in the middle, and where its bytes are */
};

void open_indexed(benchmark::State &state, const SetFiles &files, IndexedWay way);

#ifdef TARE_BENCH_RUST
/* The same of the crate safetensors, on a file mapped by the crate memmap2. */
void open_crate(benchmark::State &state, const SetFiles &files);
#endif

/* Memory that is each of eight processes' own, while all of them have the model open and have found
 * a tensor: by /proc/self/smaps_rollup, what opening it a second time adds. */
void open_in_eight(benchmark::State &state, const SetFiles &files, IndexedWay way);

} // namespace opening

#endif
