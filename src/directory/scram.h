/*
 * scram: the keys that are derived from a prepared password, for secrets.c alone.
 */
#ifndef DIRECTORY_SCRAM_H
#define DIRECTORY_SCRAM_H

#include "directory/secrets.h"

/* Fills the keys of *v by its salt and iterations (RFC 5802 3). False when OpenSSL cannot. */
bool scram_derive(enum scram_hash hash, struct slice password, struct scram_verifier *v);

/* The states of MD5 after the inner and the outer padded key of HMAC (RFC 2104 4), each as four little-endian words. */
bool cram_md5_derive(struct slice password, uint8_t ret[CRAM_MD5_STATES]);

#endif
