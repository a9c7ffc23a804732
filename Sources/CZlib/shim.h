#ifndef INTERACTION_LEDGER_CZLIB_SHIM_H
#define INTERACTION_LEDGER_CZLIB_SHIM_H

#include <zlib.h>

/// `inflateInit2` is a macro, which Swift does not see. 15 is the largest window; 32 more makes zlib find out
/// from the header whether the stream is gzip or zlib.
static inline int ledger_inflateInit2(z_stream *stream, int windowBits) { return inflateInit2(stream, windowBits); }

#endif
