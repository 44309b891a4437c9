#include "smtp/outcome.h"

#include <assert.h>

static const char *const stage_names[] = {
	[SMTP_STAGE_ROUTE] = "routing", [SMTP_STAGE_CONNECT] = "connecting", [SMTP_STAGE_GREETING] = "greeting",
	[SMTP_STAGE_EHLO] = "EHLO",     [SMTP_STAGE_MAIL] = "MAIL FROM",     [SMTP_STAGE_RCPT] = "RCPT TO",
	[SMTP_STAGE_DATA] = "DATA",     [SMTP_STAGE_END] = "end of data",    [SMTP_STAGE_MAILBOX] = "mailbox",
	[SMTP_STAGE_TLS] = "TLS",
	[SMTP_STAGE_AUTH] = "AUTH",
};

_Static_assert(sizeof stage_names / sizeof *stage_names == SMTP_STAGE_MAX + 1, "every stage has a name");

const char *smtp_stage_name(enum smtp_stage stage)
{
	assert(stage <= SMTP_STAGE_MAX);
	return stage_names[stage];
}
