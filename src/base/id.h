/*
 * id: the name of a message, for people and for programs.
 *
 * An id is 60 bits and is never given twice, whatever the clock says: the store hands out blocks of ids, durably,
 * before anyone uses one (see queue/store.h). Its text is 12 characters of an alphabet without look-alikes; a fixed
 * permutation spreads neighbours apart, so that a misread character does not name another recent message.
 */
#ifndef BASE_ID_H
#define BASE_ID_H

#include "base/slice.h"

typedef uint64_t msg_id; /* 0 = none; below 2^60 */

#define MSG_ID_BITS       60
#define MSG_ID_MAX        (((msg_id)1 << MSG_ID_BITS) - 1)
#define MSG_ID_TEXT       12
#define MSG_ID_BLOCK_BITS 20 /* ids in one block: 2^20 */

struct msg_id_text {
	char text[MSG_ID_TEXT + 1]; /* NUL-terminated */
};

struct msg_id_text msg_id_format(msg_id id);
/* Takes either case, O for 0, I and L for 1. False for a wrong length, character, or the id 0. */
bool msg_id_parse(struct slice text, msg_id *ret);

#endif
