/*
 * log: structured events on standard error, one line each.
 *
 *	log_event(LOG_ACCEPTED, LOG_ID("id", id), LOG_TEXT("from", sender), LOG_NUMBER("size", size));
 *
 * Every event stands in events.def. Lines are logfmt (RFC 3339 time, level, role, event, then key=value) or JSON
 *objects. Text from outside is escaped: whatever octets it holds, an event is one line and reads back exactly. Octets
 *outside SP to '~' are written as \xHH; quotes and backslashes are escaped. Only processes log; library layers never
 *do.
 */
#ifndef NET_LOG_H
#define NET_LOG_H

#include "base/id.h"
#include "codes/smtpcodes.h"

enum log_level {
	LOG_DEBUG,
	LOG_INFO,
	LOG_WARNING,
	LOG_ERROR,
};

enum log_event_id {
#define LOG_EVENT(id, level, name, meaning) id,
#include "net/events.def"
#undef LOG_EVENT
	LOG_EVENT_COUNT
};

struct log_field {
	const char *key;
	enum { LOG_FIELD_END, LOG_FIELD_TEXT, LOG_FIELD_NUMBER } type;
	struct slice text;
	int64_t number;
	struct msg_id_text id;          /* holds the text of LOG_ID */
	struct smtpcodes_status status; /* and of LOG_STATUS */
};

#define LOG_TEXT(k, s)        ((struct log_field){.key = (k), .type = LOG_FIELD_TEXT, .text = (s)})
#define LOG_CSTR(k, s)        ((struct log_field){.key = (k), .type = LOG_FIELD_TEXT, .text = slice_from_cstr(s)})
#define LOG_NUMBER(k, n)      ((struct log_field){.key = (k), .type = LOG_FIELD_NUMBER, .number = (int64_t)(n)})
#define LOG_ID(k, i)          ((struct log_field){.key = (k), .type = LOG_FIELD_TEXT, .id = msg_id_format(i)})
#define LOG_STATUS(k, s)      ((struct log_field){.key = (k), .type = LOG_FIELD_TEXT, .status = (s)})

#define log_event(event, ...) log_write((event), (const struct log_field[]){__VA_ARGS__, {.type = LOG_FIELD_END}})

/* Before the first event. `role` and `text` are kept as pointers. */
void log_setup(const char *role, bool json, enum log_level least);
/* Gathered until log_flush, or until much has gathered. An empty text is left out. */
void log_write(enum log_event_id event, const struct log_field *fields);
void log_flush(void);

const char *log_event_name(enum log_event_id event);

/* The escaped form of one value, for logs and for people's terminals: see above. */
struct buf;
bool log_escape(struct buf *out, struct slice text);

#endif
