#include "net/log.h"

#include "base/buf.h"
#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_OCTETS ((size_t)16 * 1024)
#define GATHERED_MAX    ((size_t)256 * 1024)
#define FLUSH_AT        ((size_t)64 * 1024)

static const struct {
	const char *name;
	enum log_level level;
} events[] = {
#define LOG_EVENT(id, level, name, meaning) [id] = {name, level},
#include "net/events.def"
#undef LOG_EVENT
};

static const char *const level_names[] = {"debug", "info", "warning", "error"};

/* The process has one standard error, hence one log. */
static struct {
	const char *role;
	bool json;
	enum log_level least;
	struct buf out;
	int64_t second; /* the one that `stamp` stands for */
	char stamp[sizeof "2026-11-21T23:04:05"];
} log_state = {.role = "postriderd", .least = LOG_INFO, .second = -1};

void log_setup(const char *role, bool json, enum log_level least)
{
	log_state.role = role;
	log_state.json = json;
	log_state.least = least;
	if (!log_state.out.max)
		buf_init(&log_state.out, GATHERED_MAX);
}

const char *log_event_name(enum log_event_id event)
{
	return events[event].name;
}

static bool needs_escape(char c)
{
	return !ascii_is_print(c) || c == '"' || c == '\\';
}

bool log_escape(struct buf *out, struct slice text)
{
	static const char hex[] = "0123456789abcdef";
	size_t plain = 0;

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (!needs_escape(c))
			continue;
		buf_add(out, slice_of(text.p + plain, i - plain));
		plain = i + 1;
		if (c == '"' || c == '\\') {
			buf_add(out, slice_of((char[]){'\\', c}, 2));
		} else {
			unsigned char u = (unsigned char)c;
			buf_add(out, slice_of((char[]){'\\', 'x', hex[u >> 4], hex[u & 15]}, 4));
		}
	}
	return buf_add(out, slice_skip(text, plain));
}

/* JSON knows no \xHH: octets outside ASCII become \u00HH, which reads back as the same number. */
static void json_escape(struct buf *out, struct slice text)
{
	size_t plain = 0;

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (!needs_escape(c))
			continue;
		buf_add(out, slice_of(text.p + plain, i - plain));
		plain = i + 1;
		if (c == '"' || c == '\\')
			buf_add(out, slice_of((char[]){'\\', c}, 2));
		else
			buf_printf(out, "\\u%04x", (unsigned char)c);
	}
	buf_add(out, slice_skip(text, plain));
}

static bool is_bare_word(struct slice text)
{
	for (size_t i = 0; i < text.n; i++)
		if (needs_escape(text.p[i]) || text.p[i] == ' ' || text.p[i] == '=')
			return false;
	return text.n > 0;
}

static void add_stamp(struct buf *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec != log_state.second) {
		struct tm tm;
		gmtime_r(&now.tv_sec, &tm);
		strftime(log_state.stamp, sizeof log_state.stamp, "%Y-%m-%dT%H:%M:%S", &tm);
		log_state.second = now.tv_sec;
	}
	buf_add(out, slice_of(log_state.stamp, sizeof log_state.stamp - 1));
	char fraction[] = ".000Z";
	int ms = (int)(now.tv_nsec / 1000000);
	fraction[1] = (char)('0' + ms / 100);
	fraction[2] = (char)('0' + ms / 10 % 10);
	fraction[3] = (char)('0' + ms % 10);
	buf_add(out, SLICE(fraction));
}

static void add_number(struct buf *out, int64_t number)
{
	if (number < 0)
		buf_add_char(out, '-');
	buf_add_u64(out, number < 0 ? -(uint64_t)number : (uint64_t)number);
}

static void add_field_text(struct buf *out, struct slice key, struct slice text)
{
	if (log_state.json) {
		buf_add_lit(out, ",\"");
		buf_add(out, key);
		buf_add_lit(out, "\":\"");
		json_escape(out, text);
		buf_add_char(out, '"');
		return;
	}
	buf_add_char(out, ' ');
	buf_add(out, key);
	buf_add_char(out, '=');
	if (is_bare_word(text)) {
		buf_add(out, text);
		return;
	}
	buf_add_char(out, '"');
	log_escape(out, text);
	buf_add_char(out, '"');
}

static void add_field(struct buf *out, const struct log_field *f)
{
	struct slice key = slice_from_cstr(f->key);
	struct slice text = f->text;
	char status[10];

	if (f->type == LOG_FIELD_NUMBER) {
		buf_add(out, log_state.json ? SLICE(",\"") : SLICE(" "));
		buf_add(out, key);
		buf_add(out, log_state.json ? SLICE("\":") : SLICE("="));
		add_number(out, f->number);
		return;
	}
	if (f->id.text[0])
		text = slice_from_cstr(f->id.text);
	else if (f->status.klass)
		text = slice_of(status, smtpcodes_status_format(f->status, status));
	if (text.n > 0)
		add_field_text(out, key, slice_head(text, 2000));
}

void log_write(enum log_event_id event, const struct log_field *fields)
{
	struct buf *out = &log_state.out;

	assert(event < LOG_EVENT_COUNT);
	if (events[event].level < log_state.least)
		return;
	if (!out->max)
		buf_init(out, GATHERED_MAX);
	if (buf_room(out) < LINE_MAX_OCTETS)
		log_flush();
	size_t before = buf_len(out);

	buf_add(out, log_state.json ? SLICE("{\"time\":\"") : SLICE("time="));
	add_stamp(out);
	if (log_state.json)
		buf_add_char(out, '"');
	add_field_text(out, SLICE("level"), slice_from_cstr(level_names[events[event].level]));
	add_field_text(out, SLICE("role"), slice_from_cstr(log_state.role));
	add_field_text(out, SLICE("event"), slice_from_cstr(events[event].name));
	for (const struct log_field *f = fields; f->type != LOG_FIELD_END; f++)
		add_field(out, f);
	buf_add(out, log_state.json ? SLICE("}\n") : SLICE("\n"));
	/* A line that cannot be whole is left out: half a line would spoil the next. */
	if (out->failed) {
		out->failed = false;
		buf_cut(out, before);
	}
	if (buf_len(out) >= FLUSH_AT)
		log_flush();
}

void log_flush(void)
{
	struct buf *out = &log_state.out;

	while (buf_len(out) > 0) {
		ssize_t n = write(STDERR_FILENO, buf_slice(out).p, buf_len(out));
		if (n < 0 && errno == EINTR)
			continue;
		/* Nobody reads the log any more: mail goes on without it. */
		if (n <= 0)
			break;
		buf_take(out, (size_t)n);
	}
	buf_reset(out);
}
