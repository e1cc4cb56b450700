/* What `tare pack` consists of. */
#ifndef TARE_CLI_PACK_H
#define TARE_CLI_PACK_H

#include "cli.h"

/* pack_list.c: what is written */

typedef struct pack_list {
    tare_save_tensor *tensors; /* in the order of the model */
    uint64_t *sizes;           /* bytes of each; also the shape of those that are stored raw */
    size_t count;
    uint64_t size; /* bytes of all */
    size_t *ends;  /* of each file, the tensor behind its last */
    size_t file_count;
    tare_save_metadata *metadata; /* with room for that of tensors behind it */
    size_t metadata_count;
    tare_save_metadata *raw; /* of each tensor that is stored raw, or was; else all zero */
} pack_list;

/* Collects tensors, metadata and files; says why not and returns false. Free it in any case. */
bool pack_list_make(const cli_options *options, const tare_model *model, pack_list *list);
void pack_list_free(pack_list *list);

/* The first tensor of a file, and the bytes of all of its tensors. */
size_t pack_list_begin(const pack_list *list, size_t file);
uint64_t pack_list_size(const pack_list *list, size_t file);

/* pack_metadata.c: what is written beside tensors */

/* The entry that tells of a tensor that is stored raw. False without memory; else free its key. */
bool pack_metadata_describe(const tare_info *info, tare_save_metadata *raw);

/* Takes what can be kept of the model's metadata, all tensors being in the list, and says what
 * cannot. */
void pack_metadata_collect(const tare_model *model, pack_list *list);

/* Puts behind the metadata of the model that of a file's tensors; the count of both. */
size_t pack_metadata_count(pack_list *list, size_t file);

/* place.c: what is at a path, and changes to it. All system calls of `tare pack` about files are
 * made there: an interrupted one is made again, and one that fails is not taken for an absent file.
 * What returns an int returns errno's value, or 0. */

typedef enum place_kind {
    PLACE_EMPTY,
    PLACE_FILE,
    PLACE_FOLDER,
    PLACE_LINK,
    PLACE_OTHER
} place_kind;

typedef struct place {
    place_kind kind;
    uint64_t device; /* with its number, what it is, whatever path leads there */
    uint64_t number;
    int64_t modified_s; /* numbers of files that are gone are given to others */
    int64_t modified_ns;
} place;

/* What is there; with `follow`, at the end of links. False, and says why, where it cannot be told:
 * then nothing may be written or removed. */
bool place_look(const char *path, bool follow, place *found);
bool place_is_same(const place *a, const place *b);
bool place_is_unchanged(const place *a, const place *b); /* and has been since */

/* Calls `visit` for each name in a folder; one that is not there has none. False once that returns
 * false; or, and says why, where not all names can be told. */
bool place_list(const char *folder, bool (*visit)(void *context, const char *name), void *context);

int place_create(const char *path, int *descriptor); /* a file, where there is nothing */
int place_sync(int descriptor);
int place_sync_folder(const char *folder);
int place_make_folder(const char *path);
int place_make_temporary(char *path); /* a folder; the last six letters become others */
int place_link(const char *from, const char *to);
int place_rename(const char *from, const char *to);
int place_remove(const char *path);        /* 0 once nothing is there */
int place_remove_folder(const char *path); /* likewise */

/* pack_target.c: where it is written */

typedef struct pack_target {
    char *folder; /* with a slash at its end, or "" */
    char *stem;   /* NAME of NAME.safetensors */
    size_t file_count;
    const char *out; /* where that names the folder, and not a file in it; else NULL */
    bool made_folder;
    bool force;
    char *stage; /* a folder in `folder`, for several files until they are complete */
    place *old;  /* files that were there at the beginning and may be removed in the end */
    size_t old_count;
    char **removed; /* paths of old files that are gone */
    size_t removed_count;
    char *aside; /* a folder in `stage`, for what has the names of new files; NULL unless needed */
    bool keeps_aside; /* since that is needed still */
} pack_target;

/* Finds out what OUT means; makes its folder; refuses what is there already unless forced. Says why
 * not and returns false. End it in any case. */
bool pack_target_begin(const cli_options *options, size_t file_count, pack_target *target);

/* False, and says so, where OUT is a folder that would not open as the new model. */
bool pack_target_check_neighbours(pack_target *target);

/* Makes the stage, where there are several files. */
bool pack_target_make_stage(pack_target *target);

/* Its folder, as a path of its own. */
const char *pack_target_folder(const pack_target *target);

/* The name of file `index` in a folder; of the index over all files where `index` is their count.
 * Free it; NULL without memory. */
char *pack_target_name(const pack_target *target, const char *folder, size_t index);
char *pack_target_path(const pack_target *target, size_t index);       /* when all is done */
char *pack_target_stage_path(const pack_target *target, size_t index); /* where to write it */

/* Where the index file of a model of that name in one file would be, or that of the folder. Free
 * it. */
char *pack_target_prebuilt(const pack_target *target, bool of_folder);

/* Calls `visit` for each file that a complete new model makes superfluous: the model of that name
 * in another number of files, what is opened first before the rest; shards only if forced. False
 * once that returns false or if it cannot be told. */
bool pack_target_each_old(const pack_target *target,
                          bool (*visit)(void *context, const pack_target *target, const char *path),
                          void *context);

/* Removes the stage and, if nothing came of it, a folder that was made. */
void pack_target_end(pack_target *target, bool done);

bool pack_fail(const char *path, const char *what); /* says it and returns false */
bool pack_fail_for(const char *path, int failure);  /* for errno's value; true where that is 0 */

/* pack_guard.c */

/* Notes the files that --force is about; false, and says so, where that would remove tensors of the
 * model that are not packed. */
bool pack_guard(const cli_options *options, const tare_model *model, const pack_list *list,
                pack_target *target);

/* pack_commit.c */

/* Says which old files were removed, the first few by name. */
void pack_target_tell_removed(const pack_target *target);

/* Moves all files from the stage to where they belong, then removes what is old. On failure all is
 * as it was, or says what is where. */
bool pack_commit(pack_target *target);

#endif
