/* All engines of bench_lookup: another one is a class in a header named here and a row. */
#ifndef TARE_BENCH_LOOKUP_ENGINES_H
#define TARE_BENCH_LOOKUP_ENGINES_H

#include "lookup_containers.h"
#include "lookup_floors.h"
#include "lookup_patterns.h"
#include "lookup_peers.h"
#include "lookup_tare.h"

namespace lookup
{

constexpr EngineRow engines[] = {
    row<Tare>(),
    row<TarePairs>(),
    row<Linear>(),
    row<SortedBsearch>(),
    row<StdMap>(),
    row<StdUnorderedMap>(),
    row<StdUnorderedMapView>(),
    row<AbslFlatHashMap>(),
    row<AbslFlatHashMapInline>(),
#ifdef TARE_BENCH_BOOST
    row<BoostUnorderedFlatMap>(),
    row<BoostUnorderedFlatMapXxh3>(),
#endif
#ifdef TARE_BENCH_UTHASH
    row<Uthash>(),
#endif
#ifdef TARE_BENCH_RUST
    row<RustDefault>(),
    row<RustFx>(),
    row<RustSafetensors>(),
#endif
    row<FloorHash>(),
    row<FloorLine>(),
    row<FloorChase>(),
};

} // namespace lookup

#endif
