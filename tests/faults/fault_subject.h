/* What the scenario of a round works on, and the steps that several scenarios have in common. */
#ifndef FAULT_SUBJECT_H
#define FAULT_SUBJECT_H

#include "fault_engine.h"
#include "fault_world.h"

enum { FAULT_LIST_MAX = 16 };

/* NULL where the scenario has none. */
extern tare_model *fault_model;
extern tare_block *fault_block;
extern tare_device *fault_device;

/* Closes the three: a `finish`. */
void fault_finish(void);

/* ------------------------------------------------------------------------------------------------
 * Opening: what follows makes fault_model with fault_options
 */

extern tare_options fault_options;

/* The defaults, with the scenario's hooks. */
void fault_prepare(void);

tare_status fault_open_path(const char *name, tare_error *error); /* of the world's folder */
tare_status fault_open_bytes(const build_text *file, tare_error *error);
tare_status fault_open_reader(tare_error *error); /* that of the world */
tare_status fault_close_model(tare_error *error);

bool fault_no_model(void);
uint64_t fault_model_outcome(void);

/* ------------------------------------------------------------------------------------------------
 * Loading: fault_model to fault_block, as fault_loading says
 */

extern tare_load_options fault_loading;
extern const tare_tensor *fault_list[FAULT_LIST_MAX]; /* all of the model */
extern tare_digest fault_digests[FAULT_LIST_MAX];

/* Opens the model, as fault_open does; lanes are the scenario's, and chunks so small that there are
 * several. */
void fault_prepare_load(const char *name, uint32_t backing, uint32_t io, uint32_t threads);

/* The digests are to be checked. */
void fault_prepare_digests(void);

tare_status fault_load(tare_error *error);
bool fault_no_block(void);

/* ------------------------------------------------------------------------------------------------
 * Rows of scenarios
 */

#define FAULT_OPENS(name, prepare, act, also, flags)                                          \
    {                                                                                         \
        name, prepare, act, fault_model_outcome, fault_no_model, fault_finish, 0, also, flags \
    }
#define FAULT_LOADS(name, prepare, outcome, flags)                                       \
    {                                                                                    \
        name, prepare, fault_load, outcome, fault_no_block, fault_finish, 0, NULL, flags \
    }
#define FAULT_WRITES(name, prepare, act, finish, flags)                                          \
    {                                                                                            \
        name, prepare, act, fault_target_outcome, fault_target_untouched, finish, 0, NULL, flags \
    }
#define FAULT_CLOSES(name, prepare, act)                             \
    {                                                                \
        name, prepare, act, NULL, NULL, fault_finish, 0, NULL,       \
            FAULT_ONLY_ONCE | FAULT_NEVER_FAILS | FAULT_HAS_NO_ERROR \
    }

#endif
