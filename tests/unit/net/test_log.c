#include "test.h"

#include "base/buf.h"
#include "net/log.h"

#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>

/* Runs `emit` with standard error in a file, and gives back what was written. */
static char *captured(bool json, void (*emit)(void))
{
	char name[] = "/tmp/postrider-log-XXXXXX";
	int file = mkstemp(name), saved = dup(STDERR_FILENO);

	assert_true(file >= 0 && saved >= 0);
	unlink(name);
	log_setup("test", json, LOG_INFO);
	dup2(file, STDERR_FILENO);
	emit();
	log_flush();
	dup2(saved, STDERR_FILENO);
	close(saved);
	off_t n = lseek(file, 0, SEEK_END);
	char *text = calloc(1, (size_t)n + 1);
	assert_int_equal(pread(file, text, (size_t)n, 0), n);
	close(file);
	return text;
}

static const char hostile[] = "a\r\n time=x level=error\x1b[2J\"\\%n\x80\xff\0z=\xe2\x80\xae";

static void emit_hostile(void)
{
	log_event(LOG_ACCEPTED, LOG_ID("id", 77), LOG_TEXT("from", slice_of(hostile, sizeof hostile - 1)),
		  LOG_NUMBER("size", -5));
}

static size_t lines_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* Undoes log_escape, written anew from the header's description. */
static size_t unescape(const char *in, char *out)
{
	size_t n = 0;

	for (; *in != '"'; in++) {
		unsigned value;
		if (*in != '\\') {
			out[n++] = *in;
		} else if (in[1] == 'x') {
			assert_int_equal(sscanf(in + 2, "%2x", &value), 1);
			out[n++] = (char)value;
			in += 3;
		} else {
			out[n++] = *++in;
		}
	}
	return n;
}

/* attacks F1: one event is one line, and reads back exactly. */
static void F1_a_hostile_value_stays_one_value_on_one_line(void **state)
{
	(void)state;
	char *text = captured(false, emit_hostile);
	char back[100];

	assert_int_equal(lines_of(text), 1);
	for (const char *p = text; *p != '\n'; p++)
		assert_true(*p >= 0x20 && *p < 0x7f);
	const char *from = strstr(text, " from=\"");
	assert_non_null(from);
	assert_int_equal(unescape(from + 7, back), sizeof hostile - 1);
	assert_memory_equal(back, hostile, sizeof hostile - 1);
	assert_non_null(strstr(text, " size=-5"));
	assert_non_null(strstr(text, " event=accepted"));
	free(text);
}

static void F1_json_lines_are_json_and_hold_the_octets(void **state)
{
	(void)state;
	char *text = captured(true, emit_hostile);
	json_error_t error;

	assert_int_equal(lines_of(text), 1);
	json_t *o = json_loads(text, JSON_ALLOW_NUL, &error);
	assert_non_null(o);
	json_t *from = json_object_get(o, "from");
	/* Each octet above 127 is the character of the same number: two octets of UTF-8. */
	size_t high = 0;
	for (size_t i = 0; i < sizeof hostile - 1; i++)
		high += (unsigned char)hostile[i] > 127;
	assert_int_equal(json_string_length(from), sizeof hostile - 1 + high);
	assert_int_equal(json_integer_value(json_object_get(o, "size")), -5);
	json_decref(o);
	free(text);
}

static void emit_levels(void)
{
	log_event(LOG_CONNECTED, LOG_CSTR("session", "x"));
	log_event(LOG_STOPPING, LOG_CSTR("empty", ""), LOG_NUMBER("signal", 15));
}

static void events_below_the_level_and_empty_texts_are_left_out(void **state)
{
	(void)state;
	char *text = captured(false, emit_levels);

	assert_int_equal(lines_of(text), 1);
	assert_null(strstr(text, "connected"));
	assert_null(strstr(text, "empty="));
	assert_non_null(strstr(text, " signal=15\n"));
	free(text);
}

static void emit_much(void)
{
	static char big[5000];

	memset(big, '\x01', sizeof big);
	for (int i = 0; i < 200; i++)
		log_event(LOG_FAILED, LOG_TEXT("a", slice_of(big, sizeof big)),
			  LOG_TEXT("b", slice_of(big, sizeof big)));
}

static void every_line_is_whole_and_bounded_whatever_it_holds(void **state)
{
	(void)state;
	char *text = captured(false, emit_much);
	size_t lines = 0;

	for (char *p = text; *p;) {
		size_t n = strcspn(p, "\n");
		assert_int_equal(p[n], '\n');
		assert_true(strncmp(p, "time=", 5) == 0);
		assert_true(n < 20000);
		p += n + 1;
		lines++;
	}
	assert_int_equal(lines, 200);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(F1_a_hostile_value_stays_one_value_on_one_line),
		cmocka_unit_test(F1_json_lines_are_json_and_hold_the_octets),
		cmocka_unit_test(events_below_the_level_and_empty_texts_are_left_out),
		cmocka_unit_test(every_line_is_whole_and_bounded_whatever_it_holds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
