#pragma once
#include <stdlib.h>
#include <utf8proc.h>

// What utf8proc_map returns is the caller's to free; Swift would need all of Glibc for it.
static inline void cutf8proc_free(void *text) { free(text); }
