#include "conf/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_OCTETS 1024

void conf_problems_clear(struct conf_error *err)
{
	err->errors = err->warnings = 0;
	err->length = 0;
	err->text[0] = '\0';
}

__attribute__((format(printf, 4, 0))) static void add_line(struct conf_error *err, struct conf_place at,
							   const char *mark, const char *format, va_list args)
{
	char line[LINE_MAX_OCTETS];
	size_t n = 0;

	if (at.line)
		snprintf(line, sizeof line, "%.300s:%u: %s", at.file, at.line, mark);
	else
		snprintf(line, sizeof line, "%.300s: %s", at.file, mark);
	n = strlen(line);
	vsnprintf(line + n, sizeof line - n - 1, format, args);
	n = strlen(line);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[n++] = '\n';
	if (n >= sizeof err->text - err->length)
		return;
	memcpy(err->text + err->length, line, n);
	err->length += n;
	err->text[err->length] = '\0';
}

void conf_wrong(struct conf_error *err, struct conf_place at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_line(err, at, "", format, args);
	va_end(args);
	err->errors++;
}

void conf_warn(struct conf_error *err, struct conf_place at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_line(err, at, "warning: ", format, args);
	va_end(args);
	err->warnings++;
}
