#define _POSIX_C_SOURCE 200809L
#include "cli.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static int run_help(const cli_options *options);

#define FOR_ANY (OPTION_JSON | OPTION_LIMIT | OPTION_HELP)
#define FOR_ALL (FOR_ANY | OPTION_INDEX | OPTION_NO_INDEX | OPTION_INDEX_CHECK)
#define FOR_HASH (OPTION_THREADS | OPTION_DROP_BEHIND)
#define FOR_LOAD \
    (FOR_HASH | OPTION_DIRECT | OPTION_BUFFERED | OPTION_CHUNK | OPTION_IN_FLIGHT | OPTION_ALIGN)

static const cli_command commands[] = {
    {"ls", "list tensors: name, dtype, shape, size, shard", "MODEL [PREFIX]",
     "Lists the tensors of a model in the order of its files, or those whose names start with\n"
     "PREFIX. SIZE counts in units of 1024; --json has bytes.\n",
     "tare ls model.safetensors model.layers.3.", 1, 2, FOR_ALL, cmd_ls},
    {"show", "show one tensor: all facts, and its first values", "MODEL NAME",
     "Shows what is known about one tensor and decodes its first values, or tells how its dtype "
     "is\n"
     "cut into blocks where it is quantized. A name that holds control characters can be given "
     "as it\n"
     "is listed, with \\x1b and the like.\n",
     "tare show model.safetensors lm_head.weight", 2, 2, FOR_ALL | OPTION_VALUES, cmd_show},
    {"cat", "write the bytes of one tensor to standard output", "MODEL NAME",
     "Writes a tensor's bytes as they are in the file: little-endian, nothing before or after "
     "them.\n"
     "With --json they are a base64 string beside the tensor's facts.\n",
     "tare cat model.safetensors lm_head.weight > lm_head.bin", 2, 2, FOR_ALL | OPTION_FORCE,
     cmd_cat},
    {"meta", "print the metadata", "MODEL",
     "Prints the keys and values of the metadata, of GGUF with their kinds and the first items "
     "of\n"
     "arrays; --all prints arrays in full. What several shards repeat is printed once; --json "
     "has\n"
     "every entry of every shard in full.\n",
     "tare meta model.safetensors", 1, 1, FOR_ALL | OPTION_ALL, cmd_meta},
    {"check", "say whether models are valid", "PATH...",
     "Checks headers, shapes, offsets, sizes and the shard index in full. Every PATH gets one "
     "line:\n"
     "on standard output when it is accepted, on standard error when it is rejected. Bytes of\n"
     "tensors are not looked at: any value is valid. Where there is an index file (see 'tare help "
     "index'),\n"
     "it must be what the headers make, unless --no-index is given.\n",
     "tare check *.safetensors", 1, 0, FOR_ANY | OPTION_NO_INDEX, cmd_check},
    {"stat", "sum up a model by dtype, layer and alignment", "MODEL",
     "Sums up a model: tensors and bytes by dtype, by layer and by the alignment of their "
     "offsets,\n"
     "how long opening took, and the memory that the names and the index take. More than 12 "
     "groups\n"
     "of layers are folded, unless --all is given.\n",
     "tare stat model/", 1, 1, FOR_ALL | OPTION_ALL, cmd_stat},
    {"bench", "measure how fast names are found", "MODEL",
     "Measures how long opening a model takes, what its index takes of memory, and how long it "
     "takes\n"
     "to find tensors: names that are there (hit) and names like them that are not (miss), names\n"
     "hashed before (key), and many at once. A sample is so many names; its time, less that of "
     "reading\n"
     "the clock, is divided by them. Single names tell latency and its tail, several throughput.\n",
     "tare bench model.safetensors", 1, 1, FOR_ALL | OPTION_BACKING | OPTION_SECONDS | OPTION_SEED,
     cmd_bench},
    {"load", "load tensors into memory, and tell how fast", "MODEL [PREFIX...]",
     "Loads all tensors, or those whose names start with one of the PREFIXes, into memory and lets "
     "go of\n"
     "them: tells bytes a second, page faults and the peak of memory. Says nothing about a disk if "
     "the\n"
     "files are in the page cache already. With --slice NAME=BOX only a part of the tensors of "
     "that\n"
     "name is loaded, which may hold * and ?: BOX has START:STOP or RANK/COUNT, a rank's share, "
     "for\n"
     "each dimension, and those left out are whole. Of several that fit a name the last counts.\n",
     "tare load --threads 4 model.safetensors", 1, 0,
     FOR_ALL | FOR_LOAD | OPTION_DEVICE | OPTION_SLICE, cmd_load},
    {"hash", "write a manifest: one digest for each tensor", "MODEL [PREFIX...]",
     "Writes one line for each tensor, in the byte order of names: its XXH3-128 as 32 digits, two "
     "blanks,\n"
     "its name. A backslash before the line says that the name is escaped.\n",
     "tare hash model.safetensors > manifest", 1, 0, FOR_ANY | FOR_HASH, cmd_hash},
    {"verify", "compare a model with a manifest", "MODEL MANIFEST [PREFIX...]",
     "Compares all tensors, or those whose names start with one of the PREFIXes, with what 'tare "
     "hash'\n"
     "wrote (- is standard input). Names each tensor of other bytes, each that is missing, and "
     "each "
     "that\n"
     "MANIFEST does not list.\n",
     "tare verify model.safetensors manifest", 2, 0, FOR_ANY | FOR_HASH, cmd_verify},
    {"pack", "write a model anew: merged, split, or a part of it", "MODEL -o OUT",
     "Writes the tensors of a model to one safetensors file or, with --shard-size, to several and "
     "an\n"
     "index over them. OUT is a file if it ends in .safetensors, else a folder, which is made if "
     "it\n"
     "is not there. The same model gives the same files. What is there already is left as it is,\n"
     "unless --force is given, and also if anything fails. --force removes the index, all shards\n"
     "of that name (NAME-*-of-*) and their index file too, but nothing of MODEL that is not "
     "packed.\n",
     "tare pack model/ -o merged.safetensors", 1, 1,
     FOR_ANY | OPTION_FORCE | OPTION_OUTPUT | OPTION_ONLY | OPTION_SHARD_SIZE | OPTION_ALIGN |
         OPTION_RAW,
     cmd_pack},
    {"index", "write an index file, with which models open at once", "MODEL",
     "Writes all that opening makes of the headers to one file, which later openings use instead:\n"
     "MODEL.tareidx beside a file, tare.idx in the folder of a sharded or split model, or OUT, to "
     "be\n"
     "named by --index. It counts as long as no file of the model changes. The same model gives "
     "the\n"
     "same file. Only an index file is replaced, and not that of another model in the same "
     "folder,\n"
     "unless --force is given.\n",
     "tare index model.safetensors", 1, 1, FOR_ANY | OPTION_OUTPUT | OPTION_FORCE, cmd_index},
    {"help", "explain a command", "[COMMAND]", "Prints what COMMAND does and takes.\n",
     "tare help ls", 0, 1, OPTION_HELP, run_help},
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static const cli_command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    char shown[128];
    const char *near = NULL;
    unsigned bound = 2;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        unsigned edits = tare_name_distance(text_of(commands[i].name), text_of(name), bound);
        if (edits > bound || edits >= strlen(commands[i].name)) continue;
        near = commands[i].name;
        if (edits == 0) break;
        bound = edits - 1;
    }
    text_escape(text_of(name), shown, sizeof shown);
    if (near != NULL)
        cli_message("unknown command '%s'; did you mean '%s'?", shown, near);
    else
        cli_message("unknown command '%s'; 'tare --help' lists them", shown);
    return CLI_USAGE;
}

static void print_program_help(void)
{
    out_string("usage: tare COMMAND [options] ...\n\n"
               "Shows what the weight files of a model hold, loads and checks them, and writes "
               "them anew.\n\n"
               "commands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        out_format("  %-6s %-27s%s\n", commands[i].name, commands[i].operands, commands[i].summary);
    }
    out_string("\nMODEL is a .safetensors or .gguf file, a part of a split .gguf file, a\n"
               ".safetensors.index.json of a sharded model, or a folder that holds one of them.\n"
               "\noptions:\n");
    options_help(~0u);
    out_string("\nexit status: 0 done or accepted, 1 failed, absent or rejected, 2 wrong usage, "
               "130 stopped by Ctrl-C\n\n"
               "example:\n  tare ls model.safetensors\n");
}

static void print_command_help(const cli_command *command)
{
    out_format("usage: tare %s [options] %s\n\n", command->name, command->operands);
    out_string(command->text);
    out_string("\noptions:\n");
    options_help(command->accepts);
    out_format("\nexample:\n  %s\n", command->example);
}

static int run_help(const cli_options *options)
{
    if (options->operand_count == 0) {
        print_program_help();
        return CLI_OK;
    }
    const cli_command *command = find_command(options->operands[0]);
    if (command == NULL) return unknown_command(options->operands[0]);
    print_command_help(command);
    return CLI_OK;
}

#define TEXT_OF_NUMBER_(number) #number
#define TEXT_OF_NUMBER(number) TEXT_OF_NUMBER_(number)
#define COMPILED_VERSION               \
    TEXT_OF_NUMBER(TARE_VERSION_MAJOR) \
    "." TEXT_OF_NUMBER(TARE_VERSION_MINOR) "." TEXT_OF_NUMBER(TARE_VERSION_PATCH)

static int print_version(const cli_options *options)
{
    if (options_json(options)) {
        json_open('{');
        json_key("version");
        json_text(COMPILED_VERSION);
        json_key("library");
        json_text(tare_version());
        json_close('}');
        json_end();
    } else if (strcmp(COMPILED_VERSION, tare_version()) == 0) {
        out_string("tare " COMPILED_VERSION "\n");
    } else {
        out_format("tare %s (library %s)\n", COMPILED_VERSION, tare_version());
    }
    return CLI_OK;
}

static int wrong_usage(const cli_command *command)
{
    cli_message("usage: tare %s [options] %s", command->name, command->operands);
    return CLI_USAGE;
}

/* `options` begins with the command's name among its operands. */
static int run_command(cli_options *options)
{
    const cli_command *command = find_command(options->operands[0]);
    if (command == NULL) return unknown_command(options->operands[0]);
    options->operands++;
    options->operand_count--;
    if (options->given & OPTION_HELP) {
        print_command_help(command);
        return CLI_OK;
    }
    unsigned refused = options->given & ~command->accepts;
    if (refused != 0) {
        cli_message("'tare %s' takes no option --%s", command->name,
                    options_name(refused & (~refused + 1)));
        return CLI_USAGE;
    }
    if (options->operand_count < command->operand_min) return wrong_usage(command);
    if (command->operand_max > 0 && options->operand_count > command->operand_max) {
        return wrong_usage(command);
    }
    return command->run(options);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &action, NULL); /* a closed pipe becomes EPIPE, see out_finish */
    sigaction(SIGXFSZ, &action, NULL); /* a limit on files becomes EFBIG */
    out_start();
    cli_options options;
    int status = options_parse(&options, argc, argv);
    if (status != CLI_OK) {
        options_free(&options);
        return status;
    }
    if (options.given & OPTION_VERSION) {
        status = print_version(&options);
    } else if (options.operand_count > 0) {
        status = run_command(&options);
    } else if (options.given & OPTION_HELP) {
        print_program_help();
    } else {
        cli_message("no command; 'tare --help' lists them");
        status = CLI_USAGE;
    }
    options_free(&options);
    int written = out_finish();
    return status != CLI_OK ? status : written;
}
