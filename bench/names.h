/* Temporary: moved to model_names.h, since src/names.h has this name. */
#include "model_names.h"
